//! A pipeline's generations in Kafka: what the first one committed, and the record that begins the next.

use weir_log::generations::{self, Generation, Generations};
use weir_log::{Error, Member as _, PartitionProgress};

use crate::{Connection, Member, MemberOptions, TopicInspector};

impl TopicInspector {
    /// The decisive settings that the group has committed; `None` if its topic is missing, or nothing was committed.
    ///
    /// # Errors
    /// [`Error::Retry`] while a transaction with offsets of the group is pending.
    pub fn committed_settings(&self) -> Result<Option<String>, Error> {
        if self.topics(&[self.topic()])?.iter().all(Option::is_none) {
            return Ok(None);
        }
        let committed = self.committed()?;
        Ok(PartitionProgress::settings_in(committed.iter().flatten().map(|committed| &*committed.metadata)))
    }
}

/// Records generations in the topic, under the transactional id that all programs use for it: of two that do so at once, one fails.
///
/// # Errors
/// As [`Error`] says; [`Error::Retry`] if the topic has other generations than `expected`.
pub fn record_generations(
    connection: &Connection,
    topic: &str,
    expected: &Generations,
    generations: &[Generation],
) -> Result<(), Error> {
    let options = MemberOptions::new(&connection.brokers, topic, topic, topic);
    let mut member = Member::connect(MemberOptions { connection: connection.clone(), ..options })?;
    let recorded = generations::record(&mut member, topic, expected, generations);
    member.leave()?;
    recorded
}
