//! Behaviour of Kafka only: leaving static members, broker outages, recreated topics; and the plain clients.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Cluster, name, spec};
use weir_kafka::admin::ensure_topics;
use weir_kafka::{Connection, Member, MemberOptions, Producer, ProducerOptions, Reader, Start};
use weir_log::{Committed, Error, Item, Member as _, Output, Rebalance};
use weir_manifest::Compression;

const CONDITION_TIMEOUT: Duration = Duration::from_secs(60);

/// Members whose timeouts exceed [`CONDITION_TIMEOUT`].
fn options(bootstrap: &str, group: &str, topic: &str) -> MemberOptions {
    let mut options = MemberOptions::new(bootstrap, group, topic, &name());
    options.session_timeout = Duration::from_secs(200);
    options.transaction_timeout = Duration::from_secs(200);
    options
}

fn eventually(what: &str, mut step: impl FnMut() -> bool) {
    let deadline = Instant::now() + CONDITION_TIMEOUT;
    while !step() {
        assert!(Instant::now() < deadline, "waited {CONDITION_TIMEOUT:?} for {what}");
    }
}

fn poll(member: &mut Member) -> Option<Rebalance> {
    member.poll(100, Duration::from_millis(50), &mut |_| ()).unwrap()
}

/// Polls and starts assigned partitions at 0; returns whether they are `partitions`.
fn takes(member: &mut Member, partitions: &[i32]) -> bool {
    match poll(member) {
        Some(Rebalance::Assigned(assigned)) => {
            member.assign(&assigned.iter().map(|&partition| (partition, 0)).collect::<Vec<_>>()).unwrap();
            assigned == partitions
        }
        Some(Rebalance::Revoked | Rebalance::Lost) => {
            member.unassign().unwrap();
            false
        }
        None => false,
    }
}

fn output(topic: &str, value: &str) -> Output {
    let value = Some(value.as_bytes().to_vec());
    Output { topic: topic.to_owned(), partition: 0, key: None, value, headers: Vec::new() }
}

fn at(offset: i64) -> Committed {
    Committed { offset, metadata: String::new() }
}

/// The committed values of partition 0.
fn values(member: &mut Member, topic: &str) -> Vec<String> {
    let mut values = Vec::new();
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    member.read(topic, 0, 0, &mut |record| values.push(text(record.value))).unwrap();
    values
}

/// Runs something that must not block forever, on a separate thread.
fn ends(what: &str, run: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        run();
        done.send(()).unwrap();
    });
    ended.recv_timeout(CONDITION_TIMEOUT).unwrap_or_else(|_| panic!("{what} did not end"));
}

#[test]
fn a_member_that_rejoined_gets_its_share() {
    let cluster = Cluster::shared();
    let (group, topic) = (name(), cluster.create(2, &[]));
    let mut holder = Member::connect(options(cluster.bootstrap(), &group, &topic)).unwrap();
    eventually("the first member has everything", || takes(&mut holder, &[0, 1]));
    // The owner does not poll, so it does not answer the rebalance that the second member starts.
    let mut impatient = options(cluster.bootstrap(), &group, &topic);
    impatient.rejoin_after = Duration::from_secs(2);
    impatient.session_timeout = Duration::from_secs(6);
    let mut waiting = Member::connect(impatient).unwrap();
    // The owner, the second one, and the second one again: Kafka lists each join.
    let mut seen = BTreeSet::new();
    eventually("it joins anew", || {
        assert_eq!(poll(&mut waiting), None);
        seen.extend(cluster.members(&group));
        seen.len() > 2
    });
    let mut parts = [BTreeSet::new(), BTreeSet::new()];
    eventually("each has one", || {
        for (member, part) in [&mut holder, &mut waiting].into_iter().zip(&mut parts) {
            match poll(member) {
                Some(Rebalance::Assigned(assigned)) => {
                    let starts: Vec<_> = assigned.iter().map(|&partition| (partition, 0)).collect();
                    member.assign(&starts).unwrap();
                    *part = assigned.into_iter().collect();
                }
                Some(_) => {
                    member.unassign().unwrap();
                    part.clear();
                }
                None => {}
            }
        }
        parts.iter().all(|part| part.len() == 1)
    });
}

