#![allow(clippy::unwrap_used)]
//! When a worker commits.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use weir_log::Output;
use weir_memory::{Broker, Clock, Fault, MemberOptions};

/// Writes an output of `bytes` bytes for each record.
struct Echo {
    bytes: usize,
    ending: bool,
    /// The record that cannot be processed.
    unusable: Option<i64>,
}

impl Echo {
    fn new(bytes: usize, ending: bool) -> Self {
        Self { bytes, ending, unusable: None }
    }
}

impl Stage for Echo {
    type State = i64;

    fn restore<M: Member>(
        &mut self,
        _member: &mut M,
        _partition: i32,
        committed: Option<&Committed>,
        _now: i64,
        _heartbeat: &dyn Fn(),
    ) -> Result<(i64, i64), Error> {
        let start = committed.map_or(0, |committed| committed.offset);
        Ok((start, start))
    }

    fn record(
        &mut self,
        next: &mut i64,
        record: &Record<'_>,
        _now: i64,
        out: &mut Vec<Output>,
    ) -> Result<(), RecordError> {
        if self.unusable == Some(record.offset) {
            let (topic, partition, offset) = ("in".to_owned(), record.partition, record.offset);
            return Err(RecordError { topic, partition, offset, source: "it is damaged".into() });
        }
        *next = record.offset + 1;
        if self.bytes > 0 {
            out.push(Output {
                topic: "out".to_owned(),
                partition: 0,
                key: None,
                value: Some(vec![0; self.bytes]),
                headers: Vec::new(),
            });
        }
        Ok(())
    }

    fn end(&mut self, next: &mut i64, offset: i64, _now: i64, _out: &mut Vec<Output>) {
        *next = offset;
    }

    fn held_back(&mut self, next: &mut i64, offset: i64, _now: i64, _out: &mut Vec<Output>) {
        *next = offset;
    }

    fn is_ending(&self) -> bool {
        self.ending
    }

    fn position(&self, next: &i64) -> Option<Committed> {
        Some(Committed { offset: *next, metadata: String::new() })
    }
}

/// A worker that owns one partition with `records` records, none of them read.
fn worker(stage: Echo, records: usize) -> Worker<Echo, weir_memory::Member> {
    let broker = Broker::new(Clock::Manual(0));
    worker_on(&broker, stage, records)
}

fn worker_on(broker: &Broker, stage: Echo, records: usize) -> Worker<Echo, weir_memory::Member> {
    broker.create_topic("in", 1);
    broker.create_topic("out", 1);
    for _ in 0..records {
        broker.append("in", 0, None, Some(b"click"), &[]).unwrap();
    }
    let mut worker = Worker::new(stage, broker.member(MemberOptions::new("group", "in", "id")));
    worker.step(NOW, Duration::ZERO).unwrap();
    assert!(worker.is_assigned());
    assert_eq!((worker.counts().commits, worker.last_commit), (1, NOW), "the initial commit");
    worker.counts = Counts::default();
    worker
}

/// Steps at `after` milliseconds; returns how many transactions were committed and records read.
fn step(worker: &mut Worker<Echo, weir_memory::Member>, after: i64) -> (u64, u64) {
    worker.step(NOW + after, Duration::ZERO).unwrap();
    (worker.counts().commits, worker.counts().records)
}

const NOW: i64 = 1_000_000;
const MANY: usize = 3 * MAX_RECORDS_PER_POLL;

#[test]
fn while_catching_up_it_commits_at_the_maximum_age() {
    let mut worker = worker(Echo::new(1, false), MANY);
    assert_eq!(step(&mut worker, 0), (0, MAX_RECORDS_PER_POLL as u64));
    assert_eq!(step(&mut worker, MAX_TRANSACTION_AGE_MS - 1), (0, 2 * MAX_RECORDS_PER_POLL as u64));
    assert_eq!(step(&mut worker, MAX_TRANSACTION_AGE_MS), (1, 3 * MAX_RECORDS_PER_POLL as u64));
    assert_eq!(worker.counts().outputs, MANY as u64);
}

