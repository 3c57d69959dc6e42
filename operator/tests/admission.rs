//! Admission of documents by a real API server, with its error messages; and that the workers validate files alike.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;

use serde_json::Value;
use support::{cluster, namespace};
use weir_manifest::Pipeline;

/// The required fields of a document's `spec`.
const KAFKA: &str = "kafka: {bootstrapServers: ['kafka:9092']}";

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

fn dry_run(manifest: &str) -> Result<String, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(manifest.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    let made = cluster().kubectl(&["create", "--dry-run=server", "--output=yaml", "--filename", &path]);
    made.map_err(|error| error.to_string())
}

#[test]
fn the_examples_are_admitted() {
    for example in
        [include_str!("../../examples/development.yaml"), include_str!("../../examples/production.yaml")]
    {
        dry_run(example).unwrap();
    }
    // Defaults are stored in the object, so that every version of the operator reads the same pipeline.
    let made = dry_run(&manifest("shop", &format!("{{{KAFKA}}}"))).unwrap();
    for expected in ["size: 5m", "name: clickstream-events", "partitions: 6", "mode: Disabled"] {
        assert!(made.contains(expected), "{expected}: {made}");
    }
}

#[test]
fn boundary_values_of_rules_are_admitted() {
    for spec in [
        "window: {size: 10s}",
        "window: {slide: 100ms, size: 500ms}",
        "window: {size: 1d}, topics: {events: {retention: 1d1h}}",
        "window: {size: 24h, slide: 10s}, topics: {events: {retention: 2d}}",
        "ranking: {trendingHalfLife: 36500d}",
        "ranking: {trendingHalfLife: 1s}, generator: {eventsPerSecond: 0.1}",
        "topics: {events: {retention: 1m, management: External}, results: {retention: 1m}, topPages: {retention: 1m}}",
        "topics: {results: {name: shop.blocks-2}}",
        "topics: {results: {name: shop.blocks.two}, topPages: {name: shop.generations.2}}",
        "topics: {results: {name: ashop.blocks}, topPages: {name: shop.windows}}",
        "processor: {replicas: 1000, autoscaling: {minReplicas: 6, mode: Lag, catchUp: 1s}}",
        "pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}",
    ] {
        let document = manifest("shop", &format!("{{{KAFKA}, {spec}}}"));
        dry_run(&document).unwrap_or_else(|error| panic!("{spec}: {error}"));
        assert_eq!(Pipeline::from_yaml(&document).err(), None, "{spec}");
    }
}

