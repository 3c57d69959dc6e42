//! The product's main functions, in the order of their use.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::super::environment::Images;
use super::super::fixture::{Fixture, NAMESPACE};
use super::super::pipeline::TestPipeline;
use super::super::tools::output_of;
use super::super::usage::Usage;

/// 1,000 events a second on six partitions, beside the example: with names of its own.
const BUSY: &str = "
apiVersion: weir.dev/v1alpha1
kind: ClickstreamPipeline
metadata: {name: busy}
spec:
  kafka: {bootstrapServers: [kafka:9092]}
  topics:
    events: {name: busy-events, partitions: 6, replicas: 1}
    results: {name: busy-results, replicas: 1}
    topPages: {name: busy-top-pages}
  processor:
    replicas: 1
    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 512Mi}}
  generator: {eventsPerSecond: 1000, profile: Constant}
";

/// The default slide.
const SLIDE: Duration = Duration::from_secs(10);

pub(super) fn run(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    example(fixture)?;
    let busy = Busy { fixture, pipeline: TestPipeline::new(fixture, "busy", BUSY, SLIDE) };
    busy.load()?;
    busy.part()
}

/// The example as written becomes ready, with results that equal the oracle's.
fn example(fixture: &Fixture<'_>) -> anyhow::Result<()> {
    let file = crate::root().join("examples/development.yaml");
    let manifest = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
    let example = TestPipeline::new(fixture, "shop-development", &manifest, SLIDE);
    example.scenario("kubectl apply of examples/development.yaml, until Ready", 3, || example.create())?;
    fixture.journal.note(&fixture.get("csp")?);
    fixture.journal.step("delete it: its pods go, its topics stay", || example.delete())?;
    example.audit(false).context("its topics are not what they were")?;
    let again = "apply it again, until a window is sealed: it goes on where it stopped";
    fixture.journal.step(again, || {
        example.create()?;
        example.more_windows(1)
    })?;
    example.audit(false)?;
    fixture.journal.step("delete it", || example.delete())
}

/// The pipeline under load.
struct Busy<'a> {
    fixture: &'a Fixture<'a>,
    pipeline: TestPipeline<'a>,
}

