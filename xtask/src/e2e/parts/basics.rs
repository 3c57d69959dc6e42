//! What is done with the product, in the order in which a user would, and what must come of it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::Journal;
use super::place::Images;
use super::tools::{Running, Tools, await_that, said, said_within};
use super::usage::Usage;

/// Everything happens in this namespace.
const NAMESPACE: &str = "weir-e2e";

/// The broker's port for programs outside of the cluster.
const KAFKA: u16 = 19090;

/// How long a step may take that takes seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(240);

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

/// The cluster with what is played on it.
pub(super) struct Stage<'a> {
    pub(super) journal: &'a Journal,
    pub(super) tools: &'a Tools,
    pub(super) images: &'a Images,
    /// Nodes can be killed and started with docker.
    pub(super) nodes_are_containers: bool,
}

impl Stage<'_> {
    /// Plays everything.
    pub(super) fn play(&self) -> anyhow::Result<()> {
        self.prepare()?;
        self.install()?;
        self.example()?;
        self.busy()?;
        self.part()
    }

    /// A namespace that admits restricted pods only, which is tried.
    fn prepare(&self) -> anyhow::Result<()> {
        self.journal.step("a namespace for restricted pods, which refuses a privileged one", || {
            self.tools.kubectl(&format!("create namespace {NAMESPACE}"))?;
            self.tools.kubectl(&format!(
                "label namespace {NAMESPACE} pod-security.kubernetes.io/enforce=restricted"
            ))?;
            let privileged =
                ["--namespace", NAMESPACE, "run", "privileged", "--image", "none", "--privileged"];
            match self.tools.kubectl_with(&privileged) {
                Ok(_) => bail!("a privileged pod was let in, so that it is no proof when others are"),
                Err(error) => ensure!(
                    error.to_string().contains("violates PodSecurity"),
                    "refused for another reason: {error}"
                ),
            }
            Ok(())
        })
    }

    fn install(&self) -> anyhow::Result<()> {
        self.journal.step("helm install, until the operator and Kafka are ready", || {
            self.helm("install", "e2e", "e2e", "--set kafka.mode=single --set kafka.storage.persistent=false")
        })
    }

    /// helm install or upgrade, with these tags of the operator's and the pipelines' image.
    fn helm(&self, verb: &str, operator: &str, pipeline: &str, more: &str) -> anyhow::Result<()> {
        let (chart, prefix) = (crate::root().join("charts/weir"), &self.images.prefix);
        self.tools.helm(&format!(
            "{verb} weir {} --namespace {NAMESPACE} --wait --timeout 5m --set image.repository={prefix}weir-operator \
             --set image.tag={operator} --set pipelineImage.repository={prefix}weir --set pipelineImage.tag={pipeline} {more}",
            chart.display()
        ))?;
        Ok(())
    }

    /// The example as it is: ready, and right.
    fn example(&self) -> anyhow::Result<()> {
        let file = crate::root().join("examples/development.yaml");
        let example = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        self.journal.step("kubectl apply of examples/development.yaml, until Ready", || {
            self.tools.apply(NAMESPACE, &example)?;
            self.ready("shop-development")
        })?;
        self.journal.note(&self.get("csp")?);
        self.journal.step("three sealed windows", || self.more_windows("shop-development", 3))?;
        self.audit("shop-development", &example, false)?;
        self.journal.step("delete it: its pods go, its topics stay", || self.delete("shop-development"))?;
        self.audit("shop-development", &example, false).context("its topics are not what they were")?;
        self.journal.step("apply it again, until a window is sealed: it goes on where it stopped", || {
            self.tools.apply(NAMESPACE, &example)?;
            self.ready("shop-development")?;
            self.more_windows("shop-development", 1)
        })?;
        self.audit("shop-development", &example, false)?;
        self.journal.step("delete it", || self.delete("shop-development"))
    }

    /// Deletes a pipeline, until its pods are gone.
    fn delete(&self, pipeline: &str) -> anyhow::Result<()> {
        self.tools.kubectl(&format!("--namespace {NAMESPACE} delete csp {pipeline}"))?;
        await_that("its pods are gone", PATIENCE, || Ok(self.pods(pipeline)?.is_empty()))
    }

    /// Scaling, another image, the loss of a node's pods, under load.
    fn busy(&self) -> anyhow::Result<()> {
        let journal = self.journal;
        journal.step("a pipeline with 1,000 events/s, until Ready", || {
            self.tools.apply(NAMESPACE, BUSY)?;
            self.ready("busy")
        })?;
        journal.step("three sealed windows", || self.more_windows("busy", 3))?;
        for replicas in [6, 2] {
            journal.step(&format!("kubectl scale to {replicas}, until ready"), || {
                self.tools
                    .kubectl(&format!("--namespace {NAMESPACE} scale csp busy --replicas={replicas}"))?;
                self.processors(replicas)
            })?;
            journal.step("three more windows", || self.more_windows("busy", 3))?;
        }
        journal.step("another image for all pods", || {
            let before = self.pods("busy")?;
            self.helm("upgrade", "e2e", Images::TAGS[1], "--reuse-values")?;
            await_that("every pod is a new one", PATIENCE, || {
                let after = self.pods("busy")?;
                Ok(after.len() == before.len() && after.is_disjoint(&before))
            })?;
            self.processors(2)?;
            // Scaling down leaves the first ones, wherever they are; a roll places each with regard to the others.
            let apart = !self.nodes_are_containers || self.processor_nodes()? > 1;
            ensure!(apart, "all processors are on one node");
            Ok(())
        })?;
        journal.step("three more windows", || self.more_windows("busy", 3))?;
        let lost = journal.step("delete every pod on a node but Kafka's", || {
            let (node, before) = (self.loneliest_node()?, self.pods("busy")?);
            let there =
                format!("--field-selector spec.nodeName={node} --selector app.kubernetes.io/name!=kafka");
            let lost = self.get(&format!("pods {there} --output name"))?.replace('\n', " ");
            self.tools.kubectl(&format!("--namespace {NAMESPACE} delete pods {there}"))?;
            self.processors(2)?;
            let left = self.pods("busy")?.intersection(&before).count();
            ensure!(left < before.len(), "no pod of the pipeline was deleted with {lost}");
            Ok(lost)
        })?;
        journal.note(&lost);
        journal.step("three more windows", || self.more_windows("busy", 3))?;
        self.audit("busy", BUSY, false)?;
        if self.nodes_are_containers { self.lose_a_node() } else { Ok(()) }
    }

    /// A node dies without a word, with what runs on it, and comes back after some windows.
    fn lose_a_node(&self) -> anyhow::Result<()> {
        let node = self.loneliest_node()?;
        // The API server takes them for running long after: that they ran anew shows in their counts of restarts.
        let restarts = || -> anyhow::Result<u32> {
            let path = "{.items[*].status.containerStatuses[*].restartCount}";
            let counts =
                self.get(&format!("pods --field-selector spec.nodeName={node} --output jsonpath={path}"))?;
            counts.split_whitespace().map(|count| Ok(count.parse::<u32>()?)).sum()
        };
        let started = restarts()?;
        let docker = |verb: &str| said(Command::new("docker").args([verb, &node]));
        self.journal.step("kill a node, until three more windows are sealed without it", || {
            let before = self.windows()?;
            docker("kill")?;
            // The gateway may be gone with the node: the topics tell.
            await_that("windows are sealed", PATIENCE, || Ok(self.windows()? >= before + 3))
        })?;
        self.journal.step("start it again, until all is ready", || {
            docker("start")?;
            await_that("its pods run again", PATIENCE, || Ok(restarts()? > started))?;
            self.tools.kubectl(&format!("wait node/{node} --for=condition=Ready --timeout=240s"))?;
            self.processors(2)?;
            self.ready("busy")
        })?;
        self.audit("busy", BUSY, false).map(drop)
    }

    /// How many windows the busy pipeline's topics hold, all of them right.
    fn windows(&self) -> anyhow::Result<u64> {
        let report = self.compare("busy", BUSY, false)?;
        let before = report.split_once(" windows").context("no windows")?.0;
        Ok(before.rsplit(' ').next().unwrap_or_default().parse()?)
    }

    /// Changes the busy pipeline.
    fn patch(&self, patch: &str) -> anyhow::Result<()> {
        let busy = ["--namespace", NAMESPACE, "patch", "csp", "busy"];
        self.tools.kubectl_with(&[&busy[..], &["--type=merge", "--patch", patch]].concat()).map(drop)
    }

    /// Upgrade of the operator, suspension, deletion, removal.
    fn part(&self) -> anyhow::Result<()> {
        let journal = self.journal;
        journal.step("another operator: no processor is rolled", || {
            let before = self.processor_pods()?;
            self.helm("upgrade", Images::TAGS[1], Images::TAGS[1], "--reuse-values")?;
            // Something for the new operator to do, which shows that it looked at everything.
            self.patch(r#"{"spec": {"generator": {"eventsPerSecond": 500}}}"#)?;
            await_that("it acts upon a change", PATIENCE, || {
                let config = self
                    .tools
                    .kubectl(&format!("--namespace {NAMESPACE} get configmap busy --output yaml"))?;
                Ok(config.contains("eventsPerSecond: 500"))
            })?;
            ensure!(self.processor_pods()? == before, "processors are others than before");
            Ok(())
        })?;
        journal.step("suspend it, until no processor and no generator is left", || {
            self.patch(r#"{"spec": {"state": "Suspended"}}"#)?;
            await_that("its workers are gone", PATIENCE, || {
                let selector = "app.kubernetes.io/instance=busy,app.kubernetes.io/component!=gateway";
                Ok(self
                    .tools
                    .kubectl(&format!(
                        "--namespace {NAMESPACE} get pods --selector {selector} --output name"
                    ))?
                    .is_empty())
            })
        })?;
        self.quiet()?;
        self.twin()?;
        journal.step("delete it: its pods go", || self.delete("busy"))?;
        let digest = self.audit("busy", BUSY, true).context("its topics are not what they were")?;
        journal.note(&format!("the topics are still there: {digest}"));
        journal.step("helm uninstall keeps the definition", || {
            self.tools.helm(&format!("uninstall weir --namespace {NAMESPACE} --wait"))?;
            self.tools.kubectl("get crd clickstreampipelines.weir.dev").map(drop)
        })
    }

    /// What the operator uses when there is nothing to do.
    fn quiet(&self) -> anyhow::Result<()> {
        let operator = self.tools.kubectl(&format!(
            "--namespace {NAMESPACE} get pods --selector app.kubernetes.io/name=weir-operator --output name"
        ))?;
        let look = || Usage::look(self.tools, NAMESPACE, &operator, "operator");
        let used = self.journal.step("a quiet minute of the operator", || {
            let (first, begun) = (look()?, Instant::now());
            let mut last = String::new();
            await_that("a minute passes", PATIENCE, || Ok(begun.elapsed() >= Duration::from_secs(60)))?;
            await_that("the kubelet looks again", PATIENCE, || {
                let now = look()?;
                Ok(now.millicores_since(&first).is_some())
            })?;
            let now = look()?;
            if let Some(millicores) = now.millicores_since(&first) {
                last = format!("{:.1} MB, {millicores:.2} thousandths of a core", now.memory / 1e6);
            }
            Ok(last)
        })?;
        self.journal.note(&used);
        Ok(())
    }

    /// The same events once more, by one process that nothing happens to: the same bytes.
    fn twin(&self) -> anyhow::Result<()> {
        let twin = BUSY
            .replace("name: busy}", "name: twin}")
            .replace("busy-results", "twin-results")
            .replace("busy-top-pages", "twin-top-pages");
        self.journal.step("both to the end: it, and one undisturbed process over the same events", || {
            let _kafka = self.kafka()?;
            self.weir("twin", &twin, &["topics", "apply"])?;
            for (name, manifest) in [("busy", BUSY), ("twin", twin.as_str())] {
                self.weir(name, manifest, &["process", "--until-end"])?;
            }
            Ok(())
        })?;
        let (busy, undisturbed) = (self.audit("busy", BUSY, true)?, self.audit("twin", &twin, true)?);
        ensure!(
            busy == undisturbed,
            "results differ from those of one undisturbed process: {busy}, {undisturbed}"
        );
        self.journal.note("byte for byte the same");
        Ok(())
    }

    /// Compares a pipeline's topics with the oracle; the digest of its results.
    fn audit(&self, name: &str, manifest: &str, ended: bool) -> anyhow::Result<String> {
        let report = self.journal.step("compare with the oracle", || self.compare(name, manifest, ended))?;
        self.journal.note(&report);
        let digest = report.split_once("digest ").context("no digest")?.1;
        Ok(digest.lines().next().unwrap_or_default().to_owned())
    }

    fn compare(&self, name: &str, manifest: &str, ended: bool) -> anyhow::Result<String> {
        let _kafka = self.kafka()?;
        let mut audit = Command::new(crate::target().join("release/weir-audit"));
        said_within(audit.args(ended.then_some("--ended")).args(at(name, manifest)?), PATIENCE)
    }

    /// `weir` on this side.
    fn weir(&self, name: &str, manifest: &str, words: &[&str]) -> anyhow::Result<String> {
        let mut weir = Command::new(crate::target().join("release/weir"));
        said_within(weir.args(words).args(at(name, manifest)?), PATIENCE)
    }

    fn kafka(&self) -> anyhow::Result<Running> {
        self.tools.forward(NAMESPACE, "pod/kafka-0", KAFKA)
    }

    fn ready(&self, name: &str) -> anyhow::Result<()> {
        self.tools
            .kubectl(&format!("--namespace {NAMESPACE} wait csp/{name} --for=condition=Ready --timeout=240s"))
            .map(drop)
    }

    /// Waits until as many processors are ready and no other is left.
    fn processors(&self, wanted: usize) -> anyhow::Result<()> {
        await_that("the processors are as many as wanted, and ready", PATIENCE, || {
            let ready = self.get("csp busy --output jsonpath={.status.processor.readyReplicas}")?;
            Ok(ready == wanted.to_string() && self.processor_pods()?.len() == wanted)
        })
    }

    /// On how many nodes there are processors.
    fn processor_nodes(&self) -> anyhow::Result<usize> {
        let whose = "app.kubernetes.io/instance=busy,app.kubernetes.io/component=processor";
        let nodes =
            self.get(&format!("pods --selector {whose} --output jsonpath={{.items[*].spec.nodeName}}"))?;
        Ok(nodes.split_whitespace().collect::<BTreeSet<_>>().len())
    }

    fn processor_pods(&self) -> anyhow::Result<BTreeSet<String>> {
        self.uids("app.kubernetes.io/instance=busy,app.kubernetes.io/component=processor")
    }

    fn pods(&self, pipeline: &str) -> anyhow::Result<BTreeSet<String>> {
        self.uids(&format!("app.kubernetes.io/instance={pipeline}"))
    }

    fn uids(&self, selector: &str) -> anyhow::Result<BTreeSet<String>> {
        let uids =
            self.get(&format!("pods --selector {selector} --output jsonpath={{.items[*].metadata.uid}}"))?;
        Ok(uids.split_whitespace().map(str::to_owned).collect())
    }

    fn get(&self, what: &str) -> anyhow::Result<String> {
        self.tools.kubectl(&format!("--namespace {NAMESPACE} get {what}"))
    }

    /// The node with a processor that has no Kafka; where Kafka is with all of them, that one.
    fn loneliest_node(&self) -> anyhow::Result<String> {
        let nodes = |selector: &str| -> anyhow::Result<BTreeSet<String>> {
            let nodes = self
                .get(&format!("pods --selector {selector} --output jsonpath={{.items[*].spec.nodeName}}"))?;
            Ok(nodes.split_whitespace().map(str::to_owned).collect())
        };
        let busy = nodes("app.kubernetes.io/instance=busy,app.kubernetes.io/component=processor")?;
        let kafka = nodes("app.kubernetes.io/name=kafka")?;
        busy.difference(&kafka).chain(&busy).next().cloned().context("no processor runs anywhere")
    }

    /// Waits for so many more sealed windows, as the gateway tells.
    fn more_windows(&self, pipeline: &str, more: u64) -> anyhow::Result<()> {
        let path =
            format!("/api/v1/namespaces/{NAMESPACE}/services/{pipeline}-gateway:http/proxy/api/v1/health");
        let newest = || -> anyhow::Result<Option<u64>> {
            let answer: serde_json::Value =
                serde_json::from_str(&self.tools.kubectl(&format!("get --raw {path}"))?)?;
            Ok(answer["window_end"].as_u64())
        };
        let first = std::cell::Cell::new(None);
        await_that("windows are sealed", PATIENCE, || {
            let Some(newest) = newest()? else { return Ok(false) };
            let first = first.get().unwrap_or_else(|| {
                first.set(Some(newest));
                newest
            });
            Ok(newest >= first + more * 10_000)
        })
    }

    /// How things stand, for whoever looks for the reason of a failure.
    pub(super) fn tell(&self) {
        for question in [
            "get csp,pods --output wide",
            "describe csp",
            "get events --sort-by .lastTimestamp",
            "logs --selector app.kubernetes.io/name=weir-operator --tail 40",
            "logs --selector app.kubernetes.io/component=processor --tail 20 --prefix",
        ] {
            let answer = self.tools.kubectl(&format!("--namespace {NAMESPACE} {question}"));
            let answer = answer.unwrap_or_else(|error| error.to_string());
            eprintln!("== kubectl {question}\n{answer}\n");
        }
    }

    /// Removes what it made.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        let _ = self.tools.helm(&format!("uninstall weir --namespace {NAMESPACE} --ignore-not-found"))?;
        self.tools.kubectl("delete crd clickstreampipelines.weir.dev --ignore-not-found")?;
        self.tools.kubectl(&format!("delete namespace {NAMESPACE} --ignore-not-found")).map(drop)
    }
}

/// Arguments that say which pipeline, by a file that holds its manifest, and where its Kafka is.
fn at(name: &str, manifest: &str) -> anyhow::Result<[String; 4]> {
    let folder = crate::root().join("target/e2e");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.yaml"));
    fs::write(&file, manifest).with_context(|| format!("could not write {}", file.display()))?;
    Ok([
        "--pipeline".to_owned(),
        file.display().to_string(),
        "--brokers".to_owned(),
        format!("localhost:{KAFKA}"),
    ])
}