#[test]
fn every_error_is_reported_with_its_field() {
    let long = "a".repeat(53);
    let mut refusals = Vec::new();
    for (name, spec, place, expected) in [
        ("shop", "window: {slide: 99ms, size: 990ms}", "spec.window.slide", "at least 100ms"),
        ("shop", "window: {size: 0s}", "spec.window.size", "more than 0s"),
        (
            "shop",
            "window: {size: 301s}",
            "spec.window.size",
            "a multiple of slide: windows are made of whole slides",
        ),
        (
            "shop",
            "window: {size: 1d10s}, topics: {events: {retention: 2d}}",
            "spec.window.size",
            "at most 8640 slides",
        ),
        ("shop", "window: {duplicateSlack: 61m}", "spec.window.duplicateSlack", "at most 1h"),
        ("shop", "window: {outOfOrderness: 25h}", "spec.window.outOfOrderness", "at most 1d"),
        ("shop", "window: {maxFuture: 86401s}", "spec.window.maxFuture", "at most 1d"),
        ("shop", "window: {sessionGap: 0s}", "spec.window.sessionGap", "every event is a visit"),
        ("shop", "window: {idleTimeout: 0s}", "spec.window.idleTimeout", "seals windows too early"),
        ("shop", "window: {size: 5 minutes}", "spec.window.size", "should match"),
        ("shop", "window: {maxFuture: 99999d}", "spec.window.maxFuture", "at most 36500d"),
        ("shop", "ranking: {trendingHalfLife: 999ms}", "spec.ranking.trendingHalfLife", "at least 1s"),
        (
            "shop",
            "topics: {events: {retention: 34m}}",
            "spec.topics.events.retention",
            "must cover window.size",
        ),
        (
            "shop",
            "topics: {events: {retention: 59s, management: External}}",
            "spec.topics.events.retention",
            "at least 1m",
        ),
        ("shop", "topics: {results: {retention: 59s}}", "spec.topics.results.retention", "at least 1m"),
        ("shop", "topics: {topPages: {retention: 59s}}", "spec.topics.topPages.retention", "at least 1m"),
        (
            "shop",
            "topics: {results: {name: clickstream-events}}",
            "spec.topics.results.name",
            "the name of topics.events",
        ),
        (
            "shop",
            "topics: {events: {name: a.b}, topPages: {name: a_b}}",
            "spec.topics.topPages.name",
            "the same",
        ),
        (
            "shop",
            "topics: {results: {name: a.b}, topPages: {name: a_b}}",
            "spec.topics.topPages.name",
            "the same",
        ),
        ("shop", "topics: {events: {name: shop.state}}", "spec.topics", "an internal topic"),
        ("shop", "topics: {events: {name: shop_live}}", "spec.topics", "an internal topic"),
        ("shop", "topics: {results: {name: shop.blocks}}", "spec.topics", "an internal topic"),
        ("shop", "topics: {topPages: {name: shop.dead-letters}}", "spec.topics", "an internal topic"),
        ("shop", "topics: {results: {name: shop.generations}}", "spec.topics", "an internal topic"),
        ("shop", "topics: {events: {name: shop.blocks.2}}", "spec.topics", "an internal topic"),
        ("shop", "topics: {topPages: {name: shop_state.10}}", "spec.topics", "an internal topic"),
        (
            "shop",
            "topics: {events: {partitions: 1001}}",
            "spec.topics.events.partitions",
            "less than or equal to 1000",
        ),
        ("shop", "topics: {events: {name: 'a b'}}", "spec.topics.events.name", "should match"),
        ("shop", "processor: {replicas: -1}", "spec.processor.replicas", "greater than or equal to 0"),
        (
            "shop",
            "processor: {autoscaling: {minReplicas: 7}}",
            "autoscaling.minReplicas",
            "at most maxReplicas",
        ),
        ("shop", "processor: {autoscaling: {mode: Cpu}}", "autoscaling.mode", "Unsupported value"),
        ("shop", "processor: {autoscaling: {catchUp: 500ms}}", "autoscaling.catchUp", "at least 1s"),
        ("shop", "pii: {userId: Hash}", "spec.pii.hashKeySecretRef", "undone by trying all values"),
        ("shop", "pii: {ipAddress: Hash}", "spec.pii.hashKeySecretRef", "undone by trying all values"),
        (
            "shop",
            "kafka: {sasl: {mechanism: OAUTH, secretRef: {name: a}}}",
            "spec.kafka.sasl.mechanism",
            "Unsupported",
        ),
        ("shop", "kafka: {sasl: {mechanism: PLAIN}}", "spec.kafka.sasl.secretRef", "Required value"),
        ("shop", "kafka: {bootstrapServers: ['a:1'], tls: {}}", "spec.kafka.tls", "is not supported"),
        (
            "shop",
            "kafka: {bootstrapServers: ['a:1'], sasl: {mechanism: SCRAM-SHA-512, secretRef: {name: a}}}",
            "spec.kafka.sasl",
            "is not supported",
        ),
        (
            "shop",
            "kafka: {bootstrapServers: ['a:1'], schemaRegistry: {url: 'http://a'}}",
            "spec.kafka.schemaRegistry",
            "is not supported",
        ),
        (
            "shop",
            "kafka: {bootstrapServers: ['a:1', 'a:1']}",
            "spec.kafka.bootstrapServers[1]",
            "Duplicate value",
        ),
        ("shop", "generator: {eventsPerSecond: 0}", "generator.eventsPerSecond", "must be at least 0.1"),
        ("shop", "typo: 1", "spec.typo", "unknown field"),
        (&long, "state: Running", "metadata.name", ""),
        ("Shop", "state: Running", "metadata.name", "should match"),
    ] {
        let kafka = if spec.starts_with("kafka") { String::new() } else { format!("{KAFKA}, ") };
        let document = manifest(name, &format!("{{{kafka}{spec}}}"));
        let error = dry_run(&document).err().unwrap_or_else(|| panic!("{spec} was admitted"));
        assert!(error.contains(place) && error.contains(expected), "{spec}: {error}");
        // A file with the same error is refused too, at the same field.
        let problems = Pipeline::from_yaml(&document).and_then(|read| read.supported()).unwrap_err();
        let field = place.rsplit('.').next().unwrap_or_default().trim_end_matches(']');
        assert!(problems.to_string().contains(field), "{spec}: {problems}");
        refusals.push(error);
    }
    // Only processes accept brokers on the command line.
    let error = dry_run(&manifest("shop", "{}")).unwrap_err();
    assert!(error.contains("spec.kafka") && error.contains("must name a broker"), "{error}");
    refusals.push(error);
    assert_eq!(unused(&refusals, false), Vec::<String>::new(), "rules that nothing here offends against");
}

/// The definition's rules between fields, about changes or about single documents, that none of the refusals reports.
fn unused(refusals: &[String], about_changes: bool) -> Vec<String> {
    let definition: Value = serde_saphyr::from_str(&weir_operator::crd().unwrap()).unwrap();
    let mut rules = Vec::new();
    collect(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut rules);
    assert!(rules.len() > 20, "{rules:?}");
    let wanted = rules.into_iter().filter(|(_, rule, _)| rule.contains("oldSelf") == about_changes);
    let unused = wanted.filter(|(place, _, message)| {
        !refusals.iter().any(|error| error.contains(place) && error.contains(message))
    });
    unused.map(|(place, _, message)| format!("{place}: {message}")).collect()
}

