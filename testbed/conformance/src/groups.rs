//! Rebalances, and commits during them.

use weir_log::{Error, Member, Rebalance};

use super::drive::{Driver, all_until, at, eventually, member_spec, retry};
use super::{SHORT, World};

/// Whether these own all of `count` partitions, each of them some and none twice.
fn share<M>(drivers: &[Driver<M>], count: i32) -> bool {
    let mut all: Vec<i32> = drivers.iter().flat_map(|driver| driver.owned.clone()).collect();
    all.sort_unstable();
    all == (0..count).collect::<Vec<_>>() && drivers.iter().all(|driver| !driver.owned.is_empty())
}

pub fn two_members_share_and_a_third_joins<W: World>(world: &W) {
    let topic = world.topic(6);
    let group = world.name();
    let start = || Driver::new(world.member(&member_spec(&topic, &group, &world.name())));
    let mut drivers = vec![start(), start()];
    all_until(&mut drivers, "two to share", |drivers| share(drivers, 6));
    assert_eq!(drivers.iter().map(|d| d.owned.len()).collect::<Vec<_>>(), [3, 3]);
    drivers.push(start());
    all_until(&mut drivers, "three to share", |drivers| share(drivers, 6));
    assert_eq!(drivers.iter().map(|d| d.owned.len()).collect::<Vec<_>>(), [2, 2, 2]);
    for driver in &drivers[..2] {
        let last = &driver.rebalances[driver.rebalances.len() - 2..];
        assert!(
            matches!(last, [Rebalance::Revoked, Rebalance::Assigned(_)]),
            "revoked before assigned, got {last:?}"
        );
    }
}

/// A member can commit its work between a revocation and its answer; the next owner goes on from there.
pub fn commit_in_the_revoke_window<W: World>(world: &W) {
    let (input, out) = (world.topic(2), world.topic(1));
    let group = world.name();
    let start = || Driver::new(world.member(&member_spec(&input, &group, &world.name())));
    let mut first = start();
    first.until_owns(&[0, 1]);
    first.begin_with(&out, "done");
    let mut second = start();
    eventually("the first to be revoked", || {
        second.step();
        first.poll() == Some(Rebalance::Revoked)
    });
    assert!(second.owned.is_empty(), "no partition moves before the revocation is answered");
    first.member.commit(&[(0, at(3, "a")), (1, at(4, "b"))]).unwrap();
    first.answer(Rebalance::Revoked);
    let mut drivers = [first, second];
    all_until(&mut drivers, "both to share", |drivers| share(drivers, 2));
    assert_eq!(drivers[1].committed(), [Some(at(3, "a")), Some(at(4, "b"))]);
    drivers[1].until_reads(&out, &["done"]);
    let [_, second] = &mut drivers;
    let owned = second.owned[0];
    second.begin_with(&out, "more");
    second.member.commit(&[(owned, at(9, "c"))]).unwrap();
    assert_eq!(second.committed()[owned as usize], Some(at(9, "c")));
}

/// Work that was not committed before the partitions were unassigned cannot be committed afterwards.
pub fn commit_after_unassign_is_refused<W: World>(world: &W) {
    let (input, out) = (world.topic(2), world.topic(1));
    let group = world.name();
    let start = || Driver::new(world.member(&member_spec(&input, &group, &world.name())));
    let mut first = start();
    first.until_owns(&[0, 1]);
    first.begin_with(&out, "too late");
    let mut second = start();
    eventually("the first to be revoked", || {
        second.step();
        first.poll() == Some(Rebalance::Revoked)
    });
    first.answer(Rebalance::Revoked);
    let refused = first.member.commit(&[(0, at(3, "")), (1, at(3, ""))]);
    assert!(matches!(refused, Err(Error::Abort(_))), "expected an abort, got {refused:?}");
    retry(|| first.member.restart()).unwrap();
    let mut drivers = [first, second];
    all_until(&mut drivers, "both to share", |drivers| share(drivers, 2));
    assert_eq!(drivers[1].committed(), [None, None]);
    world.append(&out, 0, &[(None, Some(b"after"))]);
    drivers[1].until_reads(&out, &["after"]);
}

