#![allow(clippy::unwrap_used)]
//! Tests of what the conformance suite does not cover: faults, bounds and the clock.

use std::time::Duration;

use super::{Broker, Careless, Clock, Fault, MAX_METADATA, MAX_RECORD, Member, MemberOptions, Retention};
use weir_log::{Committed, Error, Item, Member as _, Output, Rebalance};

const SECOND: Duration = Duration::from_secs(1);

fn broker() -> Broker {
    let broker = Broker::new(Clock::Manual(1_000));
    broker.create_topic("in", 2);
    broker.create_topic("out", 1);
    broker
}

/// A member that owns everything and reads from the start.
fn owner(broker: &Broker, id: &str) -> Member {
    let mut member = broker.member(MemberOptions::new("group", "in", id));
    assert_eq!(poll(&mut member), Some(Rebalance::Assigned(vec![0, 1])));
    member.assign(&[(0, 0), (1, 0)]).unwrap();
    member
}

fn poll(member: &mut Member) -> Option<Rebalance> {
    member.poll(100, Duration::ZERO, &mut |_| ()).unwrap()
}

fn output(value: &str) -> Output {
    keyed(None, Some(value))
}

fn keyed(key: Option<&str>, value: Option<&str>) -> Output {
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    Output {
        topic: "out".to_owned(),
        partition: 0,
        key: bytes(key),
        value: bytes(value),
        headers: Vec::new(),
    }
}

fn at(offset: i64) -> Committed {
    Committed { offset, metadata: String::new() }
}

fn begin(member: &mut Member, value: &str) {
    member.begin().unwrap();
    member.send(output(value)).unwrap();
}

fn values(broker: &Broker) -> Vec<String> {
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap();
    broker.records("out", 0).into_iter().map(|record| text(record.value)).collect()
}

#[test]
fn lost_commit_leaves_everything_as_it_was() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::CommitLost);
    begin(&mut member, "a");
    assert!(matches!(member.commit(&[(0, at(1))]), Err(Error::Abort(_))));
    assert!(matches!(member.begin(), Err(Error::Abort(_))), "not before a restart");
    member.restart().unwrap();
    assert_eq!(member.committed().unwrap(), [None, None]);
    begin(&mut member, "b");
    member.commit(&[(0, at(1))]).unwrap();
    assert_eq!(values(&broker), ["b"]);
}

#[test]
fn unknown_commit_was_applied() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::CommitUnknown);
    begin(&mut member, "a");
    assert!(matches!(member.commit(&[(0, at(1))]), Err(Error::Abort(_))));
    member.restart().unwrap();
    assert_eq!(member.committed().unwrap(), [Some(at(1)), None]);
    assert_eq!(values(&broker), ["a"]);
}

#[test]
fn late_commit_is_refused_after_restart() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::CommitLate);
    begin(&mut member, "a");
    assert!(matches!(member.commit(&[(0, at(1))]), Err(Error::Abort(_))));
    assert!(matches!(member.committed(), Err(Error::Retry(_))), "it may still come");
    member.restart().unwrap();
    begin(&mut member, "b");
    assert!(!broker.release("id"), "its epoch is gone");
    assert_eq!(values(&broker), Vec::<String>::new());
    assert_eq!(member.committed().unwrap(), [None, None]);
}

#[test]
fn late_commit_takes_effect_if_nobody_restarted() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::CommitLate);
    begin(&mut member, "a");
    assert!(member.commit(&[(0, at(1))]).is_err());
    drop(member);
    assert!(broker.release("id"));
    assert_eq!(values(&broker), ["a"]);
    assert!(!broker.release("id"));
}

#[test]
fn late_commit_is_refused_after_the_timeout() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::CommitLate);
    begin(&mut member, "a");
    assert!(member.commit(&[(0, at(1))]).is_err());
    broker.advance(15 * SECOND);
    assert_eq!(member.committed().unwrap(), [None, None]);
    assert!(!broker.release("id"));
    assert_eq!(values(&broker), Vec::<String>::new());
}

#[test]
fn commit_that_was_sent_twice_ends_no_later_transaction() {
    for (careless, expected) in [(None, &["a"][..]), (Some(Careless::NoFreshProducer), &["a", "b"])] {
        let broker = broker();
        let mut member = owner(&broker, "id").with_careless(careless);
        broker.inject("id", Fault::CommitTwice);
        begin(&mut member, "a");
        member.commit(&[(0, at(1))]).unwrap();
        begin(&mut member, "b");
        assert_eq!(broker.release("id"), careless.is_some());
        assert_eq!(values(&broker), expected);
    }
}

