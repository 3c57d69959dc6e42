//! A pipeline on the cluster: operations on it, and the check of its results.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use super::fixture::{Fixture, NAMESPACE, number_before};
use super::tools::STEP_TIMEOUT;

/// A pipeline in the namespace of the installation.
pub(super) struct TestPipeline<'a> {
    fixture: &'a Fixture<'a>,
    pub(super) name: String,
    pub(super) manifest: String,
    /// Time between the ends of two windows, milliseconds.
    slide: u64,
    /// Scenarios whose gaps are not known yet.
    scenarios: RefCell<Vec<Scenario>>,
}

struct Scenario {
    what: String,
    took: Duration,
    /// From its beginning until windows were sealed after it.
    span: Span,
}

/// A time, in milliseconds since the epoch.
pub(super) type Span = (u128, u128);

/// The result of a comparison with the oracle.
pub(super) struct Comparison {
    /// The audit's output.
    pub(super) report: String,
    /// The longest time between two windows in each span.
    pub(super) longest_gaps: Vec<Option<Duration>>,
}

impl<'a> TestPipeline<'a> {
    pub(super) fn new(fixture: &'a Fixture<'a>, name: &str, manifest: &str, slide: Duration) -> Self {
        let slide = slide.as_millis() as u64;
        Self {
            fixture,
            name: name.to_owned(),
            manifest: manifest.to_owned(),
            slide,
            scenarios: RefCell::default(),
        }
    }

    pub(super) fn apply(&self) -> anyhow::Result<()> {
        self.fixture.tools.apply(NAMESPACE, &self.manifest).map(drop)
    }

    /// Applies it, and waits until it is ready.
    pub(super) fn create(&self) -> anyhow::Result<()> {
        self.apply()?;
        self.ready()
    }

    /// Waits until the pipeline is ready, for the current document.
    pub(super) fn ready(&self) -> anyhow::Result<()> {
        self.condition("Ready", "True", "")
    }

    /// Waits until a condition has this status for the current document; and this reason, unless that is empty.
    pub(super) fn condition(&self, kind: &str, status: &str, reason: &str) -> anyhow::Result<()> {
        let what = format!("{kind} is {status} {reason} for pipeline {}", self.name);
        self.fixture.tools.await_that(&what, || {
            let path = format!(
                "{{.metadata.generation}}/{{range .status.conditions[?(@.type==\"{kind}\")]}}{{.observedGeneration}}/{{.status}}/{{.reason}}"
            ) + "{end}";
            let found = self.object(&path)?;
            let found: Vec<&str> = found.split('/').collect();
            Ok(matches!(found[..], [generation, observed, is, why]
                if generation == observed && is == status && (reason.is_empty() || why == reason)))
        })
    }

    /// Fields of the resource.
    pub(super) fn object(&self, path: &str) -> anyhow::Result<String> {
        let name = &self.name;
        let output = format!("jsonpath={path}");
        self.fixture.tools.kubectl_with(&["--namespace", NAMESPACE, "get", "csp", name, "--output", &output])
    }

    /// Changes it by a merge patch.
    pub(super) fn patch(&self, patch: &str) -> anyhow::Result<()> {
        let patched =
            ["--namespace", NAMESPACE, "patch", "csp", &self.name, "--type=merge", "--patch", patch];
        self.fixture.tools.kubectl_with(&patched).map(drop)
    }

    /// Deletes it, until its pods are gone.
    pub(super) fn delete(&self) -> anyhow::Result<()> {
        self.fixture.tools.kubectl(&format!("--namespace {NAMESPACE} delete csp {}", self.name))?;
        self.fixture.tools.await_that("its pods are gone", || Ok(self.pods("")?.is_empty()))
    }

    pub(super) fn scale(&self, replicas: usize) -> anyhow::Result<()> {
        let name = &self.name;
        self.fixture
            .tools
            .kubectl(&format!("--namespace {NAMESPACE} scale csp {name} --replicas={replicas}"))?;
        self.processors(replicas)
    }

    /// Waits until as many processors are ready and no other is left.
    pub(super) fn processors(&self, wanted: usize) -> anyhow::Result<()> {
        self.processors_within(wanted, STEP_TIMEOUT)
    }

    /// As [`Self::processors`], where an autoscaler sets their number.
    pub(super) fn processors_within(&self, wanted: usize, timeout: Duration) -> anyhow::Result<()> {
        self.fixture.tools.await_within(&format!("{wanted} processors are ready"), timeout, || {
            let ready = self.object("{.status.processor.readyReplicas}")?;
            Ok(ready == wanted.to_string() && self.pods("processor")?.len() == wanted)
        })
    }

    /// Does `work`, and waits until every pod is replaced.
    pub(super) fn replaced(&self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let before = self.pods("")?;
        work()?;
        self.fixture.tools.await_that("every pod is a new one", || {
            let after = self.pods("")?;
            Ok(after.len() == before.len() && after.is_disjoint(&before))
        })
    }

    /// The pods of a component, or of all, by their uids.
    pub(super) fn pods(&self, component: &str) -> anyhow::Result<BTreeSet<String>> {
        self.fixture.each(&format!("pods --selector {}", self.selector(component)), "metadata.uid")
    }

    /// Labels of the pods of a component, or of all.
    pub(super) fn selector(&self, component: &str) -> String {
        let component = if component.is_empty() {
            String::new()
        } else {
            format!(",app.kubernetes.io/component={component}")
        };
        format!("app.kubernetes.io/instance={}{component}", self.name)
    }

