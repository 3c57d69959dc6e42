//! Reading: order, ends, open transactions, truncation.

use std::time::Duration;

use weir_log::{Error, Member, Output};

use super::drive::{Driver, alone, at, eventually, member_spec, output, retry};
use super::{KeyValue, SHORT, World};

pub fn order_and_ends<W: World>(world: &W) {
    let topic = world.topic(3);
    world.append(&topic, 0, &[(None, Some(b"a")), (None, Some(b"b"))]);
    world.append(&topic, 2, &[(None, Some(b"c"))]);
    let mut reader = alone(world, &topic);
    reader.until("three ends", |r| r.ends.len() == 3);
    assert_eq!(
        reader.ends.into_iter().collect::<Vec<_>>(),
        [(0, 2), (1, 0), (2, 1)],
        "an end for each, the empty one too"
    );
    let of = |partition| -> Vec<i64> {
        reader.seen.iter().filter(|s| s.partition == partition).map(|s| s.offset).collect()
    };
    assert_eq!((of(0), of(1), of(2)), (vec![0, 1], vec![], vec![0]));
}

/// The end moves over markers and aborted records, though there is nothing to read; new records are read after it.
pub fn ends_after_aborted_tail<W: World>(world: &W) {
    let topic = world.topic(1);
    world.append(&topic, 0, &[(None, Some(b"a"))]);
    let mut reader = alone(world, &topic);
    reader.until("the first end", |r| r.ends.get(&0) == Some(&1));
    // Left to time out: a producer that restarts at once may not have sent the record at all.
    let mut spec = member_spec(&topic, &world.name(), &world.name());
    spec.transaction_timeout = SHORT;
    let mut writer = Driver::new(world.member(&spec));
    writer.begin_with(&topic, "aborted");
    world.pass(SHORT);
    reader.until("the end after the aborted record and its marker", |r| r.ends.get(&0) == Some(&3));
    let mut second = alone(world, &topic);
    second.until("the same end for a reader from the start", |r| r.ends.get(&0) == Some(&3));
    world.append(&topic, 0, &[(None, Some(b"b"))]);
    reader.until("the record after it", |r| r.seen.len() == 2);
    assert_eq!(reader.seen.iter().map(|s| s.offset).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(second.seen.len(), 1);
}

/// The end is past the marker, for a reader before the commit and for one that starts afterwards, and a reader can resume from it.
pub fn ends_after_committed_tail<W: World>(world: &W) {
    let topic = world.topic(1);
    let (mut reader, mut writer) = (alone(world, &topic), alone(world, &topic));
    reader.until("the empty end", |r| r.ends.get(&0) == Some(&0));
    writer.begin_with(&topic, "a");
    writer.member.commit(&[]).unwrap();
    reader.until("the end after the marker", |r| r.ends.get(&0) == Some(&2));
    let mut second = alone(world, &topic);
    second.until("the same end for a reader from the start", |r| r.ends.get(&0) == Some(&2));
    for reader in [&reader, &second] {
        assert_eq!(reader.seen.iter().map(|s| s.offset).collect::<Vec<_>>(), [0]);
    }
    world.append(&topic, 0, &[(None, Some(b"b"))]);
    let mut third = alone(world, &topic);
    third.until_owns(&[0]);
    retry(|| third.member.assign(&[(0, 2)])).unwrap();
    third.until("the record after it", |r| r.seen.iter().any(|s| s.offset == 2));
}

/// A transaction that begins after a reported end voids that end until the transaction is over.
pub fn an_open_transaction_is_no_end<W: World>(world: &W) {
    let topic = world.topic(2);
    world.append(&topic, 0, &[(None, Some(b"a"))]);
    let mut reader = alone(world, &topic);
    reader.until("both ends", |r| r.ends.len() == 2);
    let mut writer = alone(world, &topic);
    writer.begin_with(&topic, "held back");
    reader.until("something held back", |r| r.held_back.get(&0) == Some(&1));
    world.append(&topic, 0, &[(None, Some(b"b"))]);
    for _ in 0..10 {
        reader.step();
    }
    assert_eq!((reader.held_back.get(&0), reader.seen.len()), (Some(&1), 1), "still held back");
    assert_eq!(reader.ends.get(&1), Some(&0), "the other partition is at its end");
    writer.member.commit(&[]).unwrap();
    reader.until("the end after all of it", |r| r.ends.get(&0) == Some(&4));
    assert_eq!(reader.seen.iter().map(|s| s.offset).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(reader.held_back.is_empty());
}

/// A reader that starts while a transaction is open is reported no end.
pub fn reading_to_an_open_transaction_is_no_end<W: World>(world: &W) {
    let topic = world.topic(1);
    world.append(&topic, 0, &[(None, Some(b"a"))]);
    let (mut watcher, mut writer) = (alone(world, &topic), alone(world, &topic));
    writer.begin_with(&topic, "aborted");
    watcher.until("the transaction to be there", |r| r.held_back.get(&0) == Some(&1));
    world.append(&topic, 0, &[(None, Some(b"b"))]);
    let mut reader = alone(world, &topic);
    reader.until("something held back", |r| {
        assert!(r.ends.is_empty(), "an end was reported: {:?}", r.ends);
        r.held_back.get(&0) == Some(&1)
    });
    writer.member.restart().unwrap();
    reader.until("the end after all of it", |r| r.ends.get(&0) == Some(&4));
    assert_eq!(reader.seen.iter().map(|s| s.offset).collect::<Vec<_>>(), [0, 2]);
}

/// Retention may delete up to the end: a reader at the end has lost nothing.
pub fn retention_up_to_the_end_loses_nothing<W: World>(world: &W) {
    let topic = world.topic(1);
    let mut writer = alone(world, &topic);
    writer.begin_with(&topic, "a");
    writer.member.commit(&[]).unwrap();
    let mut reader = alone(world, &topic);
    reader.until("the end after the marker", |r| r.ends.get(&0) == Some(&2));
    world.truncate(&topic, 0, 2);
    eventually("the first offset to move", || retry(|| reader.member.beginning(0)).unwrap() == 2);
    let mut second = alone(world, &topic);
    second.until_owns(&[0]);
    retry(|| second.member.assign(&[(0, reader.ends[&0])])).unwrap();
    for reader in [&mut reader, &mut second] {
        reader.until("its end", |r| r.ends.get(&0) == Some(&2));
    }
    world.append(&topic, 0, &[(None, Some(b"b"))]);
    for reader in [&mut reader, &mut second] {
        reader.until("the record after it", |r| r.seen.iter().any(|s| s.offset == 2));
    }
}

pub fn keys_tombstones_and_headers<W: World>(world: &W) {
    let topic = world.topic(1);
    let mut member = alone(world, &topic);
    retry(|| member.member.begin()).unwrap();
    let headers = vec![("reason", "late".to_owned()), ("position", "clicks/0/7".to_owned())];
    for (key, value) in [(Some("k"), Some("v")), (Some("k"), None), (None, Some("")), (Some(""), Some("w"))] {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let (key, value) = (bytes(key), bytes(value));
        member
            .member
            .send(Output { topic: topic.clone(), partition: 0, key, value, headers: headers.clone() })
            .unwrap();
    }
    member.member.commit(&[]).unwrap();
    member.until("four records", |m| m.seen.len() == 4);
    let seen: Vec<_> = member.seen.iter().map(|s| (s.key.as_deref(), s.value.as_deref())).collect();
    let expected: [KeyValue<'_>; 4] =
        [(Some(b"k"), Some(b"v")), (Some(b"k"), None), (None, Some(b"")), (Some(b""), Some(b"w"))];
    assert_eq!(seen, expected);
    for offset in 0..4 {
        let expected: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(world.headers(&topic, 0, offset), expected);
    }
}

pub fn ten_thousand_in_order<W: World>(world: &W) {
    let (input, out) = (world.topic(1), world.topic(1));
    let values: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let records: Vec<_> = values.iter().map(|value| (None, Some(value.as_bytes()))).collect();
    world.append(&input, 0, &records);
    let mut member = alone(world, &input);
    member.until("all records", |m| m.seen.len() >= values.len());
    let seen: Vec<_> =
        member.seen.iter().map(|s| String::from_utf8(s.value.clone().unwrap()).unwrap()).collect();
    assert_eq!(seen, values);
    retry(|| member.member.begin()).unwrap();
    for value in &values {
        member.member.send(output(&out, 0, value)).unwrap();
    }
    member.member.commit(&[(0, at(10_000, ""))]).unwrap();
    eventually("the outputs", || member.read(&out).0.len() == values.len());
    assert_eq!(member.read(&out).0, values);
}

pub fn truncated_offset_is_fatal<W: World>(world: &W) {
    let topic = world.topic(1);
    world.append(&topic, 0, &[(None, Some(b"a")), (None, Some(b"b")), (None, Some(b"c"))]);
    let mut member = alone(world, &topic);
    member.until_owns(&[0]);
    world.truncate(&topic, 0, 2);
    eventually("the first offset to move", || retry(|| member.member.beginning(0)).unwrap() == 2);
    retry(|| member.member.assign(&[(0, 1)])).unwrap();
    eventually("an error", || match member.member.poll(10, Duration::from_millis(50), &mut |_| ()) {
        Ok(None) | Err(Error::Retry(_)) => false,
        Err(Error::Fatal(failure)) => {
            let position = (failure.topic.as_deref(), failure.partition, failure.offset);
            assert_eq!(position, (Some(topic.as_str()), Some(0), Some(1)), "the error has the position");
            true
        }
        other => panic!("expected a fatal error, got {other:?}"),
    });
    let (values, end) = member.read(&topic);
    assert_eq!((values, end), (vec!["c".to_owned()], 3), "read() starts at the first that is still there");
}

/// `read` goes up to the current end, without the records that an open transaction holds back.
pub fn read_sees_committed_only<W: World>(world: &W) {
    let topic = world.topic(1);
    let (mut reader, mut writer) = (alone(world, &topic), alone(world, &topic));
    assert_eq!(reader.read(&topic), (vec![], 0));
    world.append(&topic, 0, &[(None, Some(b"a"))]);
    writer.begin_with(&topic, "aborted");
    world.append(&topic, 0, &[(None, Some(b"b"))]);
    assert_eq!(reader.read(&topic), (vec!["a".to_owned()], 1), "held back at the open transaction");
    writer.member.restart().unwrap();
    reader.until_reads(&topic, &["a", "b"]);
    assert_eq!(reader.read(&topic).1, 4, "the end is after the marker");
    let mut tail = 0;
    assert_eq!(retry(|| reader.member.read(&topic, 0, 4, &mut |_| tail += 1)), Ok(4));
    assert_eq!(tail, 0);
}
