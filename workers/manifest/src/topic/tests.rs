#![allow(clippy::unwrap_used)]
use super::*;
use crate::PipelineSpec;

fn line(topic: &TopicSpec) -> String {
    let settings: Vec<_> = topic.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let TopicSpec { role, name, partitions, replicas, compression, management, .. } = topic;
    format!(
        "{role:?} {name} {partitions}x{replicas} {} {management:?} {}",
        compression.codec(),
        settings.join(" ")
    )
}

#[test]
fn the_demo_has_seven_topics() {
    let lines: Vec<_> = Pipeline::demo().topics().iter().map(line).collect();
    let events = "message.timestamp.type=LogAppendTime min.insync.replicas=1";
    let rest = format!("max.message.bytes=1048588 {events}");
    let expected = [
        format!("Events clickstream-events 6x1 snappy Managed cleanup.policy=delete compression.type=snappy {events} retention.ms=7200000 segment.ms=1800000"),
        format!("Results analytics-results 3x1 gzip Managed cleanup.policy=delete compression.type=gzip {rest} retention.ms=86400000 segment.ms=21600000"),
        format!("TopPages analytics-top-pages 1x1 gzip Managed cleanup.policy=delete compression.type=gzip {rest} retention.ms=86400000 segment.ms=21600000"),
        format!("Blocks shop.blocks 3x1 lz4 Managed cleanup.policy=delete compression.type=producer {rest} retention.ms=7200000 segment.ms=1800000"),
        format!("State shop.state 6x1 lz4 Managed cleanup.policy=compact compression.type=producer {rest} segment.ms=600000")
            .replace("min.insync", "min.cleanable.dirty.ratio=0.1 min.insync"),
        format!("Live shop.live 1x1 lz4 Managed cleanup.policy=delete compression.type=producer {rest} retention.ms=600000 segment.ms=150000"),
        format!("DeadLetters shop.dead-letters 1x1 lz4 Managed cleanup.policy=delete compression.type=producer {rest} retention.ms=604800000 segment.ms=86400000"),
    ];
    assert_eq!(lines, expected);
}

fn topic(spec: &str, role: Role) -> TopicSpec {
    let spec: PipelineSpec = serde_saphyr::from_str(spec).unwrap();
    Pipeline::new("p", spec).topics().into_iter().find(|t| t.role == role).unwrap()
}

#[test]
fn blocks_are_kept_as_long_as_events_and_at_least_two_hours() {
    for (retention, expected) in [("35m", "7200000"), ("2h", "7200000"), ("1d", "86400000")] {
        let blocks = topic(&format!("{{topics: {{events: {{retention: {retention}}}}}}}"), Role::Blocks);
        assert_eq!(blocks.settings["retention.ms"], expected, "{retention}");
    }
}

#[test]
fn one_broker_of_three_may_be_down() {
    for (replicas, expected) in [(1, "1"), (2, "1"), (3, "2"), (5, "2")] {
        let events = topic(&format!("{{topics: {{events: {{replicas: {replicas}}}}}}}"), Role::Events);
        assert_eq!(events.settings["min.insync.replicas"], expected, "{replicas}");
    }
}

#[test]
fn internal_topics_have_the_higher_replication_factor() {
    for role in [Role::Blocks, Role::State, Role::Live, Role::DeadLetters] {
        assert_eq!(topic("{topics: {events: {replicas: 3}}}", role).replicas, 3, "{role:?}");
        assert_eq!(topic("{topics: {results: {replicas: 2}}}", role).replicas, 2, "{role:?}");
    }
}

#[test]
fn top_pages_default_to_the_settings_of_results() {
    let results = "results: {replicas: 2, retention: 1h, compression: none, partitions: 9}";
    let followed = topic(&format!("{{topics: {{{results}}}}}"), Role::TopPages);
    assert_eq!((followed.partitions, followed.replicas, followed.compression), (1, 2, Compression::None));
    assert_eq!(followed.settings["compression.type"], "uncompressed");
    assert_eq!(followed.settings["retention.ms"], "3600000");
    let own = "topPages: {replicas: 1, retention: 2h, compression: zstd}";
    let own = topic(&format!("{{topics: {{{results}, {own}}}}}"), Role::TopPages);
    assert_eq!((own.replicas, own.settings["retention.ms"].as_str()), (1, "7200000"));
    assert_eq!(own.settings["compression.type"], "zstd");
}

#[test]
fn external_events_are_only_checked() {
    let spec = "{topics: {events: {management: External}}}";
    assert_eq!(topic(spec, Role::Events).management, Management::External);
    assert_eq!(topic(spec, Role::Results).management, Management::Managed);
}

#[test]
fn each_generation_has_internal_topics_and_groups_of_its_own() {
    let first = Pipeline::demo();
    let second = first.in_generation(2);
    assert_eq!(
        (first.blocks_topic(), second.blocks_topic()),
        ("shop.blocks".to_owned(), "shop.blocks.2".to_owned())
    );
    assert_eq!(
        (second.windows_group(), second.results_group()),
        ("shop.windows.2".into(), "shop.results.2".into())
    );
    let names = |pipeline: &Pipeline| -> Vec<String> {
        pipeline.topics().into_iter().map(|topic| topic.name).collect()
    };
    assert_eq!(
        names(&second),
        [
            "clickstream-events",
            "analytics-results",
            "analytics-top-pages",
            "shop.blocks.2",
            "shop.state.2",
            "shop.live.2",
            "shop.dead-letters.2",
            "shop.generations"
        ]
    );
    assert!(!names(&first).contains(&"shop.generations".to_owned()), "without a second one nothing is other");
    for generation in [&first, &second] {
        for group in [generation.windows_group(), generation.results_group()] {
            assert!(is_group_of("shop", &group), "{group}");
        }
    }
    for other in ["shop.windows.x", "shop.state", "shop-2.windows", "shop", "ashop.windows", "shop.2.windows"]
    {
        assert!(!is_group_of("shop", other), "{other}");
    }
}