#[test]
fn while_catching_up_it_commits_at_the_maximum_size() {
    let mut worker = worker(Echo::new(TRANSACTION_BYTES / MAX_RECORDS_PER_POLL - 1, false), MANY);
    assert_eq!(step(&mut worker, 0), (0, MAX_RECORDS_PER_POLL as u64));
    assert_eq!(step(&mut worker, 0), (1, 2 * MAX_RECORDS_PER_POLL as u64));
}

#[test]
fn when_caught_up_it_commits_at_once() {
    let mut worker = worker(Echo::new(1, false), 1);
    assert_eq!(step(&mut worker, 0), (1, 1));
}

/// After the last record of a log with transactions there are markers: a position before them would look like permanent lag.
#[test]
fn the_end_after_transaction_markers_is_committed_once() {
    let broker = Broker::new(Clock::Manual(0));
    let mut worker = worker_on(&broker, Echo::new(0, false), 1);
    let mut writer = broker.member(MemberOptions::new("writers", "in", "writer"));
    let value = Some(b"click".to_vec());
    let output = Output { topic: "in".to_owned(), partition: 0, key: None, value, headers: Vec::new() };
    let offset = |worker: &mut Worker<Echo, weir_memory::Member>| {
        worker.member().committed().unwrap()[0].as_ref().unwrap().offset
    };
    writer.begin().unwrap();
    writer.send(output.clone()).unwrap();
    step(&mut worker, 2 * PROGRESS_COMMIT_INTERVAL_MS);
    assert_eq!(offset(&mut worker), 1, "not past the open transaction");
    writer.commit(&[]).unwrap();
    step(&mut worker, 4 * PROGRESS_COMMIT_INTERVAL_MS);
    assert_eq!(offset(&mut worker), 3, "past the record and its marker");
    writer.begin().unwrap();
    writer.send(output).unwrap();
    writer.restart().unwrap();
    step(&mut worker, 6 * PROGRESS_COMMIT_INTERVAL_MS);
    assert_eq!(
        offset(&mut worker),
        broker.end_offset("in", 0).unwrap(),
        "past the aborted record and its marker"
    );
    let (commits, _) = step(&mut worker, 8 * PROGRESS_COMMIT_INTERVAL_MS);
    for turn in 5..10 {
        assert_eq!(
            step(&mut worker, 2 * turn * PROGRESS_COMMIT_INTERVAL_MS).0,
            commits,
            "committed repeatedly"
        );
    }
}

#[test]
fn progress_without_outputs_waits_unless_the_log_ends() {
    let mut going_on = worker(Echo::new(0, false), 1);
    assert_eq!(step(&mut going_on, 0), (0, 1));
    assert_eq!(step(&mut going_on, PROGRESS_COMMIT_INTERVAL_MS - 1), (0, 1));
    assert_eq!(step(&mut going_on, PROGRESS_COMMIT_INTERVAL_MS), (1, 1));
    let mut ending = worker(Echo::new(0, true), 1);
    assert_eq!(step(&mut ending, 0), (0, 1), "more may be available already");
    assert_eq!(step(&mut ending, 0), (1, 1));
}

/// The records polled after it were skipped: neither they nor those before it may be committed.
#[test]
fn a_record_that_cannot_be_processed_ends_the_worker() {
    let mut worker = worker(Echo { unusable: Some(3), ..Echo::new(1, false) }, 10);
    let error = worker.step(NOW, Duration::ZERO).unwrap_err();
    assert_eq!(error, Error::fatal("in/0 at offset 3: it is damaged").at("in", 0, Some(3)));
    assert_eq!(worker.counts().commits, 0);
    let committed = worker.member().committed().unwrap();
    assert_eq!(committed[0].as_ref().map(|committed| committed.offset), Some(0));
}

/// Writes several pieces per record, one per call.
struct Pieces(usize);

