//! The pipeline's generations: which is the newest, whether the document begins the next one, and what is reported of it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use weir_analytics::DecisiveSettings;
use weir_analytics::decisive::Difference;
use weir_analytics::generation::{self, Next};
use weir_kafka::admin::{AdminError, Claimant, EndedGeneration, Owner};
use weir_log::{Generation, Generations};
use weir_manifest::{
    ClickstreamPipeline, FIRST_GENERATION, GenerationStatus, Pipeline, PipelineStatus, State,
};

use super::{Outcome, topics};
use crate::Error;
use crate::conditions::{Condition, ConditionStatus, ConditionType, EventNote};
use crate::kafka::Connection;

/// Reads what is recorded; nothing while the pipeline is in its first generation.
pub(super) async fn read(connection: &Connection, pipeline: &Pipeline) -> Result<Generations, Error> {
    let topic = pipeline.generations_topic();
    let name = topic.clone();
    let found = connection.administer(move |admin| admin.describe_topics(&[&name])).await?;
    if found.is_empty() {
        return Ok(Generations::default());
    }
    connection.generations(topic).await
}

/// The number of the newest generation: never before the one that the status knows, also if its record is lost.
pub(super) fn newest_number(recorded: Option<&Generations>, status: &PipelineStatus) -> u32 {
    let recorded = recorded.and_then(Generations::newest).map_or(FIRST_GENERATION, |newest| newest.number);
    recorded.max(known_number(status))
}

fn known_number(status: &PipelineStatus) -> u32 {
    status.generation.as_ref().map_or(FIRST_GENERATION, |known| known.number)
}

/// The generation that the document's settings begin. `counted`: processors run with the document, so that in the first generation its
/// settings are those that are counted with. Those that only have it may refuse what others committed before they ended.
pub(super) async fn next(
    connection: &Connection,
    pipeline: &Pipeline,
    key: Option<&[u8]>,
    recorded: &Generations,
    counted: bool,
) -> Result<Option<Next>, Error> {
    // A document without the key that it needs was refused earlier.
    let Ok(decisive) = DecisiveSettings::of(pipeline, key) else { return Ok(None) };
    let committed = match recorded.newest() {
        Some(_) => None,
        None if counted => return Ok(None),
        None => committed_settings(connection, &pipeline.in_generation(FIRST_GENERATION)).await?,
    };
    let now = Timestamp::now().as_millisecond();
    let next = generation::next(&decisive, recorded, committed.as_deref(), now);
    match next.map_err(Error::GenerationCannotEnd)? {
        Some(next) if next.difference.repartitioned => {
            let before = recorded.newest().map(|newest| newest.settings.as_str()).or(committed.as_deref());
            let why = before.and_then(|before| decisive.refusal(before)).unwrap_or_default();
            Err(Error::StateDiffers { topic: pipeline.events_topic().to_owned(), why })
        }
        next => Ok(next),
    }
}

async fn committed_settings(connection: &Connection, pipeline: &Pipeline) -> Result<Option<String>, Error> {
    connection.committed_settings(pipeline.windows_group(), pipeline.events_topic().to_owned()).await
}

/// Records generations after those that are recorded; returns all.
pub(super) async fn record(
    connection: &Connection,
    pipeline: &Pipeline,
    recorded: &Generations,
    declared: Vec<Generation>,
) -> Result<Generations, Error> {
    let mut all = recorded.clone();
    all.extend(declared.clone());
    connection.record_generations(pipeline.generations_topic(), recorded.clone(), declared).await?;
    Ok(all)
}

/// Whether the record of the generation that the status knows is lost.
pub(super) fn is_lost(recorded: &Generations, status: &PipelineStatus) -> bool {
    recorded.get(known_number(status)).is_none() && known_number(status) > FIRST_GENERATION
}

pub(super) fn lost(pipeline: &Pipeline, status: &PipelineStatus) -> Error {
    Error::GenerationLost { topic: pipeline.generations_topic(), number: known_number(status) }
}

