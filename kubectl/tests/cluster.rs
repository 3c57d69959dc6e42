//! The plugin against a real API server.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, UdpSocket},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use weir_cluster::Cluster;

const DEFINITION: &str = include_str!("../../crds/clickstreampipelines.weir.dev.yaml");
const PIPELINE: &str = "{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {name: shop, namespace: default}, spec: {kafka: \
                        {bootstrapServers: ['kafka:9092']}}}";

/// A cluster with a pipeline, without an operator.
struct Fixture {
    cluster: Cluster,
}

impl Fixture {
    fn new() -> Self {
        let cluster = Cluster::start().unwrap();
        cluster.apply(DEFINITION).unwrap();
        let name = "customresourcedefinition/clickstreampipelines.weir.dev";
        cluster.kubectl(&["wait", "--for=condition=Established", name, "--timeout=60s"]).unwrap();
        let fixture = Self { cluster };
        await_that("the kind is served", || fixture.cluster.apply(PIPELINE).is_ok());
        fixture
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(arguments).unwrap()
    }

    fn weir(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-weir"));
        command.args(arguments).env("KUBECONFIG", self.cluster.kubeconfig()).output().unwrap()
    }

    /// The output of a command that succeeds.
    #[track_caller]
    fn output_of(&self, arguments: &[&str]) -> String {
        let output = self.weir(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Serves this response at an address of this machine that is not loopback, which the API server's proxy requires.
fn gateway(answer: &'static str) -> Option<(String, u16)> {
    let route = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("198.51.100.1:9")?;
        socket.local_addr()
    });
    let address = route.ok()?.ip();
    let listener = TcpListener::bind((address, 0)).ok()?;
    let port = listener.local_addr().ok()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let length = answer.len();
            let _ = write!(
                reader.into_inner(),
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
            );
        }
    });
    Some((address.to_string(), port))
}

