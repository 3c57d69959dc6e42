#![allow(clippy::unwrap_used)]

use super::*;
use weir_memory::{Broker, Clock, MemberOptions};

const STATE: &str = "shop.state";

struct Fixture {
    broker: Broker,
    member: weir_memory::Member,
}

impl Fixture {
    fn new() -> Self {
        let broker = Broker::new(Clock::Manual(0));
        broker.create_topic(STATE, 2);
        broker.set_compacted(STATE).unwrap();
        let member = broker.member(MemberOptions::new("group", STATE, "id"));
        Self { broker, member }
    }

    fn read(&mut self) -> Result<(Journal, Option<Snapshot>, VecDeque<WatermarkAdvance>), Error> {
        Journal::read(&mut self.member, STATE, 1, &|| ())
    }

    fn write(&mut self, outputs: Vec<Output>) {
        self.member.begin().unwrap();
        for output in outputs {
            self.member.send(output).unwrap();
        }
        self.member.commit(&[]).unwrap();
    }
}

/// Writes a snapshot, in parts.
fn save(journal: &mut Journal, offset: i64, taken: i64, state: &[u8], out: &mut Vec<Output>) {
    journal.begin_snapshot();
    let parts = |sink: &mut dyn FnMut(&[u8])| {
        state.chunks(70_001).for_each(sink);
        Ok(())
    };
    let mut send = |output| {
        out.push(output);
        Ok(())
    };
    assert_eq!(journal.write_snapshot(offset, taken, parts, &mut send), Ok(state.len()));
}

fn state(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + seed) as u8).collect()
}

#[test]
fn an_empty_topic_holds_nothing() {
    let (journal, snapshot, advances) = Fixture::new().read().unwrap();
    assert!(snapshot.is_none() && advances.is_empty() && journal.number() == 0);
}

#[test]
fn a_snapshot_covers_only_the_advances_before_it() {
    let mut fixture = Fixture::new();
    let (mut journal, _, _) = fixture.read().unwrap();
    let mut out = Vec::new();
    journal.advance_watermark(7, 100, &mut out).unwrap();
    assert!(journal.has_advances());
    save(&mut journal, 7, 1_000, b"state", &mut out);
    assert!(!journal.has_advances());
    journal.advance_watermark(7, 200, &mut out).unwrap();
    fixture.write(out);
    let check = |fixture: &mut Fixture| {
        let (journal, snapshot, advances) = fixture.read().unwrap();
        let snapshot = snapshot.unwrap();
        assert_eq!((snapshot.taken, &snapshot.bytes[..]), (1_000, &b"state"[..]));
        assert_eq!(advances, [WatermarkAdvance { offset: 7, watermark: 200, number: 3 }]);
        assert!(journal.has_advances());
        assert_eq!(journal.number(), 3);
    };
    check(&mut fixture);
    fixture.broker.compact(STATE, 1).unwrap();
    check(&mut fixture);
}

#[test]
fn a_shorter_snapshot_replaces_a_longer_one_completely() {
    let mut fixture = Fixture::new();
    let (long, short) = (state(2 * CHUNK + 5, 1), state(CHUNK + 1, 2));
    for (offset, bytes) in [(1, &long), (2, &short)] {
        // As after a restart: the journal is read from the topic.
        let (mut journal, _, _) = fixture.read().unwrap();
        let mut out = Vec::new();
        save(&mut journal, offset, 0, bytes, &mut out);
        assert!(out.iter().all(|o| o.value.as_ref().is_none_or(|value| value.len() <= CHUNK)));
        fixture.write(out);
        let (_, snapshot, _) = fixture.read().unwrap();
        assert!(snapshot.unwrap().bytes == *bytes);
    }
    fixture.broker.compact(STATE, 1).unwrap();
    let left: Vec<_> = fixture.broker.records(STATE, 1).into_iter().filter(|r| r.value.is_some()).collect();
    assert_eq!(left.len(), 3, "two chunks and the manifest");
    let (_, snapshot, _) = fixture.read().unwrap();
    assert!(snapshot.unwrap().bytes == short);
}

#[test]
fn damaged_snapshots_and_records_of_other_versions_are_refused() {
    let mut fixture = Fixture::new();
    let (mut journal, _, _) = fixture.read().unwrap();
    let mut out = Vec::new();
    save(&mut journal, 1, 0, b"state", &mut out);
    out[0].value = Some(b"stale".to_vec());
    fixture.write(out);
    let Err(Error::Fatal(why)) = fixture.read() else { panic!("a wrong chunk was taken") };
    assert!(why.contains("checksum"), "{why}");

    let mut fixture = Fixture::new();
    let foreign = Output { key: Some(b"delta/1".to_vec()), ..journal.output(String::new(), Some(vec![1])) };
    fixture.write(vec![foreign]);
    let Err(Error::Fatal(why)) = fixture.read() else { panic!("a foreign record was taken") };
    assert!(why.contains("shop.state/1") && why.contains("delta/1"), "{why}");
}

/// After a failed send the rest must not be sent.
#[test]
fn a_snapshot_ends_where_sending_fails() {
    let (mut journal, _, _) = Fixture::new().read().unwrap();
    journal.begin_snapshot();
    let whole = state(5 * CHUNK, 1);
    let parts = |sink: &mut dyn FnMut(&[u8])| {
        whole.chunks(50_000).for_each(sink);
        Ok(())
    };
    let mut sent = 0;
    let failed = journal.write_snapshot(1, 0, parts, &mut |_| {
        sent += 1;
        if sent < 3 { Ok(()) } else { Err(Error::abort("full")) }
    });
    assert_eq!((failed, sent), (Err(Error::abort("full")), 3));
}

/// Records as one input: a line for each, with key and value.
fn lines(outputs: Vec<Output>) -> Vec<u8> {
    let line = |output: Output| [&output.key.unwrap(), &b" "[..], &output.value.unwrap_or_default()].concat();
    outputs.into_iter().map(line).collect::<Vec<_>>().join(&b'\n')
}

#[test]
fn fuzz_journal() {
    let (mut journal, ..) = Fixture::new().read().unwrap();
    let (mut advances, mut whole) = (Vec::new(), Vec::new());
    journal.advance_watermark(3, 50, &mut advances).unwrap();
    save(&mut journal, 7, 1_000, b"state", &mut whole);
    journal.advance_watermark(9, 70, &mut whole).unwrap();
    let seeds = [lines(advances), lines(whole)];
    weir_fuzz::Target::new("journal").seeds(seeds).executions(5_000).run(|bytes| {
        let mut fixture = Fixture::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            let mut parts = line.splitn(2, |byte| *byte == b' ');
            let (key, value) = (parts.next(), parts.next().filter(|value| !value.is_empty()));
            fixture.broker.append(STATE, 1, key, value, &[]).unwrap();
        }
        let (_, snapshot, advances) = fixture.read().map_err(|error| {
            assert!(
                matches!(error, Error::Fatal(_)) && error.to_string().contains("shop.state/1"),
                "{error}"
            );
            error.to_string()
        })?;
        assert!(snapshot.is_none_or(|snapshot| snapshot.bytes.len() <= bytes.len()));
        assert!(advances.len() <= bytes.len());
        Ok(())
    });
}
