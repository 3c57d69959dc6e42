//! Transactions: atomicity, fencing, timeouts.

use weir_log::{Error, Member};

use super::drive::{Driver, alone, at, eventually, member_spec, output, retry};
use super::{SHORT, World};

/// Outputs, offsets and metadata become visible together, or never.
pub fn commits_are_atomic<W: World>(world: &W) {
    let (input, out) = (world.topic(2), world.topic(1));
    let mut member = alone(world, &input);
    let mut other = alone(world, &input);
    member.until_owns(&[0, 1]);

    member.begin_with(&out, "first");
    assert_eq!(other.read(&out).0, Vec::<String>::new(), "not before the commit");
    assert_eq!(member.committed(), [None, None]);
    member.member.commit(&[(0, at(5, "one")), (1, at(7, "two"))]).unwrap();
    other.until_reads(&out, &["first"]);
    assert_eq!(member.committed(), [Some(at(5, "one")), Some(at(7, "two"))]);

    member.begin_with(&out, "aborted");
    member.member.restart().unwrap();
    member.begin_with(&out, "second");
    member.member.commit(&[(1, at(8, "three"))]).unwrap();
    other.until_reads(&out, &["first", "second"]);
    assert_eq!(member.committed(), [Some(at(5, "one")), Some(at(8, "three"))]);
}

/// After a restart the assignment stays, and the member can still commit.
pub fn restart_aborts_and_keeps_the_assignment<W: World>(world: &W) {
    let (input, out) = (world.topic(1), world.topic(1));
    world.append(&input, 0, &[(None, Some(b"a"))]);
    let mut member = alone(world, &input);
    member.until("a record", |m| m.seen.len() == 1);
    member.begin_with(&out, "aborted");
    member.member.restart().unwrap();
    member.member.restart().unwrap();
    retry(|| member.member.assign(&[(0, 0)])).unwrap();
    member.until("the record again", |m| m.seen.len() == 2);
    member.begin_with(&out, "kept");
    member.member.commit(&[(0, at(1, ""))]).unwrap();
    member.until_reads(&out, &["kept"]);
    assert_eq!(member.committed(), [Some(at(1, ""))]);
    assert_eq!(member.rebalances.len(), 1, "a restart causes no rebalance");
}

pub fn metadata_is_returned<W: World>(world: &W) {
    let input = world.topic(1);
    let group = world.name();
    let mut member = Driver::new(world.member(&member_spec(&input, &group, &world.name())));
    member.until_owns(&[0]);
    let metadata: String = (0..700).map(|n| char::from(b'!' + (n % 90) as u8)).collect();
    retry(|| member.member.begin()).unwrap();
    member.member.commit(&[(0, at(0, &metadata))]).unwrap();
    assert_eq!(member.committed(), [Some(at(0, &metadata))]);
    let mut other = Driver::new(world.member(&member_spec(&input, &group, &world.name())));
    assert_eq!(other.committed(), [Some(at(0, &metadata))], "for every member of the group");
    let elsewhere = world.topic(3);
    let mut stranger = alone(world, &elsewhere);
    let committed = retry(|| stranger.member.committed_by(&group, &input)).unwrap();
    assert_eq!(committed, [Some(at(0, &metadata))], "also from another group and topic");
}

/// After each commit the next read returns the new offset: an older one would make its reader repeat the work.
pub fn committed_waits_for_pending<W: World>(world: &W) {
    let (input, out) = (world.topic(1), world.topic(1));
    let group = world.name();
    let mut member = Driver::new(world.member(&member_spec(&input, &group, &world.name())));
    let mut other = Driver::new(world.member(&member_spec(&input, &group, &world.name())));
    member.until_owns(&[0]);
    for offset in 1..=20 {
        member.begin_with(&out, "x");
        member.member.commit(&[(0, at(offset, ""))]).unwrap();
        assert_eq!(other.committed(), [Some(at(offset, ""))]);
    }
}

/// A process dies in a transaction; its successor with the same id need not wait for a timeout.
pub fn successor_aborts_the_transaction_of_a_crash<W: World>(world: &W) {
    let (input, out) = (world.topic(1), world.topic(1));
    let spec = member_spec(&input, &world.name(), &world.name());
    let mut first = Driver::new(world.member(&spec));
    first.begin_with(&out, "lost");
    drop(first);
    let mut second = Driver::new(world.member(&spec));
    world.append(&out, 0, &[(None, Some(b"after"))]);
    second.until_reads(&out, &["after"]);
    second.begin_with(&out, "kept");
    second.member.commit(&[]).unwrap();
    second.until_reads(&out, &["after", "kept"]);
}

pub fn stale_transactional_id_is_fatal<W: World>(world: &W) {
    let (input, out) = (world.topic(1), world.topic(1));
    let spec = member_spec(&input, &world.name(), &world.name());
    let mut first = Driver::new(world.member(&spec));
    first.until_owns(&[0]);
    first.begin_with(&out, "lost");
    let mut other = spec.clone();
    other.group = world.name();
    let mut second = Driver::new(world.member(&other));
    let sent = first.member.send(output(&out, 0, "lost too"));
    let refused = sent.and_then(|()| first.member.commit(&[(0, at(1, ""))]));
    assert!(matches!(refused, Err(Error::Fatal(_))), "expected a fatal error, got {refused:?}");
    second.begin_with(&out, "kept");
    second.member.commit(&[]).unwrap();
    second.until_reads(&out, &["kept"]);
    assert_eq!(first.committed(), [None]);
}

/// The broker aborts a transaction after its timeout; the member can go on after a restart, although no other took its id.
pub fn timeout_is_abort<W: World>(world: &W) {
    let (input, out) = (world.topic(1), world.topic(1));
    let mut spec = member_spec(&input, &world.name(), &world.name());
    spec.transaction_timeout = SHORT;
    let mut member = Driver::new(world.member(&spec));
    let mut reader = alone(world, &input);
    member.until_owns(&[0]);
    member.begin_with(&out, "lost");
    world.append(&out, 0, &[(None, Some(b"after"))]);
    world.pass(SHORT);
    reader.until_reads(&out, &["after"]);
    let refused = member.member.commit(&[(0, at(1, ""))]);
    assert!(matches!(refused, Err(Error::Abort(_))), "expected an abort, got {refused:?}");
    member.member.restart().unwrap();
    assert_eq!(member.committed(), [None]);
    member.begin_with(&out, "kept");
    member.member.commit(&[(0, at(1, ""))]).unwrap();
    reader.until_reads(&out, &["after", "kept"]);
}

/// Published records are visible without a commit, and stay when the transaction beside them is aborted.
pub fn publish_needs_no_transaction<W: World>(world: &W) {
    let (input, live, out) = (world.topic(1), world.topic(1), world.topic(1));
    let mut member = alone(world, &input);
    member.begin_with(&out, "lost");
    eventually("the published value", || {
        // Best effort: a lost value is replaced by the next.
        member.member.publish(output(&live, 0, "now"));
        !member.read(&live).0.is_empty()
    });
    member.member.restart().unwrap();
    assert!(member.read(&live).0.iter().all(|value| value == "now"));
}
