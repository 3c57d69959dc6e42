#![allow(clippy::unwrap_used)]

use weir_manifest::PipelineSpec;

use super::*;
use crate::conditions;

const DEADLINE: Duration = Duration::from_secs(300);
const SETTINGS: [&str; 2] = ["size 300000 ms, slide 10000 ms", "size 60000 ms, slide 10000 ms"];

/// Generations with these cuts, declared at `time`.
fn generations(cuts: &[Option<i64>], time: i64) -> Generations {
    Generations::of((1..).zip(cuts).map(|(number, cut)| {
        let declared = Generation::declared(number, SETTINGS[(number as usize + 1) % 2], time);
        cut.map_or(declared.clone(), |cut| declared.after(cut))
    }))
}

/// A pipeline whose status knows this generation, or nothing yet.
fn shop(known: Option<(u32, Option<&str>)>) -> ClickstreamPipeline {
    let mut resource = ClickstreamPipeline::new("shop", PipelineSpec::default());
    resource.status = known.map(|(number, told_after)| PipelineStatus {
        observed_generation: Some(1),
        generation: (number > FIRST_GENERATION).then(|| GenerationStatus {
            number,
            cut: told_after.map(str::to_owned),
            told_after: told_after.map(str::to_owned),
        }),
        ..PipelineStatus::default()
    });
    resource
}

fn reported(resource: &ClickstreamPipeline, recorded: &Generations) -> (Outcome, bool) {
    let mut outcome = Outcome {
        status: resource.status.clone().unwrap_or_default(),
        conditions: Vec::new(),
        notes: Vec::new(),
        error: None,
        progressing: false,
        waiting: false,
    };
    let takes_over = report(resource, recorded, &mut outcome, DEADLINE);
    (outcome, takes_over)
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

#[test]
fn a_generation_is_told_once_as_an_event() {
    let notes = |known, cuts: &[Option<i64>]| -> Vec<String> {
        let notes = reported(&shop(known), &generations(cuts, now())).0.notes;
        notes.into_iter().map(|note| format!("{}: {}", note.reason, note.note)).collect()
    };
    let second = "GenerationBegan: generation 2 begins: window.size 5m before, window.size 1m now";
    assert_eq!(notes(Some((1, None)), &[Some(0), None]), [second]);
    assert_eq!(notes(Some((2, None)), &[Some(0), None]), [] as [&str; 0]);
    // After a while without an operator.
    let ended = notes(Some((1, None)), &[Some(0), Some(60_000), None]);
    assert_eq!(ended[0], format!("{second}. Its results are of windows that end after 1970-01-01T00:01:00Z"));
    assert_eq!(ended[1], "GenerationBegan: generation 3 begins: window.size 1m before, window.size 5m now");
    // A resource that is applied again over its topics.
    assert_eq!(notes(None, &[Some(0), None]), [] as [&str; 0]);
}

#[test]
fn a_generation_that_takes_over_is_looked_at_often_but_not_for_ever() {
    let takes_over = |resource: &ClickstreamPipeline, cut, age: i64| {
        let (outcome, takes_over) = reported(resource, &generations(&[Some(0), cut], now() - age));
        let condition = outcome.conditions.last().unwrap().clone();
        let is_awaited = outcome.status.generation.unwrap().told_after.is_none();
        assert_eq!(condition.status == ConditionStatus::FalseForNow, is_awaited, "{condition:?}");
        takes_over
    };
    let running = shop(Some((2, None)));
    assert!(takes_over(&running, None, 1_000) && !takes_over(&running, None, 301_000));
    let taken_over = shop(Some((2, Some("1970-01-01T00:00:00.005Z"))));
    assert!(takes_over(&running, Some(5), 1_000) && !takes_over(&taken_over, Some(5), 1_000));
    let mut suspended = running;
    suspended.spec.state = State::Suspended;
    assert!(!takes_over(&suspended, None, 1_000));
    let (outcome, _) = reported(&suspended, &generations(&[Some(0), None], now()));
    assert!(outcome.conditions[0].message.contains("takes over once spec.state is Running"));
}

#[test]
fn what_is_left_out_is_told_and_forgotten_with_the_next_generation() {
    let message = |told_after: &str| {
        let resource = shop(Some((2, Some(told_after))));
        let outcome = reported(&resource, &generations(&[Some(0), Some(60_000)], 0)).0;
        (outcome.status.generation.unwrap().told_after, outcome.conditions[0].message.clone())
    };
    let cut = "1970-01-01T00:01:00Z";
    let (known, text) = message(cut);
    assert!(known.as_deref() == Some(cut) && !text.contains("left out"), "{text}");
    let (_, text) = message("1970-01-01T00:09:00Z");
    assert!(text.contains("up to 1970-01-01T00:09:00Z are left out"), "{text}");
    let next = reported(&shop(Some((2, Some(cut)))), &generations(&[Some(0), Some(60_000), None], 0)).0;
    let expected = GenerationStatus { number: 3, ..GenerationStatus::default() };
    assert_eq!(next.status.generation, Some(expected));
}

#[test]
fn the_condition_of_settings_that_cannot_begin_stands_until_they_are_taken_back() {
    let error = Error::GenerationCannotEnd("no size".to_owned());
    let condition = Condition::of(ConditionType::Generation, &error);
    let mut resource = shop(Some((1, None)));
    let mut reported_status = resource.status.clone().unwrap();
    reported_status.conditions =
        conditions::merged(&[], std::slice::from_ref(&condition), 1, Timestamp::UNIX_EPOCH);
    resource.status = Some(reported_status);
    let (mut outcome, _) = reported(&resource, &Generations::default());
    assert_eq!(
        (outcome.conditions[0].status, &*outcome.conditions[0].reason),
        (ConditionStatus::True, "First")
    );
    for recorded in [Generations::default(), generations(&[Some(0), Some(5)], 0)] {
        outcome.conditions = vec![condition.clone()];
        report(&resource, &recorded, &mut outcome, DEADLINE);
        assert_eq!(outcome.conditions, std::slice::from_ref(&condition));
    }
    // Without such a condition before, a pipeline in its first generation has none.
    assert_eq!(reported(&shop(Some((1, None))), &Generations::default()).0.conditions, []);
}

#[test]
fn the_newest_generation_is_never_before_the_known_one() {
    let status = |known| shop(Some((known, None))).status.unwrap();
    let two = generations(&[Some(0), None], 0);
    assert_eq!(newest_number(None, &status(1)), 1);
    assert_eq!(newest_number(None, &status(3)), 3);
    assert_eq!(newest_number(Some(&two), &status(1)), 2);
    assert_eq!(newest_number(Some(&Generations::default()), &status(2)), 2);
    assert!(is_lost(&Generations::default(), &status(2)) && is_lost(&two, &status(3)));
    assert!(!is_lost(&two, &status(2)) && !is_lost(&two, &status(1)));
    assert!(!is_lost(&Generations::default(), &status(1)));
}
