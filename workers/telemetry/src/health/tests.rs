#![allow(clippy::unwrap_used)]

use std::{io::Write, net::TcpStream, time::Instant};

use super::*;

#[test]
fn turns_are_liveness_and_success_is_readiness() {
    let heartbeat = Heartbeat::default();
    heartbeat.turn();
    let now = millis();
    assert!(!heartbeat.hangs(now) && !heartbeat.is_ready(now));
    heartbeat.success();
    let now = millis();
    assert!(
        heartbeat.is_ready(now + READINESS_TIMEOUT_MS / 2)
            && !heartbeat.is_ready(now + READINESS_TIMEOUT_MS + 1)
    );
    assert!(
        !heartbeat.hangs(now + READINESS_TIMEOUT_MS + 1) && heartbeat.hangs(now + LIVENESS_TIMEOUT_MS + 1)
    );
    heartbeat.end();
    assert!(
        heartbeat.is_ready(now + LIVENESS_TIMEOUT_MS + 1) && !heartbeat.hangs(now + LIVENESS_TIMEOUT_MS + 1)
    );
    assert!(!Heartbeat { patient: true, ..Heartbeat::default() }.hangs(now));
}

#[test]
fn failing_threads_are_named() {
    let mut health = Health::new();
    let (first, _second) = (health.heartbeat("windows", false), health.heartbeat("results", false));
    first.success();
    let now = millis();
    let (status, text) = health.all(|heartbeat| heartbeat.is_ready(now), "not at work");
    assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not at work: results\n"));
    assert_eq!(health.all(|heartbeat| !heartbeat.hangs(now), "hangs").0, StatusCode::OK);
}

#[test]
fn a_hanging_thread_fails_the_liveness_probe_until_its_next_turn() {
    let mut health = Health::new();
    let (windows, waits) = (health.heartbeat("windows", false), health.heartbeat("generator", true));
    let long_ago = millis() - LIVENESS_TIMEOUT_MS - 1;
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

/// Otherwise the liveness probe would succeed forever without any work being done.
#[test]
fn a_panic_of_the_work_ends_the_process() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let health = Health::new();
    let ended =
        thread::spawn(move || health.beside::<HealthError>(Some(address), || panic!("as this test wants")));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ended.is_finished() {
        assert!(Instant::now() < deadline, "the process does not end");
        thread::sleep(STOP_POLL_INTERVAL);
    }
    assert!(ended.join().is_err());
}
