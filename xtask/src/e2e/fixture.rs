//! The cluster with the product installed in it.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};

use super::journal::Journal;
use super::place::Images;
use super::tools::{Running, Tools};

/// Where the product is installed, and nearly everything happens.
pub(super) const NAMESPACE: &str = "weir-e2e";

/// For a second operator.
pub(super) const OTHER_NAMESPACE: &str = "weir-e2e-other";

/// For pipelines whose operator is elsewhere.
pub(super) const PIPELINES_NAMESPACE: &str = "weir-e2e-pipelines";

/// The first broker's port for programs outside of the cluster; the next ones follow.
const KAFKA: u16 = 19090;

/// How the chart installs a broker where nothing is to outlive its pod.
pub(super) const ONE_BROKER: &str = "--set kafka.mode=single --set kafka.storage.persistent=false";

/// The cluster with what is tried on it.
pub(super) struct Fixture<'a> {
    pub(super) journal: &'a Journal,
    pub(super) tools: Tools,
    pub(super) images: &'a Images,
    /// Tag of an earlier release's images.
    pub(super) before: Option<&'a str>,
    /// Nodes can be killed and started with docker.
    pub(super) nodes_are_containers: bool,
}

impl Fixture<'_> {
    /// A namespace that admits restricted pods only, which is tried; in it the operator and Kafka, as `values` has them.
    pub(super) fn install(&self, values: &str) -> anyhow::Result<()> {
        self.install_tag(Images::TAGS[0], values)
    }

    /// The same, with these images.
    pub(super) fn install_tag(&self, tag: &str, values: &str) -> anyhow::Result<()> {
        self.journal.step("a namespace for restricted pods, which refuses a privileged one", || {
            self.namespace(NAMESPACE)?;
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
        })?;
        self.journal.step("helm install, until the operator and Kafka are ready", || {
            self.helm(NAMESPACE, "install", tag, tag, values)
        })
    }

    /// A namespace that admits restricted pods only.
    pub(super) fn namespace(&self, name: &str) -> anyhow::Result<()> {
        self.tools.kubectl(&format!("create namespace {name}"))?;
        self.tools
            .kubectl(&format!("label namespace {name} pod-security.kubernetes.io/enforce=restricted"))
            .map(drop)
    }

    /// helm install or upgrade, with these tags of the operator's and the pipelines' image.
    pub(super) fn helm(
        &self,
        namespace: &str,
        verb: &str,
        operator: &str,
        pipeline: &str,
        values: &str,
    ) -> anyhow::Result<()> {
        let (chart, prefix) = (crate::root().join("charts/weir"), &self.images.prefix);
        self.tools.helm(&format!(
            "{verb} weir {} --namespace {namespace} --wait --timeout 5m --set image.repository={prefix}weir-operator \
             --set image.tag={operator} --set pipelineImage.repository={prefix}weir --set pipelineImage.tag={pipeline} {values}",
            chart.display()
        ))?;
        Ok(())
    }

    pub(super) fn get(&self, what: &str) -> anyhow::Result<String> {
        self.tools.kubectl(&format!("--namespace {NAMESPACE} get {what}"))
    }

    /// The brokers, reachable from this side until the answer is dropped.
    pub(super) fn kafka(&self) -> anyhow::Result<Brokers> {
        let pods = self.get("pods --selector app.kubernetes.io/name=kafka --output name")?;
        let forward = |(pod, port): (&str, u16)| self.tools.forward(NAMESPACE, pod, port);
        let forwards = pods.lines().zip(KAFKA..).map(forward).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!forwards.is_empty(), "there is no broker");
        let ports = KAFKA..KAFKA + forwards.len() as u16;
        let addresses: Vec<_> = ports.map(|port| format!("localhost:{port}")).collect();
        Ok(Brokers { _forwards: forwards, addresses: addresses.join(",") })
    }

    /// The nodes on which there are pods with these labels.
    pub(super) fn nodes(&self, selector: &str) -> anyhow::Result<BTreeSet<String>> {
        self.each(&format!("pods --selector {selector}"), "spec.nodeName")
    }

    /// A field of each object, which may not hold spaces.
    pub(super) fn each(&self, what: &str, field: &str) -> anyhow::Result<BTreeSet<String>> {
        let values = self.get(&format!("{what} --output jsonpath={{.items[*].{field}}}"))?;
        Ok(values.split_whitespace().map(str::to_owned).collect())
    }

    /// The operator's pod.
    pub(super) fn operator(&self) -> anyhow::Result<String> {
        self.get("pods --selector app.kubernetes.io/name=weir-operator --output name")
    }

    /// How things stand, for whoever looks for the reason of a failure.
    pub(super) fn tell(&self) {
        for question in [
            "get nodes,csp,pods --output wide",
            "describe csp",
            "get events --sort-by .lastTimestamp",
            "logs --selector app.kubernetes.io/name=weir-operator --tail 40",
            "logs --selector app.kubernetes.io/component=processor --tail 20 --prefix --max-log-requests 100",
        ] {
            let answer = self.tools.kubectl(&format!("--namespace {NAMESPACE} {question}"));
            let answer = answer.unwrap_or_else(|error| error.to_string());
            eprintln!("== kubectl {question}\n{answer}\n");
        }
    }

    /// Removes what it made.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        for namespace in [OTHER_NAMESPACE, NAMESPACE] {
            let uninstall = format!("uninstall weir --namespace {namespace} --ignore-not-found --wait");
            // What it leaves ends with its namespace.
            if let Err(error) = self.tools.helm(&uninstall) {
                self.journal.note(&error.to_string());
            }
        }
        self.tools.kubectl("delete crd clickstreampipelines.weir.dev --ignore-not-found --timeout=180s")?;
        self.tools.kubectl(&format!(
            "delete namespace {NAMESPACE} {OTHER_NAMESPACE} {PIPELINES_NAMESPACE} --ignore-not-found --timeout=180s"
        ))?;
        // Of a release whose namespace was deleted.
        self.tools
            .kubectl("delete clusterrole,clusterrolebinding --selector app.kubernetes.io/part-of=weir")
            .map(drop)
    }
}

/// Brokers within reach of this side.
pub(super) struct Brokers {
    _forwards: Vec<Running>,
    pub(super) addresses: String,
}

/// The first number before a word.
pub(super) fn number_before(text: &str, word: &str) -> anyhow::Result<u64> {
    let before = text.split_once(word).with_context(|| format!("no {word:?} in: {text}"))?.0;
    Ok(before.trim_end().rsplit(' ').next().unwrap_or_default().parse()?)
}
