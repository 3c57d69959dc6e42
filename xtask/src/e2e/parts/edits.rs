//! Changes every field of the document under load, one after the other: the expected effect occurs, results stay right, settings that
//! decide results begin generations, and changes of fixed fields are refused. A field of the definition that is not listed here fails the part.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::super::environment::Images;
use super::super::fixture::{Fixture, NAMESPACE};
use super::super::pipeline::TestPipeline;

/// A short slide, so that gaps are visible.
const SLIDE: Duration = Duration::from_secs(2);

const EDITED: &str = "
apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {name: edited}
spec:
  kafka: {bootstrapServers: [kafka:9092]}
  topics:
    events: {name: edited-events, partitions: 6, replicas: 1}
    results: {name: edited-results, replicas: 1}
    topPages: {name: edited-top-pages}
  window: {size: 20s, slide: 2s, outOfOrderness: 5s, sessionGap: 1m}
  pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}
  processor:
    replicas: 2
    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 512Mi}}
  generator: {eventsPerSecond: 1000, profile: Constant}
";

/// Edits between two comparisons with the oracle.
const EDITS_PER_AUDIT: usize = 17;

const PROCESSOR: &[&str] = &["processor"];
const GENERATOR: &[&str] = &["generator"];
const GATEWAY: &[&str] = &["gateway"];
const READERS: &[&str] = &["processor", "gateway"];
const ALL: &[&str] = &["processor", "generator", "gateway"];

/// The expected effect of an edit.
enum Effect {
    /// All pods of these components are replaced and ready; those of other components stay.
    Rolled(&'static [&'static str]),
    /// The topics have the settings of the document.
    Topics,
    /// A field of an object: `KIND/NAME`, its path, its value.
    Field(&'static str, &'static str, String),
    /// A condition's type, status and reason.
    Condition(&'static str, &'static str, &'static str),
    /// It is reconciled, and no pod is replaced.
    NoRollout,
}

use Effect::{Condition, Field, NoRollout, Rolled, Topics};

fn field(object: &'static str, path: &'static str, value: &str) -> Effect {
    Field(object, path, value.to_owned())
}

