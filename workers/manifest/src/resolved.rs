//! Values derived from a document, for the operator and the workers.

use crate::{DeadLetterPayload, Duration, Pipeline, Problem, SpecError, State, rules};

/// Time between snapshots of a partition's state, unless windows are longer or retention is short.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(300);

impl Pipeline {
    /// Whether dead letters carry the original bytes: as specified; by default only if `pii` hides nothing.
    pub fn dead_letter_payload(&self) -> DeadLetterPayload {
        let default = if self.spec.pii.hides() { DeadLetterPayload::Omit } else { DeadLetterPayload::Keep };
        self.spec.dead_letters.payload.unwrap_or(default)
    }

    /// The number of processors to start: none when suspended, at most the number of event partitions.
    pub fn processor_replicas(&self) -> i32 {
        match self.spec.state {
            State::Running => self.spec.processor.replicas.min(self.spec.topics.events.partitions),
            State::Suspended => 0,
        }
    }

    /// The time between snapshots of a partition's state: once per window, because by then most of the state is new, but not more often
    /// than the default interval; at least four times before retention deletes the events that a restart would read again.
    pub fn snapshot_interval(&self) -> Duration {
        let kept = self.spec.topics.events.retention.as_millis();
        self.spec.window.size.max(SNAPSHOT_INTERVAL).min(Duration::from_millis(kept / 4))
    }

    /// Problems that do not make the document invalid, such as replicas that are not started.
    pub fn warnings(&self) -> Vec<Problem> {
        rules::warnings(self)
    }

    /// Checks that this version supports everything in the document.
    ///
    /// # Errors
    /// The unsupported fields.
    pub fn supported(&self) -> Result<(), SpecError> {
        let problems = rules::unsupported(self);
        if problems.is_empty() { Ok(()) } else { Err(SpecError::Invalid(problems)) }
    }
}
