//! Timeouts of the deletion of topics.
#![allow(clippy::unwrap_used)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use weir_manifest::{PipelineSpec, PipelineStatus};

use super::*;
use crate::reconcile::server::server;

/// A pipeline that was deleted this long ago, with an unreachable Kafka: the Secret that it needs does not exist.
fn deleted(ago: SignedDuration) -> ClickstreamPipeline {
    let mut spec = PipelineSpec { deletion_policy: DeletionPolicy::Delete, ..PipelineSpec::default() };
    spec.kafka.sasl =
        serde_json::from_value(json!({"mechanism": "PLAIN", "secretRef": {"name": "none"}})).unwrap();
    let mut resource = ClickstreamPipeline::new("shop", spec);
    resource.metadata.namespace = Some("web".to_owned());
    resource.metadata.uid = Some("uid".to_owned());
    resource.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    resource.metadata.deletion_timestamp = Some(Time(Timestamp::now() - ago));
    let created = TopicStatus { name: "shop.state".to_owned(), created: true, ..TopicStatus::default() };
    resource.status = Some(PipelineStatus { topics: vec![created], ..PipelineStatus::default() });
    resource
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_was_down_retries_before_it_leaves_topics() {
    let body =
        r#"{"apiVersion": "weir.dev/v1alpha1", "kind": "ClickstreamPipeline", "metadata": {"name": "shop"}}"#;
    let (context, asked) = server(200, body);
    let resource = deleted(SignedDuration::from_hours(1));
    let released = || {
        let path = "PATCH /apis/weir.dev/v1alpha1/namespaces/web/clickstreampipelines/shop";
        asked.lock().unwrap().iter().any(|asked| asked == path)
    };
    for _ in 0..2 {
        let error = cleanup(&context, &resource).await.unwrap_err();
        assert_eq!(error.reason(), "SecretMissing");
        assert!(!released(), "{asked:?}");
        tokio::time::advance(TOPICS_TIMEOUT / 3).await;
    }
    // The cause is reported meanwhile.
    let status = "PATCH /apis/weir.dev/v1alpha1/namespaces/web/clickstreampipelines/shop/status";
    assert!(asked.lock().unwrap().iter().any(|asked| asked == status), "{asked:?}");
    tokio::time::advance(TOPICS_TIMEOUT / 3).await;
    cleanup(&context, &resource).await.unwrap();
    assert!(released(), "{asked:?}");
}
