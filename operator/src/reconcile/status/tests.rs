//! Which parts of the status are written.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use axum::http::{Method, Request, Response, header::CONTENT_TYPE};
use kube::Client;
use kube::client::Body;
use kube::core::error_boundary::DeserializeGuard;
use kube::runtime::reflector;
use weir_manifest::{Contender, PipelineSpec};

use super::*;
use crate::conditions::{ConditionStatus, ConditionType};
use crate::metrics::Metrics;

const ME: &str = "shop/weir-operator";

/// Recorded writes: content type and body.
type Writes = Arc<Mutex<Vec<(String, Value)>>>;

/// A fake API server with one pipeline, kept by the first of these operators; each write passes it to the next one and is refused.
fn server(keepers: &'static [&'static str]) -> (Context, Writes) {
    let writes = Writes::default();
    let log = Arc::clone(&writes);
    let answer = tower::service_fn(move |request: Request<Body>| {
        let log = Arc::clone(&log);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let mut writes = log.lock().unwrap();
            let keeper = keepers[writes.len().min(keepers.len() - 1)];
            let metadata = json!({"name": "shop", "namespace": "web", "uid": "1", "resourceVersion": writes.len().to_string()});
            let object = json!({"apiVersion": "weir.dev/v1alpha1", "kind": "ClickstreamPipeline", "metadata": metadata, "status": {"operator": keeper}});
            let (status, answer) = if parts.method == Method::GET {
                (200, json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [object]}))
            } else {
                let type_ = parts.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
                writes.push((type_, serde_json::from_slice(&body).unwrap()));
                let conflict = json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "message": "older", "code": 409});
                if writes.len() < keepers.len() { (409, conflict) } else { (200, object) }
            };
            let answer = Body::from(answer.to_string().into_bytes());
            Ok::<_, std::io::Error>(Response::builder().status(status).body(answer).unwrap())
        }
    });
    let client = Client::new(answer, "shop");
    let (pipelines, _) = reflector::store();
    (Context::new(client, "weir".to_owned(), "one".to_owned(), pipelines, Metrics::new().0), writes)
}

fn shop() -> ClickstreamPipeline {
    let mut resource = ClickstreamPipeline::new("shop", PipelineSpec::default());
    resource.metadata.namespace = Some("web".to_owned());
    resource.metadata.uid = Some("1".to_owned());
    resource.status = Some(kept());
    resource
}

/// The status at the start of a pass.
fn kept() -> PipelineStatus {
    let contender = Some(Contender { operator: "web/other".to_owned(), since: "2026-11-30".to_owned() });
    PipelineStatus { operator: Some(ME.to_owned()), contender, ..PipelineStatus::default() }
}

async fn written(keepers: &'static [&'static str]) -> (bool, Vec<(String, Value)>) {
    let (context, writes) = server(keepers);
    let condition = Condition::new(ConditionType::Valid, ConditionStatus::True, "Valid", "");
    let done = write(&context, &shop(), kept(), &[condition]).await.unwrap();
    let writes = writes.lock().unwrap().clone();
    (done, writes)
}

#[tokio::test]
async fn a_pass_does_not_write_the_keeper() {
    let (done, writes) = written(&[ME]).await;
    assert!(done && writes.len() == 1, "{writes:?}");
    let (type_, body) = &writes[0];
    assert_eq!(type_, "application/apply-patch+yaml");
    assert_eq!(body["status"]["conditions"][0]["type"], "Valid");
    assert!(body["status"].get("operator").is_none() && body["status"].get("contender").is_none(), "{body}");
}

#[tokio::test]
async fn a_running_pass_writes_nothing_after_a_takeover() {
    let (done, writes) = written(&["web/other"]).await;
    assert!(!done && writes.is_empty(), "{writes:?}");
    // Others write something, and then the pipeline is released.
    let (done, writes) = written(&[ME, ME, ""]).await;
    assert!(!done, "{writes:?}");
    let versions: Vec<_> = writes.iter().map(|(_, body)| &body["metadata"]["resourceVersion"]).collect();
    assert_eq!(versions, ["0", "1"]);
}

#[tokio::test]
async fn undecodable_parts_of_a_status_are_removed() {
    let (context, writes) = server(&[ME]);
    let unread = DynamicObject::new("shop", &kube::core::ApiResource::erase::<ClickstreamPipeline>(&()))
        .data(json!({
            "status": {"operator": ME, "contender": "of another kind", "autoscaling": 7, "conditions": []},
        }));
    let before = readable(&unread);
    let resource = DeserializeGuard(Ok(shop()));
    let condition = Condition::new(ConditionType::Valid, ConditionStatus::False, "Undecodable", "");
    refused(&context, &resource, before, &[condition]).await.unwrap();
    let writes = writes.lock().unwrap();
    let (type_, body) = &writes[0];
    assert_eq!(type_, "application/merge-patch+json");
    let status = body["status"].as_object().unwrap();
    for field in ["autoscaling", "contender"] {
        assert_eq!(status.get(field), Some(&Value::Null), "{field}");
    }
    // Whom others see keeping it stays as it is.
    assert!(!status.contains_key("operator"), "{body}");
}
