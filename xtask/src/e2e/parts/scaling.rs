//! The number of processors follows load: by a HorizontalPodAutoscaler, and by the operator itself.

use std::time::Duration;

use anyhow::Context;

use super::super::fixture::{Fixture, NAMESPACE};
use super::super::pipeline::TestPipeline;

/// A short slide, so that gaps are visible.
const SLIDE: Duration = Duration::from_secs(2);

/// Maximum time of a scaling: autoscalers measure a few times a minute, and delay scaling down.
const SCALING_TIMEOUT: Duration = Duration::from_secs(420);

fn manifest(name: &str, autoscaling: &str) -> String {
    format!(
        "
apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {{name: {name}}}
spec:
  kafka: {{bootstrapServers: [kafka:9092]}}
  topics:
    events: {{name: {name}-events, partitions: 6, replicas: 1}}
    results: {{name: {name}-results, replicas: 1}}
    topPages: {{name: {name}-top-pages}}
  window: {{size: 20s, slide: 2s, outOfOrderness: 5s, sessionGap: 1m}}
  processor:
    replicas: 1
    resources: {{requests: {{cpu: 50m, memory: 64Mi}}, limits: {{memory: 512Mi}}}}
    autoscaling: {autoscaling}
  generator: {{eventsPerSecond: 100, profile: Constant}}
"
    )
}

/// A processor needs less at 100 events/s (18m with windows every 2 s), and more than twice as much at 15,000.
const AUTOSCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: by-cpu}
spec:
  scaleTargetRef: {apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, name: by-cpu}
  minReplicas: 1
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 40m}}}]
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 2, periodSeconds: 15}]}
    scaleDown: {stabilizationWindowSeconds: 30, policies: [{type: Pods, value: 2, periodSeconds: 15}]}
";

pub(super) fn run(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    by_lag(fixture)?;
    by_cpu(fixture)
}

/// `mode: Lag`, with a given capacity of a processor: 500 events a second.
fn by_lag(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let autoscaling = "{mode: Lag, minReplicas: 1, maxReplicas: 6, eventsPerProcessor: 500, catchUp: 30s, scaleUpCooldown: 10s, \
                       scaleDownCooldown: 1m}";
    let pipeline = TestPipeline::new(fixture, "by-lag", &manifest("by-lag", autoscaling), SLIDE);
    pipeline.scenario("mode Lag: 100 events/s, until Ready", 3, || pipeline.create())?;
    for (rate, processors) in [(1_300, 3), (100, 1)] {
        let what = format!("mode Lag: {rate} events/s, until {processors} processors are ready");
        pipeline.scenario(&what, 3, || {
            load(&pipeline, rate)?;
            pipeline.processors_within(processors, SCALING_TIMEOUT)
        })?;
    }
    fixture.journal.note(&pipeline.object("{.status.autoscaling}")?);
    fixture.journal.step("delete it", || pipeline.delete())
}

/// A HorizontalPodAutoscaler at the scale subresource.
fn by_cpu(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    fixture
        .tools
        .kubectl("get --raw /apis/metrics.k8s.io/v1beta1/nodes")
        .context("this cluster has no metrics.k8s.io (metrics-server), which an HPA by CPU needs")?;
    let pipeline = TestPipeline::new(fixture, "by-cpu", &manifest("by-cpu", "{mode: External}"), SLIDE);
    pipeline.scenario("HPA by CPU: 100 events/s, until Ready", 3, || {
        fixture.tools.apply(NAMESPACE, AUTOSCALER)?;
        pipeline.create()
    })?;
    for (rate, processors) in [(15_000, 3), (10, 1)] {
        let what = format!("HPA by CPU: {rate} events/s, until {processors} processors are ready");
        let done = pipeline.scenario(&what, 3, || {
            load(&pipeline, rate)?;
            pipeline.processors_within(processors, SCALING_TIMEOUT)
        });
        fixture.journal.note(&fixture.get("hpa by-cpu --no-headers")?);
        done?;
    }
    fixture.journal.step("delete it", || {
        fixture.tools.kubectl(&format!("--namespace {NAMESPACE} delete hpa by-cpu"))?;
        pipeline.delete()
    })
}

fn load(pipeline: &TestPipeline<'_>, events_per_second: u32) -> anyhow::Result<()> {
    pipeline.patch(&format!(r#"{{"spec": {{"generator": {{"eventsPerSecond": {events_per_second}}}}}}}"#))
}
