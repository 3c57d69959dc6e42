//! Events of a pipeline as Kubernetes events.

use k8s_openapi::api::{core::v1::ObjectReference, events::v1::Event};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::conditions::{EventNote, shortened};
use crate::object::MANAGER;

/// Emits each note as an event of its own. Failures are only logged: the status has the same information.
///
/// kube's recorder is not used: it aggregates events that differ only in their text.
pub(crate) async fn emit(client: &Client, instance: &str, reference: ObjectReference, notes: &[EventNote]) {
    let namespace = reference.namespace.as_deref().unwrap_or("default");
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    for note in notes {
        let event = event(instance, &reference, note);
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            tracing::warn!(%error, reason = note.reason, note = note.note, "could not emit an event");
        }
    }
}

fn event(instance: &str, about: &ObjectReference, note: &EventNote) -> Event {
    let now = Timestamp::now();
    let name = about.name.as_deref().unwrap_or_default();
    Event {
        action: Some(note.action.to_owned()),
        event_time: Some(MicroTime(now)),
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: about.namespace.clone(),
            ..ObjectMeta::default()
        },
        note: Some(shortened(&note.note, 1_000)),
        reason: Some(note.reason.clone()),
        regarding: Some(about.clone()),
        reporting_controller: Some(format!("weir.dev/{MANAGER}")),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}
