//! The cluster with the product installed in it.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};

use super::environment::Images;
use super::journal::Journal;
use super::tools::{Running, Tools};

/// The namespace of the installation, and of nearly all pipelines.
pub(super) const NAMESPACE: &str = "weir-e2e";

/// The namespace of a second operator.
pub(super) const OTHER_NAMESPACE: &str = "weir-e2e-other";

/// A namespace of pipelines whose operator is in another one.
pub(super) const PIPELINES_NAMESPACE: &str = "weir-e2e-pipelines";

/// The first broker's port for programs outside of the cluster; the next ones follow.
const FIRST_KAFKA_PORT: u16 = 19090;

/// Values of the chart for one broker without persistent storage.
pub(super) const ONE_BROKER: &str = "--set kafka.mode=single --set kafka.storage.persistent=false";

/// The cluster and the tools for the tests on it.
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
    /// Makes a namespace that admits restricted pods only, which is verified, and installs the operator and Kafka in it with `values`.
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
                Ok(_) => {
                    bail!("a privileged pod was admitted, so the namespace does not enforce restricted pods")
                }
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

    /// The brokers, reachable from this machine until the result is dropped.
    pub(super) fn kafka(&self) -> anyhow::Result<Brokers> {
        let pods = self.get("pods --selector app.kubernetes.io/name=kafka --output name")?;
        let forward = |(pod, port): (&str, u16)| self.tools.forward(NAMESPACE, pod, port);
        let forwards =
            pods.lines().zip(FIRST_KAFKA_PORT..).map(forward).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!forwards.is_empty(), "there is no broker");
        let ports = FIRST_KAFKA_PORT..FIRST_KAFKA_PORT + forwards.len() as u16;
        let addresses: Vec<_> = ports.map(|port| format!("localhost:{port}")).collect();
        Ok(Brokers { _forwards: forwards, addresses: addresses.join(",") })
    }

    /// The nodes of the pods with these labels.
    pub(super) fn nodes(&self, selector: &str) -> anyhow::Result<BTreeSet<String>> {
        self.each(&format!("pods --selector {selector}"), "spec.nodeName")
    }

    /// A field of each object; values must not have spaces.
    pub(super) fn each(&self, what: &str, field: &str) -> anyhow::Result<BTreeSet<String>> {
        let values = self.get(&format!("{what} --output jsonpath={{.items[*].{field}}}"))?;
        Ok(values.split_whitespace().map(str::to_owned).collect())
    }

    /// The operator's pod.
    pub(super) fn operator(&self) -> anyhow::Result<String> {
        self.get("pods --selector app.kubernetes.io/name=weir-operator --output name")
    }

    /// Prints the state of the cluster, for the analysis of a failure.
    pub(super) fn print_diagnostics(&self) {
        for command in [
            "get nodes,csp,pods --output wide",
            "describe csp",
            "get events --sort-by .lastTimestamp",
            "logs --selector app.kubernetes.io/name=weir-operator --tail 40",
            "logs --selector app.kubernetes.io/component=processor --tail 20 --prefix --max-log-requests 100",
        ] {
            let output = self.tools.kubectl(&format!("--namespace {NAMESPACE} {command}"));
            let output = output.unwrap_or_else(|error| error.to_string());
            eprintln!("== kubectl {command}\n{output}\n");
        }
    }

    /// Removes everything that was installed.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        for namespace in [OTHER_NAMESPACE, NAMESPACE] {
            let uninstall = format!("uninstall weir --namespace {namespace} --ignore-not-found --wait");
            // The namespace's deletion removes what is left.
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

/// Brokers that are reachable from this machine.
pub(super) struct Brokers {
    _forwards: Vec<Running>,
    pub(super) addresses: String,
}

/// The first number before a word.
pub(super) fn number_before(text: &str, word: &str) -> anyhow::Result<u64> {
    let before = text.split_once(word).with_context(|| format!("no {word:?} in: {text}"))?.0;
    Ok(before.trim_end().rsplit(' ').next().unwrap_or_default().parse()?)
}
