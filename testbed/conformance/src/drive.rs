//! A member with a caller that answers rebalances and records what it receives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weir_log::{Committed, Error, Item, Member, Output, Rebalance};

use super::{CONDITION_TIMEOUT, LONG, MemberSpec, World};

/// A received record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// A member, driven by the cases.
pub struct Driver<M> {
    pub member: M,
    /// The partitions that it was assigned.
    pub owned: Vec<i32>,
    /// Every rebalance, in order.
    pub rebalances: Vec<Rebalance>,
    pub seen: Vec<Seen>,
    /// The last reported end of each partition, unless something was held back since.
    pub ends: BTreeMap<i32, i64>,
    /// The offset of each partition's held-back records, unless an end was reported since.
    pub held_back: BTreeMap<i32, i64>,
}

impl<M: Member> Driver<M> {
    pub fn new(member: M) -> Self {
        Self {
            member,
            owned: Vec::new(),
            rebalances: Vec::new(),
            seen: Vec::new(),
            ends: BTreeMap::new(),
            held_back: BTreeMap::new(),
        }
    }

    /// Polls once; a rebalance is recorded and returned unanswered.
    pub fn poll(&mut self) -> Option<Rebalance> {
        let (seen, ends, held_back) = (&mut self.seen, &mut self.ends, &mut self.held_back);
        let polled = self.member.poll(1000, Duration::from_millis(50), &mut |item| match item {
            Item::Record(record) => seen.push(Seen {
                partition: record.partition,
                offset: record.offset,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
            }),
            Item::End { partition, offset } => {
                held_back.remove(&partition);
                ends.insert(partition, offset);
            }
            Item::HeldBack { partition, offset } => {
                ends.remove(&partition);
                held_back.insert(partition, offset);
            }
        });
        match polled {
            Ok(rebalance) => {
                self.rebalances.extend(rebalance.clone());
                rebalance
            }
            Err(Error::Retry(_)) => None,
            Err(error) => panic!("poll: {error:?}"),
        }
    }

    /// Answers a rebalance: partitions start at the committed offset, or at their first record.
    pub fn answer(&mut self, rebalance: Rebalance) {
        match rebalance {
            Rebalance::Assigned(partitions) => {
                let committed = self.committed();
                let starts: Vec<(i32, i64)> = partitions
                    .iter()
                    .map(|&p| (p, committed[p as usize].as_ref().map_or(0, |committed| committed.offset)))
                    .collect();
                // Refused if the group has moved on already: then the next poll reports a rebalance.
                match retry(|| self.member.assign(&starts)) {
                    Ok(()) => self.owned = partitions,
                    Err(Error::Abort(_)) => {}
                    Err(error) => panic!("assign: {error:?}"),
                }
            }
            Rebalance::Revoked | Rebalance::Lost => {
                if rebalance == Rebalance::Lost {
                    retry(|| self.member.restart()).unwrap();
                }
                retry(|| self.member.unassign()).unwrap();
                self.owned.clear();
            }
        }
    }

    /// Polls once and answers.
    pub fn step(&mut self) {
        if let Some(rebalance) = self.poll() {
            self.answer(rebalance);
        }
    }

    /// Steps until a condition holds.
    pub fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        eventually(what, || {
            self.step();
            done(self)
        });
    }

    /// Steps until it owns exactly these partitions.
    pub fn until_owns(&mut self, partitions: &[i32]) {
        self.until(&format!("owning {partitions:?}"), |driver| driver.owned == partitions);
    }

    /// The committed offsets; waits for pending transactions.
    pub fn committed(&mut self) -> Vec<Option<Committed>> {
        retry(|| self.member.committed()).unwrap()
    }

    /// Opens a transaction with one output in it.
    pub fn begin_with(&mut self, topic: &str, value: &str) {
        retry(|| self.member.begin()).unwrap();
        self.member.send(output(topic, 0, value)).unwrap();
    }

    /// Values of all committed records of partition 0, and the offset reached.
    pub fn read(&mut self, topic: &str) -> (Vec<String>, i64) {
        let mut values = Vec::new();
        let end = retry(|| {
            values.clear();
            self.member.read(topic, 0, 0, &mut |record| values.push(text(record.value)))
        });
        (values, end.unwrap())
    }

    /// Reads until these are the values: a commit is known to the member before every partition has its marker.
    pub fn until_reads(&mut self, topic: &str, expected: &[&str]) {
        eventually(&format!("{topic} to read {expected:?}"), || {
            let (values, _) = self.read(topic);
            assert!(values.len() <= expected.len(), "{topic}: expected {expected:?}, read {values:?}");
            values == expected
        });
    }
}

/// A member with timeouts longer than any case.
pub fn member_spec(topic: &str, group: &str, transactional_id: &str) -> MemberSpec {
    MemberSpec {
        topic: topic.to_owned(),
        group: group.to_owned(),
        instance: None,
        transactional_id: transactional_id.to_owned(),
        session_timeout: LONG,
        transaction_timeout: LONG,
    }
}

/// A driven member of a group of its own, with long timeouts.
pub fn alone<W: World>(world: &W, topic: &str) -> Driver<W::M> {
    Driver::new(world.member(&member_spec(topic, &world.name(), &world.name())))
}

/// Steps all members until a condition holds.
pub fn all_until<M: Member>(drivers: &mut [Driver<M>], what: &str, done: impl Fn(&[Driver<M>]) -> bool) {
    eventually(what, || {
        for driver in drivers.iter_mut() {
            driver.step();
        }
        done(drivers)
    });
}

/// Repeats until it returns `true`; [`CONDITION_TIMEOUT`] bounds it.
pub fn eventually(what: &str, mut step: impl FnMut() -> bool) {
    let deadline = Instant::now() + CONDITION_TIMEOUT;
    while !step() {
        assert!(Instant::now() < deadline, "waited {CONDITION_TIMEOUT:?} for {what}");
    }
}

/// Repeats a call while it returns [`Error::Retry`].
pub fn retry<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut answer = call();
    let deadline = Instant::now() + CONDITION_TIMEOUT;
    while matches!(answer, Err(Error::Retry(_))) && Instant::now() < deadline {
        answer = call();
    }
    answer
}

pub fn output(topic: &str, partition: i32, value: &str) -> Output {
    let value = Some(value.as_bytes().to_vec());
    Output { topic: topic.to_owned(), partition, key: None, value, headers: Vec::new() }
}

pub fn at(offset: i64, metadata: &str) -> Committed {
    Committed { offset, metadata: metadata.to_owned() }
}

pub fn text(value: Option<&[u8]>) -> String {
    String::from_utf8(value.unwrap_or_default().to_vec()).unwrap()
}