/// No timeout is waited for: both are longer than the case waits.
pub fn leave_hands_over<W: World>(world: &W) {
    let (input, out) = (world.topic(2), world.topic(1));
    let group = world.name();
    let start = || Driver::new(world.member(&member_spec(&input, &group, &world.name())));
    let mut drivers = vec![start(), start()];
    all_until(&mut drivers, "both to share", |drivers| share(drivers, 2));
    let mut first = drivers.remove(0);
    first.begin_with(&out, "lost");
    retry(|| first.member.leave()).unwrap();
    drivers[0].until_owns(&[0, 1]);
    world.append(&out, 0, &[(None, Some(b"after"))]);
    drivers[0].until_reads(&out, &["after"]);
}

/// A member stalls in a transaction, is expelled, and resumes when its partitions are another member's.
pub fn zombie_changes_nothing<W: World>(world: &W) {
    let (input, out) = (world.topic(1), world.topic(1));
    world.append(&input, 0, &[(None, Some(b"a"))]);
    let group = world.name();
    let mut spec = member_spec(&input, &group, &world.name());
    spec.session_timeout = SHORT;
    let mut zombie = Driver::new(world.member(&spec));
    zombie.until("a record", |z| z.seen.len() == 1);
    zombie.begin_with(&out, "zombie");
    world.pass(SHORT);
    let mut heir = Driver::new(world.member(&member_spec(&input, &group, &world.name())));
    heir.until("the record again", |heir| heir.seen.len() == 1);
    heir.begin_with(&out, "heir");
    heir.member.commit(&[(0, at(1, "heir"))]).unwrap();

    let refused = zombie.member.commit(&[(0, at(1, "zombie"))]);
    assert!(matches!(refused, Err(Error::Abort(_))), "expected an abort, got {refused:?}");
    retry(|| zombie.member.restart()).unwrap();
    heir.until_reads(&out, &["heir"]);
    assert_eq!(heir.committed(), [Some(at(1, "heir"))]);

    eventually("the zombie to lose its partitions", || zombie.poll() == Some(Rebalance::Lost));
    zombie.answer(Rebalance::Lost);
    let mut drivers = [zombie, heir];
    all_until(&mut drivers, "one of them to go on", |drivers| {
        let assigned = |d: &Driver<_>| matches!(d.rebalances.last(), Some(Rebalance::Assigned(_)));
        drivers.iter().all(assigned) && drivers.iter().map(|d| d.owned.len()).sum::<usize>() == 1
    });
    let owner = drivers.iter_mut().find(|driver| driver.owned == [0]).unwrap();
    owner.begin_with(&out, "next");
    owner.member.commit(&[(0, at(2, "next"))]).unwrap();
    owner.until_reads(&out, &["heir", "next"]);
}

/// A static member restarts: it gets its partitions back, and the others see no rebalance.
pub fn static_member_returns<W: World>(world: &W) {
    let (input, out) = (world.topic(4), world.topic(1));
    let group = world.name();
    let ids = [world.name(), world.name()];
    let start = |n: usize| {
        let mut spec = member_spec(&input, &group, &ids[n]);
        spec.instance = Some(format!("pod-{n}"));
        Driver::new(world.member(&spec))
    };
    let mut drivers = vec![start(0), start(1)];
    all_until(&mut drivers, "both to share", |drivers| share(drivers, 4));
    let mut stays = drivers.remove(0);
    let crashed = drivers.remove(0);
    let (had, owned, rebalances) = (crashed.owned.clone(), stays.owned.clone(), stays.rebalances.len());
    drop(crashed);
    let mut returned = start(1);
    eventually("the pod to have its partitions again", || {
        stays.step();
        returned.step();
        returned.owned == had
    });
    for driver in [&mut stays, &mut returned] {
        driver.begin_with(&out, "x");
        driver.member.commit(&[(driver.owned[0], at(1, ""))]).unwrap();
    }
    assert!(stays.poll().is_none());
    assert_eq!(
        (stays.owned, stays.rebalances.len()),
        (owned, rebalances),
        "the other member saw no rebalance"
    );
}
