//! The member's transactions.

use weir_log::{Committed, Error, Output};

use super::{Member, Transaction};
use crate::fault::Fault;
use crate::partition::StoredRecord;

impl Member {
    /// Fails unless a transaction is open; one that failed stays so until `restart`.
    pub(super) fn expect_open(&self) -> Result<(), Error> {
        match self.transaction {
            Transaction::Open => Ok(()),
            Transaction::None => Err(Error::fatal("no transaction is open; begin one first")),
            Transaction::Failed => Err(Error::abort("the transaction failed; restart first")),
        }
    }

    pub(super) fn try_commit(&mut self, offsets: &[(i32, Committed)]) -> Result<(), Error> {
        let mut state = self.broker.lock();
        let id = &self.options.transactional_id;
        let fault = state.commit_fault(id);
        if fault == Some(Fault::CommitLost) {
            return Err(Error::abort("the commit had no answer"));
        }
        if !offsets.is_empty() {
            let member = (&*self.options.group, self.id, self.generation);
            state.enlist_offsets((id, self.epoch), member, &self.options.topic, offsets)?;
        }
        let Some(producer) = state.producers.get_mut(id) else { return Ok(()) };
        if producer.open.is_some() || producer.epoch != self.epoch {
            producer.check(id, self.epoch)?;
        }
        match fault {
            Some(Fault::CommitLate) => {
                producer.late = Some(self.epoch);
                return Err(Error::abort("the commit had no answer"));
            }
            Some(Fault::MarkersLate) => state.decide(id, true),
            _ => state.end(id, true),
        }
        self.broker.wake();
        match fault {
            Some(Fault::CommitUnknown) => Err(Error::abort("the commit had no answer")),
            _ => Ok(()),
        }
    }

    pub(super) fn stored(output: Output) -> StoredRecord {
        let headers = output.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        StoredRecord { offset: 0, timestamp: 0, key: output.key, value: output.value, headers }
    }
}