/// Makes a lost record again, from what the status knows of it and what its processors have committed. Those before it have ended.
pub(super) async fn restore(
    connection: &Connection,
    pipeline: &Pipeline,
    key: Option<&[u8]>,
    recorded: &Generations,
    status: &PipelineStatus,
) -> Result<Generations, Error> {
    let (number, lost) = (known_number(status), || lost(pipeline, status));
    let cut = status.generation.as_ref().and_then(|known| known.cut.as_ref()?.parse::<Timestamp>().ok());
    let cut = cut.ok_or_else(lost)?.as_millisecond();
    let settings = match committed_settings(connection, &pipeline.in_generation(number)).await? {
        Some(settings) => settings,
        None => DecisiveSettings::of(pipeline, key).map_err(|_| lost())?.committed(true).to_owned(),
    };
    let now = Timestamp::now().as_millisecond();
    let restored = |number| Generation::declared(number, &settings, now).after(cut);
    record(connection, pipeline, recorded, (FIRST_GENERATION..=number).map(restored).collect()).await
}

/// Reports the newest generation in the status, its condition, and an event when it begins. Returns whether it takes over just now:
/// within the `deadline`, unless it waits for the pipeline to run.
pub(super) fn report(
    resource: &ClickstreamPipeline,
    recorded: &Generations,
    outcome: &mut Outcome,
    deadline: Duration,
) -> bool {
    let Some(newest) = recorded.newest().filter(|newest| newest.number > FIRST_GENERATION) else {
        // The condition of an edit that was taken back.
        let reported = outcome.status.conditions.iter().any(is_of_generation);
        if reported && !outcome.conditions.iter().any(|found| found.type_ == ConditionType::Generation) {
            outcome.replace(Condition::new(
                ConditionType::Generation,
                ConditionStatus::True,
                "First",
                "the settings are those that results were counted with from the beginning",
            ));
        }
        return false;
    };
    let known = outcome.status.generation.take().filter(|known| known.number == newest.number);
    let status = GenerationStatus {
        number: newest.number,
        cut: newest.cut.map(time),
        told_after: known.and_then(|known| known.told_after).filter(|_| newest.cut.is_some()),
    };
    let takes_over = status.told_after.is_none() && resource.spec.state == State::Running;
    // That of settings that could not begin the next one stands.
    if !outcome.conditions.iter().any(|found| found.type_ == ConditionType::Generation) {
        outcome.conditions.push(condition(newest, &status, resource.spec.state));
    }
    outcome.status.generation = Some(status);
    let before = resource.status.clone().unwrap_or_default();
    // A resource that is new over a pipeline that has run begins nothing.
    if before.observed_generation.is_some() {
        let begun = recorded.iter().filter(|one| one.number > known_number(&before));
        let notes: Vec<_> = begun.filter_map(|one| Some(began(recorded.get(one.number - 1)?, one))).collect();
        outcome.notes.extend(notes);
    }
    let since = Timestamp::now().as_millisecond() - newest.declared;
    takes_over && u128::try_from(since).is_ok_and(|since| since < deadline.as_millis())
}

