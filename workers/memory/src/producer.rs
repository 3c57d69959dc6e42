//! The transaction coordinator's state of one transactional id.

use std::collections::BTreeSet;

use weir_log::{Committed, Error};

/// A transaction that has reached the broker.
#[derive(Debug)]
pub(super) struct Open {
    /// Unique over the broker's life.
    pub(super) number: u64,
    /// When it began, by the broker's clock.
    pub(super) since: i64,
    /// The partitions it wrote to.
    pub(super) partitions: BTreeSet<(String, i32)>,
    /// Group, topic, partition and offset that its commit will set.
    pub(super) offsets: Vec<(String, String, i32, Committed)>,
}

#[derive(Debug, Default)]
pub(super) struct Producer {
    pub(super) epoch: i64,
    pub(super) timeout: i64,
    /// Whether the broker bumped the epoch last, by aborting a transaction that took too long.
    timed_out: bool,
    pub(super) open: Option<Open>,
    /// A commit that was decided but whose markers have not reached the output partitions.
    pub(super) unmarked: Option<Open>,
    /// Requests that are under way, in the order in which they arrive.
    pub(super) late: Vec<Late>,
}

/// A request that is under way, and the epoch of the producer that sent it.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) epoch: i64,
    pub(super) request: Request,
}

#[derive(Debug)]
pub(super) enum Request {
    /// Begins a transaction.
    Begin,
    /// Commits the open transaction.
    End,
    /// Adds offsets to the open transaction, and commits it.
    Commit {
        group: String,
        member: u64,
        generation: Option<i64>,
        topic: String,
        offsets: Vec<(i32, Committed)>,
    },
    /// Starts a producer.
    Start,
}

impl Producer {
    /// A new incarnation: everything older is fenced.
    pub(super) fn start(&mut self, timeout: i64) -> i64 {
        self.epoch += 1;
        self.timeout = timeout;
        self.timed_out = false;
        self.epoch
    }

    /// The broker aborts the open transaction after its timeout.
    pub(super) fn time_out(&mut self) {
        self.epoch += 1;
        self.timed_out = true;
    }

    pub(super) fn check(&self, id: &str, epoch: i64) -> Result<(), Error> {
        if epoch == self.epoch {
            Ok(())
        } else if self.timed_out && epoch + 1 == self.epoch {
            Err(Error::abort(format!(
                "the transaction of {id} was open for more than {} ms and the broker aborted it",
                self.timeout
            )))
        } else {
            Err(Error::fatal(format!(
                "transactional id {id} was taken by another; give every process an id of its own"
            )))
        }
    }
}
