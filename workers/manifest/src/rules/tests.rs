#![allow(clippy::unwrap_used)]
use crate::{Pipeline, SpecError};

fn parse(name: &str, spec: &str) -> Result<Pipeline, SpecError> {
    Pipeline::from_yaml(&format!(
        "{{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {{name: {name}}}, spec: {spec}}}"
    ))
}

/// Checks the paths of all problems, and that each message contains its reason.
#[track_caller]
fn holds(spec: &str, expected: &[(&str, &str)]) {
    let found = match parse("shop", spec) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().to_vec(),
    };
    assert_eq!(found.len(), expected.len(), "{spec}: {found:#?}");
    for (problem, (path, reason)) in found.iter().zip(expected) {
        assert_eq!(problem.path, *path, "{spec}");
        assert!(problem.message.contains(reason), "{spec}: {problem} does not contain {reason}");
    }
}

#[test]
fn window() {
    for (spec, expected) in [
        ("{window: {size: 10s}}", vec![]),
        ("{window: {slide: 100ms}}", vec![]),
        (
            "{window: {slide: 99ms, size: 990ms}}",
            vec![("spec.window.slide", "found 99ms, expected at least 100ms")],
        ),
        ("{window: {slide: 0s}}", vec![("spec.window.slide", "at least 100ms")]),
        ("{window: {size: 0s}}", vec![("spec.window.size", "found 0s")]),
        ("{window: {size: 5s}}", vec![("spec.window.size", "a multiple of window.slide (10s)")]),
        (
            "{window: {size: 301s}}",
            vec![(
                "spec.window.size",
                "found 5m1s, expected a multiple of window.slide (10s): windows are made of whole slides, such as 5m10s",
            )],
        ),
        ("{window: {size: 1d}, topics: {events: {retention: 2d}}}", vec![]),
        (
            "{window: {size: 24h10s}, topics: {events: {retention: 2d}}}",
            vec![("spec.window.size", "8641 slides of 10s, expected at most 8640 (here 1d)")],
        ),
        ("{window: {sessionGap: 0s}}", vec![("spec.window.sessionGap", "every event is a visit")]),
        ("{window: {idleTimeout: 0s}}", vec![("spec.window.idleTimeout", "seals windows too early")]),
        ("{window: {duplicateSlack: 1h}}", vec![]),
        (
            "{window: {duplicateSlack: 61m}}",
            vec![("spec.window.duplicateSlack", "found 1h1m, expected at most 1h")],
        ),
        ("{window: {outOfOrderness: 0s, maxFuture: 0s}}", vec![]),
        ("{window: {outOfOrderness: 1d, maxFuture: 24h}}", vec![]),
        (
            "{window: {outOfOrderness: 24h1ms, maxFuture: 36500d}}",
            vec![
                ("spec.window.outOfOrderness", "found 1d1ms, expected at most 1d"),
                ("spec.window.maxFuture", "found 36500d, expected at most 1d"),
            ],
        ),
        ("{ranking: {trendingHalfLife: 1s}}", vec![]),
        ("{ranking: {trendingHalfLife: 999ms}}", vec![("spec.ranking.trendingHalfLife", "at least 1s")]),
        ("{ranking: {top: 0}}", vec![("spec.ranking.top", "from 1 to 1000")]),
        (
            "{ranking: {top: 1001, warmUp: 0}}",
            vec![("spec.ranking.top", "1000"), ("spec.ranking.warmUp", "from 1")],
        ),
    ] {
        holds(spec, &expected);
    }
}

#[test]
fn topics() {
    let retention = "spec.topics.events.retention";
    for (spec, expected) in [
        ("{topics: {events: {retention: 35m}}}", vec![]),
        (
            "{topics: {events: {retention: 34m}}}",
            vec![(retention, "found 34m, expected at least 35m (window.size 5m + window.sessionGap 30m)")],
        ),
        ("{topics: {events: {retention: 34m, management: External}}}", vec![]),
        ("{window: {sessionGap: 2h}}", vec![(retention, "at least 2h5m")]),
        ("{topics: {results: {retention: 59s}}}", vec![("spec.topics.results.retention", "at least 1m")]),
        ("{topics: {topPages: {retention: 0s}}}", vec![("spec.topics.topPages.retention", "at least 1m")]),
        (
            "{topics: {results: {name: clickstream-events}}}",
            vec![("spec.topics.results.name", "the name of spec.topics.events.name (`clickstream-events`)")],
        ),
        (
            "{topics: {events: {name: a.b}, topPages: {name: a_b}}}",
            vec![("spec.topics.topPages.name", "takes . and _ for the same")],
        ),
        (
            "{topics: {events: {name: shop.state}}}",
            vec![("spec.topics.events.name", "found `shop.state`, the name of an internal topic")],
        ),
        ("{topics: {results: {name: shop_live}}}", vec![("spec.topics.results.name", "`shop_live`")]),
        (
            "{topics: {results: {name: shop.generations}}}",
            vec![("spec.topics.results.name", "an internal topic")],
        ),
        ("{topics: {events: {name: shop.blocks.2}}}", vec![("spec.topics.events.name", "an internal topic")]),
        (
            "{topics: {topPages: {name: shop_dead-letters.10}}}",
            vec![("spec.topics.topPages.name", "an internal topic")],
        ),
        ("{topics: {results: {name: shop.blocks-2}}}", vec![]),
        ("{topics: {results: {name: shop.blocks.two}, topPages: {name: shop.generations.2}}}", vec![]),
        ("{topics: {events: {partitions: 1000, replicas: 32767}}}", vec![]),
        (
            "{topics: {events: {partitions: 1001, replicas: 0}}}",
            vec![
                ("spec.topics.events.partitions", "from 1 to 1000"),
                ("spec.topics.events.replicas", "from 1 to 32767"),
            ],
        ),
    ] {
        holds(spec, &expected);
    }
}