#[test]
fn status_doctor_pause_restart_and_support_bundle() {
    let fixture = Fixture::new();
    let status = r#"{"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Running",
        "message": "all conditions are met", "lastTransitionTime": "2026-01-01T00:00:00Z"}], "processor": {"replicas": 2,
        "readyReplicas": 2}, "topics": [{"name": "shop.results", "partitions": 3, "created": true, "topicID": "abc"}]}}"#;
    fixture.kubectl(&["patch", "csp", "shop", "--subresource=status", "--type=merge", "--patch", status]);

    // The gateway does not respond yet, which is reported as a problem.
    let page = fixture.output_of(&["status", "shop"]);
    assert!(page.contains("shop  namespace default  generation 1, the operator has seen 1"), "{page}");
    assert!(page.contains("all conditions are met") && page.contains("processors: 2 of 2 ready"), "{page}");
    assert!(
        page.contains("shop.results") && page.contains("gateway: the gateway does not answer (404)"),
        "{page}"
    );
    let doctor = fixture.weir(&["doctor", "shop"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8(doctor.stdout).unwrap().starts_with("- the gateway does not answer"));

    let health = r#"{"reason": null, "lag": 3, "window_age_ms": 9000, "late": 2, "warnings": [], "partitions": [{"partition": 0, "lag": 3}]}"#;
    let (address, port) = gateway(health).expect("an address of this machine that is not loopback");
    fixture
        .cluster
        .apply(&format!(
            "apiVersion: v1
kind: ServiceAccount
metadata: {{name: default, namespace: default}}
---
apiVersion: v1
kind: Pod
metadata: {{name: gateway, namespace: default}}
spec: {{containers: [{{name: gateway, image: weir}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop-gateway, namespace: default}}
spec: {{ports: [{{name: http, port: 80, targetPort: {port}}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: shop-gateway, namespace: default}}
subsets: [{{addresses: [{{ip: {address}, targetRef: {{kind: Pod, name: gateway, namespace: default}}}}], ports: [{{name: http, port: {port}}}]}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: shop-gateway-1, namespace: default, labels: {{kubernetes.io/service-name: shop-gateway}}}}
addressType: IPv4
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: gateway, namespace: default}}}}]
ports: [{{name: http, port: {port}}}]
"
        ))
        .unwrap();
    // The proxy connects to addresses of pods only.
    let running = format!(
        r#"{{"status": {{"phase": "Running", "podIP": "{address}", "podIPs": [{{"ip": "{address}"}}]}}}}"#
    );
    fixture.kubectl(&[
        "patch",
        "pod",
        "gateway",
        "--subresource=status",
        "--type=merge",
        "--patch",
        &running,
    ]);
    await_that("the gateway answers through the API server", || {
        fixture
            .output_of(&["status", "shop"])
            .contains("gateway: ready; the newest window ended 9s ago; 3 events wait")
    });
    let doctor = fixture.output_of(&["doctor", "shop"]);
    assert!(doctor.starts_with("- note: 2 events missed all of their windows"), "{doctor}");

    let paused = || fixture.kubectl(&["get", "csp", "shop", "--output=jsonpath={.metadata.annotations}"]);
    fixture.output_of(&["pause", "shop"]);
    assert!(paused().contains(r#""weir.dev/paused":"true""#), "{}", paused());
    let doctor = fixture.weir(&["doctor", "shop"]);
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("`kubectl weir resume shop` ends that"));
    fixture.output_of(&["resume", "shop"]);
    assert!(!paused().contains("weir.dev/paused"), "{}", paused());

    let nothing = fixture.weir(&["restart", "shop"]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("shop has no pods to roll"));
    let labels = "{app.kubernetes.io/name: weir, app.kubernetes.io/instance: shop}";
    let template = format!(
        "{{metadata: {{labels: {labels}}}, spec: {{containers: [{{name: processor, image: weir, args: [--token, hunter2], env: [{{name: MY_DSN, value: hunter2}}]}}]}}}}"
    );
    fixture
        .cluster
        .apply(&format!(
            "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: shop, namespace: default, labels: {labels}}}
spec: {{serviceName: shop, selector: {{matchLabels: {labels}}}, template: {template}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop-gateway, namespace: default, labels: {labels}}}
spec: {{selector: {{matchLabels: {labels}}}, template: {template}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: shop-pii, namespace: default, labels: {labels}}}
stringData: {{key: hunter2}}
"
        ))
        .unwrap();
    assert_eq!(
        fixture.output_of(&["restart", "shop"]),
        "rolling StatefulSet shop, Deployment shop-gateway\n"
    );
    for object in ["statefulset/shop", "deployment/shop-gateway"] {
        let annotations =
            fixture.kubectl(&["get", object, "--output=jsonpath={.spec.template.metadata.annotations}"]);
        assert!(annotations.contains("kubectl.kubernetes.io/restartedAt"), "{object}: {annotations}");
    }

    // A neighbour whose name has the pipeline's as prefix, and an object of the pipeline.
    for (kind, name) in
        [("StatefulSet", "shop"), ("Pod", "shop-7"), ("Pod", "shop-eu-0"), ("ClickstreamPipeline", "shop-eu")]
    {
        let event = format!(
            "{{apiVersion: v1, kind: Event, metadata: {{name: about-{}-{name}, namespace: default}}, involvedObject: {{kind: {kind}, name: \
             {name}, namespace: default}}, type: Warning, reason: Said, message: of {kind} {name}., lastTimestamp: '{}'}}",
            kind.to_lowercase(),
            jiff::Timestamp::now().strftime("%FT%TZ")
        );
        fixture.cluster.apply(&event).unwrap();
    }
    fixture
        .cluster
        .apply(&format!(
            "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: shop-gateway, namespace: default, labels: {labels}}}
spec: {{defaultBackend: {{service: {{name: shop-gateway, port: {{number: 80}}}}}}}}
"
        ))
        .unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.tar");
    fixture.output_of(&["support-bundle", "shop", "--output", file.to_str().unwrap()]);
    let tar = |arguments: &[&str]| {
        let output = Command::new("tar").args(arguments).arg("-f").arg(&file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let list = tar(&["-t"]);
    for name in [
        "doctor.txt",
        "status.txt",
        "pipeline.json",
        "health.json",
        "events.txt",
        "objects/StatefulSet-shop.json",
        "objects/Ingress-shop-gateway.json",
    ] {
        assert!(list.lines().any(|line| line == format!("shop-support/{name}")), "{name}: {list}");
    }
    let all = tar(&["-x", "-O"]);
    assert!(all.contains("all conditions are met") && all.contains("MY_DSN"), "{all}");
    assert!(!all.contains("hunter2") && !all.contains("Secret-"), "{all}");
    assert!(all.contains("of StatefulSet shop.") && all.contains("of Pod shop-7."), "{all}");
    assert!(!all.contains("shop-eu"), "{all}");
    // This cluster has no HTTPRoute, which is no error.
    assert!(!list.contains("HTTPRoute"), "{list}");
}

#[test]
fn missing_pipelines_gateways_and_clusters_are_reported() {
    let fixture = Fixture::new();
    let error_of = |arguments: &[&str]| {
        let output = fixture.weir(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error_of(&["status", "other"]).contains("there is no pipeline other in namespace default"));
    assert!(
        error_of(&["pause", "shop", "-n", "elsewhere"])
            .contains("there is no pipeline shop in namespace elsewhere")
    );
    assert!(error_of(&["top", "shop"]).contains("the gateway does not answer"));
    assert!(error_of(&["status", "shop", "--kubeconfig", "/nowhere"]).contains("cannot read /nowhere"));
    fixture.kubectl(&["delete", "crd", "clickstreampipelines.weir.dev"]);
    await_that("the kind is not served any more", || {
        error_of(&["status", "shop"]).contains("the cluster knows no ClickstreamPipeline")
    });
}