/// Path below `spec`, its new value, the expected effect.
fn edits(image: &str, has_routes: bool) -> Vec<(&'static str, Value, Effect)> {
    let annotated = || json!({"metadata": {"annotations": {"example.com/edited": "yes"}}});
    let route = |name: &str| json!({"parentRefs": [{"name": name}], "hostnames": ["edited.example"]});
    let routed = if has_routes {
        field("httproute/edited-gateway", "{.spec.parentRefs[0].name}", "web")
    } else {
        Condition("ObjectsSynced", "False", "KindMissing")
    };
    let desired = |value: &str| field("csp/edited", "{.status.autoscaling.desiredReplicas}", value);
    vec![
        ("processor.replicas", json!(3), field("csp/edited", "{.status.processor.readyReplicas}", "3")),
        ("processor.replicas", json!(2), field("csp/edited", "{.status.processor.readyReplicas}", "2")),
        ("processor.resources", json!({"requests": {"cpu": "60m"}}), Rolled(PROCESSOR)),
        ("processor.podTemplate", annotated(), Rolled(PROCESSOR)),
        ("window.idleTimeout", json!("20s"), Rolled(READERS)),
        ("deadLetters.payload", json!("Keep"), Rolled(READERS)),
        // The same bytes under other names.
        ("pii.hashKeySecretRef.key", json!("other"), Rolled(READERS)),
        ("pii.hashKeySecretRef.name", json!("pii-copy"), Rolled(READERS)),
        ("topics.events.retention", json!("90m"), Topics),
        ("topics.events.compression", json!("zstd"), Topics),
        ("topics.events.management", json!("External"), Topics),
        ("topics.events.management", json!("Managed"), Topics),
        ("topics.results.retention", json!("12h"), Topics),
        ("topics.results.compression", json!("lz4"), Topics),
        ("topics.topPages.retention", json!("6h"), Topics),
        ("topics.topPages.compression", json!("none"), Topics),
        ("generator.eventsPerSecond", json!(1200), Rolled(GENERATOR)),
        ("generator.users", json!(2000), Rolled(GENERATOR)),
        ("generator.pages", json!(120), Rolled(GENERATOR)),
        ("generator.products", json!(600), Rolled(GENERATOR)),
        ("generator.seed", json!(43), Rolled(GENERATOR)),
        ("generator.podTemplate", annotated(), Rolled(GENERATOR)),
        ("generator.profile", json!("Diurnal"), Rolled(GENERATOR)),
        ("generator.profile", json!("Constant"), Rolled(GENERATOR)),
        ("generator.enabled", json!(false), Condition("GeneratorAvailable", "True", "Disabled")),
        (
            "generator.enabled",
            json!(true),
            field("deployment/edited-generator", "{.status.readyReplicas}", "1"),
        ),
        ("gateway.replicas", json!(2), field("deployment/edited-gateway", "{.status.readyReplicas}", "2")),
        ("gateway.podTemplate", annotated(), Rolled(GATEWAY)),
        (
            "gateway.service.type",
            json!("NodePort"),
            field("service/edited-gateway", "{.spec.type}", "NodePort"),
        ),
        (
            "gateway.service.annotations",
            json!({"example.com/pool": "internal"}),
            field("service/edited-gateway", "{.metadata.annotations.example\\.com/pool}", "internal"),
        ),
        (
            "gateway.ingress",
            json!({"host": "edited.example"}),
            field("ingress/edited-gateway", "{.spec.rules[0].host}", "edited.example"),
        ),
        (
            "gateway.ingress.host",
            json!("other.example"),
            field("ingress/edited-gateway", "{.spec.rules[0].host}", "other.example"),
        ),
        (
            "gateway.ingress.className",
            json!("nginx"),
            field("ingress/edited-gateway", "{.spec.ingressClassName}", "nginx"),
        ),
        (
            "gateway.ingress.tlsSecretName",
            json!("edited-tls"),
            field("ingress/edited-gateway", "{.spec.tls[0].secretName}", "edited-tls"),
        ),
        (
            "gateway.ingress.annotations",
            json!({"example.com/rate": "10"}),
            field("ingress/edited-gateway", "{.metadata.annotations.example\\.com/rate}", "10"),
        ),
        ("gateway.httpRoute", route("web"), routed),
        ("gateway.httpRoute", Value::Null, Condition("ObjectsSynced", "True", "")),
        ("processor.autoscaling.mode", json!("LagDryRun"), desired("2")),
        ("processor.autoscaling.minReplicas", json!(4), desired("4")),
        ("processor.autoscaling.maxReplicas", json!(5), NoRollout),
        ("processor.autoscaling.minReplicas", json!(1), NoRollout),
        ("processor.autoscaling.eventsPerProcessor", json!(100_000), NoRollout),
        ("processor.autoscaling.catchUp", json!("1m"), NoRollout),
        ("processor.autoscaling.scaleUpCooldown", json!("30s"), NoRollout),
        ("processor.autoscaling.scaleDownCooldown", json!("1m"), NoRollout),
        ("processor.autoscaling.mode", json!("Disabled"), field("csp/edited", "{.status.autoscaling}", "")),
        ("kafka.bootstrapServers", json!(["kafka:9092", "kafka-0.kafka-nodes:9092"]), Rolled(ALL)),
        ("image", json!(image), Rolled(ALL)),
        ("imagePullSecrets", json!([{"name": "registry"}]), Rolled(ALL)),
        (
            "deletionPolicy",
            json!("Delete"),
            field("csp/edited", "{.metadata.finalizers[*]}", "weir.dev/topics"),
        ),
        ("deletionPolicy", json!("Retain"), field("csp/edited", "{.metadata.finalizers[*]}", "")),
        ("state", json!("Suspended"), Condition("ProcessorAvailable", "False", "Suspended")),
        ("state", json!("Running"), field("csp/edited", "{.status.processor.readyReplicas}", "2")),
    ]
}

/// Path below `spec`, and another value, with which the next generation begins. Those of `pii` are last: the oracle knows one set of them.
fn decisive() -> Vec<(&'static str, Value)> {
    vec![
        ("window.size", json!("40s")),
        ("window.slide", json!("4s")),
        ("window.outOfOrderness", json!("6s")),
        ("window.sessionGap", json!("2m")),
        ("window.maxFuture", json!("1m")),
        ("window.duplicateSlack", json!("2m")),
        ("limits.pages", json!(5)),
        ("ranking.top", json!(5)),
        ("ranking.trendingHalfLife", json!("1h")),
        ("ranking.warmUp", json!(3)),
        ("pii.userId", json!("Keep")),
        ("pii.ipAddress", json!("Drop")),
        ("pii.userAgent", json!("Drop")),
    ]
}

