//! The documents in examples/ are valid and say what their names promise.
#![allow(clippy::unwrap_used)]

use weir_manifest::{DeadLetterPayload, Pipeline};

fn figures(text: &str) -> (Pipeline, [f64; 4]) {
    let p = Pipeline::from_yaml(text).unwrap();
    let (events, rate) = (&p.spec.topics.events, p.spec.generator.events_per_second);
    let figures = [events.partitions.into(), events.replicas.into(), p.spec.processor.replicas.into(), rate];
    (p, figures)
}

#[test]
fn development() {
    let (pipeline, figures) = figures(include_str!("../../../examples/development.yaml"));
    assert_eq!(figures, [3.0, 1.0, 2.0, 100.0]);
    assert!(pipeline.topics().iter().all(|topic| topic.replicas == 1));
    assert!(pipeline.warnings().is_empty());
    assert_eq!(pipeline.supported(), Ok(()));
}

#[test]
fn production() {
    let (pipeline, figures) = figures(include_str!("../../../examples/production.yaml"));
    assert_eq!(figures, [12.0, 3.0, 8.0, 1_000.0]);
    assert!(pipeline.topics().iter().all(|topic| topic.replicas == 3));
    assert_eq!(pipeline.dead_letter_payload(), DeadLetterPayload::Omit);
    assert!(pipeline.warnings().is_empty());
    assert_eq!(pipeline.supported(), Ok(()));
}

#[test]
fn what_cannot_be_done_is_told_by_its_field() {
    let text = include_str!("../../../examples/development.yaml");
    let encrypted = text.replacen("  kafka:\n", "  kafka:\n    tls: {}\n", 1);
    let told = Pipeline::from_yaml(&encrypted).unwrap().supported().unwrap_err();
    assert_eq!(told.problems().iter().map(|problem| &*problem.path).collect::<Vec<_>>(), ["spec.kafka.tls"]);
}
