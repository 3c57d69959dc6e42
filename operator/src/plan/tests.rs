#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

const UID: &str = "u1";

fn owned(kind: Kind, name: &str, uid: &str, hash: &str, spec: Value) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": {
            "name": name,
            "annotations": {HASH: hash},
            "ownerReferences": [{"uid": uid, "kind": weir_manifest::KIND, "name": "shop", "controller": true}],
        },
        "spec": spec,
    })
}

fn desired(spec: Value) -> Object {
    let kind = Kind::StatefulSet;
    Object { kind, name: "shop".to_owned(), manifest: owned(kind, "shop", UID, "h", spec) }
}

fn found(uid: &str, hash: &str, spec: Value) -> Found {
    Found { kind: Kind::StatefulSet, manifest: owned(Kind::StatefulSet, "shop", uid, hash, spec) }
}

#[test]
fn objects_in_sync_need_no_step() {
    let spec = json!({
        "replicas": 2,
        "template": {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}}]}},
        "tolerations": [],
    });
    let with_defaults = json!({
        "replicas": 2,
        "revisionHistoryLimit": 10,
        "template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}, "spec": {"containers": [
            {"name": "a", "image": "x", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}},
        ]}},
    });
    assert_eq!(plan(vec![desired(spec)], &[found(UID, "h", with_defaults)], UID), []);
}

#[test]
fn changed_fields_are_repaired_and_reported() {
    let steps = plan(
        vec![desired(json!({"replicas": 2, "a": {"b": "x"}}))],
        &[found(UID, "h", json!({"replicas": 5}))],
        UID,
    );
    let [Step::Repair(_, differences)] = &steps[..] else { panic!("{steps:?}") };
    let texts: Vec<_> = differences.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["spec.a was missing, is other", "spec.replicas was 5, is 2"]);
}

#[test]
fn values_that_may_be_secret_are_not_reported() {
    let containers = |value: &str| {
        json!({"containers": [
            {"name": "a", "env": [{"name": "DSN", "value": value}], "args": [value], "command": [value]},
        ], "metadata": {"annotations": {"a": value}}, "replicas": value})
    };
    let texts: Vec<_> = differences(&desired(containers("expected")), &found(UID, "h", containers("found")))
        .iter()
        .flat_map(|difference| [difference.to_string(), difference.standing()])
        .collect();
    let (shown, hidden): (Vec<&String>, Vec<_>) = texts.iter().partition(|text| text.contains("replicas"));
    assert_eq!((shown.len(), hidden.len()), (2, 8), "{texts:?}");
    assert!(shown.iter().all(|text| text.contains("found") && text.contains("expected")), "{texts:?}");
    assert!(!hidden.iter().any(|text| text.contains("found") || text.contains("expected")), "{texts:?}");
}

#[test]
fn added_entries_are_found_and_removed() {
    let expected = json!({
        "ingress": [{"ports": [{"port": "http"}]}],
        "podSelector": {"matchLabels": {"app": "weir"}},
        "containers": [{"name": "a", "env": [{"name": "X", "value": "1"}], "args": ["serve"]}],
    });
    let present = json!({
        "ingress": [{"ports": [{"port": "http"}]}, {}],
        "podSelector": {"matchLabels": {"app": "weir", "none": "such"}},
        "containers": [
            {"name": "injected"},
            {"name": "a", "env": [{"name": "LD_PRELOAD", "value": "x"}, {"name": "X", "value": "1"}], "args": ["serve", "--more"]},
        ],
    });
    let found = Found { kind: Kind::NetworkPolicy, manifest: json!({"spec": present}) };
    let object =
        Object { kind: Kind::NetworkPolicy, name: "shop".to_owned(), manifest: json!({"spec": expected}) };
    let texts: Vec<_> = differences(&object, &found)
        .iter()
        .map(|difference| (difference.to_string(), difference.surplus().unwrap_or_default().to_owned()))
        .collect();
    let expected = [
        ("spec.containers[0].args[1] was added", "/spec/containers/1/args/1"),
        ("spec.containers[0].env[0] was added", "/spec/containers/1/env/0"),
        ("spec.containers[0] was added", "/spec/containers/0"),
        ("spec.ingress[1] was added", "/spec/ingress/1"),
        ("spec.podSelector.matchLabels.none was added", "/spec/podSelector/matchLabels/none"),
    ];
    let expected = expected.map(|(texts, pointer)| (texts.to_owned(), pointer.to_owned()));
    assert_eq!(texts, expected);
}