/// Path below `spec`, and another value that is refused.
fn fixed() -> Vec<(&'static str, Value)> {
    vec![
        ("topics.events.name", json!("other")),
        ("topics.events.partitions", json!(12)),
        ("topics.events.replicas", json!(3)),
        ("topics.results.name", json!("other")),
        ("topics.results.partitions", json!(6)),
        ("topics.results.replicas", json!(3)),
        ("topics.topPages.name", json!("other")),
        ("topics.topPages.replicas", json!(3)),
        ("kafka.tls", json!({})),
        ("kafka.sasl", json!({"mechanism": "PLAIN", "secretRef": {"name": "user"}})),
        ("kafka.schemaRegistry", json!({"url": "http://registry"})),
    ]
}

pub(super) fn run(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let has_routes = fixture.tools.kubectl("get crd httproutes.gateway.networking.k8s.io").is_ok();
    let image = fixture.images.name("weir", Images::TAGS[1]);
    let edits = edits(&image, has_routes);
    fixture.journal.step("every field of the definition is here", || complete(fixture, &edits))?;
    let pipeline = TestPipeline::new(fixture, "edited", EDITED, SLIDE);
    pipeline.scenario("a pipeline with 1,000 events/s, until Ready", 3, || {
        for secret in ["pii", "pii-copy"] {
            let create = ["--namespace", NAMESPACE, "create", "secret", "generic", secret];
            let value = "0123456789abcdef0123456789abcdef";
            let entries = ["key", "other"].map(|entry| format!("--from-literal={entry}={value}"));
            fixture.tools.kubectl_with(&[&create[..], &entries.each_ref().map(String::as_str)].concat())?;
        }
        pipeline.create()
    })?;
    fixture.journal.step("every fixed field is refused", || {
        fixed().iter().try_for_each(|(path, value)| match pipeline.patch(&patch(path, value)) {
            Ok(()) => bail!("spec.{path} was changed to {value}"),
            Err(error) => {
                let refused = error.to_string();
                let is_expected =
                    refused.contains(" is fixed: ") || refused.contains(" is not supported by this version");
                ensure!(
                    is_expected && refused.contains(path.rsplit('.').next().unwrap_or_default()),
                    "spec.{path}: {error}"
                );
                Ok(())
            }
        })
    })?;
    let mut failed = Vec::new();
    for (at, (path, value, effect)) in edits.iter().enumerate() {
        // Without visitors or processors no windows are sealed.
        let stopped = matches!((*path, value), ("generator.enabled", Value::Bool(false)))
            || *path == "state" && value == "Suspended";
        let what = format!("{path}: {}", shortened(value));
        let edit = || edit(fixture, &pipeline, path, value, effect);
        let done = if stopped {
            fixture
                .journal
                .timed(&what, edit)
                .map(|((), took)| fixture.journal.scenario(&what, took, None, None))
        } else {
            pipeline.scenario_without_audit(&what, 2, edit)
        };
        // A failure does not stop the other edits.
        if let Err(error) = done {
            ensure!(!fixture.tools.out_of_time(), "{what}: {error:#}");
            fixture.journal.note(&format!("{error:#}"));
            failed.push(format!("{what}: {error:#}"));
        }
        if at % EDITS_PER_AUDIT == EDITS_PER_AUDIT - 1 || at + 1 == edits.len() {
            pipeline.audit(false)?;
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    for (number, (path, value)) in (2..).zip(decisive()) {
        if path == "pii.userId" {
            let compared = || pipeline.with_current_document()?.compare(false, &[]);
            fixture.journal.step("compare all generations with the oracle", compared)?;
        }
        let what = format!("{path}: {}, which begins generation {number}", shortened(&value));
        pipeline.scenario_without_audit(&what, 2, || begin(fixture, &pipeline, path, &value, number))?;
    }
    fixture.journal.step("delete it", || pipeline.delete())
}

/// Changes one field, and waits for the expected effect.
fn edit(
    fixture: &Fixture<'_>,
    pipeline: &TestPipeline<'_>,
    path: &str,
    value: &Value,
    effect: &Effect,
) -> anyhow::Result<()> {
    let before = ALL.iter().map(|component| pipeline.pods(component)).collect::<anyhow::Result<Vec<_>>>()?;
    pipeline.patch(&patch(path, value))?;
    let same = |component: &str, before: &BTreeSet<String>| -> anyhow::Result<()> {
        ensure!(pipeline.pods(component)? == *before, "spec.{path} replaced pods of the {component}");
        Ok(())
    };
    match effect {
        Rolled(components) => {
            for (component, before) in ALL.iter().zip(&before) {
                if components.contains(component) {
                    fixture.tools.await_that(&format!("every pod of the {component} is replaced"), || {
                        let after = pipeline.pods(component)?;
                        Ok(after.len() == before.len() && after.is_disjoint(before))
                    })?;
                }
            }
            pipeline.ready()?;
            let others = ALL.iter().zip(&before).filter(|(component, _)| !components.contains(component));
            others.into_iter().try_for_each(|(component, before)| same(component, before))
        }
        Topics => {
            pipeline.condition("TopicsSynced", "True", "")?;
            pipeline.topics_in_sync()?;
            pipeline.ready()
        }
        Field(object, path, value) => {
            fixture.tools.await_that(&format!("{path} of {object} is {value:?}"), || {
                Ok(fixture.get(&format!("{object} --output jsonpath={path}"))? == *value)
            })?;
            pipeline.ready()
        }
        Condition(kind, status, reason) => pipeline.condition(kind, status, reason),
        NoRollout => {
            pipeline.ready()?;
            ALL.iter().zip(&before).try_for_each(|(component, before)| same(component, before))
        }
    }
}

/// Changes a field that decides results, and waits until a generation with it has taken over.
fn begin(
    fixture: &Fixture<'_>,
    pipeline: &TestPipeline<'_>,
    path: &str,
    value: &Value,
    number: u32,
) -> anyhow::Result<()> {
    pipeline.patch(&patch(path, value))?;
    fixture.tools.await_that(&format!("generation {number} is in the status"), || {
        Ok(fixture.get("csp/edited --output jsonpath={.status.generation.number}")? == number.to_string())
    })?;
    pipeline.condition("Generation", "True", "TakenOver")?;
    pipeline.ready()
}

/// The merge patch that sets a field of the spec.
fn patch(path: &str, value: &Value) -> String {
    let set = path.rsplit('.').fold(value.clone(), |value, name| json!({ name: value }));
    json!({ "spec": set }).to_string()
}

fn shortened(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => "set".to_owned(),
        Value::Null => "removed".to_owned(),
        other => other.to_string(),
    }
}

/// Checks that each field of the definition is edited, begins a generation, or is known to be fixed, and that every listed field exists.
fn complete(fixture: &Fixture<'_>, edits: &[(&'static str, Value, Effect)]) -> anyhow::Result<()> {
    let definition: Value =
        serde_json::from_str(&fixture.tools.kubectl("get crd clickstreampipelines.weir.dev --output json")?)?;
    let spec = definition
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .context("the definition has no spec")?;
    let mut fields = Vec::new();
    leaves(spec, "", &mut fields);
    let others = [fixed(), decisive()].concat();
    let listed: Vec<&str> =
        edits.iter().map(|(path, ..)| *path).chain(others.iter().map(|(path, _)| *path)).collect();
    let within = |field: &str, path: &str| field == path || field.starts_with(&format!("{path}."));
    let unlisted: Vec<&String> =
        fields.iter().filter(|field| !listed.iter().any(|path| within(field, path))).collect();
    ensure!(
        unlisted.is_empty(),
        "add the expected effect of a change to xtask/src/e2e/parts/edits.rs for: {unlisted:?}"
    );
    let unknown: Vec<&&str> =
        listed.iter().filter(|path| !fields.iter().any(|field| within(field, path))).collect();
    ensure!(unknown.is_empty(), "the definition has no field {unknown:?}");
    Ok(())
}

/// The paths of all fields without fields of their own.
fn leaves(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema["properties"].as_object() {
        None => found.push(path.to_owned()),
        Some(properties) => properties.iter().for_each(|(name, field)| {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(field, &below, found);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_fields_without_fields_of_their_own() {
        let window = json!({"properties": {"size": {"type": "string"}, "slide": {"type": "string"}}});
        let schema = json!({"properties": {"image": {"type": "string"}, "window": window}});
        let mut found = Vec::new();
        leaves(&schema, "", &mut found);
        assert_eq!(found, ["image", "window.size", "window.slide"]);
    }

    #[test]
    fn a_patch_sets_one_field() {
        assert_eq!(patch("window.size", &json!("1m")), r#"{"spec":{"window":{"size":"1m"}}}"#);
        assert_eq!(patch("state", &Value::Null), r#"{"spec":{"state":null}}"#);
    }
}
