//! The operator's RBAC: the chart's rules are sufficient, and each is necessary.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use support::{Operator, cluster, condition, get, kubectl, pipeline};

/// Log lines of the operators in this process.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn capture_logs() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let logs = tracing_subscriber::fmt().with_ansi(false).with_writer(|| LogWriter);
        logs.with_env_filter("info,kube_client=off").init();
    });
}

/// All rules of the chart's roles: the pipelines' and the lease's.
fn rules() -> Vec<Value> {
    let template = include_str!("../../charts/weir/templates/rbac.yaml");
    let roles = template.split("\n---\n").filter_map(|document| document.split_once("\nrules:\n"));
    let parsed = roles.map(|(_, rules)| serde_saphyr::from_str::<Vec<Value>>(rules).unwrap());
    let rules: Vec<Value> = parsed.flatten().collect();
    assert_eq!(rules.len(), 16);
    rules
}

/// Creates a namespace with an operator's service account that has these rules; returns the account's kubeconfig.
fn account(namespace: &str, rules: &[Value]) -> std::path::PathBuf {
    let meta = json!({"name": "weir", "namespace": namespace});
    let group = "rbac.authorization.k8s.io";
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pii", "namespace": namespace}, "stringData": {"key": "sixteen letters!"}}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": meta, "rules": rules}),
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "weir"},
            "subjects": [{"kind": "ServiceAccount", "name": "weir", "namespace": namespace}],
        }),
    ] {
        cluster().apply(&object.to_string()).unwrap();
    }
    cluster().as_service_account(namespace, "weir").unwrap()
}

/// A pipeline whose life needs every rule.
const SPEC: &str = "deletionPolicy: Delete, gateway: {ingress: {host: shop.example}, httpRoute: {parentRefs: [{name: web}]}},
    pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}},
    processor: {replicas: 2, autoscaling: {mode: Lag, minReplicas: 3}}";

/// Creates, changes and deletes a pipeline, until it is gone or `done`. Returns whether it is gone.
fn run_lifecycle(ns: &str, name: &str, done: &dyn Fn() -> bool) -> bool {
    cluster().apply(&pipeline(ns, name, SPEC)).unwrap();
    let until = |holds: &dyn Fn() -> bool| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !holds() && !done() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        holds()
    };
    let completed = until(&|| {
        condition(ns, name, "ObjectsSynced") == "True Synced"
            && get(ns, "statefulset", "{.items[*].spec.replicas}") == "3"
    });
    if completed {
        let patch = r#"{"spec":{"gateway":{"replicas":0},"processor":{"replicas":1,"autoscaling":{"minReplicas":1}}}}"#;
        kubectl(ns, &["patch", "csp", name, "--type=merge", "--patch", patch]);
    }
    let shrunk = completed
        && until(&|| {
            get(ns, "deployment,service,pdb,ingress,httproute", "{.items[*].metadata.name}")
                == format!("{name}-generator")
        });
    if shrunk {
        kubectl(ns, &["delete", "csp", name, "--wait=false"]);
    }
    shrunk && until(&|| get(ns, &format!("csp/{name}"), "{.metadata.name}").is_empty())
}

/// Whether the status or the log reports that this is forbidden.
fn is_reported(ns: &str, name: &str, verb: &str, resource: &str) -> bool {
    let status = get(ns, &format!("csp/{name}"), "{.status.conditions}");
    if resource.ends_with("/finalizers") {
        return status.contains("can't set finalizers on");
    }
    let missing = format!("cannot {verb} resource \"{resource}\"");
    let escaped = missing.replace('"', "\\\"");
    let place = [format!("namespace \"{ns}\""), format!("namespace \\\"{ns}\\\"")];
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    let mut lines = log.lines().chain([status.as_str()]);
    lines.any(|line| {
        (line.contains(&missing) || line.contains(&escaped)) && place.iter().any(|place| line.contains(place))
    })
}

