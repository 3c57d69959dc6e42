//! A fake API server for the tests of a step: set answers, and recorded requests.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector;

use crate::context::Context;
use crate::metrics::Metrics;

/// A fake API server with one pipeline that this operator keeps, which answers writes with this status and body; and its requests.
pub(super) fn server(status: u16, body: &'static str) -> (Context, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let answer = tower::service_fn(move |request: Request<Body>| {
        let reads = request.method() == "GET";
        if !reads {
            log.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        }
        let empty = r#"{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}"#;
        let none = r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "none", "code": 404}"#;
        let kept = r#"{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"apiVersion": "weir.dev/v1alpha1",
            "kind": "ClickstreamPipeline", "metadata": {"name": "shop", "uid": "uid"}, "status": {"operator": "shop/weir-operator"}}]}"#;
        let of_pipelines = request.uri().path().ends_with("/clickstreampipelines");
        let (status, body) = match (reads, request.uri().query()) {
            (true, Some(_)) if of_pipelines => (200, kept),
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