#[test]
fn producer_that_goes_on_after_a_late_commit_is_committed_by_it() {
    let broker = broker();
    let mut member = owner(&broker, "id").with_careless(Some(Careless::SameProducer));
    broker.inject("id", Fault::CommitLate);
    begin(&mut member, "a");
    member.commit(&[(0, at(1))]).unwrap_err();
    member.restart().unwrap();
    begin(&mut member, "b");
    assert!(broker.release("id"));
    assert_eq!(values(&broker), ["b"]);
}

#[test]
fn commit_that_hangs_takes_effect_unless_somebody_restarts() {
    for restarts in [false, true] {
        let broker = broker();
        let mut member = owner(&broker, "id");
        broker.inject("id", Fault::CommitHangs);
        begin(&mut member, "a");
        assert!(matches!(member.commit(&[(0, at(1))]), Err(Error::Abort(_))));
        assert_eq!(member.committed().unwrap()[0], None);
        if restarts {
            member.restart().unwrap();
        }
        assert_eq!(broker.release("id"), !restarts);
        assert_eq!(member.committed().unwrap()[0], (!restarts).then(|| at(1)));
    }
}

#[test]
fn transaction_begun_by_a_late_request_times_out() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::BeginTwice);
    begin(&mut member, "a");
    member.commit(&[(0, at(1))]).unwrap();
    assert!(broker.release("id"));
    broker.advance(15 * SECOND);
    member.begin().unwrap();
    assert!(matches!(member.send(output("b")), Err(Error::Abort(_))));
    member.restart().unwrap();
    begin(&mut member, "c");
    member.commit(&[]).unwrap();
    assert_eq!(values(&broker), ["a", "c"]);
}

#[test]
fn restart_that_hangs_fences_its_own_process_once() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::RestartHangs);
    assert!(matches!(member.restart(), Err(Error::Retry(_))));
    member.restart().unwrap();
    begin(&mut member, "a");
    assert!(broker.release("id"));
    assert!(matches!(member.commit(&[(0, at(1))]), Err(Error::Abort(_))));
    member.restart().unwrap();
    begin(&mut member, "b");
    let _successor = broker.member(MemberOptions::new("group", "in", "id"));
    assert!(matches!(member.commit(&[(0, at(1))]), Err(Error::Fatal(_))), "it was not its own");
    assert_eq!(values(&broker), [] as [&str; 0]);
}

#[test]
fn commit_that_names_no_generation_is_fenced_by_nothing() {
    let broker = broker();
    let mut member = owner(&broker, "id").with_careless(Some(Careless::NoGeneration));
    member.unassign().unwrap();
    begin(&mut member, "a");
    member.commit(&[(0, at(1))]).unwrap();
    assert_eq!(values(&broker), ["a"]);
}

#[test]
fn late_markers_hold_outputs_back_but_not_offsets() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::MarkersLate);
    begin(&mut member, "a");
    member.commit(&[(0, at(1))]).unwrap();
    assert_eq!(member.committed().unwrap(), [Some(at(1)), None]);
    assert_eq!(values(&broker), Vec::<String>::new());
    broker.advance(20 * SECOND);
    assert_eq!(values(&broker), Vec::<String>::new(), "decided: no timeout can abort it");
    assert!(broker.release("id"));
    assert_eq!(values(&broker), ["a"]);

    broker.inject("id", Fault::MarkersLate);
    begin(&mut member, "b");
    member.commit(&[]).unwrap();
    member.restart().unwrap();
    assert_eq!(values(&broker), ["a", "b"], "a successor waits for the markers");
}

#[test]
fn an_outage_is_retry_and_no_heartbeat() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    broker.inject("id", Fault::Away(2));
    broker.advance(10 * SECOND);
    assert!(matches!(member.poll(1, Duration::ZERO, &mut |_| ()), Err(Error::Retry(_))));
    assert!(matches!(member.committed(), Err(Error::Retry(_))));
    broker.advance(5 * SECOND);
    assert_eq!(poll(&mut member), Some(Rebalance::Lost));
    assert_eq!(poll(&mut member), None, "reported once, then it waits for the answer");
    member.unassign().unwrap();
    assert_eq!(poll(&mut member), Some(Rebalance::Assigned(vec![0, 1])));
}

