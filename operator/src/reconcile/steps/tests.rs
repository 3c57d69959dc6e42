#![allow(clippy::unwrap_used)]

use k8s_openapi::jiff::Timestamp;
use weir_manifest::PipelineSpec;

use super::*;
use crate::conditions;

/// A resource of the third generation, whose status has this of the generation `seen`.
fn shop(seen: i64, verdict: Verdict) -> ClickstreamPipeline {
    let mut resource = ClickstreamPipeline::new("shop", PipelineSpec::default());
    resource.metadata.generation = Some(3);
    let conditions = conditions::merged(&[], &[verdict], seen, Timestamp::UNIX_EPOCH);
    resource.status = Some(PipelineStatus { conditions, ..PipelineStatus::default() });
    resource
}

/// Else what the newest document asks for the first time would be told as something that was taken away.
#[test]
fn objects_are_settled_by_the_newest_document_alone() {
    let verdict = |aspect, truth| Verdict::new(aspect, truth, "Said", "so");
    let synced = |truth| verdict(Aspect::ObjectsSynced, truth);
    assert!(rollout::is_settled(&shop(3, synced(Truth::Yes))));
    assert!(!rollout::is_settled(&shop(2, synced(Truth::Yes))), "synced before the document changed");
    assert!(!rollout::is_settled(&shop(3, synced(Truth::No))));
    assert!(!rollout::is_settled(&shop(3, verdict(Aspect::TopicsSynced, Truth::Yes))));
    assert!(!rollout::is_settled(&ClickstreamPipeline::new("shop", PipelineSpec::default())));
}
