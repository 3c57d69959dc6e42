//! What follows from a document, decided here once for the operator and the workers.

use crate::{DeadLetterPayload, Pipeline, Problem, SpecError, State, rules};

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

    /// What is allowed but worth saying, such as replicas that are not started.
    pub fn remarks(&self) -> Vec<Problem> {
        rules::remarks(self)
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
