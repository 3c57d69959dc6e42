#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicU32;
use std::time::Instant;

use weir_analytics::decisive::settings;
use weir_memory::{Broker, Clock, Fault, MemberOptions};

use super::*;

/// A hung heartbeat would make Kubernetes restart the process, which brings no broker back.
#[test]
fn heartbeats_go_on_while_the_broker_is_away() {
    let pipeline = Pipeline::demo();
    let broker = Broker::new(Clock::System);
    pipeline.topics().iter().for_each(|topic| broker.create_topic(&topic.name, topic.partitions));
    let (health, metrics) = Metrics::registered();
    let (stop, hung, attempts) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU32::new(0));
    let connect = |group: &str, topic: &str| {
        let heartbeat = health.heartbeats().nth(usize::from(group.ends_with("results"))).unwrap();
        hung.fetch_or(heartbeat.hangs(millis()), Ordering::SeqCst);
        // Only a later turn is seen.
        heartbeat.reset();
        // Four attempts fail, then each of the two stages has a connection that breaks at once.
        if attempts.fetch_add(1, Ordering::SeqCst) < 4 {
            return Err(Error::retry("away"));
        }
        broker.inject(group, Fault::Away(u32::MAX));
        Ok(broker.member(MemberOptions::new(group, topic, group)))
    };
    let lives = || health.heartbeats().all(|heartbeat| !heartbeat.hangs(millis()));
    let deadline = Instant::now() + Duration::from_secs(30);
    thread::scope(|scope| {
        let process = scope.spawn(|| {
            stages(
                &pipeline,
                settings(&pipeline),
                None,
                privacy(&pipeline, None).unwrap(),
                Steps::default(),
                &metrics,
                &stop,
                &Signals::default(),
                connect,
            )
        });
        while Instant::now() < deadline && !(attempts.load(Ordering::SeqCst) == 6 && lives()) {
            thread::sleep(POLL_TIMEOUT);
        }
        hung.fetch_or(!lives(), Ordering::SeqCst);
        stop.store(true, Ordering::SeqCst);
        process.join().unwrap().unwrap();
    });
    assert!(!hung.load(Ordering::SeqCst));
}

/// A pod that is briefly ready would let a rollout go on to the next pod.
#[test]
fn a_process_that_refuses_its_state_is_never_ready() {
    let pipeline = Pipeline::demo();
    let broker = Broker::new(Clock::System);
    pipeline.topics().iter().for_each(|topic| broker.create_topic(&topic.name, topic.partitions));
    let (health, metrics) = Metrics::registered();
    let connect = |group: &str, topic: &str| match group.ends_with("windows") {
        true => Err(Error::fatal("made with another window")),
        false => Ok(broker.member(MemberOptions::new(group, topic, group))),
    };
    let (stop, signals) = (AtomicBool::new(false), Signals::default());
    let steps = Steps::default();
    let privacy = privacy(&pipeline, None).unwrap();
    stages(&pipeline, settings(&pipeline), None, privacy, steps, &metrics, &stop, &signals, connect)
        .unwrap_err();
    let now = millis();
    let windows = health.heartbeats().next().unwrap();
    assert!(!windows.is_ready(now));
}
