//! What goes wrong on a cluster, and that it is said, loses nothing and comes to an end.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::super::fixture::{Fixture, NAMESPACE, ONE_BROKER, OTHER_NAMESPACE, PIPELINES_NAMESPACE};
use super::super::pipeline::TestPipeline;
use super::super::place::Images;

/// Windows come often, so that a gap shows.
const SLIDE: Duration = Duration::from_secs(2);

/// How long the end of a pipeline or of its namespace may take.
const END: Duration = Duration::from_secs(120);

/// How long nothing may happen by itself: longer than the operator's resync interval.
const STILL: Duration = Duration::from_secs(75);

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
    // Also where the pipeline did not come back.
    namespace_deleted(fixture, &pipeline)?;
    drained
}

/// Nodes can be drained, one after the other, although no pod gets ready.
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
        // Other people's pods are left in peace.
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

/// A second operator, whose scope has the pipeline too, stands back and says so; both do what is theirs.
fn overlapping(fixture: &Fixture<'_>, pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let generations = || fixture.each("statefulset,deployment,service,configmap", "metadata.resourceVersion");
    pipeline.scenario("another operator for all namespaces: it stands back", 3, || {
        fixture.namespace(OTHER_NAMESPACE)?;
        let values = "--set scope=cluster --set crds.install=false --set aggregateRoles=false";
        fixture.helm(OTHER_NAMESPACE, "install", Images::TAGS[0], Images::TAGS[0], values)?;
        pipeline.condition("SoleOperator", "False", "AnotherOperator")?;
        let told = fixture.get("events --field-selector reason=StandsBack,type=Warning --output name")?;
        ensure!(!told.is_empty(), "no Warning says that an operator stands back");
        let before = generations()?;
        still(fixture)?;
        ensure!(before == generations()?, "objects were written although two operators agree");
        pipeline.ready()
    })?;
    fixture.journal.step("pipelines in a third namespace, which the second operator keeps", || {
        fixture.namespace(PIPELINES_NAMESPACE)?;
        for (name, more) in [("theirs", DELETE), ("theirs-kept", "")] {
            fixture.tools.apply(PIPELINES_NAMESPACE, &manifest(name, more))?;
        }
        let ready = "wait csp/theirs csp/theirs-kept --for=condition=Ready --timeout=180s";
        fixture.tools.kubectl(&format!("--namespace {PIPELINES_NAMESPACE} {ready}")).map(drop)
    })?;
    let what = "delete a namespace with pipelines of either policy, whose operator is elsewhere";
    let (_, took) = fixture.journal.timed(what, || {
        let timeout = END.as_secs();
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
            "the second operator let go of what is the first one's"
        );
        pipeline.ready()
    })
}

/// Lost topics are said to be lost and not made anew, until somebody says so.
fn lost_topics(fixture: &Fixture<'_>, pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let lost = ["faulty-events", "faulty-top-pages"];
    let (_, took) = fixture.journal.timed("topics deleted: said, and not made anew", || {
        for topic in lost {
            topic_command(fixture, &["--delete", "--topic", topic])?;
        }
        pipeline.condition("TopicsSynced", "False", "TopicLost")?;
        let told = fixture.get("events --field-selector reason=TopicLost,type=Warning --output name")?;
        ensure!(!told.is_empty(), "no Warning says that topics are lost");
        let pods = pipeline.pods("processor")?;
        still(fixture)?;
        let there = topics(fixture)?;
        let anew: Vec<_> = lost.iter().filter(|topic| there.lines().any(|line| line == **topic)).collect();
        ensure!(anew.is_empty(), "{anew:?} were made anew although nobody said so");
        ensure!(pipeline.pods("processor")? == pods, "processors were made anew");
        pipeline.condition("TopicsSynced", "False", "TopicLost")
    })?;
    fixture.journal.scenario("topics deleted: said, and not made anew", took, None, None);
    // Counting begins anew: without the rankings the results go too, so that all of what is there can be compared.
    pipeline.scenario("weir.dev/recreate-topics, until Ready", 3, || {
        let annotate =
            format!("--namespace {NAMESPACE} annotate csp {} weir.dev/recreate-topics=true", pipeline.name);
        fixture.tools.kubectl(&annotate)?;
        fixture.tools.await_that("the operator takes the annotation away", || {
            Ok(pipeline.object("{.metadata.annotations.weir\\.dev/recreate-topics}")?.is_empty())
        })?;
        pipeline.ready()
    })
}

/// Deleting a pipeline needs nothing of it but Kafka.
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
        fixture
            .tools
            .kubectl(&format!("--namespace {NAMESPACE} delete csp hidden --timeout={}s", END.as_secs()))?;
        ensure!(!topics(fixture)?.contains("hidden"), "topics of hidden are left");
        Ok(())
    })?;
    fixture.journal.scenario(what, took, None, None);
    Ok(())
}

/// The whole namespace goes, with operator, Kafka, and pipelines of either policy.
fn namespace_deleted(fixture: &Fixture<'_>, pipeline: &TestPipeline<'_>) -> anyhow::Result<()> {
    let kept = TestPipeline::new(fixture, "kept", &manifest("kept", ""), SLIDE);
    fixture.journal.step("another pipeline, which keeps its topics", || kept.create())?;
    ensure!(
        pipeline.object("{.metadata.finalizers[*]}")? == "weir.dev/topics",
        "a pipeline with deletionPolicy Delete has no finalizer"
    );
    let what = "kubectl delete namespace, with operator and pipelines of either policy";
    let (_, took) = fixture.journal.timed(what, || {
        fixture.tools.kubectl(&format!("delete namespace {NAMESPACE} --timeout={}s", END.as_secs()))
    })?;
    fixture.journal.scenario(what, took, None, None);
    Ok(())
}

/// The names of all topics.
fn topics(fixture: &Fixture<'_>) -> anyhow::Result<String> {
    topic_command(fixture, &["--list"]).context("topics are not listed")
}

/// Kafka's own tool, run in the first broker's pod by the jars that are there.
fn topic_command(fixture: &Fixture<'_>, arguments: &[&str]) -> anyhow::Result<String> {
    let exec =
        ["--namespace", NAMESPACE, "exec", "kafka-0", "--", "java", "-Xmx64m", "-cp", "/opt/kafka/libs/*"];
    let tool = ["org.apache.kafka.tools.TopicCommand", "--bootstrap-server", "localhost:9092"];
    fixture.tools.kubectl_with(&[&exec[..], &tool[..], arguments].concat())
}

/// Time passes in which nothing is to happen.
fn still(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let begun = Instant::now();
    fixture.tools.await_that("time passes", || Ok(begun.elapsed() >= STILL))
}
