//! A resource that does not fit the operator's types.

use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt};
use weir_manifest::PipelineStatus;

use super::cleanup;
use super::status::refused;
use crate::conditions::{self, Condition, ConditionType, EventNote};
use crate::context::{Context, Resource};
use crate::{Error, events};

/// Reports a resource that cannot be decoded.
pub(super) async fn report(
    context: &Context,
    resource: &Resource,
    before: PipelineStatus,
    invalid: &InvalidObject,
) -> Result<Action, Error> {
    let error = Error::Undecodable(invalid.error.clone());
    let finalizers = resource.finalizers();
    if resource.meta().deletion_timestamp.is_some() {
        if finalizers.iter().any(|name| name == cleanup::FINALIZER) {
            let note = format!("all of its topics: {error}");
            let event_note =
                EventNote { warning: true, reason: "TopicsLeft".to_owned(), action: "DeleteTopics", note };
            events::emit(&context.client, &context.instance, resource.object_ref(&()), &[event_note]).await;
            let others: Vec<String> =
                finalizers.iter().filter(|name| *name != cleanup::FINALIZER).cloned().collect();
            let namespace = resource.namespace().unwrap_or_default();
            let version = resource.resource_version();
            cleanup::write_finalizers(&context.client, &namespace, &resource.name_any(), version, &others)
                .await?;
        }
        return Ok(Action::await_change());
    }
    let condition = Condition::of(ConditionType::Valid, &error);
    let conditions = [conditions::ready(std::slice::from_ref(&condition)), condition];
    refused(context, resource, before, &conditions).await?;
    Err(error)
}