#[test]
fn a_static_member_that_leaves_hands_over_at_once() {
    let cluster = Cluster::shared();
    let (topic, group) = (cluster.create(2, &[]), name());
    let start = |instance: &str| {
        let mut options = options(cluster.bootstrap(), &group, &topic);
        options.instance = Some(instance.to_owned());
        Member::connect(options).unwrap()
    };
    let (mut first, mut second) = (start("pod-0"), start("pod-1"));
    let (mut a, mut b) = (false, false);
    eventually("both to share", || {
        a |= takes(&mut first, &[0]);
        b |= takes(&mut second, &[1]);
        a && b
    });
    first.leave().unwrap();
    // The session is much longer than the test's timeout.
    eventually("the other to have everything", || takes(&mut second, &[0, 1]));
    assert!(matches!(first.begin(), Err(Error::Fatal(_))), "no transaction after leaving");
}

/// While a join is under way librdkafka does not leave, so that the others would wait for the session to time out.
#[test]
fn a_static_member_that_leaves_amid_a_rebalance_hands_over() {
    let cluster = Cluster::shared();
    let (topic, group) = (cluster.create(2, &[]), name());
    let start = |instance: &str| {
        let mut options = options(cluster.bootstrap(), &group, &topic);
        options.instance = Some(instance.to_owned());
        Member::connect(options).unwrap()
    };
    let (mut first, mut second) = (start("pod-0"), start("pod-1"));
    let (mut a, mut b) = (false, false);
    eventually("both to share", || {
        a |= takes(&mut first, &[0]);
        b |= takes(&mut second, &[1]);
        a && b
    });
    let mut third = start("pod-2");
    eventually("a revocation", || {
        poll(&mut third);
        poll(&mut second) == Some(Rebalance::Revoked)
    });
    second.unassign().unwrap();
    // It joins again, which lasts until the first one does too.
    eventually("the group to be rebalanced", || {
        poll(&mut third);
        assert_eq!(poll(&mut second), None);
        cluster.members(&group).len() == 3
    });
    let leaving = thread::spawn(move || second.leave().unwrap());
    let (mut a, mut c) = (false, false);
    eventually("the others to share", || {
        a |= takes(&mut first, &[0]);
        c |= takes(&mut third, &[1]);
        a && c
    });
    leaving.join().unwrap();
}

#[test]
fn dropping_does_not_wait_for_an_unanswered_rebalance() {
    let cluster = Cluster::shared();
    let (topic, group) = (cluster.create(1, &[]), name());
    let start = || Member::connect(options(cluster.bootstrap(), &group, &topic)).unwrap();
    let mut offered = start();
    eventually("an offer", || matches!(poll(&mut offered), Some(Rebalance::Assigned(_))));
    ends("closing with an offer", move || drop(offered));
    let mut revoked = start();
    eventually("a partition", || takes(&mut revoked, &[0]));
    let mut other = start();
    eventually("a revocation", || {
        poll(&mut other);
        poll(&mut revoked) == Some(Rebalance::Revoked)
    });
    ends("closing while revoked", move || drop(revoked));
    eventually("the other to have it", || takes(&mut other, &[0]));
}

#[test]
fn a_recreated_topic_is_an_error_with_its_offset() {
    let cluster = Cluster::shared();
    let (topic, group) = (cluster.create(2, &[]), name());
    let mut member = Member::connect(options(cluster.bootstrap(), &group, &topic)).unwrap();
    eventually("an offer", || matches!(poll(&mut member), Some(Rebalance::Assigned(_))));
    // As after a restart: 17 was committed, and the topic has been recreated meanwhile.
    member.assign(&[(0, 0), (1, 17)]).unwrap();
    let deadline = Instant::now() + CONDITION_TIMEOUT;
    let error = loop {
        match member.poll(10, Duration::from_millis(50), &mut |_| ()) {
            // A broker that temporarily shows less is not an error yet.
            Ok(_) | Err(Error::Retry(_)) => assert!(Instant::now() < deadline, "no error came"),
            Err(error) => break error,
        }
    };
    let Error::Fatal(message) = error else { panic!("{error:?}") };
    let start =
        format!("partition 1 of topic {topic:?} no longer has offset 17, it has 0 to 0: the topic was");
    assert!(message.starts_with(&start), "{message}");
}

