//! Any text as a document, as a duration and as an address.
#![allow(clippy::unwrap_used)]

use weir_fuzz::Target;
use weir_manifest::{Duration, Pipeline};

#[test]
fn fuzz_manifest() {
    let examples = [
        include_str!("../../../examples/development.yaml"),
        include_str!("../../../examples/production.yaml"),
        include_str!("../../../examples/replay.yaml"),
    ];
    let short = "{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {name: shop}, \
                 spec: {window: &w {size: 1m, slide: 5s}, topics: {events: {partitions: 12}}, pii: {ipAddress: Drop}}}";
    let seeds = examples.into_iter().chain([short]).map(|text| text.as_bytes().to_vec());
    Target::new("manifest").seeds(seeds).bytes_per_byte(2_048).executions(2_000).run(|bytes| {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let pipeline = Pipeline::from_yaml(text).map_err(|error| error.to_string())?;
        assert_eq!(Pipeline::from_yaml(&pipeline.to_yaml().unwrap()).unwrap(), pipeline);
        (pipeline.topics(), pipeline.warnings(), pipeline.supported()).2.map_err(|error| error.to_string())
    });
}

#[test]
fn fuzz_duration() {
    let seeds = ["5m", "1h30m", "36500d", "500ms", "1d2h3m4s5ms"].map(|text| text.as_bytes().to_vec());
    Target::new("duration").seeds(seeds).run(|bytes| {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let span: Duration = text.parse().map_err(|_| "no duration".to_owned())?;
        assert_eq!(span.to_string().parse::<Duration>().unwrap(), span);
        Ok(())
    });
}
