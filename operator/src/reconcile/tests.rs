//! A whole pass: its conditions, and its timeouts.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use axum::http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use kube::core::error_boundary::DeserializeGuard;
use kube::runtime::reflector;
use serde_json::Value;
use weir_manifest::PipelineSpec;

use super::*;
use crate::metrics::Metrics;

fn context<F>(answer: impl Fn(Request<Body>) -> F + Clone + Send + 'static) -> Arc<Context>
where
    F: Future<Output = std::io::Result<Response<Body>>> + Send + 'static,
{
    let (pipelines, _) = reflector::store();
    let client = Client::new(tower::service_fn(answer), "shop");
    Arc::new(Context::new(client, "weir".to_owned(), "one".to_owned(), pipelines, Metrics::new().0))
}

fn shop(change: impl FnOnce(&mut PipelineSpec)) -> Arc<Resource> {
    let mut spec = PipelineSpec::default();
    change(&mut spec);
    let mut resource = ClickstreamPipeline::new("shop", spec);
    resource.metadata.namespace = Some("web".to_owned());
    let operator = Some("shop/weir-operator".to_owned());
    resource.status = Some(PipelineStatus { operator, ..PipelineStatus::default() });
    Arc::new(DeserializeGuard(Ok(resource)))
}

#[tokio::test(start_paused = true)]
async fn a_pass_ends_before_a_contender_would_take_over() {
    let began = tokio::time::Instant::now();
    let error = reconcile(shop(|_| {}), context(|_| std::future::pending())).await.unwrap_err();
    assert_eq!(error.reason(), "PassSlow");
    assert!(began.elapsed() < keeper::ANSWER_TIMEOUT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn workloads_that_cannot_be_read_are_unknown() {
    let written = Arc::new(Mutex::new(Value::Null));
    let log = Arc::clone(&written);
    let context = context(move |request| {
        let log = Arc::clone(&log);
        async move {
            let (method, writes) = (request.method().clone(), request.uri().path().ends_with("/status"));
            let lists_pipelines = request.uri().path().ends_with("/clickstreampipelines");
            let body = request.into_body().collect_bytes().await.unwrap();
            if writes && method == Method::PATCH {
                *log.lock().unwrap() = serde_json::from_slice(&body).unwrap();
                return Ok(Response::new(Body::from(body)));
            }
            if lists_pipelines {
                let items = r#"{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"apiVersion": "weir.dev/v1alpha1",
                    "kind": "ClickstreamPipeline", "metadata": {"name": "shop"}, "status": {"operator": "shop/weir-operator"}}]}"#;
                return Ok(Response::new(Body::from(items.as_bytes().to_vec())));
            }
            let refused = r#"{"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "may not", "code": 403}"#;
            Ok(Response::builder().status(403).body(Body::from(refused.as_bytes().to_vec())).unwrap())
        }
    });
    // The pass fails at the document, before the objects.
    let error = reconcile(shop(|spec| spec.topics.events.partitions = 0), context).await.unwrap_err();
    assert_eq!(error.reason(), "InvalidSpec");
    let written = written.lock().unwrap();
    let status_and_reason = |type_: &str| {
        let conditions = written["status"]["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == type_).unwrap();
        format!("{} {}", found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
    };
    for type_ in ["ProcessorAvailable", "GatewayAvailable", "GeneratorAvailable"] {
        assert_eq!(status_and_reason(type_), "Unknown Forbidden", "{type_}");
    }
    assert_eq!(
        (status_and_reason("Valid").as_str(), status_and_reason("Ready").as_str()),
        ("False InvalidSpec", "False InvalidSpec")
    );
}

#[tokio::test]
async fn a_pass_waits_for_the_watch_to_have_what_the_last_one_wrote() {
    let writes = Arc::new(Mutex::new(0));
    let log = Arc::clone(&writes);
    let context = context(move |request| {
        let reads = request.method() == Method::GET;
        *log.lock().unwrap() += u32::from(!reads);
        let lists_pipelines = request.uri().path().ends_with("/clickstreampipelines");
        let answer = match (reads, lists_pipelines) {
            (true, true) => Response::new(Body::from(
                br#"{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"apiVersion": "weir.dev/v1alpha1",
                "kind": "ClickstreamPipeline", "metadata": {"name": "shop", "resourceVersion": "7"}, "status": {"operator": "shop/weir-operator"}}]}"#
                    .to_vec(),
            )),
            _ => Response::builder().status(403).body(Body::from(br#"{"kind": "Status", "code": 403}"#.to_vec())).unwrap(),
        };
        std::future::ready(Ok(answer))
    });
    let of_version = |version: &str| {
        let mut resource = shop(|spec| spec.topics.events.partitions = 0).0.clone().unwrap();
        resource.metadata.resource_version = Some(version.to_owned());
        Arc::new(DeserializeGuard(Ok(resource)))
    };
    let action = reconcile(of_version("6"), Arc::clone(&context)).await.unwrap();
    assert_eq!((action, *writes.lock().unwrap()), (Action::requeue(BEHIND_INTERVAL), 0));
    reconcile(of_version("7"), context).await.unwrap_err();
    assert!(*writes.lock().unwrap() > 0);
}
