//! `cargo xtask olm`: the bundle for the Operator Lifecycle Manager, from the chart.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::generated::{DEFINITION, generate};
use crate::root;

/// Values of the chart: one operator for all namespaces; OLM makes the definition and its users' roles.
const VALUES: &str = "scope=cluster,crds.install=false,aggregateRoles=false,releaseOnUninstall=false";

/// The bundle's annotations, in its metadata and as labels of its image.
const ANNOTATIONS: [(&str, &str); 6] = [
    ("mediatype.v1", "registry+v1"),
    ("manifests.v1", "manifests/"),
    ("metadata.v1", "metadata/"),
    ("package.v1", "weir"),
    ("channels.v1", "alpha"),
    ("channel.default.v1", "alpha"),
];

const DESCRIPTION: &str = "Weir turns a site's clicks in Kafka into exact numbers of each page for sliding windows of event time, exactly once. \
The operator makes a pipeline's topics and pods from one ClickstreamPipeline, keeps them that way, scales them, and says in the status what is not as it \
should be. It looks after the pipelines of all namespaces.

A pipeline with `deletionPolicy: Delete` has a finalizer that the operator takes away: delete those first when you remove the operator.";

#[derive(Debug, Default, clap::Args)]
pub(crate) struct OlmOptions {
    /// Write nothing; fail when something would be written
    #[arg(long)]
    check: bool,
    /// Values of the chart, as for helm: image.repository=...,image.digest=... and pipelineImage.repository=...,pipelineImage.digest=...
    #[arg(long, value_name = "VALUES")]
    set: Vec<String>,
    /// Where to write it [default: dist/olm]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl OlmOptions {
    /// The bundle that is part of the repository.
    pub(crate) fn of_repository(check: bool) -> Self {
        Self { check, ..Self::default() }
    }
}

/// Writes the bundle. With `check`, whether it is up to date.
pub(crate) fn run(options: &OlmOptions) -> anyhow::Result<bool> {
    let chart = read(&fs::read_to_string(root().join("charts/weir/Chart.yaml"))?)?;
    let sample = read(&fs::read_to_string(root().join("examples/development.yaml"))?)?;
    let version = serde_saphyr::to_string(&version(&chart, &sample, &rendered(&options.set)?)?)?;
    let annotations = |separator: &str| {
        let line =
            |(name, value)| format!("operators.operatorframework.io.bundle.{name}{separator}{value}\n");
        ANNOTATIONS.map(line)
    };
    let header = "# Generated from the chart by `cargo xtask olm`.\n";
    let files = [
        ("manifests/weir.clusterserviceversion.yaml", format!("{header}{version}")),
        ("manifests/clickstreampipelines.weir.dev.crd.yaml", fs::read_to_string(root().join(DEFINITION))?),
        (
            "metadata/annotations.yaml",
            format!("{header}annotations:\n{}", annotations(": ").map(|line| format!("  {line}")).concat()),
        ),
        (
            "bundle.Dockerfile",
            format!(
                "{header}FROM scratch\n{}COPY manifests /manifests/\nCOPY metadata /metadata/\n",
                annotations("=").map(|line| format!("LABEL {line}")).concat()
            ),
        ),
    ];
    let folder = options.output.clone().unwrap_or_else(|| root().join("dist/olm"));
    generate(&folder, &files, options.check.then_some("cargo xtask olm"))
}

/// The objects of the chart.
fn rendered(values: &[String]) -> anyhow::Result<Vec<Value>> {
    let helm = weir_cluster::Programs::only_helm()?;
    let mut command = Command::new(helm);
    command.args(["template", "weir", "charts/weir", "--namespace", "weir", "--set", VALUES]);
    command.args(values.iter().flat_map(|value| ["--set", value])).current_dir(root());
    let output = command.output().context("could not run helm")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.split("---\n").filter(|document| !document.trim().is_empty()).map(read).collect()
}

fn read(text: &str) -> anyhow::Result<Value> {
    Ok(serde_saphyr::from_str(text)?)
}