impl Busy<'_> {
    /// Scaling, another image, the loss of a node's pods, under load.
    fn load(&self) -> anyhow::Result<()> {
        let Self { fixture, pipeline } = self;
        pipeline.scenario("a pipeline with 1,000 events/s, until Ready", 3, || pipeline.create())?;
        for replicas in [6, 2] {
            pipeline.scenario(&format!("kubectl scale to {replicas}, until ready"), 3, || {
                pipeline.scale(replicas)
            })?;
        }
        pipeline.scenario("another image for all pods", 3, || {
            pipeline.replaced(|| {
                fixture.helm(NAMESPACE, "upgrade", Images::TAGS[0], Images::TAGS[1], "--reuse-values")
            })?;
            pipeline.processors(2)?;
            // Scaling down keeps the first pods, wherever they are; a rollout spreads them over nodes.
            let apart =
                !fixture.nodes_are_containers || fixture.nodes(&pipeline.selector("processor"))?.len() > 1;
            ensure!(apart, "all processors are on one node");
            Ok(())
        })?;
        let lost = pipeline.scenario("delete every pod on a node but Kafka's", 3, || {
            let (node, before) = (self.node_without_kafka()?, pipeline.pods("")?);
            let there =
                format!("--field-selector spec.nodeName={node} --selector app.kubernetes.io/name!=kafka");
            let lost = fixture.get(&format!("pods {there} --output name"))?.replace('\n', " ");
            fixture.tools.kubectl(&format!("--namespace {NAMESPACE} delete pods {there}"))?;
            pipeline.processors(2)?;
            let left = pipeline.pods("")?.intersection(&before).count();
            ensure!(left < before.len(), "no pod of the pipeline was deleted with {lost}");
            Ok(lost)
        })?;
        fixture.journal.note(&lost);
        if fixture.nodes_are_containers { self.lose_a_node() } else { Ok(()) }
    }

    /// A node crashes with its pods, and is started again after some windows.
    fn lose_a_node(&self) -> anyhow::Result<()> {
        let Self { fixture, pipeline } = self;
        let node = self.node_without_kafka()?;
        // The API server reports its pods as running long after, so their restart counts must show that they were restarted.
        let restarts = || -> anyhow::Result<u32> {
            let path = "{.items[*].status.containerStatuses[*].restartCount}";
            let counts = fixture
                .get(&format!("pods --field-selector spec.nodeName={node} --output jsonpath={path}"))?;
            counts.split_whitespace().map(|count| Ok(count.parse::<u32>()?)).sum()
        };
        let started = restarts()?;
        let docker = |verb: &str| output_of(Command::new("docker").args([verb, &node]));
        pipeline.scenario("kill a node; start it after three more windows, until all is ready", 3, || {
            let before = pipeline.windows()?;
            docker("kill")?;
            // The gateway may be gone with the node, so windows are counted in the topics.
            fixture.tools.await_that("windows are sealed", || Ok(pipeline.windows()? >= before + 3))?;
            docker("start")?;
            fixture.tools.await_that("its pods run again", || Ok(restarts()? > started))?;
            fixture.tools.kubectl(&format!("wait node/{node} --for=condition=Ready --timeout=240s"))?;
            pipeline.processors(2)?;
            pipeline.ready()
        })
    }

    /// Upgrade of the operator, suspension, deletion, removal.
    fn part(&self) -> anyhow::Result<()> {
        let Self { fixture, pipeline } = self;
        pipeline.scenario("another operator: no processor is rolled", 1, || {
            let revision = || fixture.get("statefulset busy --output jsonpath={.status.updateRevision}");
            let before = (pipeline.pods("processor")?, revision()?);
            fixture.helm(NAMESPACE, "upgrade", Images::TAGS[1], Images::TAGS[1], "--reuse-values")?;
            // A change for the new operator, which shows that it has reconciled the pipeline.
            pipeline.patch(r#"{"spec": {"generator": {"eventsPerSecond": 500}}}"#)?;
            fixture.tools.await_that("it reconciles a change", || {
                Ok(fixture.get("configmap busy --output yaml")?.contains("eventsPerSecond: 500"))
            })?;
            // Processors are applied after that, and are ready once a rollout is over.
            pipeline.ready()?;
            let after = (pipeline.pods("processor")?, revision()?);
            ensure!(after == before, "processors were replaced");
            Ok(())
        })?;
        fixture.journal.step("suspend it, until no processor and no generator is left", || {
            pipeline.patch(r#"{"spec": {"state": "Suspended"}}"#)?;
            fixture.tools.await_that("its workers are gone", || {
                Ok(pipeline.pods("processor")?.is_empty() && pipeline.pods("generator")?.is_empty())
            })
        })?;
        let used = fixture.journal.step("a quiet minute of the operator", || {
            Usage::over_a_minute(&fixture.tools, NAMESPACE, &fixture.operator()?, "operator")
        })?;
        fixture.journal.note(&used.to_string());
        self.twin()?;
        fixture.journal.step("delete it: its pods go", || pipeline.delete())?;
        let digest = pipeline.audit(true).context("its topics are not what they were")?;
        fixture.journal.note(&format!("the topics are still there: {digest}"));
        fixture.journal.step("helm uninstall keeps the definition", || {
            fixture.tools.helm(&format!("uninstall weir --namespace {NAMESPACE} --wait"))?;
            fixture.tools.kubectl("get crd clickstreampipelines.weir.dev").map(drop)
        })
    }

    /// One undisturbed process over the same events writes the same bytes.
    fn twin(&self) -> anyhow::Result<()> {
        let Self { fixture, pipeline } = self;
        let manifest = BUSY
            .replace("name: busy}", "name: twin}")
            .replace("busy-results", "twin-results")
            .replace("busy-top-pages", "twin-top-pages");
        let twin = TestPipeline::new(fixture, "twin", &manifest, SLIDE);
        fixture.journal.step(
            "both to the end: it, and one undisturbed process over the same events",
            || {
                twin.program("weir", &["topics", "apply"])?;
                for each in [pipeline, &twin] {
                    each.program("weir", &["process", "--until-end"])?;
                }
                Ok(())
            },
        )?;
        let (busy, undisturbed) = (pipeline.audit(true)?, twin.audit(true)?);
        ensure!(
            busy == undisturbed,
            "results differ from those of one undisturbed process: {busy}, {undisturbed}"
        );
        fixture.journal.note("byte for byte the same");
        Ok(())
    }

    /// A node with a processor and without Kafka, or any node with a processor if there is none.
    fn node_without_kafka(&self) -> anyhow::Result<String> {
        let processors = self.fixture.nodes(&self.pipeline.selector("processor"))?;
        let kafka = self.fixture.nodes("app.kubernetes.io/name=kafka")?;
        processors.difference(&kafka).chain(&processors).next().cloned().context("no processor runs anywhere")
    }
}