/// The next record, and the written pieces of the previous one; initially all of them.
struct Piecemeal {
    next: i64,
    written: usize,
}

impl Stage for Pieces {
    type State = Piecemeal;

    fn restore<M: Member>(
        &mut self,
        _member: &mut M,
        _partition: i32,
        committed: Option<&Committed>,
        _now: i64,
        heartbeat: &dyn Fn(),
    ) -> Result<(Piecemeal, i64), Error> {
        heartbeat();
        let start = committed.map_or(0, |committed| committed.offset);
        let written: usize =
            committed.and_then(|committed| committed.metadata.parse().ok()).unwrap_or_default();
        Ok((Piecemeal { next: start, written: self.0 + written }, start))
    }

    fn record(
        &mut self,
        state: &mut Piecemeal,
        record: &Record<'_>,
        _now: i64,
        _out: &mut Vec<Output>,
    ) -> Result<(), RecordError> {
        assert!(!self.is_unfinished(state), "a record came before the one before it was done");
        state.next = record.offset + 1;
        state.written -= self.0;
        Ok(())
    }

    fn is_unfinished(&self, state: &Piecemeal) -> bool {
        state.written < self.0
    }

    fn resume(&mut self, state: &mut Piecemeal, out: &mut Vec<Output>) {
        let value = format!("{:>3} {:>96}", state.next - 1, state.written);
        state.written += 1;
        out.push(Output {
            topic: "out".to_owned(),
            partition: 0,
            key: None,
            value: Some(value.into_bytes()),
            headers: Vec::new(),
        });
    }

    fn end(&mut self, state: &mut Piecemeal, _offset: i64, _now: i64, _out: &mut Vec<Output>) {
        assert!(!self.is_unfinished(state), "the end came before the last record was done");
    }

    fn held_back(&mut self, _state: &mut Piecemeal, _offset: i64, _now: i64, _out: &mut Vec<Output>) {}

    fn position(&self, state: &Piecemeal) -> Option<Committed> {
        Some(if self.is_unfinished(state) {
            Committed { offset: state.next - 1, metadata: state.written.to_string() }
        } else {
            // For a record that will be read again, the pieces written before still count.
            Committed { offset: state.next, metadata: (state.written - self.0).to_string() }
        })
    }
}

/// However many outputs a record has: transactions are bounded, and nothing is written twice or omitted, even if commits fail in
/// between.
#[test]
fn the_outputs_of_a_record_may_take_several_transactions() {
    for fault in [None, Some(Fault::CommitLost), Some(Fault::CommitUnknown)] {
        let broker = Broker::new(Clock::Manual(0));
        broker.create_topic("in", 1);
        broker.create_topic("out", 1);
        for _ in 0..10 {
            broker.append("in", 0, None, Some(b"click"), &[]).unwrap();
        }
        let beats = Arc::new(AtomicUsize::new(0));
        let heart = Arc::clone(&beats);
        let mut worker = Worker::new(Pieces(7), broker.member(MemberOptions::new("group", "in", "id")))
            .with_transaction_bytes(250)
            .with_heartbeat(move || {
                heart.fetch_add(1, Ordering::Relaxed);
            });
        for turn in 0..60 {
            if turn % 5 == 3 {
                fault.into_iter().for_each(|fault| broker.inject("id", fault));
            }
            worker.step(NOW, Duration::ZERO).unwrap();
            assert!(worker.counts().outputs <= 3 * worker.counts().commits, "{:?}", worker.counts());
        }
        let written: Vec<String> = broker
            .records("out", 0)
            .into_iter()
            .map(|record| String::from_utf8(record.value.unwrap()).unwrap())
            .collect();
        let expected = (0..70).map(|i| format!("{:>3} {:>96}", i / 7, i % 7));
        assert!(written == expected.collect::<Vec<_>>(), "{fault:?}: {written:#?}");
        assert!(beats.load(Ordering::Relaxed) >= 2, "restoring sends heartbeats");
    }
}
