//! Applies every example pipeline as written, after the commands in its header.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::super::fixture::{Fixture, NAMESPACE, ONE_BROKER};
use super::super::pipeline::TestPipeline;

/// The examples' slide.
const SLIDE: Duration = Duration::from_secs(10);

/// Maximum time until pods are scheduled that have room.
const SCHEDULING_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn run(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let folder = crate::root().join("examples");
    let entries = fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.sort();
    let mut tried = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        let manifest = fs::read_to_string(file)?;
        if manifest.lines().any(|line| line == "kind: ClickstreamPipeline") {
            example(fixture, file, &manifest).with_context(|| file.display().to_string())?;
            tried += 1;
        }
    }
    ensure!(tried > 0, "there is no pipeline in {}", folder.display());
    Ok(())
}

fn example(fixture: &Fixture<'_>, file: &Path, manifest: &str) -> anyhow::Result<()> {
    let name = name(manifest)?;
    let shown = file.strip_prefix(crate::root()).unwrap_or(file).display();
    let brokers = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("bootstrapServers: "))
        .map(|servers| servers.split(',').count());
    fixture.install(match brokers {
        Some(3) => "--set kafka.mode=three --set kafka.storage.persistent=false",
        _ => ONE_BROKER,
    })?;
    let pipeline = TestPipeline::new(fixture, name, manifest, SLIDE);
    if brokers.is_none() {
        let what = format!("{shown} is for the command line: kubectl apply refuses it");
        fixture.journal.step(&what, || match pipeline.apply() {
            Ok(()) => bail!("it names no broker and was accepted"),
            Err(error) => {
                ensure!(
                    error.to_string().contains("must name a broker"),
                    "refused for another reason: {error}"
                );
                Ok(())
            }
        })?;
    } else {
        pipeline.scenario(&format!("{shown}, until Ready"), 1, || {
            // The commands of a header are indented.
            for command in manifest.lines().filter_map(|line| line.strip_prefix("#   ")) {
                if command.contains("kubectl create") {
                    let folder = weir_broker::target().join("e2e").join(name);
                    fs::create_dir_all(&folder)?;
                    fixture.tools.shell(NAMESPACE, &folder, command).with_context(|| command.to_owned())?;
                }
            }
            let file = file.display().to_string();
            fixture.tools.kubectl_with(&["--namespace", NAMESPACE, "apply", "--filename", &file])?;
            await_scheduled(fixture, &pipeline)?;
            pipeline.ready()
        })?;
    }
    fixture.journal.step("remove it", || fixture.clear())
}

/// Waits until the processors are scheduled; an error if the cluster is too small.
fn await_scheduled(fixture: &Fixture<'_>, pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let reason = "{.status.conditions[?(@.type==\"ProcessorAvailable\")].reason}";
    let begun = Instant::now();
    fixture.tools.await_that("its processors are scheduled", || {
        let reason = pipeline.object(reason)?;
        Ok(reason == "AllReady" || reason == "Unschedulable" && begun.elapsed() > SCHEDULING_TIMEOUT)
    })?;
    if pipeline.object(reason)? == "Unschedulable" {
        let message = pipeline.object("{.status.conditions[?(@.type==\"ProcessorAvailable\")].message}")?;
        bail!("the cluster is too small for it: {message}");
    }
    Ok(())
}

fn name(manifest: &str) -> anyhow::Result<&str> {
    let after = manifest.split_once("\nmetadata:\n  name: ").context("it has no name")?.1;
    Ok(after.lines().next().unwrap_or_default().trim())
}