#[test]
fn crash_frees_its_seat_after_the_session() {
    let broker = broker();
    drop(owner(&broker, "a"));
    let mut heir = broker.member(MemberOptions::new("group", "in", "b"));
    assert_eq!(poll(&mut heir), None);
    broker.advance(14 * SECOND);
    assert_eq!(poll(&mut heir), None);
    broker.advance(SECOND);
    assert_eq!(poll(&mut heir), Some(Rebalance::Assigned(vec![0, 1])));
}

#[test]
fn member_that_polls_but_never_answers_is_expelled() {
    let broker = broker();
    let mut stuck = owner(&broker, "a");
    let mut heir = broker.member(MemberOptions::new("group", "in", "b"));
    assert_eq!(poll(&mut heir), None);
    assert_eq!(poll(&mut stuck), Some(Rebalance::Revoked));
    let mut assigned = None;
    for _ in 0..60 {
        assert_eq!(poll(&mut stuck), None);
        broker.advance(5 * SECOND);
        assigned = assigned.or(poll(&mut heir));
    }
    assert_eq!(assigned, Some(Rebalance::Assigned(vec![0, 1])));
    stuck.begin().unwrap();
    assert!(matches!(stuck.commit(&[(0, at(1))]), Err(Error::Abort(_))));
}

#[test]
fn member_without_partitions_gets_no_revocation() {
    let broker = broker();
    broker.create_topic("one", 1);
    let mut members: Vec<Member> =
        ["a", "b"].map(|id| broker.member(MemberOptions::new("group", "one", id))).into_iter().collect();
    assert_eq!(poll(&mut members[0]), Some(Rebalance::Assigned(vec![0])));
    members[0].assign(&[(0, 0)]).unwrap();
    assert_eq!(poll(&mut members[1]), None);
    assert_eq!(poll(&mut members[0]), Some(Rebalance::Revoked));
    members[0].unassign().unwrap();
    assert_eq!(poll(&mut members[0]), Some(Rebalance::Assigned(vec![0])));
    assert_eq!(poll(&mut members[1]), Some(Rebalance::Assigned(vec![])));
    members[1].assign(&[]).unwrap();
    members.remove(0).leave().unwrap();
    assert_eq!(poll(&mut members[0]), Some(Rebalance::Assigned(vec![0])));
}

#[test]
fn replaced_instance_is_fatal_and_cannot_commit() {
    let broker = broker();
    let options =
        |id| MemberOptions { instance: Some("pod".to_owned()), ..MemberOptions::new("group", "in", id) };
    let mut old = broker.member(options("old"));
    assert!(poll(&mut old).is_some());
    old.assign(&[(0, 0)]).unwrap();
    begin(&mut old, "zombie");
    let mut new = broker.member(options("new"));
    assert_eq!(poll(&mut new), Some(Rebalance::Assigned(vec![0, 1])), "at once, in the same generation");
    assert!(matches!(old.commit(&[(0, at(1))]), Err(Error::Abort(_))));
    assert!(matches!(old.poll(1, Duration::ZERO, &mut |_| ()), Err(Error::Fatal(_))));
}

#[test]
fn static_leave_keeps_the_seat_until_the_session_ends() {
    let broker = broker();
    let instance = Some("pod".to_owned());
    let mut leaver = broker.member(MemberOptions { instance, ..MemberOptions::new("group", "in", "a") });
    assert!(poll(&mut leaver).is_some());
    leaver.assign(&[]).unwrap();
    leaver.leave().unwrap();
    assert!(matches!(leaver.poll(1, Duration::ZERO, &mut |_| ()), Err(Error::Fatal(_))));
    let mut heir = broker.member(MemberOptions::new("group", "in", "b"));
    assert_eq!(poll(&mut heir), None);
    broker.advance(15 * SECOND - Duration::from_millis(1));
    assert_eq!(poll(&mut heir), None);
    broker.advance(Duration::from_millis(1));
    assert!(poll(&mut heir).is_some());
}