#[test]
fn connecting_distinguishes_an_absent_broker_from_an_absent_topic() {
    let absent = Member::connect(options("127.0.0.1:1", "g", "t")).err().unwrap();
    let Error::Retry(message) = absent else { panic!("{absent:?}") };
    assert!(message.contains("127.0.0.1:1"), "{message}");
    let cluster = Cluster::shared();
    let unknown = Member::connect(options(cluster.bootstrap(), "g", "not-there")).err().unwrap();
    let Error::Fatal(message) = unknown else { panic!("{unknown:?}") };
    assert!(message.contains("\"not-there\"") && message.contains("create the topic"), "{message}");
}

/// Each rejoins a few times, because it may have fenced itself; then one of them concludes that there is another process.
#[test]
fn two_processes_under_one_instance_id_end_one_of_them() {
    let cluster = Cluster::shared();
    let (topic, group) = (cluster.create(1, &[]), name());
    let start = || {
        let mut options = options(cluster.bootstrap(), &group, &topic);
        options.instance = Some("pod-0".into());
        Member::connect(options).unwrap()
    };
    let mut first = start();
    eventually("the partition", || takes(&mut first, &[0]));
    first.begin().unwrap();
    let mut second = start();
    eventually("the second to have it", || takes(&mut second, &[0]));
    let refused = first.commit(&[(0, at(5))]);
    assert!(matches!(refused, Err(Error::Fatal(_) | Error::Abort(_))), "{refused:?}");
    let mut ended = None;
    eventually("one of them to end", || {
        for (n, member) in [&mut first, &mut second].into_iter().enumerate() {
            match member.poll(10, Duration::from_millis(50), &mut |_| ()) {
                Ok(None) | Err(Error::Retry(_)) => {}
                Ok(Some(Rebalance::Assigned(assigned))) => {
                    let starts: Vec<_> = assigned.iter().map(|&partition| (partition, 0)).collect();
                    assert!(!matches!(member.assign(&starts), Err(Error::Fatal(_) | Error::Retry(_))));
                }
                Ok(Some(_)) => member.unassign().unwrap(),
                Err(Error::Fatal(message)) => {
                    assert!(message.contains("group.instance.id \"pod-0\""), "{message}");
                    ended = Some(n);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        ended.is_some()
    });
    let survivor = if ended == Some(0) { &mut second } else { &mut first };
    eventually("the other to have the partition", || {
        let has = takes(survivor, &[0]) || survivor.begin().is_ok() && survivor.commit(&[(0, at(0))]).is_ok();
        if !has {
            survivor.restart().unwrap();
        }
        has
    });
}

/// As after an outage in which the response to a join was lost: the broker has a newer member of that name than the process.
#[test]
fn a_static_member_fenced_by_its_own_earlier_join_rejoins() {
    let cluster = Cluster::shared();
    let (topic, group) = (cluster.create(1, &[]), name());
    let mut options = options(cluster.bootstrap(), &group, &topic);
    options.instance = Some("pod-0".into());
    let mut member = Member::connect(options).unwrap();
    eventually("the partition", || takes(&mut member, &[0]));
    cluster.join_and_vanish(&group, &topic, "pod-0");
    let mut lost = false;
    eventually("the partition again", || match poll(&mut member) {
        Some(Rebalance::Assigned(partitions)) => {
            member.assign(&[(partitions[0], 0)]).unwrap();
            lost
        }
        Some(Rebalance::Lost | Rebalance::Revoked) => {
            member.restart().unwrap();
            member.unassign().unwrap();
            lost = true;
            false
        }
        None => false,
    });
    member.begin().unwrap();
    member.commit(&[(0, at(5))]).unwrap();
    assert_eq!(member.committed().unwrap(), [Some(at(5))]);
}

/// The broker is killed in the middle of a transaction and comes back.
#[test]
fn an_outage_aborts_only_the_open_transaction() {
    let kafka = weir_broker::Kafka::start(1).unwrap();
    let (input, out) = (name(), name());
    ensure_topics(kafka.bootstrap(), &[spec(&input, 1, &[]), spec(&out, 1, &[])]).unwrap();
    let mut options = options(kafka.bootstrap(), &name(), &input);
    options.transaction_timeout = Duration::from_secs(6);
    let mut member = Member::connect(options).unwrap();
    eventually("the partition", || takes(&mut member, &[0]));
    member.begin().unwrap();
    member.send(output(&out, "kept")).unwrap();
    member.commit(&[(0, at(1))]).unwrap();

    // Commits are acknowledged before their markers are written, and a single broker that is killed in between forgets
    // the markers (Kafka 4.3.1): that would be its loss, not ours.
    assert_eq!(member.committed().unwrap(), [Some(at(1))]);
    eventually("the output", || values(&mut member, &out) == ["kept"]);
    kafka.broker(0).kill().unwrap();
    eventually("the outage to be reported", || {
        match member.poll(10, Duration::from_millis(50), &mut |_| ()) {
            Ok(None) => false,
            Err(Error::Retry(_)) => true,
            other => panic!("{other:?}"),
        }
    });
    member.begin().unwrap();
    member.send(output(&out, "lost")).unwrap();
    let refused = member.commit(&[(0, at(2))]);
    assert!(matches!(refused, Err(Error::Abort(_))), "{refused:?}");

    kafka.broker(0).start().unwrap();
    // Reports of failed connections queued up meanwhile: they must not be returned one by one.
    let mut reports = 0;
    eventually("the outage to be over", || match member.poll(10, Duration::from_millis(50), &mut |_| ()) {
        Ok(None) => true,
        Err(Error::Retry(_)) => {
            reports += 1;
            false
        }
        other => panic!("{other:?}"),
    });
    assert!(reports <= 1, "reported {reports} times");
    eventually("the restart", || match member.restart() {
        Ok(()) => true,
        Err(Error::Retry(_)) => false,
        Err(error) => panic!("{error:?}"),
    });
    let mut committed = Vec::new();
    eventually("what was committed", || match member.committed() {
        Ok(found) => {
            committed = found;
            true
        }
        Err(Error::Retry(_)) => false,
        Err(error) => panic!("{error:?}"),
    });
    assert_eq!(committed, [Some(at(1))]);
    member.begin().unwrap();
    member.send(output(&out, "again")).unwrap();
    // The group's coordinator may still be loading: such a commit fails as a whole and is retried.
    eventually("a commit", || match member.commit(&[(0, at(3))]) {
        Ok(()) => true,
        Err(Error::Abort(_)) => {
            member.restart().unwrap();
            member.begin().unwrap();
            member.send(output(&out, "again")).unwrap();
            false
        }
        Err(error) => panic!("{error:?}"),
    });
    eventually("the outputs", || values(&mut member, &out) == ["kept", "again"]);
    eventually("new records", || {
        let mut seen = false;
        Cluster::at(kafka.bootstrap()).write(&input, 0, &[(None, Some(b"x"))]);
        let polled =
            member.poll(10, Duration::from_millis(500), &mut |item| seen |= matches!(item, Item::Record(_)));
        match polled {
            Ok(None) | Err(Error::Retry(_)) => seen,
            other => panic!("{other:?}"),
        }
    });
}

/// The broker is stopped for longer than any call's limit: the commit is abandoned, and so is the producer if necessary.
#[test]
fn a_broker_stopped_during_commits_aborts_only_transactions() {
    let kafka = weir_broker::Kafka::start(1).unwrap();
    let cluster = Cluster::at(kafka.bootstrap());
    let (input, out, group) = (cluster.create(1, &[]), cluster.create(1, &[]), name());
    let mut options = options(kafka.bootstrap(), &group, &input);
    options.session_timeout = Duration::from_secs(45);
    options.transaction_timeout = Duration::from_secs(4);
    let mut member = Member::connect(options).unwrap();
    eventually("the partition", || takes(&mut member, &[0]));
    let mut committed = Vec::new();
    for (round, (before, pause)) in [(false, 6), (true, 6), (true, 12)].into_iter().enumerate() {
        let value = format!("kept {round}");
        member.begin().unwrap();
        member.send(output(&out, "lost")).unwrap();
        if before {
            // Requests written by now wait for the broker.
            thread::sleep(Duration::from_millis(200));
        }
        kafka.broker(0).pause().unwrap();
        let refused = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_secs(pause));
                kafka.broker(0).resume().unwrap();
            });
            member.commit(&[(0, at(100 + round as i64))])
        });
        assert!(matches!(refused, Ok(()) | Err(Error::Abort(_))), "{refused:?}");
        eventually("a commit", || {
            match poll_or_retry(&mut member) {
                Some(Rebalance::Assigned(_)) => member.assign(&[(0, 0)]).unwrap(),
                Some(_) => member.unassign().unwrap(),
                None => {}
            }
            let done = member
                .restart()
                .and_then(|()| member.begin())
                .and_then(|()| member.send(output(&out, &value)))
                .and_then(|()| member.commit(&[(0, at(round as i64))]));
            match done {
                Ok(()) => true,
                Err(Error::Retry(_) | Error::Abort(_)) => false,
                Err(error) => panic!("{error:?}"),
            }
        });
        committed.push(value);
    }
    eventually("what was committed", || {
        // A commit without a response may still have been decided.
        let mut found = values(&mut member, &out);
        found.retain(|value| *value != "lost");
        found.dedup();
        found == committed
    });
}