#[test]
fn the_charts_rules_are_sufficient_and_each_is_necessary() {
    capture_logs();
    support::install_gateway_api();
    let rules = rules();
    let golden = account("golden", &rules);
    let operator = Operator::start_as("golden", &golden, |client| client);
    let completed = run_lifecycle("golden", "golden-shop", &|| false);
    drop(operator);
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    assert!(completed && !log.contains("forbidden"), "{log}");

    let mut cases = Vec::new();
    for (i, rule) in rules.iter().enumerate() {
        for resource in rule["resources"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                cases.push((i, resource.as_str().unwrap(), verb.as_str().unwrap()));
            }
        }
    }
    let next = Mutex::new(cases.into_iter().enumerate());
    let unreported = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let Some((n, (i, resource, verb))) = next.lock().unwrap().next() else { break };
                    let ns = format!("without-{n:02}");
                    let config = account(&ns, &without(&rules, i, resource, verb));
                    let operator = Operator::start_as(&ns, &config, |client| client);
                    let name = format!("shop-{n:02}");
                    let is_done = || is_reported(&ns, &name, verb, resource);
                    run_lifecycle(&ns, &name, &is_done);
                    if !is_done() {
                        unreported.lock().unwrap().push(format!("{verb} {resource}"));
                    }
                    // Without its lease the operator may end by itself.
                    operator.end();
                }
            });
        }
    });
    let unreported = unreported.into_inner().unwrap();
    assert!(unreported.is_empty(), "removed without effect: {unreported:#?}");
}

/// The rules without one verb on one resource.
fn without(rules: &[Value], at: usize, resource: &str, verb: &str) -> Vec<Value> {
    let mut left = rules.to_vec();
    let rule = left.remove(at);
    let drop = |list: &Value, gone: &str| {
        Value::from(
            list.as_array().unwrap().iter().filter(|entry| *entry != gone).cloned().collect::<Vec<_>>(),
        )
    };
    let mut others = rule.clone();
    others["resources"] = drop(&rule["resources"], resource);
    let mut this = rule.clone();
    this["resources"] = json!([resource]);
    this["verbs"] = drop(&rule["verbs"], verb);
    left.extend([others, this].into_iter().filter(|rule| {
        rule["resources"].as_array().is_some_and(|list| !list.is_empty())
            && rule["verbs"].as_array().is_some_and(|list| !list.is_empty())
    }));
    left
}

#[test]
fn kubernetes_own_roles_get_the_charts_rights() {
    let chart = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/weir").display().to_string();
    let roles = cluster().helm(&["template", "weir", &chart, "--show-only", "templates/roles.yaml"]).unwrap();
    cluster().apply(&roles).unwrap();
    let (ns, name) = (support::namespace("roles"), "roles-shop");
    cluster().apply(&pipeline(&ns, name, "")).unwrap();
    for role in ["view", "edit", "admin"] {
        let (role_of, user) = (format!("--clusterrole={role}"), format!("--user={role}"));
        kubectl(&ns, &["create", "rolebinding", role, &role_of, &user]);
    }
    // `None` if the command succeeded, else the error.
    let refusal = |user: &str, arguments: &[&str]| {
        let mut all = vec!["--as", user, "--namespace", ns.as_str()];
        all.extend(arguments);
        cluster().kubectl(&all).err().map(|error| error.to_string())
    };
    let get = ["get", "csp", name];
    let annotate = ["annotate", "--overwrite", "csp", name, "weir.dev/paused=true"];
    support::await_that("the roles are aggregated", || {
        refusal("view", &get).is_none() && refusal("edit", &annotate).is_none()
    });
    let scale = ["scale", "csp", name, "--replicas=3"];
    let spec = r#"{"spec": {"state": "Suspended"}}"#;
    let patch = ["patch", "csp", name, "--type=merge", "--patch", spec];
    let forged = r#"{"status": {"operator": "nobody"}}"#;
    let status = ["patch", "csp", name, "--subresource=status", "--type=merge", "--patch", forged];
    let read = ["get", "csp", name, "--subresource=status"];
    let all = ["auth", "can-i", "deletecollection", "clickstreampipelines.weir.dev"];
    for (user, action, allowed) in [
        ("view", &read[..], true),
        ("view", &annotate[..], false),
        ("view", &patch[..], false),
        ("view", &scale[..], false),
        ("view", &status[..], false),
        ("edit", &get[..], true),
        ("edit", &annotate[..], true),
        ("edit", &patch[..], true),
        ("edit", &scale[..], true),
        ("edit", &status[..], false),
        ("admin", &get[..], true),
        ("admin", &patch[..], true),
        ("admin", &status[..], false),
        ("edit", &all[..], false),
        ("admin", &all[..], true),
    ] {
        let refusal = refusal(user, action);
        assert_eq!(refusal.is_none(), allowed, "{user} {action:?}: {refusal:?}");
        let is_forbidden = |refusal: String| refusal.contains("(Forbidden)") || refusal.ends_with("no\n");
        assert!(refusal.is_none_or(is_forbidden), "{user} {action:?}");
    }
}
