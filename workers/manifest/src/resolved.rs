//! What follows from a document, decided here once for the operator and the workers.

use crate::{DeadLetterPayload, Duration, Pipeline, Problem, SpecError, State, rules};

/// Time between snapshots of a partition's state, unless windows are longer or retention is short.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(300);

impl Pipeline {
    /// Whether dead letters carry the original bytes: as the document says, else only where `pii` hides nothing.
    pub fn dead_letter_payload(&self) -> DeadLetterPayload {
        let unsaid = if self.spec.pii.hides() { DeadLetterPayload::Omit } else { DeadLetterPayload::Keep };
        self.spec.dead_letters.payload.unwrap_or(unsaid)
    }

    /// How many processors to start: none when suspended, never more than the events topic has partitions.
    pub fn processor_replicas(&self) -> i32 {
        match self.spec.state {
            State::Running => self.spec.processor.replicas.min(self.spec.topics.events.partitions),
            State::Suspended => 0,
        }
    }

    /// The time between snapshots of a partition's state: once a window, where windows are not short, because by then most of the state is
    /// new; four times before retention deletes what a restart would have to read again.
    pub fn snapshot_interval(&self) -> Duration {
        let kept = self.spec.topics.events.retention.as_millis();
        self.spec.window.size.max(SNAPSHOT_INTERVAL).min(Duration::from_millis(kept / 4))
    }

    /// What is allowed but worth saying, such as replicas that are not started.
    pub fn warnings(&self) -> Vec<Problem> {
        rules::warnings(self)
    }

    /// Whether this version can do what the document asks for.
    ///
    /// # Errors
    /// The fields that it cannot act upon.
    pub fn supported(&self) -> Result<(), SpecError> {
        let problems = rules::unsupported(self);
        if problems.is_empty() { Ok(()) } else { Err(SpecError::Invalid(problems)) }
    }
}
