//! The main path over a real broker: topics, events, two processes of which one is killed over and over, results.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    time::Duration,
};

use weir_events::{Decoder, EventType, decode_page_analytics, decode_top_pages, validate};
use weir_oracle::{Entry, Event, Kind, Page, Ranked, Settings, Site, Trend, Window};
use weir_stream::kafka::{Reader, ReaderOptions, Start};
use weir_testbed::Kafka;

const EVENTS: usize = 100_000;
const KILLS: usize = 4;

struct Pipeline {
    brokers: &'static str,
    file: tempfile::NamedTempFile,
    name: String,
}

impl Pipeline {
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let manifest = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {{name: {name}}}\nspec:\n  topics:\n    events: {{name: {name}-events}}\n    \
             results: {{name: {name}-results}}\n    topPages: {{name: {name}-top}}\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifest).unwrap();
        Self { brokers: Kafka::shared(), file, name }
    }

    fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).arg("--pipeline").arg(self.file.path()).args(["--brokers", self.brokers]);
        command.stdout(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) {
        let status = self.weir(arguments).status().unwrap();
        assert!(status.success(), "weir {arguments:?}: {status}");
    }

    fn process(&self, instance: &str) -> Child {
        self.weir(&["process", "--until-end", "--instance", instance]).spawn().unwrap()
    }

    /// Records of a topic in the order of each partition, until there are `expected` and then none for two seconds.
    fn read(&self, topic: &str, expected: usize, sink: &mut dyn FnMut(i32, i64, &[u8])) -> usize {
        let options = ReaderOptions {
            bootstrap: self.brokers.to_owned(),
            client_id: "test".to_owned(),
            extra: Vec::new(),
        };
        let mut reader = Reader::follow(&options, &[topic], Start::Beginning).unwrap();
        let (mut seen, mut silent) = (0, 0);
        while silent < if seen >= expected { 4 } else { 60 } {
            let before = seen;
            reader
                .poll(10_000, Duration::from_millis(500), &mut |_, record| {
                    seen += 1;
                    sink(record.partition, record.timestamp, record.value.unwrap_or_default());
                })
                .unwrap();
            silent = if seen == before { silent + 1 } else { 0 };
        }
        seen
    }

    /// The events topic as the oracle takes it, ended as `--until-end` ends it.
    fn log(&self, settings: &Settings) -> Vec<Vec<Entry>> {
        let (decoder, mut log, mut last) = (Decoder::new(), vec![Vec::new(); 6], i64::MIN);
        let read = self.read(&format!("{}-events", self.name), EVENTS, &mut |partition, timestamp, value| {
            let Ok(event) = decoder.decode(value) else { return };
            if validate(&event, timestamp, 300_000).is_err() {
                return;
            }
            last = last.max(event.timestamp);
            log[partition as usize].push(Entry::Event(Event {
                user: event.user_id.into(),
                session: event.session_id.into(),
                kind: match event.event_type {
                    EventType::View => Kind::View,
                    EventType::Click => Kind::Click,
                    EventType::AddToCart => Kind::AddToCart,
                    EventType::Purchase => Kind::Purchase,
                    EventType::Search => Kind::Search,
                },
                page: event.page_url.into(),
                timestamp: event.timestamp,
                session_duration: event.session_duration,
            }));
        });
        assert_eq!(read, EVENTS);
        let end = last.div_euclid(settings.slide) * settings.slide + settings.size;
        log.iter_mut().for_each(|partition| partition.push(Entry::RaiseWatermark(end)));
        log
    }

    /// The windows of the result topics. What the records do not carry, the sums behind the ratios, is taken from `expected`.
    fn windows(&self, expected: &[Window]) -> Vec<Window> {
        let sums: BTreeMap<(i64, &str), &Page> =
            expected.iter().flat_map(|w| w.pages.iter().map(|p| ((w.end, p.page.as_str()), p))).collect();
        let mut windows = BTreeMap::new();
        self.read(&format!("{}-top", self.name), expected.len(), &mut |_, _, value| {
            let top = decode_top_pages(value).unwrap();
            let window = Window {
                start: top.window_start,
                end: top.window_end,
                pages: Vec::new(),
                top: top
                    .pages
                    .into_iter()
                    .map(|p| Ranked {
                        rank: p.rank,
                        page: p.page_url,
                        view_count: p.view_count,
                        unique_users: p.unique_users,
                        previous_rank: p.previous_rank,
                    })
                    .collect(),
                warming_up: top.warming_up,
                trending: top
                    .trending
                    .into_iter()
                    .map(|t| Trend {
                        page: t.page_url,
                        view_count: t.view_count,
                        expected: t.expected,
                        score: t.score,
                        unique_users: t.unique_users,
                    })
                    .collect(),
                site: Site {
                    views: top.site.view_count,
                    clicks: top.site.click_count,
                    conversions: top.site.conversion_count,
                    unique_users: top.site.unique_users,
                    visits: top.site.visits,
                    bounces: top.site.bounces,
                },
            };
            assert!(windows.insert(window.end, window).is_none(), "one ranking a window");
        });
        let rows = expected.iter().map(|w| w.pages.len()).sum();
        self.read(&format!("{}-results", self.name), rows, &mut |_, _, value| {
            let row = decode_page_analytics(value).unwrap();
            let sums = sums.get(&(row.window_end, row.page_url.as_str()));
            windows.get_mut(&row.window_end).unwrap().pages.push(Page {
                view_count: row.view_count,
                unique_users: row.unique_users,
                click_count: row.click_count,
                conversion_count: row.conversion_count,
                engagement_rate: row.engagement_rate,
                bounce_rate: row.bounce_rate,
                avg_session_duration: row.avg_session_duration,
                visits: sums.map_or(0, |p| p.visits),
                bounces: sums.map_or(0, |p| p.bounces),
                duration_sum_ms: sums.map_or(0, |p| p.duration_sum_ms),
                page: row.page_url,
            });
        });
        let mut windows: Vec<Window> = windows.into_values().collect();
        // Rows of a window lie in several partitions. A second row for a page stays, and is found as a difference.
        windows.iter_mut().for_each(|window| window.pages.sort_by(|a, b| a.page.cmp(&b.page)));
        windows
    }
}

#[test]
fn results_equal_the_oracle_whatever_is_killed() {
    let pipeline = Pipeline::new("spine");
    pipeline.run(&["topics", "apply"]);
    let events = EVENTS.to_string();
    let faults = ["--late", "0.01", "--duplicates", "0.01", "--malformed", "0.005"];
    let generate = ["generate", "--events", &events, "--rate", "0", "--start", "2026-01-01T00:00:00Z"];
    pipeline.run(&[&generate[..], &faults[..]].concat());

    let mut survivor = pipeline.process("p0");
    let mut victim = pipeline.process("p1");
    for kill in 0..KILLS {
        // Not a wait for a condition: the later, the more varied the moment of death.
        std::thread::sleep(Duration::from_millis(300 + 400 * kill as u64));
        victim.kill().unwrap();
        victim.wait().unwrap();
        victim = pipeline.process("p1");
    }
    assert!(survivor.wait().unwrap().success());
    assert!(victim.wait().unwrap().success());

    let settings = Settings::default();
    let outcome = weir_oracle::compute(&pipeline.log(&settings), &settings);
    assert!(outcome.late.iter().any(|late| !late.is_empty()), "the log holds late events");
    assert!(outcome.windows.len() > 100, "{} windows", outcome.windows.len());
    weir_oracle::compare(&outcome.windows, &pipeline.windows(&outcome.windows)).unwrap();
}
