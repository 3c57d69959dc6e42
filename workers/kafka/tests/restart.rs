//! The only broker is stopped or killed and restarted, under members that have read everything.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Cluster, name};
use weir_broker::Kafka;
use weir_kafka::{Member, MemberOptions};
use weir_log::{Error, Item, Member as _, Rebalance};

const CONDITION_TIMEOUT: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 2;

/// Shared by the members: the positions, as if committed, and failures.
#[derive(Default)]
struct Progress {
    next: Mutex<Vec<i64>>,
    at_end: Mutex<Vec<bool>>,
    failure: Mutex<Option<String>>,
    stop: AtomicBool,
}

fn once_there(mut call: impl FnMut() -> Result<(), Error>, progress: &Progress) -> Result<(), Error> {
    loop {
        match call() {
            Err(Error::Retry(_)) if !progress.stop.load(Ordering::SeqCst) => {
                thread::sleep(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

/// Drives a member as a worker does: it restarts its producer before it unassigns lost partitions, which an outage delays.
fn drive(options: MemberOptions, progress: &Progress) -> Result<(), Error> {
    let mut member = loop {
        match Member::connect(options.clone()) {
            Ok(member) => break member,
            Err(Error::Retry(_)) => {}
            Err(error) => return Err(error),
        }
    };
    while !progress.stop.load(Ordering::SeqCst) {
        let mut wrong = None;
        let polled = member.poll(100, Duration::from_millis(50), &mut |item| match item {
            Item::Record(record) => {
                let expected = &mut progress.next.lock().unwrap()[record.partition as usize];
                if record.offset != *expected {
                    wrong = Some(format!("read {} instead of {expected}", record.offset));
                }
                *expected = record.offset + 1;
            }
            Item::End { partition, offset } => {
                let next = progress.next.lock().unwrap()[partition as usize];
                if offset != next {
                    wrong = Some(format!("the end is at {offset}, read was up to {next}"));
                }
                progress.at_end.lock().unwrap()[partition as usize] = true;
            }
            Item::HeldBack { .. } => {}
        });
        if let Some(wrong) = wrong {
            return Err(Error::fatal(wrong));
        }
        match polled {
            Ok(None) => {}
            Ok(Some(Rebalance::Assigned(partitions))) => {
                let next = progress.next.lock().unwrap().clone();
                let starts: Vec<_> = partitions.iter().map(|&p| (p, next[p as usize])).collect();
                match once_there(|| member.assign(&starts), progress) {
                    Err(Error::Abort(_)) => {}
                    other => other?,
                }
            }
            Ok(Some(rebalance)) => {
                if rebalance == Rebalance::Lost {
                    once_there(|| member.restart(), progress)?;
                }
                once_there(|| member.unassign(), progress)?;
            }
            Err(Error::Retry(_)) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[test]
fn members_survive_restarts_of_the_only_broker_and_skip_nothing() {
    let kafka = Kafka::start(1).unwrap();
    let cluster = Cluster::at(kafka.bootstrap());
    let (topic, group) = (cluster.create(PARTITIONS, &[]), name());
    let progress = Arc::new(Progress::default());
    *progress.next.lock().unwrap() = vec![0; PARTITIONS as usize];
    *progress.at_end.lock().unwrap() = vec![false; PARTITIONS as usize];
    let members: Vec<_> = (0..2)
        .map(|n| {
            let mut options = MemberOptions::new(kafka.bootstrap(), &group, &topic, &format!("{group}-{n}"));
            options.session_timeout = Duration::from_secs(6);
            let progress = Arc::clone(&progress);
            thread::spawn(move || {
                if let Err(error) = drive(options, &progress) {
                    *progress.failure.lock().unwrap() = Some(format!("member {n}: {error}"));
                }
            })
        })
        .collect();
    let mut written = 0;
    let mut write_and_read = |what: &str| {
        for partition in 0..PARTITIONS {
            cluster.write(&topic, partition, &[(None, Some(b"x")), (None, Some(b"y"))]);
        }
        written += 2;
        let deadline = Instant::now() + CONDITION_TIMEOUT;
        loop {
            if let Some(failure) = &*progress.failure.lock().unwrap() {
                panic!("{what}: {failure}");
            }
            let all = progress.next.lock().unwrap().iter().all(|next| *next == written);
            if all && progress.at_end.lock().unwrap().iter().all(|at_end| *at_end) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: read {:?} of {written}",
                progress.next.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(20));
        }
        progress.at_end.lock().unwrap().fill(false);
    };
    write_and_read("before");
    // Longer than a session, so that members are expelled and rejoin; and shorter, so that they continue.
    for (round, (gracefully, away)) in [(true, 8), (false, 8), (true, 1), (false, 8)].into_iter().enumerate()
    {
        let broker = kafka.broker(0);
        if gracefully { broker.stop() } else { broker.kill() }.unwrap();
        thread::sleep(Duration::from_secs(away));
        broker.start().unwrap();
        write_and_read(&format!("restart {round}"));
    }
    progress.stop.store(true, Ordering::SeqCst);
    members.into_iter().for_each(|member| member.join().unwrap());
    assert_eq!(*progress.failure.lock().unwrap(), None);
}