#[test]
fn workloads_privacy_and_kafka() {
    for (spec, expected) in [
        ("{processor: {replicas: 0}}", vec![]),
        ("{processor: {replicas: 1000}}", vec![]),
        ("{processor: {replicas: 1001}}", vec![("spec.processor.replicas", "from 0 to 1000")]),
        ("{processor: {autoscaling: {minReplicas: 6}}}", vec![]),
        (
            "{processor: {autoscaling: {minReplicas: 7}}}",
            vec![("spec.processor.autoscaling.minReplicas", "found 7, expected at most maxReplicas (6)")],
        ),
        (
            "{processor: {autoscaling: {mode: Cpu}}}",
            vec![("spec.processor.autoscaling.mode", "allowed: Disabled, Lag, LagDryRun, External")],
        ),
        (
            "{processor: {autoscaling: {catchUp: 500ms}}}",
            vec![("spec.processor.autoscaling.catchUp", "at least 1s")],
        ),
        ("{pii: {userId: Hash}}", vec![("spec.pii.hashKeySecretRef", "because userId is Hash")]),
        (
            "{pii: {userId: Hash, ipAddress: Hash}}",
            vec![("spec.pii.hashKeySecretRef", "userId and ipAddress is Hash")],
        ),
        ("{pii: {ipAddress: Truncate, userAgent: Drop}}", vec![]),
        ("{pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}}", vec![]),
        (
            "{kafka: {bootstrapServers: [a:1, b:1, 'a:1']}}",
            vec![("spec.kafka.bootstrapServers[2]", "found `a:1` a second time")],
        ),
        ("{kafka: {schemaRegistry: {url: registry}}}", vec![("spec.kafka.schemaRegistry.url", "http://")]),
        (
            "{kafka: {sasl: {mechanism: OAUTH}}}",
            vec![
                ("spec.kafka.sasl.mechanism", "allowed: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
                ("spec.kafka.sasl.secretRef", "missing"),
            ],
        ),
        ("{generator: {eventsPerSecond: 0.1}}", vec![]),
        (
            "{generator: {users: 0, pages: 0, products: 0}}",
            vec![
                ("spec.generator.pages", "from 1"),
                ("spec.generator.products", "from 1"),
                ("spec.generator.users", "from 1"),
            ],
        ),
    ] {
        holds(spec, &expected);
    }
}

#[test]
fn pipeline_names_leave_room_for_suffixes() {
    assert!(parse(&"a".repeat(52), "{}").is_ok());
    for name in ["a".repeat(53), "Shop".to_owned(), "a.b".to_owned(), "''".to_owned()] {
        let error = parse(&name, "{}").unwrap_err().to_string();
        assert!(error.starts_with("metadata.name: found `") && error.contains("1 to 52"), "{error}");
    }
}

#[test]
fn warnings_refuse_nothing() {
    let partitions = "each belongs to one processor";
    for (spec, expected) in [
        ("{}", vec![]),
        ("{processor: {replicas: 6}}", vec![]),
        ("{processor: {replicas: 9}}", vec![("spec.processor.replicas", partitions)]),
        ("{processor: {autoscaling: {maxReplicas: 9}}}", vec![]),
        (
            "{processor: {autoscaling: {mode: Lag, maxReplicas: 9}}}",
            vec![("spec.processor.autoscaling.maxReplicas", partitions)],
        ),
        ("{kafka: {sasl: {mechanism: PLAIN, secretRef: {name: s}}, tls: {}}}", vec![]),
        (
            "{kafka: {sasl: {mechanism: PLAIN, secretRef: {name: s}}}}",
            vec![("spec.kafka.sasl.mechanism", "in the clear")],
        ),
        ("{pii: {userAgent: Drop}, deadLetters: {payload: Omit}}", vec![]),
        (
            "{pii: {userAgent: Drop}, deadLetters: {payload: Keep}}",
            vec![("spec.deadLetters.payload", "original bytes")],
        ),
    ] {
        let found = parse("shop", spec).unwrap().warnings();
        assert_eq!(found.len(), expected.len(), "{spec}: {found:?}");
        for (problem, (path, reason)) in found.iter().zip(expected) {
            assert!(problem.path == path && problem.message.contains(reason), "{spec}: {problem}");
        }
    }
}

#[test]
fn derived_values() {
    use crate::DeadLetterPayload::{Keep, Omit};
    for (spec, payload, replicas) in [
        ("{}", Keep, 2),
        ("{processor: {replicas: 9}}", Keep, 6),
        ("{state: Suspended}", Keep, 0),
        ("{pii: {ipAddress: Drop}}", Omit, 2),
        ("{pii: {userAgent: Family}}", Omit, 2),
        ("{pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}}", Omit, 2),
        ("{pii: {ipAddress: Drop}, deadLetters: {payload: Keep}}", Keep, 2),
        ("{deadLetters: {payload: Omit}}", Omit, 2),
    ] {
        let pipeline = parse("shop", spec).unwrap();
        assert_eq!(
            (pipeline.dead_letter_payload(), pipeline.processor_replicas()),
            (payload, replicas),
            "{spec}"
        );
    }
}