/// Collects place, rule and message of a schema's rules. Rules of all durations have no place.
fn collect(schema: &Value, path: &str, rules: &mut Vec<(String, String, String)>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let place = rule["fieldPath"].as_str().map(|field| format!("{path}{field}: "));
        let place = place.unwrap_or_default().trim_start_matches('.').to_owned();
        rules.push((place, text(&rule["rule"]), text(&rule["message"])));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        collect(field, &format!("{path}.{name}"), rules);
    }
}

#[test]
fn names_partitions_and_replicas_of_topics_are_immutable() {
    let namespace = namespace("fixed");
    cluster()
        .apply(
            &manifest("shop", &format!("{{{KAFKA}}}")).replace("name: shop", "name: shop, namespace: fixed"),
        )
        .unwrap();
    let patch = |spec: &str| {
        let patch = format!("{{\"spec\":{spec}}}");
        let arguments =
            ["patch", "csp", "shop", "--namespace", &namespace, "--type=merge", "--patch", &patch];
        cluster().kubectl(&arguments).map_err(|error| error.to_string())
    };
    let mut refusals = Vec::new();
    for (spec, place) in [
        (r#"{"topics":{"events":{"name":"other"}}}"#, "spec.topics.events.name"),
        (r#"{"topics":{"events":{"partitions":12}}}"#, "spec.topics.events.partitions"),
        (r#"{"topics":{"results":{"name":"other"}}}"#, "spec.topics.results.name"),
        (r#"{"topics":{"results":{"partitions":5}}}"#, "spec.topics.results.partitions"),
        (r#"{"topics":{"topPages":{"name":"other"}}}"#, "spec.topics.topPages.name"),
        (r#"{"topics":{"events":{"replicas":3}}}"#, "spec.topics.events.replicas"),
        (r#"{"topics":{"results":{"replicas":3}}}"#, "spec.topics.results.replicas"),
        (r#"{"topics":{"topPages":{"replicas":3}}}"#, "spec.topics.topPages.replicas"),
    ] {
        let error = patch(spec).unwrap_err();
        assert!(error.contains(place) && error.contains("is fixed"), "{spec}: {error}");
        refusals.push(error);
    }
    assert_eq!(unused(&refusals, true), Vec::<String>::new(), "rules that nothing here offends against");
    // Settings that decide results may change: they begin a generation.
    for spec in [
        r#"{"window":{"size":"1m","slide":"5s","outOfOrderness":"31s"}}"#,
        r#"{"window":{"sessionGap":"31m","maxFuture":"0s","duplicateSlack":"2m"}}"#,
        r#"{"ranking":{"trendingHalfLife":"1h","top":11,"warmUp":3},"limits":{"pages":5000}}"#,
        r#"{"pii":{"userId":"Hash","ipAddress":"Drop","userAgent":"Drop","hashKeySecretRef":{"name":"pii","key":"key"}}}"#,
    ] {
        patch(spec).unwrap();
    }
    // As before only within the rules of a single document.
    let error = patch(r#"{"window":{"size":"61s"}}"#).unwrap_err();
    assert!(error.contains("spec.window.size") && error.contains("a multiple of slide"), "{error}");
    patch(r#"{"window":{"size":"60s","idleTimeout":"1m"},"topics":{"topPages":{"replicas":1}}}"#).unwrap();
    patch(r#"{"topics":{"results":{"retention":"2h"},"events":{"compression":"lz4"}}}"#).unwrap();
    cluster().kubectl(&["scale", "csp", "shop", "--namespace", &namespace, "--replicas=4"]).unwrap();
    let shown = cluster().kubectl(&["get", "csp", "--namespace", &namespace]).unwrap();
    let header = shown.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    assert_eq!(header, ["NAME", "READY", "STATE", "REPLICAS", "PARTITIONS", "AGE"]);
    let replicas =
        ["get", "csp", "shop", "--namespace", &namespace, "--output=jsonpath={.spec.processor.replicas}"];
    assert_eq!(cluster().kubectl(&replicas).unwrap(), "4");
}

#[test]
fn explain_has_a_text_for_every_field() {
    let explained = cluster().kubectl(&["explain", "csp.spec.window"]).unwrap();
    for text in ["Length of a window", "Time between the ends of two windows", "Longest pause within a visit"]
    {
        assert!(explained.contains(text), "{text}: {explained}");
    }
    let all = cluster().kubectl(&["explain", "csp", "--recursive"]).unwrap();
    assert!(all.contains("outOfOrderness") && all.contains("bootstrapServers"), "{all}");
    let missing = cluster().kubectl(&["explain", "csp.spec.processor.autoscaling"]).unwrap();
    assert!(!missing.contains("<no description>"), "{missing}");
}
