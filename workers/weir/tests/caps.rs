//! A site with more pages than may be live: memory is bounded, and what is counted equals the oracle.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::TestPipeline;
use weir_audit::Audit;

const EVENTS: &str = "120000";
const TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn pages_beyond_the_limit_count_under_one_page() {
    let spec = "  limits: {pages: 300}\n";
    let test = TestPipeline::with(weir_broker::Kafka::shared(), "caps", "caps-events", spec, 1);
    let generate = ["generate", "--events", EVENTS, "--rate", "0", "--start", "2026-01-01T00:00:00Z"];
    test.run(
        &[&generate[..], &["--distinct-urls", "0.3", "--late", "0.01", "--duplicates", "0.01"]].concat(),
    );
    let audit = Audit::connect(&test.pipeline, test.brokers).unwrap();
    // Killed once something was told, if it is not done by then: what is live is restored.
    let mut killed = test.weir(&["process", "--until-end", "--instance", "p0"]).spawn().unwrap();
    let begun = Instant::now();
    while audit.results().map_or(0, |results| results.windows.len()) < 1 {
        assert!(begun.elapsed() < TIMEOUT, "no results");
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    test.run(&["process", "--until-end", "--instance", "p0"]);
    let report = audit.compare(true).unwrap();
    assert!(report.other_pages > 5_000 && report.other_pages < 60_000, "{report:#?}");
    let windows = audit.results().unwrap().windows;
    let pages = windows.values().map(|window| window.pages.len()).max().unwrap();
    let most = 6 * 300 + 1;
    assert!(pages <= most, "{pages} pages in a window, expected at most {most}");
}
