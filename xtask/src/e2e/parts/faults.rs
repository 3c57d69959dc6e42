//! Faults on a cluster: they are reported, lose no data, and are recovered from.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::super::environment::Images;
use super::super::fixture::{Fixture, NAMESPACE, ONE_BROKER, OTHER_NAMESPACE, PIPELINES_NAMESPACE};
use super::super::pipeline::TestPipeline;

/// A short slide, so that gaps are visible.
const SLIDE: Duration = Duration::from_secs(2);

/// Maximum time of the deletion of a pipeline or of its namespace.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// How long nothing may change by itself: longer than the operator's resync interval.
const QUIET_TIME: Duration = Duration::from_secs(75);

fn manifest(name: &str, more: &str) -> String {
    format!(
        "
apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {{name: {name}}}
spec:
  kafka: {{bootstrapServers: [\"kafka.{NAMESPACE}:9092\"]}}
  topics:
    events: {{name: {name}-events, partitions: 6, replicas: 1}}
    results: {{name: {name}-results, replicas: 1}}
    topPages: {{name: {name}-top-pages}}
  window: {{size: 20s, slide: 2s, outOfOrderness: 5s, sessionGap: 1m}}
  processor:
    replicas: 2
    resources: {{requests: {{cpu: 50m, memory: 64Mi}}, limits: {{memory: 512Mi}}}}
  generator: {{eventsPerSecond: 300, profile: Constant}}
{more}"
    )
}

const DELETE: &str = "  deletionPolicy: Delete\n";

pub(super) fn run(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let classes = fixture.tools.kubectl("get storageclass --output yaml")?;
    let persistent = classes.contains("storageclass.kubernetes.io/is-default-class: \"true\"");
    fixture.install(if persistent { "--set kafka.mode=single" } else { ONE_BROKER })?;
    let pipeline = TestPipeline::new(fixture, "faulty", &manifest("faulty", DELETE), SLIDE);
    pipeline.scenario("a pipeline with 300 events/s, until Ready", 3, || pipeline.create())?;
    overlapping(fixture, &pipeline)?;
    lost_topics(fixture, &pipeline)?;
    secret_gone(fixture)?;
    let drained = if persistent {
        pipeline.scenario("every node drained while Kafka is away", 3, || drain(fixture, &pipeline))
    } else {
        fixture.journal.note("no default StorageClass: Kafka would lose its topics, so no drain without it");
        Ok(())
    };
    // Also if the pipeline did not recover.
    namespace_deleted(fixture, &pipeline)?;
    drained
}

/// Nodes can be drained one after the other although no pod becomes ready.
fn drain(fixture: &Fixture<'_>, pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let brokers = |replicas: u32| {
        fixture
            .tools
            .kubectl(&format!("--namespace {NAMESPACE} scale statefulset kafka --replicas={replicas}"))
    };
    brokers(0)?;
    pipeline.condition("KafkaReachable", "False", "KafkaUnreachable")?;
    let nodes = fixture.nodes(&pipeline.selector(""))?;
    for node in &nodes {
        let begun = Instant::now();
        // Pods of others are not evicted.
        let ours = "app.kubernetes.io/name in (weir,weir-operator)";
        let how = ["--pod-selector", ours, "--delete-emptydir-data", "--timeout=180s"];
        fixture.tools.kubectl_with(&[&["drain", node][..], &how].concat())?;
        fixture.journal.note(&format!("{node} drained: {:.1} s", begun.elapsed().as_secs_f64()));
        fixture.tools.kubectl(&format!("uncordon {node}"))?;
    }
    brokers(1)?;
    fixture
        .tools
        .kubectl(&format!("--namespace {NAMESPACE} rollout status statefulset/kafka --timeout=180s"))?;
    pipeline.ready()
}

/// A second operator, whose scope includes the pipeline, stands back and reports it; each goes on with its own pipelines.
fn overlapping(fixture: &Fixture<'_>, pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let generations = || fixture.each("statefulset,deployment,service,configmap", "metadata.resourceVersion");
    pipeline.scenario("another operator for all namespaces: it stands back", 3, || {
        fixture.namespace(OTHER_NAMESPACE)?;
        let values = "--set scope=cluster --set crds.install=false --set aggregateRoles=false";
        fixture.helm(OTHER_NAMESPACE, "install", Images::TAGS[0], Images::TAGS[0], values)?;
        pipeline.condition("SoleOperator", "False", "AnotherOperator")?;
        let warnings = fixture.get("events --field-selector reason=StandsBack,type=Warning --output name")?;
        ensure!(!warnings.is_empty(), "no Warning event for the operator that stands back");
        let before = generations()?;
        wait_quietly(fixture)?;
        ensure!(before == generations()?, "objects were written although one operator stands back");
        pipeline.ready()
    })?;
    fixture.journal.step("pipelines in a third namespace, of the second operator", || {
        fixture.namespace(PIPELINES_NAMESPACE)?;
        for (name, more) in [("theirs", DELETE), ("theirs-kept", "")] {
            fixture.tools.apply(PIPELINES_NAMESPACE, &manifest(name, more))?;
        }
        let ready = "wait csp/theirs csp/theirs-kept --for=condition=Ready --timeout=180s";
        fixture.tools.kubectl(&format!("--namespace {PIPELINES_NAMESPACE} {ready}")).map(drop)
    })?;
    let what = "delete a namespace with pipelines of either policy, whose operator is elsewhere";
    let (_, took) = fixture.journal.timed(what, || {
        let timeout = DELETION_TIMEOUT.as_secs();
        fixture.tools.kubectl(&format!("delete namespace {PIPELINES_NAMESPACE} --timeout={timeout}s"))?;
        let left = topics(fixture)?;
        let (theirs, kept) = (left.contains("theirs-events"), left.contains("theirs-kept-events"));
        ensure!(!theirs, "deletionPolicy Delete left topics");
        ensure!(kept, "deletionPolicy Retain deleted topics");
        Ok(())
    })?;
    fixture.journal.scenario(what, took, None, None);
    pipeline.scenario("helm uninstall of the second operator", 3, || {
        fixture.tools.helm(&format!("uninstall weir --namespace {OTHER_NAMESPACE} --wait"))?;
        fixture.tools.kubectl(&format!("delete namespace {OTHER_NAMESPACE} --timeout=120s"))?;
        ensure!(
            pipeline.object("{.metadata.finalizers[*]}")? == "weir.dev/topics",
            "the second operator removed the first one's finalizer"
        );
        pipeline.ready()
    })
}

/// Lost topics are reported and not recreated until the user requests it.
fn lost_topics(fixture: &Fixture<'_>, pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let lost = ["faulty-events", "faulty-top-pages"];
    let (_, took) = fixture.journal.timed("topics deleted: reported, and not recreated", || {
        for topic in lost {
            topic_command(fixture, &["--delete", "--topic", topic])?;
        }
        pipeline.condition("TopicsSynced", "False", "TopicLost")?;
        let warnings = fixture.get("events --field-selector reason=TopicLost,type=Warning --output name")?;
        ensure!(!warnings.is_empty(), "no Warning event for lost topics");
        let pods = pipeline.pods("processor")?;
        wait_quietly(fixture)?;
        let there = topics(fixture)?;
        let recreated: Vec<_> =
            lost.iter().filter(|topic| there.lines().any(|line| line == **topic)).collect();
        ensure!(recreated.is_empty(), "{recreated:?} were recreated without a request");
        ensure!(pipeline.pods("processor")? == pods, "processors were replaced");
        pipeline.condition("TopicsSynced", "False", "TopicLost")
    })?;
    fixture.journal.scenario("topics deleted: reported, and not recreated", took, None, None);
    // Counting starts over: without the rankings the results are dropped too, so that everything left can be compared.
    pipeline.scenario("weir.dev/recreate-topics, until Ready", 3, || {
        let annotate =
            format!("--namespace {NAMESPACE} annotate csp {} weir.dev/recreate-topics=true", pipeline.name);
        fixture.tools.kubectl(&annotate)?;
        fixture.tools.await_that("the operator removes the annotation", || {
            Ok(pipeline.object("{.metadata.annotations.weir\\.dev/recreate-topics}")?.is_empty())
        })?;
        pipeline.ready()
    })
}

/// Deleting a pipeline needs Kafka, but not its Secret.
fn secret_gone(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let more = "  deletionPolicy: Delete\n  pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}\n";
    let hidden = TestPipeline::new(fixture, "hidden", &manifest("hidden", more), SLIDE);
    hidden.scenario("a pipeline with pseudonyms, until Ready", 3, || {
        let secret = "create secret generic pii --from-literal=key=0123456789abcdef0123456789abcdef";
        fixture.tools.kubectl(&format!("--namespace {NAMESPACE} {secret}"))?;
        hidden.create()
    })?;
    let what = "its key deleted, then itself, until it and its topics are gone";
    let (_, took) = fixture.journal.timed(what, || {
        fixture.tools.kubectl(&format!("--namespace {NAMESPACE} delete secret pii"))?;
        fixture.tools.kubectl(&format!(
            "--namespace {NAMESPACE} delete csp hidden --timeout={}s",
            DELETION_TIMEOUT.as_secs()
        ))?;
        ensure!(!topics(fixture)?.contains("hidden"), "topics of hidden are left");
        Ok(())
    })?;
    fixture.journal.scenario(what, took, None, None);
    Ok(())
}

/// The whole namespace is deleted, with operator, Kafka, and pipelines of either policy.
fn namespace_deleted(fixture: &Fixture<'_>, pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let kept = TestPipeline::new(fixture, "kept", &manifest("kept", ""), SLIDE);
    fixture.journal.step("another pipeline, with deletionPolicy Retain", || kept.create())?;
    ensure!(
        pipeline.object("{.metadata.finalizers[*]}")? == "weir.dev/topics",
        "a pipeline with deletionPolicy Delete has no finalizer"
    );
    let what = "kubectl delete namespace, with operator and pipelines of either policy";
    let (_, took) = fixture.journal.timed(what, || {
        fixture
            .tools
            .kubectl(&format!("delete namespace {NAMESPACE} --timeout={}s", DELETION_TIMEOUT.as_secs()))
    })?;
    fixture.journal.scenario(what, took, None, None);
    Ok(())
}

/// The names of all topics.
fn topics(fixture: &Fixture<'_>) -> anyhow::Result<String> {
    topic_command(fixture, &["--list"]).context("topics are not listed")
}

/// Runs Kafka's own tool in the first broker's pod.
fn topic_command(fixture: &Fixture<'_>, arguments: &[&str]) -> anyhow::Result<String> {
    let exec =
        ["--namespace", NAMESPACE, "exec", "kafka-0", "--", "java", "-Xmx64m", "-cp", "/opt/kafka/libs/*"];
    let tool = ["org.apache.kafka.tools.TopicCommand", "--bootstrap-server", "localhost:9092"];
    fixture.tools.kubectl_with(&[&exec[..], &tool[..], arguments].concat())
}

/// Waits for the time in which nothing may change.
fn wait_quietly(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let begun = Instant::now();
    fixture.tools.await_that("time passes", || Ok(begun.elapsed() >= QUIET_TIME))
}
