#![allow(clippy::unwrap_used)]

use std::{io::Write, net::TcpStream, sync::atomic::AtomicU32, time::Instant};

use weir_log::Error;
use weir_manifest::Pipeline;
use weir_memory::{Broker, Clock, Fault, MemberOptions};

use super::*;
use crate::{metrics::Metrics, process::stages};

#[test]
fn life_is_turns_and_readiness_is_success() {
    let heartbeat = Heartbeat::default();
    heartbeat.turn();
    let now = millis();
    assert!(!heartbeat.hangs(now) && !heartbeat.is_ready(now));
    heartbeat.success();
    let now = millis();
    assert!(heartbeat.is_ready(now + FAILS / 2) && !heartbeat.is_ready(now + FAILS + 1));
    assert!(!heartbeat.hangs(now + FAILS + 1) && heartbeat.hangs(now + HANGS + 1));
    heartbeat.end();
    assert!(heartbeat.is_ready(now + HANGS + 1) && !heartbeat.hangs(now + HANGS + 1));
    assert!(!Heartbeat { patient: true, ..Heartbeat::default() }.hangs(now));
}

#[test]
fn what_is_not_well_is_named() {
    let mut health = Health::new();
    let (first, _second) = (health.heartbeat("windows", false), health.heartbeat("results", false));
    first.success();
    let now = millis();
    let (status, text) = health.all(|heartbeat| heartbeat.is_ready(now), "not at work");
    assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not at work: results\n"));
    assert_eq!(health.all(|heartbeat| !heartbeat.hangs(now), "hangs").0, StatusCode::OK);
}

#[test]
fn a_thread_that_hangs_fails_the_probe_of_liveness_until_it_takes_a_turn() {
    let mut health = Health::new();
    let (windows, waits) = (health.heartbeat("windows", false), health.heartbeat("generator", true));
    let long_ago = millis() - HANGS - 1;
    [&windows, &waits].into_iter().for_each(|heartbeat| heartbeat.turn.store(long_ago, Ordering::Relaxed));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let probe = |path: &str| -> std::io::Result<String> {
        let mut socket = TcpStream::connect(address)?;
        write!(socket, "GET {path} HTTP/1.0\r\n\r\n")?;
        std::io::read_to_string(socket)
    };
    let done = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        let server = scope.spawn(|| health.serve(listener, &done));
        let hanging = probe("/healthz");
        windows.turn();
        let answers = [hanging, probe("/healthz"), probe("/readyz")];
        done.store(true, Ordering::SeqCst);
        server.join().unwrap().unwrap();
        answers.map(Result::unwrap)
    });
    for (answer, status, text) in [
        (&answers[0], "503", "hangs: windows\n"),
        (&answers[1], "200", "ok\n"),
        (&answers[2], "503", "not at work: windows, generator\n"),
    ] {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!((head.split(' ').nth(1), body), (Some(status), text));
    }
}

/// Kubernetes would restart it again and again, which brings no broker back.
#[test]
fn a_process_whose_broker_is_away_takes_turns() {
    let pipeline = Pipeline::demo();
    let broker = Broker::new(Clock::System);
    pipeline.topics().iter().for_each(|topic| broker.create_topic(&topic.name, topic.partitions));
    let (health, metrics) = Metrics::registered();
    let (stop, hung, attempts) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU32::new(0));
    let connect = |group: &str, topic: &str| {
        let (_, heartbeat) = &health.heartbeats[usize::from(group.ends_with("results"))];
        hung.fetch_or(heartbeat.hangs(millis()), Ordering::SeqCst);
        // Only a turn that comes after this is seen.
        heartbeat.turn.store(0, Ordering::Relaxed);
        // Four attempts fail, then each of the two stages has a connection that breaks at once.
        if attempts.fetch_add(1, Ordering::SeqCst) < 4 {
            return Err(Error::Retry("away".to_owned()));
        }
        broker.inject(group, Fault::Away(u32::MAX));
        Ok(broker.member(MemberOptions::new(group, topic, group)))
    };
    let lives = || health.heartbeats.iter().all(|(_, heartbeat)| !heartbeat.hangs(millis()));
    let deadline = Instant::now() + Duration::from_secs(30);
    thread::scope(|scope| {
        let process = scope.spawn(|| {
            stages(
                &pipeline,
                crate::process::privacy(&pipeline, None).unwrap(),
                crate::process::Steps::default(),
                &metrics,
                &stop,
                &std::sync::OnceLock::new(),
                connect,
            )
        });
        while Instant::now() < deadline && !(attempts.load(Ordering::SeqCst) == 6 && lives()) {
            thread::sleep(LOOK);
        }
        hung.fetch_or(!lives(), Ordering::SeqCst);
        stop.store(true, Ordering::SeqCst);
        process.join().unwrap().unwrap();
    });
    assert!(!hung.load(Ordering::SeqCst));
}

/// A pod that was ready for a moment would let a roll go on to the next.
#[test]
fn a_process_that_refuses_its_state_is_never_ready() {
    let pipeline = Pipeline::demo();
    let broker = Broker::new(Clock::System);
    pipeline.topics().iter().for_each(|topic| broker.create_topic(&topic.name, topic.partitions));
    let (health, metrics) = Metrics::registered();
    let connect = |group: &str, topic: &str| match group.ends_with("windows") {
        true => Err(Error::Fatal("made with another window".to_owned())),
        false => Ok(broker.member(MemberOptions::new(group, topic, group))),
    };
    let (stop, fault) = (AtomicBool::new(false), std::sync::OnceLock::new());
    let steps = crate::process::Steps::default();
    let privacy = crate::process::privacy(&pipeline, None).unwrap();
    stages(&pipeline, privacy, steps, &metrics, &stop, &fault, connect).unwrap_err();
    let now = millis();
    let (_, windows) = &health.heartbeats[0];
    assert!(!windows.is_ready(now));
}

/// Kubernetes would be told that it lives, and nobody that it does nothing.
#[test]
fn a_panic_of_the_work_ends_the_process() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let health = Health::new();
    let ended = thread::spawn(move || health.beside(Some(address), || panic!("as this test wants")));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ended.is_finished() {
        assert!(Instant::now() < deadline, "it goes on");
        thread::sleep(LOOK);
    }
    assert!(ended.join().is_err());
}
