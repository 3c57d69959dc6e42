//! From an earlier release to this one and back, under load: each reads what the other wrote.

use std::time::Duration;

use anyhow::Context;

use super::super::environment::Images;
use super::super::fixture::{Fixture, NAMESPACE, ONE_BROKER};
use super::super::pipeline::TestPipeline;

/// A short slide, so that gaps are visible.
const SLIDE: Duration = Duration::from_secs(2);

const MANIFEST: &str = "
apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {name: rolled}
spec:
  kafka: {bootstrapServers: [kafka:9092]}
  topics:
    events: {name: rolled-events, partitions: 6, replicas: 1}
    results: {name: rolled-results, replicas: 1}
    topPages: {name: rolled-top-pages}
  window: {size: 20s, slide: 2s, outOfOrderness: 5s, sessionGap: 1m}
  processor:
    replicas: 2
    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 512Mi}}
  generator: {eventsPerSecond: 1000, profile: Constant}
";

pub(super) fn run(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let before =
        fixture.before.context("the part upgrade needs images of an earlier release: --before TAG")?;
    fixture.install_tag(before, ONE_BROKER)?;
    let pipeline = TestPipeline::new(fixture, "rolled", MANIFEST, SLIDE);
    let now = Images::TAGS[0];
    pipeline.scenario(&format!("1,000 events/s under {before}, until Ready"), 3, || pipeline.create())?;
    for (from, to) in [(before, now), (now, before), (before, now)] {
        pipeline.scenario(&format!("{from} to {to}: operator, processors, gateway, generator"), 3, || {
            pipeline.replaced(|| fixture.helm(NAMESPACE, "upgrade", to, to, "--reuse-values"))?;
            pipeline.ready()
        })?;
    }
    fixture.journal.step("delete it", || pipeline.delete())
}