#[test]
fn orphaned_objects_are_adopted_or_deleted() {
    let labelled = |controller: bool, manager: &str| {
        let mut found = found("u0", "h", json!({}));
        found.manifest["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": manager});
        if !controller {
            found.manifest["metadata"]["ownerReferences"] = json!([]);
        }
        found
    };
    let object = desired(json!({}));
    let orphan = labelled(false, "weir-operator");
    assert_eq!(plan(vec![object.clone()], std::slice::from_ref(&orphan), UID), [Step::Adopt(object.clone())]);
    assert_eq!(plan(vec![], &[orphan], UID), [Step::Delete(Kind::StatefulSet, "shop".to_owned())]);
    for other in [labelled(true, "weir-operator"), labelled(false, "somebody")] {
        assert_eq!(plan(vec![], std::slice::from_ref(&other), UID), []);
        let steps = plan(vec![object.clone()], std::slice::from_ref(&other), UID);
        let owner = other.controller();
        assert_eq!(
            steps,
            [Step::NotOwned(NotOwned { kind: Kind::StatefulSet, name: "shop".to_owned(), owner })]
        );
    }
}

#[test]
fn a_changed_document_is_a_change_and_a_missing_object_is_created() {
    let object = desired(json!({"replicas": 2}));
    let steps = plan(vec![object.clone()], &[found(UID, "older", json!({"replicas": 2}))], UID);
    assert_eq!(steps, [Step::Change(object.clone())]);
    assert_eq!(plan(vec![object.clone()], &[], UID), [Step::Create(object)]);
}

#[test]
fn only_owned_objects_are_deleted_or_changed() {
    let own = found(UID, "h", json!({}));
    let not_owned = found("u2", "h", json!({}));
    assert_eq!(plan(vec![], &[own], UID), [Step::Delete(Kind::StatefulSet, "shop".to_owned())]);
    assert_eq!(plan(vec![], std::slice::from_ref(&not_owned), UID), []);
    // An object of the same name with another owner does not replace it.
    let budget = Found { kind: Kind::PodDisruptionBudget, manifest: found(UID, "h", json!({})).manifest };
    let steps = plan(vec![desired(json!({}))], &[found(UID, "h", json!({})), budget], UID);
    assert_eq!(steps, [Step::Delete(Kind::PodDisruptionBudget, "shop".to_owned())]);
    let steps = plan(vec![desired(json!({"replicas": 2}))], &[not_owned], UID);
    let not_owned = NotOwned {
        kind: Kind::StatefulSet,
        name: "shop".to_owned(),
        owner: Some((weir_manifest::KIND.to_owned(), "shop".to_owned())),
    };
    assert_eq!(steps, [Step::NotOwned(not_owned)]);
}

#[test]
fn quantities_are_compared_by_amount() {
    for (a, b) in [("1", "1000m"), ("0.1", "100m"), ("1Gi", "1024Mi"), ("1k", "1000"), ("1.5Gi", "1536Mi")] {
        assert!(same(&json!(a), &json!(b)), "{a} {b}");
    }
    assert!(same(&json!(1), &json!("1")) && !same(&json!("1"), &json!("1m")));
    assert!(!same(&json!("a"), &json!("b")) && !same(&json!(""), &json!(null)));
}
