//! The chart, with a real helm: rendering, refused values, and its life cycle on a real API server.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use weir_cluster::{Cluster, Programs, Settings};

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/weir")
}

/// Runs helm without a cluster: its output, or its error.
fn helm(arguments: &[&str]) -> Result<String, String> {
    let helm = Programs::control().unwrap().helm().unwrap();
    let output = Command::new(helm).args(arguments).arg(chart()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The API version that a cluster with the definition reports.
const KNOWN: &str = "weir.dev/v1alpha1/ClickstreamPipeline";

fn rendered(values: &[&str]) -> Result<String, String> {
    let mut arguments = vec!["template", "weir", "--namespace", "analytics"];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    helm(&arguments)
}

#[test]
fn the_chart_passes_lint() {
    let output = helm(&["lint", "--strict", "--set", "kafka.mode=three"]).unwrap();
    assert!(output.contains("0 chart(s) failed"), "{output}");
}

/// Each file of values in charts/weir/tests has the reviewed manifests beside it.
#[test]
fn rendered_manifests_equal_the_reviewed_ones() {
    let folder = chart().join("tests");
    let mut cases = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = name.strip_suffix(".values.yaml") else { continue };
        cases += 1;
        let values = path.display().to_string();
        // The definition is generated, and compared by `cargo xtask crds --check`.
        let arguments = [
            "template",
            "weir",
            "--namespace",
            "analytics",
            "--api-versions",
            KNOWN,
            "--set",
            "crds.install=false",
            "--values",
            &values,
        ];
        let rendered_text = helm(&arguments).unwrap();
        let file = folder.join(format!("{name}.yaml"));
        let rendered_text = without_rights(&rendered_text);
        // WEIR_REVIEW=1 writes the rendered manifests, to be reviewed as a difference of the file.
        if std::env::var_os("WEIR_REVIEW").is_some() {
            fs::write(&file, &rendered_text).unwrap();
        }
        let reviewed = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            rendered_text == reviewed,
            "{name}: run the test again with WEIR_REVIEW=1 and look at the difference"
        );
    }
    assert!(cases >= 3, "only {cases} files of values");
}

/// Without the operator's permissions, which its own tests cover.
fn without_rights(manifests: &str) -> String {
    let documents = manifests
        .split("---\n")
        .filter(|document| !document.starts_with("# Source: weir/templates/rbac.yaml"));
    documents.collect::<Vec<_>>().join("---\n")
}

#[test]
fn wrong_values_are_refused_by_name() {
    for (values, expected) in [
        ("scope=all", "at '/scope': value must be one of 'namespace', 'cluster'"),
        ("kafka.mode=triple", "at '/kafka/mode': value must be one of 'none', 'single', 'three'"),
        ("kafka.storage.size=4", "at '/kafka/storage/size': got number, want string"),
        ("image.digest=1a2b", "at '/image/digest': '1a2b' does not match pattern"),
        ("replica=2", "additional properties 'replica' not allowed"),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("sample.enabled=true", "sample.enabled needs a Kafka: set kafka.mode"),
        (
            "kafka.mode=single,sample.enabled=true",
            "needs the cluster to know ClickstreamPipelines: install without it",
        ),
        ("serviceAccount.create=false", "serviceAccount.name must say which service account"),
    ] {
        let refusal = rendered(&[values]).unwrap_err();
        assert!(refusal.contains(expected), "{values}: {refusal}");
    }
}

#[test]
fn a_digest_is_used_instead_of_the_tag() {
    let digest = format!("sha256:{}", "1a2b".repeat(16));
    let manifests = rendered(&["image.tag=1.2.3", &format!("image.digest={digest}")]).unwrap();
    // The operator's, and that of the hook of `helm uninstall`.
    assert_eq!(manifests.matches(&format!("image: \"weir-operator@{digest}\"\n")).count(), 2, "{manifests}");
    assert!(!manifests.contains("1.2.3"), "{manifests}");
}

/// The life cycle on a real API server without nodes: no pod runs, but every object is validated and stored.
#[test]
fn the_chart_is_installed_upgraded_rolled_back_and_removed() {
    let cluster = Cluster::start_with(&Settings { controllers: true, ..Settings::default() }).unwrap();
    let path = chart().display().to_string();
    let kubectl = |words: &str| cluster.kubectl(&words.split(' ').collect::<Vec<_>>());
    let helm = |words: &str| {
        let mut arguments: Vec<_> = words.split(' ').collect();
        arguments.extend(["--namespace", "analytics"]);
        cluster.helm(&arguments)
    };

    let notes = helm(&format!("install weir {path} --create-namespace --set kafka.mode=single")).unwrap();
    assert!(notes.contains("kubectl -n analytics apply -f examples/development.yaml"), "{notes}");
    kubectl("wait --for=condition=Established crd/clickstreampipelines.weir.dev --timeout=60s").unwrap();
    kubectl("get statefulset kafka -n analytics").unwrap();
    let image = "get deployment weir-operator -n analytics -o jsonpath={..containers[0].image}";
    assert_eq!(kubectl(image).unwrap(), "weir-operator:0.1.0");

    // A user's pipeline stays as it is, whatever happens to the release.
    cluster
        .apply(
            "{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {name: mine, namespace: analytics}, \
             spec: {kafka: {bootstrapServers: ['kafka:9092']}}}",
        )
        .unwrap();
    let uid = "get csp mine -n analytics -o jsonpath={.metadata.uid}";
    let mine = kubectl(uid).unwrap();

    let notes =
        helm(&format!("upgrade weir {path} --reuse-values --set image.tag=0.2.0 --set sample.enabled=true"))
            .unwrap();
    assert!(notes.contains("kubectl -n analytics get csp shop --watch"), "{notes}");
    assert_eq!(kubectl(image).unwrap(), "weir-operator:0.2.0");
    kubectl("get csp shop -n analytics").unwrap();
    helm("rollback weir 1").unwrap();
    assert_eq!(kubectl(image).unwrap(), "weir-operator:0.1.0");
    assert_eq!(kubectl(uid).unwrap(), mine);

    // No pod runs here, so the hook would not end; the operator's tests cover it.
    helm("uninstall weir --no-hooks").unwrap();
    assert!(kubectl("get deployment weir-operator -n analytics").is_err());
    kubectl("get crd clickstreampipelines.weir.dev").unwrap();
    assert_eq!(kubectl(uid).unwrap(), mine);

    // The API server also accepts the reviewed manifests of other values, with every field known.
    for reviewed in ["tests/defaults.yaml", "tests/trial.yaml", "tests/whole.yaml", "../../examples/hpa.yaml"]
    {
        let file = chart().join(reviewed).display().to_string();
        let arguments = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            &file,
        ];
        cluster.kubectl(&arguments).unwrap();
    }

    // A new release takes over the existing objects.
    helm(&format!("install weir {path} --set scope=cluster --set replicas=2")).unwrap();
    assert_eq!(kubectl(uid).unwrap(), mine);
}