fn is_of_generation(condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> bool {
    condition.type_ == ConditionType::Generation.as_str()
}

fn began(before: &Generation, begun: &Generation) -> EventNote {
    let Difference { before, now, .. } = Difference::between(&before.settings, &begun.settings);
    let mut note = format!("generation {} begins: {before} before, {now} now", begun.number);
    if let Some(cut) = begun.cut {
        note += &format!(". Its results are of windows that end after {}", time(cut));
    }
    EventNote { warning: false, reason: "GenerationBegan".to_owned(), action: "BeginGeneration", note }
}

fn condition(newest: &Generation, status: &GenerationStatus, state: State) -> Condition {
    let (number, before) = (newest.number, newest.number - 1);
    let when = if state == State::Suspended { " once spec.state is Running" } else { "" };
    let taking_over = |message| {
        Condition::new(ConditionType::Generation, ConditionStatus::FalseForNow, "TakingOver", message)
    };
    let Some(cut) = &status.cut else {
        return taking_over(format!(
            "generation {number} takes over{when}: its processors emit the windows of generation {before} that are complete, read the \
             events that are there again, and go on after the last of these windows; no results come meanwhile"
        ));
    };
    let Some(told_after) = &status.told_after else {
        return taking_over(format!(
            "generation {number} takes over{when}: the last window of generation {before} ends at {cut}, and its processors read the events \
             that are there again; results come once all partitions have read beyond it. On a site without visitors that can be with the next events"
        ));
    };
    let mut message = match newest.cut {
        Some(1..) => {
            format!(
                "results of generation {number} are of windows that end after {cut}; those before are of earlier ones"
            )
        }
        _ => format!("results of generation {number} are of all windows: those before it emitted none"),
    };
    if told_after != cut {
        message += &format!(
            "; windows that end after that and up to {told_after} are left out, because retention had deleted events that they need"
        );
    }
    Condition::new(ConditionType::Generation, ConditionStatus::True, "TakenOver", message)
}

/// Adds what the newest generation leaves out to the status, once its processors know it: it has taken over.
pub(super) async fn find_gap(
    connection: &Connection,
    pipeline: &Pipeline,
    recorded: &Generations,
    outcome: &mut Outcome,
) {
    let known = outcome.status.generation.as_ref();
    if !known.is_some_and(|known| known.cut.is_some() && known.told_after.is_none()) {
        return;
    }
    let Some(newest) = recorded.newest() else { return };
    let (group, topic) = (pipeline.windows_group(), pipeline.events_topic().to_owned());
    let told_after = connection.told_after(group, topic).await;
    let Ok(Some(told_after)) = told_after else { return };
    let Some(status) = &mut outcome.status.generation else { return };
    status.told_after = Some(time(told_after));
    let found = condition(newest, status, State::Running);
    if newest.cut.is_some_and(|cut| cut < told_after) {
        let (reason, note) = ("WindowsLeftOut".to_owned(), found.message.clone());
        outcome.notes.push(EventNote { warning: true, reason, action: "BeginGeneration", note });
    }
    outcome.replace(found);
}

/// Deletes the internal topics and groups of generations that ended longer ago than results are kept, but those up to `cleared`, of which
/// nothing is left. Returns the last one of which nothing is left now. What Kafka refuses is a warning, and is tried again.
pub(super) async fn delete_ended(
    connection: &Connection,
    pipeline: &Pipeline,
    claimant: Claimant,
    recorded: &Generations,
    cleared: u32,
    outcome: &mut Outcome,
) -> u32 {
    let before = Timestamp::now().as_millisecond() - pipeline.spec.topics.results.retention.as_millis();
    let ended: Vec<u32> = recorded.ended_before(before).filter(|&number| number > cleared).collect();
    let Some(&last) = ended.last() else { return cleared };
    let created: Vec<_> = outcome.status.topics.iter().filter(|topic| topic.created).cloned().collect();
    let (document, numbers) = (pipeline.clone(), ended.clone());
    let deleted = connection.administer(move |admin| {
        admin.delete_ended(&document, &numbers, |topic, id, owner: Option<&Owner>| match owner {
            Some(owner) => owner.ours && owner.is(&claimant),
            None => created.iter().any(|own| own.name == topic && own.topic_id.as_deref() == Some(id)),
        })
    });
    match deleted.await {
        Ok(deleted) => {
            for EndedGeneration { number, topics } in deleted {
                let note = format!("generation {number} has ended: {}", topics.join(", "));
                outcome.notes.push(topics::event_note("TopicsDeleted", note));
            }
            let gone =
                ended.into_iter().flat_map(|number| pipeline.in_generation(number).topics_of_generation());
            let gone: Vec<String> = gone.map(|spec| spec.name).collect();
            outcome.status.topics.retain(|topic| !gone.contains(&topic.name));
            return last;
        }
        Err(Error::Kafka(error)) if way_out(&error).is_some() => warn_of_left(&error, outcome),
        Err(error) => {
            outcome.error.get_or_insert(error);
        }
    }
    cleared
}

/// What lets Kafka delete what it has refused to delete.
fn way_out(refused: &AdminError) -> Option<String> {
    match refused {
        AdminError::Refused { topic, doing: "delete", .. } => {
            Some(format!("grant the operator's user Delete on the topic {topic}, or delete the topic"))
        }
        AdminError::Refused { topic, .. } => {
            Some(format!("grant the operator's user Describe on the topic {topic}"))
        }
        AdminError::GroupRefused { group, .. } => Some(format!(
            "grant the operator's user Delete on the group {group}, or delete the group; end processors that still run in it"
        )),
        _ => None,
    }
}

/// Adds to the condition that something of ended generations could not be deleted.
fn warn_of_left(refused: &AdminError, outcome: &mut Outcome) {
    let way_out = way_out(refused).unwrap_or_default();
    let left = format!("; topics and groups of ended generations are left: {refused}: {way_out}");
    let mut conditions = outcome.conditions.iter_mut();
    if let Some(condition) = conditions.find(|found| found.type_ == ConditionType::Generation) {
        condition.message += &left;
        if condition.status == ConditionStatus::True {
            condition.status = ConditionStatus::TrueWithWarning;
            condition.reason = "EndedTopicsLeft".to_owned();
        }
    }
}

fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
