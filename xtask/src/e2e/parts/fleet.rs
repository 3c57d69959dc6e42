//! Many pipelines at once: the time until all are ready, the operator's resources, and that it writes nothing once they are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::super::fixture::{Fixture, NAMESPACE};
use super::super::usage::Usage;

const PIPELINES: usize = 50;

/// Maximum time until all pods are started.
const START_TIMEOUT: Duration = Duration::from_secs(900);

/// Processors alone: the operator is tested, and 150 pods would need more than many clusters have.
fn manifest(name: &str) -> String {
    format!(
        "---
apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {{name: {name}}}
spec:
  kafka: {{bootstrapServers: [kafka:9092]}}
  topics:
    events: {{name: {name}-events, partitions: 1, replicas: 1}}
    results: {{name: {name}-results, partitions: 1, replicas: 1}}
    topPages: {{name: {name}-top-pages}}
  window: {{size: 1m, slide: 10s, outOfOrderness: 5s, sessionGap: 1m}}
  processor: {{replicas: 1, resources: {{requests: {{cpu: 1m, memory: 16Mi}}, limits: {{memory: 256Mi}}}}}}
  generator: {{enabled: false}}
  gateway: {{replicas: 0}}
"
    )
}

pub(super) fn run(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let names: Vec<String> = (1..=PIPELINES).map(|number| format!("fleet-{number:02}")).collect();
    let operator = fixture.operator()?;
    let measure = || Usage::measure(&fixture.tools, NAMESPACE, &operator, "operator");
    let before = measure()?;
    let (mut memory, mut reported) = (0.0_f64, Instant::now());
    let what = format!("{PIPELINES} pipelines at once, until all are Ready");
    let (_, took) = fixture.journal.timed(&what, || {
        let all: String = names.iter().map(|name| manifest(name)).collect();
        fixture.tools.apply(NAMESPACE, &all)?;
        let ready = "{.items[*].status.conditions[?(@.type==\"Ready\")].status}";
        fixture.tools.await_within("all are Ready", START_TIMEOUT, || {
            memory = memory.max(measure().map_or(0.0, |usage| usage.memory));
            let output = format!("jsonpath={ready}");
            let states =
                fixture.tools.kubectl_with(&["--namespace", NAMESPACE, "get", "csp", "--output", &output])?;
            let ready = states.split_whitespace().filter(|state| *state == "True").count();
            if reported.elapsed() >= Duration::from_secs(30) {
                reported = Instant::now();
                fixture.journal.note(&format!("{ready} are Ready"));
            }
            Ok(ready == PIPELINES)
        })
    })?;
    let used = || {
        let mut used = None;
        fixture.tools.await_that("the kubelet measures again", || {
            used = measure()?.since(&before);
            Ok(used.is_some())
        })?;
        used.context("the kubelet measures no usage")
    };
    let millicores = used()?.millicores;
    fixture.journal.note(&format!(
        "the operator meanwhile: at most {:.1} MB, {millicores:.1} thousandths of a core",
        memory / 1e6
    ));
    fixture.journal.scenario(what, took, None, None);

    let (quiet, took) = fixture.journal.timed("a quiet minute: nothing is written", || {
        let versions = versions(fixture)?;
        let used = Usage::over_a_minute(&fixture.tools, NAMESPACE, &operator, "operator")?;
        let after = self::versions(fixture)?;
        let written: Vec<&String> = after
            .iter()
            .filter(|(name, version)| versions.get(*name) != Some(version))
            .map(|(name, _)| name)
            .collect();
        ensure!(written.is_empty(), "{} objects were written: {written:?}", written.len());
        Ok(format!("{used}; {} objects, 0 writes", after.len()))
    })?;
    fixture.journal.note(&quiet);
    fixture.journal.scenario("a quiet minute of the operator", took, None, None);

    let what = "delete all, until their pods are gone";
    let (_, took) = fixture.journal.timed(what, || {
        fixture.tools.kubectl(&format!("--namespace {NAMESPACE} delete csp --all --timeout=300s"))?;
        fixture.tools.await_that("their pods are gone", || {
            Ok(fixture.each("pods --selector app.kubernetes.io/name=weir", "metadata.name")?.is_empty())
        })
    })?;
    fixture.journal.scenario(what, took, None, None);
    Ok(())
}

/// The versions of all pipelines and of all that they own, by kind and name.
fn versions(fixture: &Fixture<'_>) -> anyhow::Result<BTreeMap<String, String>> {
    let kinds = "csp,statefulsets,deployments,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets";
    let path = "{range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let output = format!("jsonpath={path}");
    let listed =
        fixture.tools.kubectl_with(&["--namespace", NAMESPACE, "get", kinds, "--output", &output])?;
    let pairs = listed.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect())
}