/// The ClusterServiceVersion. Fails with an object that it cannot have.
fn version(chart: &Value, sample: &Value, objects: &[Value]) -> anyhow::Result<Value> {
    let (mut deployments, mut of_namespace, mut of_cluster) = (Vec::new(), Vec::new(), Vec::new());
    for object in objects {
        match object["kind"].as_str().unwrap_or_default() {
            "Deployment" => deployments.push(object),
            "Role" => of_namespace.push(&object["rules"]),
            "ClusterRole" => of_cluster.push(&object["rules"]),
            // OLM makes the account and binds it; not every OLM supports network policies.
            "ServiceAccount" | "RoleBinding" | "ClusterRoleBinding" | "NetworkPolicy" => {}
            other => {
                bail!("found a {other} in the chart, which a bundle cannot have: leave it out by VALUES")
            }
        }
    }
    let [deployment] = deployments[..] else {
        bail!("found {} deployments, expected one", deployments.len())
    };
    let mut deployed = deployment["spec"].clone();
    let labels = deployed["template"]["metadata"]["labels"].as_object_mut().context("pods without labels")?;
    labels.retain(|label, _| label != "helm.sh/chart" && label != "app.kubernetes.io/managed-by");
    let labels = labels.clone();

    let pods = &deployed["template"]["spec"];
    let account = pods["serviceAccountName"].clone();
    let image = &pods["containers"][0]["image"];
    let arguments = pods["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let pipelines_image = arguments.filter_map(|argument| argument.strip_prefix("--image=")).next();
    let pipelines_image = pipelines_image.context("the operator has no argument --image")?;
    let rules = |rules: &[&Value]| -> Vec<Value> {
        rules.iter().map(|rules| json!({"serviceAccountName": account, "rules": rules})).collect()
    };

    let chart_field = |path: &str| {
        chart.pointer(path).and_then(Value::as_str).with_context(|| format!("Chart.yaml has no {path}"))
    };
    let kind = &read(chart_field("/annotations/artifacthub.io~1crds")?)?[0];
    let mode = |mode| json!({"type": mode, "supported": mode == "AllNamespaces"});
    let modes = ["OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces"].map(mode);
    let source = "https://github.com/weir-dev/weir";
    Ok(json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": format!("weir.v{}", chart_field("/version")?),
            "annotations": {
                "alm-examples": serde_json::to_string_pretty(&[sample])?,
                "capabilities": chart_field("/annotations/artifacthub.io~1operatorCapabilities")?,
                "categories": "Streaming & Messaging",
                "containerImage": image,
                "description": chart_field("/description")?,
                "repository": source,
            },
        },
        "spec": {
            "displayName": "Weir",
            "description": DESCRIPTION,
            "version": chart_field("/version")?,
            "maturity": "alpha",
            "minKubeVersion": chart_field("/kubeVersion")?.trim_start_matches(">=").trim_end_matches("-0"),
            "keywords": chart["keywords"],
            "links": [{"name": "Documentation", "url": format!("{source}/blob/main/docs/kubernetes.md")}],
            "provider": {"name": "Weir", "url": source},
            "installModes": modes,
            "customresourcedefinitions": {"owned": [{
                "name": kind["name"],
                "kind": kind["kind"],
                "version": kind["version"],
                "displayName": kind["displayName"],
                "description": kind["description"],
                "specDescriptors": [
                    {"path": "kafka.bootstrapServers", "displayName": "Kafka", "description": "Addresses of brokers"},
                    {"path": "window.size", "displayName": "Window", "description": "Length of a window"},
                    {"path": "window.slide", "displayName": "Slide", "description": "Time between the ends of two windows"},
                    {
                        "path": "processor.replicas",
                        "displayName": "Processors",
                        "description": "How many; more than the events topic has partitions are not started",
                        "x-descriptors": ["urn:alm:descriptor:com.tectonic.ui:podCount"],
                    },
                ],
                "statusDescriptors": [{
                    "path": "conditions",
                    "displayName": "Conditions",
                    "description": "What is as it should be and what is not",
                    "x-descriptors": ["urn:alm:descriptor:io.kubernetes.conditions"],
                }],
            }]},
            "install": {
                "strategy": "deployment",
                "spec": {
                    "permissions": rules(&of_namespace),
                    "clusterPermissions": rules(&of_cluster),
                    "deployments": [{"name": deployment["metadata"]["name"], "label": labels, "spec": deployed}],
                },
            },
            "relatedImages": [
                {"name": "weir-operator", "image": image},
                {"name": "weir", "image": pipelines_image},
            ],
        },
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn chart() -> Value {
        json!({"version": "1.2.3", "description": "", "kubeVersion": ">=1.30.0-0", "annotations": {
            "artifacthub.io/operatorCapabilities": "Seamless Upgrades",
            "artifacthub.io/crds": "[{kind: Pipeline, name: pipelines.example.com, version: v1}]",
        }})
    }

    fn objects() -> Vec<Value> {
        let labels = json!({"app.kubernetes.io/name": "operator", "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "weir"});
        let pods = json!({"serviceAccountName": "operator", "containers": [{"image": "operator@sha256:1", "args": ["run", "--image=weir@sha256:2"]}]});
        vec![
            json!({"kind": "ClusterRole", "rules": [{"verbs": ["list"]}]}),
            json!({"kind": "Role", "rules": [{"verbs": ["get"]}]}),
            json!({"kind": "Deployment", "metadata": {"name": "operator"}, "spec": {"template": {"metadata": {"labels": labels}, "spec": pods}}}),
        ]
    }

    #[test]
    fn rules_and_images_are_those_of_the_chart() {
        let version = version(&chart(), &json!({"kind": "Pipeline"}), &objects()).unwrap();
        let spec = &version["spec"];
        let install = &spec["install"]["spec"];
        let rules = |verb| json!([{"serviceAccountName": "operator", "rules": [{"verbs": [verb]}]}]);
        assert_eq!(install["clusterPermissions"], rules("list"));
        assert_eq!(install["permissions"], rules("get"));
        let labels = json!({"app.kubernetes.io/name": "operator"});
        assert_eq!(install["deployments"][0]["spec"]["template"]["metadata"]["labels"], labels);
        let images = json!([{"name": "weir-operator", "image": "operator@sha256:1"}, {"name": "weir", "image": "weir@sha256:2"}]);
        assert_eq!(spec["relatedImages"], images);
        assert_eq!(spec["minKubeVersion"], "1.30.0");
    }

    #[test]
    fn an_object_that_a_bundle_cannot_have_is_refused() {
        let mut objects = objects();
        objects.push(json!({"kind": "Secret"}));
        let refusal = version(&chart(), &Value::Null, &objects).unwrap_err().to_string();
        assert!(refusal.contains("found a Secret in the chart"), "{refusal}");
    }
}
