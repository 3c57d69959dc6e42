//! Applying objects when the API server answers with errors.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::reconcile::server::server;

fn config_map(name: &str) -> Object {
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    Object { kind: Kind::ConfigMap, name: name.to_owned(), manifest }
}

/// Creates two objects; returns the error and the requests until then.
async fn refused(status: u16, body: &'static str) -> (Error, Vec<String>) {
    let (context, asked) = server(status, body);
    let desired = vec![config_map("first"), config_map("second")];
    let error = apply(&context, "shop", "uid", Vec::new(), desired, false).await.unwrap_err();
    let asked = asked.lock().unwrap().clone();
    (error, asked)
}

#[tokio::test]
async fn a_refused_write_is_reported_with_its_object_and_ends_the_pass() {
    for (status, body, reason, words) in [
        (
            403,
            r#"{"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "may not patch", "code": 403}"#,
            "Forbidden",
            "may not patch",
        ),
        (
            500,
            r#"{"kind": "Status", "status": "Failure", "reason": "InternalError", "message": "etcd is away", "code": 500}"#,
            "ApiRefused",
            "etcd is away",
        ),
        (200, "no JSON", "ApiUnreachable", "apply ConfigMap first"),
        (502, "<html>bad gateway</html>", "ApiRefused", "bad gateway"),
    ] {
        let (error, asked) = refused(status, body).await;
        let message = error.to_string();
        assert_eq!(error.reason(), reason, "{message}");
        assert!(message.contains("ConfigMap first") && message.contains(words), "{message}");
        assert_eq!(asked, ["PATCH /api/v1/namespaces/shop/configmaps/first"]);
    }
}

#[tokio::test]
async fn only_replicas_are_written_while_another_pipeline_is_rolled() {
    let answer = r#"{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "shop"}, "spec": {"replicas": 3}}"#;
    let (context, asked) = server(200, answer);
    let workload = |kind: Kind, replicas: i32, image: &str| {
        let owners = json!([{"uid": "uid", "controller": true}]);
        let metadata = json!({"name": "shop", "ownerReferences": owners});
        let spec = json!({"replicas": replicas, "template": image});
        Object { kind, name: "shop".to_owned(), manifest: json!({"metadata": metadata, "spec": spec}) }
    };
    let found = |object: Object| Found { kind: object.kind, manifest: object.manifest };
    let present =
        vec![found(workload(Kind::StatefulSet, 2, "old")), found(workload(Kind::Deployment, 1, "old"))];
    let desired =
        [config_map("shop"), workload(Kind::StatefulSet, 3, "new"), workload(Kind::Deployment, 1, "new")];
    let applied = scale(&context, "shop", "uid", present, &desired).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["PATCH /apis/apps/v1/namespaces/shop/statefulsets/shop"]);
    assert_eq!(applied.objects[&(Kind::StatefulSet, "shop".to_owned())].number("/spec/replicas"), 3);
    assert_eq!(applied.objects.len(), 2);
    assert_eq!(applied.notes[0].note, "StatefulSet shop: 3 pods, were 2");
}

#[tokio::test]
async fn deleting_an_object_that_is_gone_succeeds() {
    let (context, asked) = server(
        404,
        r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "none", "code": 404}"#,
    );
    delete(&context, "shop", Kind::ConfigMap, "first").await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["DELETE /api/v1/namespaces/shop/configmaps/first"]);
}