#[test]
fn commit_without_offsets_is_fenced_by_nothing() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    begin(&mut member, "a");
    broker.advance(14 * SECOND);
    let mut heir = broker.member(MemberOptions::new("group", "in", "other"));
    assert_eq!(poll(&mut heir), None);
    member.commit(&[]).unwrap();
    assert_eq!(values(&broker), ["a"]);
}

/// Also while the rebalance waits for other members, before the generation changes.
#[test]
fn commit_after_unassign_is_refused() {
    let broker = broker();
    let mut member = owner(&broker, "a");
    let mut slow = broker.member(MemberOptions::new("group", "in", "b"));
    assert_eq!(poll(&mut slow), None);
    assert_eq!(poll(&mut member), Some(Rebalance::Revoked));
    member.unassign().unwrap();
    assert_eq!(poll(&mut slow), Some(Rebalance::Assigned(vec![1])));
    assert_eq!(poll(&mut member), Some(Rebalance::Assigned(vec![0])));
    member.assign(&[(0, 0)]).unwrap();
    let mut third = broker.member(MemberOptions::new("group", "in", "c"));
    assert_eq!(poll(&mut third), None);
    begin(&mut member, "x");
    assert_eq!(poll(&mut member), Some(Rebalance::Revoked));
    member.unassign().unwrap();
    assert!(matches!(member.commit(&[(0, at(1))]), Err(Error::Abort(_))));
}

#[test]
fn assignment_is_checked() {
    let broker = broker();
    broker.append("in", 0, None, Some(b"a"), &[]).unwrap();
    let mut member = broker.member(MemberOptions::new("group", "in", "a"));
    assert!(matches!(member.assign(&[]), Err(Error::Abort(_))), "before anything was assigned");
    assert_eq!(poll(&mut member), Some(Rebalance::Assigned(vec![0, 1])));
    assert!(matches!(member.assign(&[(2, 0)]), Err(Error::Abort(_))), "never assigned");
    member.assign(&[(0, 1)]).unwrap();
    assert_eq!(poll(&mut member), None);
    member.assign(&[(0, 2)]).unwrap();
    let beyond = member.poll(1, Duration::ZERO, &mut |_| ());
    assert!(matches!(beyond, Err(Error::Fatal(_))), "not in the topic");
}

#[test]
fn timestamps_are_the_brokers() {
    let broker = broker();
    begin(&mut owner(&broker, "id"), "held back");
    broker.append("in", 0, None, Some(b"a"), &[("h", "v")]).unwrap();
    broker.advance(3 * SECOND);
    broker.append("in", 0, None, Some(b"b"), &[]).unwrap();
    let records = broker.records("in", 0);
    assert_eq!(records.iter().map(|r| (r.offset, r.timestamp)).collect::<Vec<_>>(), [(0, 1_000), (1, 4_000)]);
    assert_eq!(records[0].headers, [("h".to_owned(), "v".to_owned())]);
    assert_eq!(broker.end_offset("out", 0).unwrap(), 1);
}

#[test]
fn limits_are_kafkas() {
    let broker = broker();
    let mut member = owner(&broker, "id");
    member.begin().unwrap();
    assert!(matches!(member.send(output(&"x".repeat(MAX_RECORD + 1))), Err(Error::Fatal(_))));
    member.restart().unwrap();
    begin(&mut member, &"x".repeat(MAX_RECORD));
    let metadata = "m".repeat(MAX_METADATA + 1);
    assert!(matches!(member.commit(&[(0, Committed { offset: 1, metadata })]), Err(Error::Fatal(_))));
    assert!(matches!(broker.append("absent", 0, None, None, &[]), Err(Error::Fatal(_))));
    assert!(matches!(broker.append("in", 2, None, None, &[]), Err(Error::Fatal(_))));
}

