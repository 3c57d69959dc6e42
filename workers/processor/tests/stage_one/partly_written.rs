//! An advance of an idle partition seals more than a transaction holds, and the process crashes between two of them.

use std::time::Duration;

use weir_log::{Member as _, Output};
use weir_memory::MemberOptions;

use crate::fixture::Fixture;

#[test]
fn what_an_advance_sealed_is_written_before_the_next_record_is_read() {
    let mut fixture = Fixture::new(1);
    fixture.view("a", fixture.broker.now() - 600_000, None);
    let mut worker = fixture.worker().with_transaction_bytes(1);
    fixture.pass(&mut worker, 5_000);
    // After the last record there are a record and a marker of an aborted transaction: the replay ends behind it.
    let mut producer = fixture.broker.member(MemberOptions::new("producers", "events", "producer"));
    producer.begin().unwrap();
    let value = Some(b"aborted".to_vec());
    let (topic, headers) = ("events".to_owned(), Vec::new());
    producer.send(Output { topic, partition: 0, key: None, value, headers }).unwrap();
    producer.restart().unwrap();
    let before = fixture.progress().remove(0).sealed;
    while fixture.progress().remove(0).sealed == before {
        fixture.turn(&mut worker).unwrap();
    }
    drop(worker);
    let (views, _) = fixture.sealed();
    assert!(views < 30, "some of its windows are not written yet: {views}");
    fixture.view("b", fixture.broker.now(), None);
    fixture.broker.advance(Duration::from_secs(20));
    let mut worker = fixture.worker();
    fixture.pass(&mut worker, 400_000);
    assert_eq!(fixture.sealed().0, 60, "each view is in each of its 30 windows");
}
