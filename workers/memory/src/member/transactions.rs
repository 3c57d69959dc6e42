//! The member's transactions.

use weir_log::{Committed, Error, Output};

use super::{Careless, Member, Transaction};
use crate::fault::Fault;
use crate::partition::StoredRecord;
use crate::producer::Request;

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
        let (group, topic) = (&self.options.group, &self.options.topic);
        let generation = (self.careless != Some(Careless::NoGeneration)).then_some(self.generation);
        if fault == Some(Fault::CommitHangs) {
            let (group, topic, offsets) = (group.clone(), topic.clone(), offsets.to_vec());
            let request = Request::Commit { group, member: self.id, generation, topic, offsets };
            state.hold(id, self.epoch, request);
            return Err(Error::abort("the commit had no answer: it did not return"));
        }
        if !offsets.is_empty() {
            state.enlist_offsets((id, self.epoch), (group, self.id, generation), topic, offsets)?;
        }
        let Some(producer) = state.producers.get_mut(id) else { return Ok(()) };
        if producer.open.is_some() || producer.epoch != self.epoch {
            producer.check(id, self.epoch)?;
        }
        match fault {
            Some(Fault::CommitLate) => {
                state.hold(id, self.epoch, Request::End);
                return Err(Error::abort("the commit had no answer"));
            }
            Some(Fault::MarkersLate) => state.decide(id, true),
            _ => state.end(id, true),
        }
        match fault {
            Some(Fault::CommitTwice) => {
                state.hold(id, self.epoch, Request::End);
                self.may_be_under_way = true;
            }
            Some(Fault::BeginTwice) => state.hold(id, self.epoch, Request::Begin),
            _ => {}
        }
        self.broker.wake();
        match fault {
            Some(Fault::CommitUnknown) => Err(Error::abort("the commit had no answer")),
            _ => Ok(()),
        }
    }

    /// A member that was fenced after a restart that it gave up was perhaps fenced by that, and may restart again.
    pub(super) fn fenced_by_itself(&mut self, error: Error) -> Error {
        let Error::Fatal(why) = error else { return error };
        let state = self.broker.lock();
        let producer = state.producers.get(&self.options.transactional_id);
        if self.unanswered == 0 || producer.is_none_or(|producer| producer.epoch == self.epoch) {
            return Error::Fatal(why);
        }
        self.unanswered -= 1;
        Error::Abort(why)
    }

    pub(super) fn stored(output: Output) -> StoredRecord {
        let headers = output.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        StoredRecord { offset: 0, timestamp: 0, key: output.key, value: output.value, headers }
    }
}
