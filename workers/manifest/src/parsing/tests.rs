#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Compression, Duration, Profile, SaslMechanism};

const HEAD: &str = "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {name: shop}\n";

fn parse(rest: &str) -> Result<Pipeline, SpecError> {
    Pipeline::from_yaml(&format!("{HEAD}{rest}"))
}

#[track_caller]
fn refused(rest: &str, expected: &[&str]) {
    let error = parse(rest).unwrap_err().to_string();
    assert_eq!(error.lines().collect::<Vec<_>>(), expected, "{rest}");
}

#[test]
fn omitted_fields_have_defaults() {
    for rest in ["", "spec: {}", "spec: {window: {}, processor: {autoscaling: {}}, topics: {events: {}}}"] {
        assert_eq!(parse(rest).unwrap(), Pipeline::demo(), "{rest}");
    }
    let spec = Pipeline::demo().spec;
    let window = &spec.window;
    let spans = [
        window.size,
        window.slide,
        window.out_of_orderness,
        window.idle_timeout,
        window.session_gap,
        window.max_future,
        window.duplicate_slack,
    ];
    assert_eq!(spans.map(|d| d.to_string()), ["5m", "10s", "30s", "30s", "30m", "5m", "1m"]);
    let events = &spec.topics.events;
    assert_eq!((events.partitions, events.replicas, events.retention.to_string()), (6, 1, "2h".to_owned()));
    assert_eq!(spec.topics.results.retention, "24h".parse::<Duration>().unwrap());
    assert_eq!((spec.ranking.top, spec.ranking.warm_up, spec.limits.pages), (10, 2, 100_000));
}

