//! [`Member`]: implements [`weir_log::Member`] on Kafka.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer};

use super::context::DeliveryNotes;
use super::group::Group;
use super::inspector::TopicInspector;
use super::transactions::{Transactions, to_record};
use super::{MemberOptions, clients, leaving, watchdog};
use weir_log::{self, Committed, Error, Item, Output, Rebalance, Record, TopicDescription};

/// Time limit for leaving: librdkafka may never finish closing.
const LEAVE: Duration = Duration::from_secs(20);

/// One member of a consumer group on one topic, and its transactional producer, on Kafka.
///
/// - The group's side is a consumer of its own that never commits. Rebalances wait until they are answered, at most
///   `max.poll.interval.ms` (5 min; [`Connection::properties`](super::Connection::properties)); heartbeats go on meanwhile.
/// - An outage is reported as [`Error::Retry`], once each time the last broker goes; reading goes on by itself afterwards.
/// - [`commit`](weir_log::Member::commit) without any offset is not fenced by the group: there is nothing to protect.
/// - [`read`](weir_log::Member::read) may already have handed out records when it fails.
/// - Dropped without [`leave`](weir_log::Member::leave), it closes in an orderly way, but a static member stays in the group
///   until its session times out, and an open transaction until the broker aborts it.
pub struct Member {
    options: MemberOptions,
    /// `None` once it has left.
    parts: Option<Parts>,
}

struct Parts {
    // Dropped in this order: in-flight records first.
    transactions: Transactions,
    publisher: Option<BaseProducer<DeliveryNotes>>,
    inspector: TopicInspector,
    group: Group,
}

impl Member {
    /// Takes the transactional id over (whatever its last owner left open is aborted, and that owner gets
    /// [`Error::Fatal`]) and joins the group. The first partitions come with [`weir_log::Member::poll`].
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker answers within some ten seconds; [`Error::Fatal`] for a topic that is not there, for
    /// properties that librdkafka does not know and for lacking rights.
    pub fn connect(options: MemberOptions) -> Result<Self, Error> {
        let inspector = TopicInspector::connect(&options)?;
        // Checked first, because a subscription to an unknown topic would just get no records for a while.
        inspector.partition_count()?;
        // Before joining, so that a running predecessor can no longer commit, and that the group does not wait for a member
        // whose producer does not start.
        let transactions = Transactions::take_over(&options)?;
        let group = Group::join(&clients::member(&options), &options)?;
        let parts = Parts { transactions, publisher: None, inspector, group };
        Ok(Self { options, parts: Some(parts) })
    }

    fn parts(&mut self) -> Result<&mut Parts, Error> {
        self.parts.as_mut().ok_or_else(|| Error::fatal("this member has left its group"))
    }
}

impl weir_log::Member for Member {
    fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<Option<Rebalance>, Error> {
        let parts = self.parts()?;
        parts.transactions.serve();
        if let Some(publisher) = &parts.publisher {
            publisher.poll(Duration::ZERO);
        }
        #[cfg(feature = "failpoints")]
        {
            let mut read = false;
            let polled = parts.group.poll(max, wait, &mut |item| {
                read |= matches!(item, Item::Record(_));
                sink(item);
            });
            if read {
                super::failpoint::reached(super::failpoint::Step::Polled);
            }
            polled
        }
        #[cfg(not(feature = "failpoints"))]
        parts.group.poll(max, wait, sink)
    }

    fn assign(&mut self, starts: &[(i32, i64)]) -> Result<(), Error> {
        self.parts()?.group.assign(starts)
    }

    fn unassign(&mut self) -> Result<(), Error> {
        self.parts()?.group.unassign()
    }

    fn committed(&mut self) -> Result<Vec<Option<Committed>>, Error> {
        self.parts()?.inspector.committed()
    }

    fn committed_by(&mut self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>, Error> {
        self.parts()?;
        let mut options = self.options.clone();
        (options.group, options.topic) = (group.to_owned(), topic.to_owned());
        TopicInspector::connect(&options)?.committed()
    }

    fn topics(&mut self, names: &[&str]) -> Result<Vec<Option<TopicDescription>>, Error> {
        self.parts()?.inspector.topics(names)
    }

    fn beginning(&mut self, partition: i32) -> Result<i64, Error> {
        self.parts()?.inspector.beginning(partition)
    }

    fn ends(&mut self) -> Result<Vec<i64>, Error> {
        let inspector = &self.parts()?.inspector;
        (0..inspector.partition_count()?).map(|partition| inspector.high_watermark(partition)).collect()
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.parts()?.transactions.begin()
    }

    fn send(&mut self, output: Output) -> Result<(), Error> {
        self.parts()?.transactions.send(&output)
    }

    fn commit(&mut self, offsets: &[(i32, Committed)]) -> Result<(), Error> {
        let Parts { transactions, group, .. } = self.parts()?;
        // Read each time: the generation may have changed since the last commit.
        let fence = if offsets.is_empty() { None } else { Some(group.metadata()?) };
        transactions.commit(&group.topic, offsets, fence)
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.parts()?.transactions.restart()
    }

    fn publish(&mut self, output: Output) {
        let config = clients::publisher(&self.options);
        let Ok(parts) = self.parts() else { return };
        if parts.publisher.is_none() {
            match config.create_with_context(DeliveryNotes::default()) {
                Ok(publisher) => parts.publisher = Some(publisher),
                Err(error) => tracing::warn!(%error, "could not start the publishing producer"),
            }
        }
        if let Some(publisher) = &parts.publisher {
            publisher.poll(Duration::ZERO);
            if let Err((error, _)) = publisher.send(to_record(&output)) {
                tracing::debug!(%error, topic = output.topic, "did not publish");
            }
        }
    }

    fn read(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        sink: &mut dyn FnMut(Record<'_>),
    ) -> Result<i64, Error> {
        self.parts()?.inspector.read(topic, partition, from, sink)
    }

    fn leave(&mut self) -> Result<(), Error> {
        let Some(parts) = self.parts.take() else { return Ok(()) };
        if let Some(publisher) = &parts.publisher
            && let Err(error) = publisher.flush(Duration::from_secs(1))
        {
            tracing::debug!(%error, "left before everything was published");
        }
        let Parts { transactions, publisher, inspector, group } = parts;
        // The transaction first: consumers cannot read past it while it is open.
        transactions.close();
        watchdog::close_within(
            "the member",
            LEAVE,
            (group, publisher, inspector),
            |(group, publisher, inspector)| {
                leaving::leave(group);
                drop((publisher, inspector));
            },
        );
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            watchdog::close_within("the member", LEAVE, parts, drop);
        }
    }
}
