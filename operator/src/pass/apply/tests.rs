//! What an API server may answer besides what is asked for.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector;
use serde_json::json;

use super::*;
use crate::metrics::Metrics;

/// An API server without any object, which answers what is written with this status and body; and what it was asked.
fn server(status: u16, body: &'static str) -> (Context, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let answer = tower::service_fn(move |request: Request<Body>| {
        let reads = request.method() == "GET";
        if !reads {
            log.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        }
        let empty = r#"{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}"#;
        let none = r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "none", "code": 404}"#;
        let (status, body) = match (reads, request.uri().query()) {
            (true, Some(_)) => (200, empty),
            (true, None) => (404, none),
            (false, _) => (status, body),
        };
        let answer = Response::builder().status(status).body(Body::from(body.as_bytes().to_vec())).unwrap();
        std::future::ready(Ok::<_, std::io::Error>(answer))
    });
    let client = Client::new(answer, "shop");
    let (pipelines, _) = reflector::store();
    (Context::new(client, "weir".to_owned(), "one".to_owned(), pipelines, Metrics::new().0), asked)
}

fn config_map(name: &str) -> Object {
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    Object { kind: Kind::ConfigMap, name: name.to_owned(), manifest }
}

/// The error and what had been asked for by then, where two objects are to be made.
async fn refused(status: u16, body: &'static str) -> (Error, Vec<String>) {
    let (context, asked) = server(status, body);
    let desired = vec![config_map("first"), config_map("second")];
    let error = apply(&context, "shop", "shop", "uid", desired, false).await.unwrap_err();
    let asked = asked.lock().unwrap().clone();
    (error, asked)
}

#[tokio::test]
async fn a_refused_write_is_told_with_its_object_and_ends_the_pass() {
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
async fn what_is_gone_already_is_deleted() {
    let (context, asked) = server(
        404,
        r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "none", "code": 404}"#,
    );
    delete(&context, "shop", Kind::ConfigMap, "first").await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["DELETE /api/v1/namespaces/shop/configmaps/first"]);
}