#[test]
fn compaction_keeps_the_last_committed_value_of_each_key() {
    let broker = broker();
    broker.set_compacted("out").unwrap();
    let mut member = owner(&broker, "id");
    for (key, value) in [("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None), ("c", Some("4"))]
    {
        broker.append("out", 0, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    }
    member.begin().unwrap();
    member.send(keyed(Some("a"), Some("open"))).unwrap();
    broker.compact("out", 0).unwrap();
    assert_eq!(values(&broker), ["3", "4"], "uncommitted records replace nothing");
    member.restart().unwrap();
    assert_eq!(values(&broker), ["3", "4"]);
    let mut offsets = Vec::new();
    let end = member.read("out", 0, 0, &mut |record| offsets.push(record.offset)).unwrap();
    assert_eq!((offsets, end), (vec![2, 4], 7));
    assert!(matches!(broker.append("out", 0, None, Some(b"x"), &[]), Err(Error::Fatal(_))));
}

#[test]
fn bounded_topics_stay_bounded() {
    let broker = broker();
    broker.create_topic("state", 1);
    broker.set_compacted("state").unwrap();
    let max_bytes = Some(10_000);
    broker.retain("in", Retention { max_bytes, max_age: None }).unwrap();
    broker.retain("out", Retention { max_bytes: None, max_age: Some(10 * SECOND) }).unwrap();
    for n in 0..20_000_u32 {
        let value = n.to_string();
        broker.append("in", 0, None, Some(value.as_bytes()), &[]).unwrap();
        broker.append("state", 0, Some(&[(n % 7) as u8]), Some(value.as_bytes()), &[]).unwrap();
        broker.append("out", 0, None, Some(value.as_bytes()), &[]).unwrap();
        broker.advance(SECOND);
    }
    assert!(broker.bytes("in", 0).unwrap() <= 10_000);
    assert!(!broker.records("in", 0).is_empty());
    assert!(broker.records("state", 0).len() <= 1024 + 2 * 7 + 1);
    assert_eq!(broker.records("out", 0).len(), 11);
}

#[test]
fn retention_waits_for_open_transactions() {
    let broker = broker();
    broker.retain("out", Retention { max_bytes: Some(0), max_age: None }).unwrap();
    let mut member = owner(&broker, "id");
    begin(&mut member, "a");
    broker.truncate("out", 0, 1).unwrap();
    assert_ne!(broker.bytes("out", 0).unwrap(), 0);
    member.commit(&[]).unwrap();
    assert_eq!(broker.bytes("out", 0).unwrap(), 0);
    let mut none = 0;
    assert_eq!(member.read("out", 0, 0, &mut |_| none += 1), Ok(2));
    assert_eq!(none, 0);
}

#[test]
fn partitions_are_read_round_robin() {
    let broker = broker();
    for n in 0..6 {
        broker.append("in", n % 2, None, Some(b"x"), &[]).unwrap();
    }
    let mut member = owner(&broker, "id");
    let mut turns = Vec::new();
    for _ in 0..4 {
        let see = &mut |item: Item<'_>| {
            if let Item::Record(record) = item {
                turns.push((record.partition, record.offset));
            }
        };
        member.poll(1, Duration::ZERO, see).unwrap();
    }
    assert_eq!(turns, [(0, 0), (1, 0), (0, 1), (1, 1)]);
}

#[test]
fn waiting_poll_is_woken_by_a_record() {
    let broker = Broker::new(Clock::System);
    broker.create_topic("in", 2);
    let hours = 3600 * 3 * SECOND;
    let options = MemberOptions { session_timeout: hours, ..MemberOptions::new("group", "in", "id") };
    let mut member = broker.member(options);
    assert!(poll(&mut member).is_some());
    member.assign(&[(0, 0), (1, 0)]).unwrap();
    let mut ends = 0;
    while ends < 2 {
        member.poll(1, Duration::ZERO, &mut |_| ends += 1).unwrap();
    }
    let (asked, ask) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        asked.send(()).unwrap();
        let mut seen = Vec::new();
        // Without a wake-up this would take an hour, the heartbeat interval.
        member
            .poll(1, hours, &mut |item| {
                if let Item::Record(record) = item {
                    seen.push(record.offset);
                }
            })
            .unwrap();
        seen
    });
    ask.recv().unwrap();
    broker.append("in", 1, None, Some(b"x"), &[]).unwrap();
    assert_eq!(waiting.join().unwrap(), [0]);
}

/// Snapshots are few large records: compaction by the number of records alone would keep hundreds of them.
#[test]
fn few_large_records_are_compacted_too() {
    let broker = broker();
    broker.set_compacted("out").unwrap();
    for n in 0..300_u32 {
        let key = [(n % 3) as u8];
        broker.append("out", 0, Some(&key), Some(&[n as u8; 100_000]), &[]).unwrap();
    }
    assert!(broker.bytes("out", 0).unwrap() < 2_000_000, "{} bytes", broker.bytes("out", 0).unwrap());
    assert_eq!(broker.end_offset("out", 0).unwrap(), 300);
}