/// Every field of the document, with values other than the defaults.
const EVERYTHING: &str = "
spec:
  state: Suspended
  deletionPolicy: Delete
  image: registry.example/weir:2
  imagePullSecrets: [{name: registry}]
  kafka:
    bootstrapServers: [kafka:9092, 'other:9092']
    tls: {caSecretRef: {name: ca, key: ca.crt}, clientCertSecretRef: {name: client}}
    sasl: {mechanism: SCRAM-SHA-512, secretRef: {name: kafka-user}}
    schemaRegistry: {url: http://registry:8080/apis/ccompat/v7}
  topics:
    events: {name: e, partitions: 12, replicas: 3, retention: 3h, compression: zstd, management: External}
    results: {name: r, partitions: 4, replicas: 2, retention: 1h, compression: none}
    topPages: {name: t, replicas: 1, retention: 30m, compression: lz4}
  window: {size: 1m, slide: 5s, outOfOrderness: 0s, idleTimeout: 10s, sessionGap: 15m, maxFuture: 1m, duplicateSlack: 5m}
  limits: {pages: 5}
  processor:
    replicas: 3
    resources: {limits: {memory: 1Gi}}
    podTemplate: {spec: {nodeSelector: {a: b}}}
    autoscaling: {mode: LagDryRun, minReplicas: 2, maxReplicas: 4}
  generator: {enabled: false, eventsPerSecond: 0.5, users: 1, pages: 2, products: 3, seed: 7, profile: Constant, podTemplate: {spec: {nodeSelector: {a: b}}}}
  gateway:
    replicas: 2
    podTemplate: {metadata: {labels: {c: d}}}
    service: {type: LoadBalancer, annotations: {a: b}}
    ingress: {host: shop.example, className: nginx, tlsSecretName: shop-tls, annotations: {a: b}}
    httpRoute: {parentRefs: [{name: web, namespace: infra, sectionName: https}], hostnames: [shop.example], annotations: {a: b}}
  ranking: {top: 5, trendingHalfLife: 1h, warmUp: 1}
  pii: {userId: Hash, ipAddress: Truncate, userAgent: Family, hashKeySecretRef: {name: pii, key: key}}
  deadLetters: {payload: Keep}
";

#[test]
fn every_field_is_read_and_written() {
    let all = parse(EVERYTHING).unwrap();
    assert_eq!(all.spec.kafka.sasl.as_ref().unwrap().mechanism, SaslMechanism::ScramSha512);
    assert_eq!(all.spec.topics.results.compression, Compression::None);
    assert_eq!(all.spec.generator.profile, Profile::Constant);
    assert_eq!(all.spec.processor.pod_template.0["spec"]["nodeSelector"]["a"], "b");
    let written = all.to_yaml().unwrap();
    assert_eq!(Pipeline::from_yaml(&written).unwrap(), all, "{written}");
    // No value above is a default, so a field that is not read would show here.
    let (all, demo) =
        (serde_json::to_value(&all.spec).unwrap(), serde_json::to_value(Pipeline::demo().spec).unwrap());
    for (name, value) in all.as_object().unwrap() {
        for (field, value) in value.as_object().into_iter().flatten() {
            assert_ne!(Some(value), demo[name].get(field), "{name}.{field}");
        }
    }
    let demo = Pipeline::demo().to_yaml().unwrap();
    assert_eq!(Pipeline::from_yaml(&demo).unwrap(), Pipeline::demo(), "{demo}");
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_paths() {
    refused(
        "spec:
  colour: red
  window: {slide: 10 s, sise: 5m}
  topics: {events: {partitions: 0, compression: zip, name: a b}, results: {partitions: 1.5}}
  kafka: {bootstrapServers: [kafka], tls: {caSecretRef: {name: ca}}}
  generator: {eventsPerSecond: 0.01, enabled: 'yes', users: -1}
  processor:
",
        &[
            "spec.colour: unknown field, allowed here: deadLetters, deletionPolicy, gateway, generator, image, imagePullSecrets, kafka, limits, pii, processor, ranking, state, topics, window",
            "spec.generator.enabled: found `yes`, expected true or false",
            "spec.generator.eventsPerSecond: found 0.01, allowed: from 0.1 to 1000000",
            "spec.generator.users: found -1, allowed: from 1 to 10000000",
            "spec.kafka.bootstrapServers[0]: found `kafka`, expected host:port with a port from 1 to 65535, such as kafka:9092",
            "spec.kafka.tls.caSecretRef.key: missing, must be given",
            "spec.processor: found nothing (null), expected a group of fields (leave the whole entry out to have its defaults)",
            "spec.topics.events.compression: found `zip`, allowed: none, gzip, snappy, lz4, zstd",
            "spec.topics.events.name: found `a b`, expected a topic name that Kafka takes: 1 to 249 of a-z, A-Z, 0-9, ., _ and -, and neither . nor ..",
            "spec.topics.events.partitions: found 0, allowed: from 1 to 1000",
            "spec.topics.results.partitions: found 1.5, expected a whole number",
            "spec.window.sise: unknown field, allowed here: duplicateSlack, idleTimeout, maxFuture, outOfOrderness, sessionGap, size, slide",
            "spec.window.slide: found `10 s`, expected whole numbers with units d, h, m, s, ms in that order, such as 5m, 1h30m or 500ms, at most 36500d",
        ],
    );
}

#[test]
fn another_kind_of_document_gets_only_that_error() {
    for (text, expected) in [
        (
            "",
            "the pipeline document: found no fields, expected those of a ClickstreamPipeline (weir.dev/v1alpha1)",
        ),
        (
            "[]",
            "the pipeline document: found no fields, expected those of a ClickstreamPipeline (weir.dev/v1alpha1)",
        ),
        ("{x: 1}", "apiVersion: missing, expected weir.dev/v1alpha1"),
        ("{apiVersion: v1, kind: Pod}", "apiVersion: found `v1`, expected weir.dev/v1alpha1"),
        (
            "{apiVersion: weir.dev/v1alpha1, kind: Pod, x: 1}",
            "kind: found `Pod`, expected ClickstreamPipeline",
        ),
    ] {
        assert_eq!(Pipeline::from_yaml(text).unwrap_err().to_string(), expected, "{text}");
    }
    let nameless = "{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {}}";
    assert_eq!(
        Pipeline::from_yaml(nameless).unwrap_err().to_string(),
        "metadata.name: missing, must be given"
    );
}

#[test]
fn broken_yaml_is_reported_with_its_line() {
    for text in ["a: [1,", "a: 1\na: 2", "a: 1\n---\nb: 2", "a: *nowhere", "a: @x", "a: 1\n  b: 2"] {
        let error = Pipeline::from_yaml(text).unwrap_err();
        assert!(matches!(error, SpecError::Yaml(_)), "{error}");
        assert!(error.to_string().contains("line") && !error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn yaml_1_1_booleans_are_strings() {
    let on = parse("spec: {topics: {events: {name: on}, results: {name: yes}}}").unwrap();
    assert_eq!((on.events_topic(), on.results_topic()), ("on", "yes"));
    refused(
        "spec: {generator: {enabled: on}}",
        &["spec.generator.enabled: found `on`, expected true or false"],
    );
}

#[test]
fn a_changed_document_is_validated_again() {
    let mut pipeline = Pipeline::demo();
    pipeline.spec.generator.events_per_second = f64::NAN;
    pipeline.spec.topics.events.partitions = 2_000;
    let error = pipeline.validate().unwrap_err();
    let paths: Vec<_> = error.problems().iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["spec.generator.eventsPerSecond", "spec.topics.events.partitions"]);
    assert_eq!(Pipeline::demo().validate(), Ok(()));
}

/// Names that a shell, a path or Kafka might take for something else, numbers at and beyond the edges of their types.
#[test]
fn hostile_values_are_refused_by_path() {
    let duration = "expected whole numbers with units d, h, m, s, ms in that order, such as 5m, 1h30m or 500ms, at most 36500d";
    let topic =
        "expected a topic name that Kafka takes: 1 to 249 of a-z, A-Z, 0-9, ., _ and -, and neither . nor ..";
    let name = "expected the name of an object in Kubernetes: labels of a-z, 0-9 and -, joined by dots";
    let (long, deep) = ("a".repeat(250), "../".repeat(40));
    for (spec, path, found, expected) in [
        ("window: {size: -5m}", "window.size", "`-5m`", duration),
        ("window: {slide: -0s}", "window.slide", "`-0s`", duration),
        ("window: {size: 0}", "window.size", "0", "expected a text"),
        ("window: {size: 9223372036854775808ms}", "window.size", "`9223372036854775808ms`", duration),
        (
            "window: {size: 10s, slide: 5m}",
            "window.size",
            "10s",
            "expected a multiple of window.slide (5m): windows are made of whole slides, such as 5m",
        ),
        ("processor: {replicas: -1}", "processor.replicas", "-1", "allowed: from 0 to 1000"),
        ("processor: {replicas: 2147483648}", "processor.replicas", "2147483648", "allowed: from 0 to 1000"),
        (
            "processor: {replicas: 18446744073709551616}",
            "processor.replicas",
            "1.8446744073709552e+19",
            "expected a whole number",
        ),
        ("processor: {replicas: 1e9}", "processor.replicas", "1000000000.0", "expected a whole number"),
        ("processor: {replicas: '2'}", "processor.replicas", "`2`", "expected a whole number"),
        ("topics: {events: {partitions: -1}}", "topics.events.partitions", "-1", "allowed: from 1 to 1000"),
        ("topics: {events: {name: ''}}", "topics.events.name", "``", topic),
        ("topics: {events: {name: .}}", "topics.events.name", "`.`", topic),
        ("topics: {events: {name: ..}}", "topics.events.name", "`..`", topic),
        ("topics: {events: {name: a/b}}", "topics.events.name", "`a/b`", topic),
        ("topics: {events: {name: \"a\\0b\"}}", "topics.events.name", "`a\\0b`", topic),
        ("topics: {events: {name: \"a\\u202eb\"}}", "topics.events.name", "`a\\u{202e}b`", topic),
        ("topics: {events: {name: é}}", "topics.events.name", "`é`", topic),
        (&format!("topics: {{events: {{name: {long}}}}}"), "topics.events.name", &format!("`{long}`"), topic),
        (
            "pii: {userId: Hash, hashKeySecretRef: {name: other/pii, key: k}}",
            "pii.hashKeySecretRef.name",
            "`other/pii`",
            name,
        ),
        (
            &format!("pii: {{hashKeySecretRef: {{name: '{deep}', key: k}}}}"),
            "pii.hashKeySecretRef.name",
            &format!("`{deep}`"),
            name,
        ),
        ("imagePullSecrets: [{name: -x}]", "imagePullSecrets[0].name", "`-x`", name),
    ] {
        refused(&format!("spec: {{{spec}}}"), &[&format!("spec.{path}: found {found}, {expected}")]);
    }
}

#[test]
fn no_number_is_not_a_number() {
    for number in [".nan", ".inf", "-.INF"] {
        let error =
            parse(&format!("spec: {{generator: {{eventsPerSecond: {number}}}}}")).unwrap_err().to_string();
        assert!(error.contains(&format!("`{number}` is not a finite number at line 4")), "{error}");
    }
}

/// A Secret is read by pods, and pods read those of their own namespace alone.
#[test]
fn no_secret_of_another_namespace_can_be_named() {
    for (spec, path, allowed) in [
        (
            "kafka: {tls: {clientCertSecretRef: {name: s, namespace: other}}}",
            "kafka.tls.clientCertSecretRef",
            "name",
        ),
        (
            "kafka: {tls: {caSecretRef: {name: s, key: k, namespace: other}}}",
            "kafka.tls.caSecretRef",
            "key, name",
        ),
        (
            "kafka: {sasl: {mechanism: PLAIN, secretRef: {name: s, namespace: other}}}",
            "kafka.sasl.secretRef",
            "name",
        ),
        ("pii: {hashKeySecretRef: {name: s, key: k, namespace: other}}", "pii.hashKeySecretRef", "key, name"),
        ("imagePullSecrets: [{name: s, namespace: other}]", "imagePullSecrets[0]", "name"),
    ] {
        refused(
            &format!("spec: {{{spec}}}"),
            &[&format!("spec.{path}.namespace: unknown field, allowed here: {allowed}")],
        );
    }
}

/// A few kilobytes that would be gigabytes, or a stack's depth, once they are read.
#[test]
fn documents_that_grow_are_refused() {
    let aliases: String =
        (1..9).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","))).collect();
    for (name, text, why) in [
        ("aliases of aliases", format!("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n{aliases}"), "limit"),
        ("an alias of itself", "a: &a [*a]".to_owned(), "line 1"),
        ("lists in lists", format!("spec: {}", "[".repeat(100_000)), "limit"),
        ("groups in groups", format!("spec: {}", "{a: ".repeat(100_000)), "limit"),
        (
            "groups by their indentation",
            (0..2_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
            "limit",
        ),
    ] {
        let error = Pipeline::from_yaml(&text).unwrap_err();
        assert!(matches!(error, SpecError::Yaml(_)), "{name}: {error}");
        let error = error.to_string();
        assert!(error.contains(why) && error.len() < 300, "{name}: {error}");
    }
}