    /// Does `work`, then waits for more windows. The gap between windows is known after the next comparison.
    pub(super) fn scenario_without_audit<T>(
        &self,
        what: &str,
        windows: u64,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let begun = now()?;
        let (done, took) = self.fixture.journal.timed(what, work)?;
        self.fixture.journal.step(&format!("{windows} more windows"), || self.more_windows(windows))?;
        self.scenarios.borrow_mut().push(Scenario { what: what.to_owned(), took, span: (begun, now()?) });
        Ok(done)
    }

    /// As [`Self::scenario_without_audit`], with a comparison with the oracle afterwards.
    pub(super) fn scenario<T>(
        &self,
        what: &str,
        windows: u64,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let done = self.scenario_without_audit(what, windows, work)?;
        self.audit(false)?;
        Ok(done)
    }

    /// Waits until the gateway has `more` further sealed windows.
    pub(super) fn more_windows(&self, more: u64) -> anyhow::Result<()> {
        let gateway = format!("/api/v1/namespaces/{NAMESPACE}/services/{}-gateway:http/proxy", self.name);
        let newest = || -> anyhow::Result<Option<u64>> {
            let answer = self.fixture.tools.kubectl(&format!("get --raw {gateway}/api/v1/health"))?;
            Ok(serde_json::from_str::<serde_json::Value>(&answer)?["window_end"].as_u64())
        };
        let first = Cell::new(None);
        self.fixture.tools.await_that("windows are sealed", || {
            let Some(newest) = newest()? else { return Ok(false) };
            let first = first.get().unwrap_or_else(|| {
                first.set(Some(newest));
                newest
            });
            Ok(newest >= first + more * self.slide)
        })
    }

    /// Compares its topics with the oracle; the digest of its results. `ended`: its log was processed to the end.
    pub(super) fn audit(&self, ended: bool) -> anyhow::Result<String> {
        let scenarios = self.scenarios.take();
        let spans: Vec<Span> = scenarios.iter().map(|scenario| scenario.span).collect();
        let compared = self.fixture.journal.step("compare with the oracle", || self.compare(ended, &spans));
        for (at, scenario) in scenarios.iter().enumerate() {
            let gap = compared.as_ref().ok().and_then(|compared| compared.longest_gaps[at]);
            self.fixture.journal.scenario(&scenario.what, scenario.took, gap, Some(compared.is_ok()));
        }
        let report = compared?.report;
        self.fixture.journal.note(&report);
        let digest = report.split_once("digest ").context("no digest")?.1;
        Ok(digest.lines().next().unwrap_or_default().to_owned())
    }

    /// As [`Self::audit`], without output. An error has the first differences.
    pub(super) fn compare(&self, ended: bool, spans: &[Span]) -> anyhow::Result<Comparison> {
        let during: Vec<String> = spans.iter().map(|(from, to)| format!("--during={from}-{to}")).collect();
        let arguments: Vec<&str> =
            ended.then_some("--ended").into_iter().chain(during.iter().map(String::as_str)).collect();
        let report = self.program("weir-audit", &arguments)?;
        let longest_gap = |(from, to): &Span| {
            let (before, _) = report.split_once(&format!(" ms apart from {from} to {to}"))?;
            Some(Duration::from_millis(before.rsplit(' ').next()?.parse().ok()?))
        };
        let longest_gaps = spans.iter().map(longest_gap).collect();
        let lines = report.lines().filter(|line| !line.contains(" ms apart from "));
        Ok(Comparison { report: lines.collect::<Vec<_>>().join("\n"), longest_gaps })
    }

    /// The number of windows in its topics, which must equal the oracle's.
    pub(super) fn windows(&self) -> anyhow::Result<u64> {
        number_before(&self.program("weir-audit", &[])?, " windows")
    }

    /// Runs one of our programs on this machine, for this pipeline.
    pub(super) fn program(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let folder = weir_broker::target().join("e2e");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.yaml", self.name));
        fs::write(&file, &self.manifest).with_context(|| format!("could not write {}", file.display()))?;
        let kafka = self.fixture.kafka()?;
        let mut command = Command::new(weir_broker::target().join("release").join(program));
        command.args(arguments).arg("--pipeline").arg(&file).args(["--brokers", &kafka.addresses]);
        self.fixture.tools.run(&mut command)
    }

    /// Checks that its topics match the current document.
    pub(super) fn topics_in_sync(&self) -> anyhow::Result<()> {
        let current = self.with_current_document()?;
        let output = current.program("weir", &["topics", "apply"])?;
        let differs: Vec<&str> = output.lines().filter(|line| !line.ends_with(" Unchanged")).collect();
        ensure!(differs.is_empty(), "these topics did not match the document:\n{}", differs.join("\n"));
        Ok(())
    }

    /// The same pipeline with the API server's document.
    pub(super) fn with_current_document(&self) -> anyhow::Result<Self> {
        let mut resource: serde_json::Value =
            serde_json::from_str(&self.fixture.get(&format!("csp {} --output json", self.name))?)?;
        let spec = resource["spec"].take();
        let manifest = serde_json::json!({
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "ClickstreamPipeline",
            "metadata": {"name": self.name},
            "spec": spec,
        });
        let slide = Duration::from_millis(self.slide);
        Ok(Self::new(self.fixture, &self.name, &manifest.to_string(), slide))
    }
}

/// Milliseconds since the epoch.
pub(super) fn now() -> anyhow::Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())
}