fn poll_or_retry(member: &mut Member) -> Option<Rebalance> {
    match member.poll(10, Duration::from_millis(50), &mut |_| ()) {
        Ok(rebalance) => rebalance,
        Err(Error::Retry(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_producer_loses_nothing_and_readers_follow_from_both_ends() {
    const COUNT: u64 = 20_000;
    let cluster = Cluster::shared();
    let (topic, other) = (cluster.create(3, &[]), cluster.create(1, &[]));
    let options = ProducerOptions {
        connection: Connection {
            properties: vec![("queue.buffering.max.messages".into(), "500".into())],
            ..Connection::new(cluster.bootstrap(), &name())
        },
        compression: Compression::Snappy,
        linger: Duration::from_millis(5),
    };
    let producer = Producer::connect(&options).unwrap();
    assert_eq!(producer.partition_count(&topic).unwrap(), 3);
    for n in 0..COUNT {
        let partition = i32::try_from(n % 3).unwrap();
        producer.send(&topic, partition, b"key", n.to_string().as_bytes()).unwrap();
    }
    producer.flush(CONDITION_TIMEOUT).unwrap();
    assert_eq!((producer.acknowledged(), producer.failed(), producer.in_flight()), (COUNT, (0, None), 0));
    let latency = producer.latency();
    assert!(latency.max() > Duration::ZERO && latency.quantile(0.99) <= latency.max());

    let options = Connection::new(cluster.bootstrap(), &name());
    let topics = [topic.as_str(), other.as_str()];
    let mut all = Reader::follow(&options, &topics, Start::Beginning).unwrap();
    let mut late = Reader::follow(&options, &topics, Start::End).unwrap();
    producer.send(&other, 0, b"key", b"last").unwrap();
    producer.flush(CONDITION_TIMEOUT).unwrap();

    let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut total = 0;
    eventually("all records", || {
        let handed = all.poll(1_000, Duration::from_millis(50), &mut |topic, record| {
            let next = next.entry((topic.to_owned(), record.partition)).or_default();
            assert_eq!(record.offset, *next);
            *next += 1;
        });
        total += handed.unwrap() as u64;
        total == COUNT + 1
    });
    let mut after = Vec::new();
    eventually("the last record", || {
        late.poll(10, Duration::from_millis(50), &mut |topic, record| {
            after.push((topic.to_owned(), record.value.map(<[u8]>::to_vec)));
        })
        .unwrap()
            > 0
    });
    assert_eq!(after, [(other, Some(b"last".to_vec()))]);
}

#[test]
fn a_reader_with_a_new_client_continues_at_its_position() {
    let cluster = Cluster::shared();
    let topic = cluster.create(1, &[]);
    let options = ProducerOptions {
        connection: Connection::new(cluster.bootstrap(), &name()),
        compression: Compression::None,
        linger: Duration::ZERO,
    };
    let producer = Producer::connect(&options).unwrap();
    let send = |value: &str| {
        producer.send(&topic, 0, b"key", value.as_bytes()).unwrap();
        producer.flush(CONDITION_TIMEOUT).unwrap();
    };
    let options = Connection::new(cluster.bootstrap(), &name());
    send("one");
    let mut reader = Reader::follow(&options, &[topic.as_str()], Start::Beginning).unwrap();
    let read = |reader: &mut Reader| {
        let mut values = Vec::new();
        eventually("the end", || {
            let polled = reader.poll(10, Duration::from_millis(50), &mut |_, record| {
                values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            });
            polled.unwrap();
            reader.at_end()
        });
        values
    };
    assert_eq!(read(&mut reader), ["one"]);
    send("two");
    assert!(reader.at_end(), "the known end is the previous one");
    assert_eq!(reader.check_ends().unwrap(), None);
    assert!(!reader.at_end());
    reader.renew().unwrap();
    assert_eq!(read(&mut reader), ["two"]);
}
