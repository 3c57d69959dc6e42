//! The testbed's guarantees, on Linux, where /proc lists the processes.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// Set for the process that [`survive_nothing`] kills.
const VICTIM: &str = "WEIR_TESTBED_VICTIM";

#[test]
fn acknowledged_records_survive_a_crash_of_one_broker() {
    let kafka = Kafka::start(1).unwrap();
    create(&kafka, "kept", 2);
    produce(&kafka, "kept", 500);

    kafka.broker(0).kill().unwrap();
    assert!(!kafka.broker(0).runs().unwrap());
    assert!(TcpStream::connect(kafka.bootstrap()).is_err(), "a killed broker answers");
    assert!(matches!(kafka.broker(0).pause(), Err(Error::NotRunning { broker: 0 })));

    kafka.broker(0).start().unwrap();
    assert_eq!(count(&kafka, "kept"), 500);

    kafka.broker(0).stop().unwrap();
    assert!(!kafka.broker(0).runs().unwrap());
    kafka.broker(0).start().unwrap();
    assert_eq!(count(&kafka, "kept"), 500);
}

#[test]
fn three_brokers_go_on_without_one() {
    let kafka = Kafka::start(3).unwrap();
    for broker in kafka.brokers() {
        TcpStream::connect(broker.address()).unwrap();
    }
    assert_eq!(kafka.bootstrap().split(',').count(), 3);
    create(&kafka, "replicated", 3);
    kafka.broker(1).kill().unwrap();
    produce(&kafka, "replicated", 300);
    assert_eq!(count(&kafka, "replicated"), 300);
    kafka.broker(1).start().unwrap();
    TcpStream::connect(kafka.broker(1).address()).unwrap();
}

#[test]
fn a_paused_broker_is_stopped_and_ends_with_its_cluster() {
    let kafka = Kafka::start(1).unwrap();
    let folder = kafka.data.path().to_owned();
    let java = processes(&folder).into_iter().find(|(_, name)| name == "java").unwrap().0;
    kafka.broker(0).pause().unwrap();
    await_that(|| state(java) == "T", "the broker was not stopped");
    kafka.broker(0).resume().unwrap();
    await_that(|| state(java) != "T", "the broker did not resume");

    kafka.broker(0).pause().unwrap();
    drop(kafka);
    await_nothing_of(&folder);
}

#[test]
fn the_error_of_a_broker_that_cannot_start_has_its_log() {
    let kafka = Kafka::start(1).unwrap();
    kafka.broker(0).kill().unwrap();
    std::fs::remove_file(kafka.data.path().join("broker-0/meta.properties")).unwrap();
    let error = kafka.broker(0).start().unwrap_err();
    assert!(matches!(error, Error::Died { broker: 0, .. }), "{error}");
    assert!(error.to_string().contains("meta.properties"), "{error}");
}

#[test]
fn a_taken_port_is_named() {
    let port = ports::free(1)[0];
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let error = Kafka::start_on(1, port).unwrap_err();
    assert!(
        matches!(&error, Error::PortTaken { address } if *address == format!("127.0.0.1:{port}")),
        "{error}"
    );
}

#[test]
fn nothing_outlives_a_killed_process() {
    survive_nothing("cluster::tests::nothing_outlives_a_killed_process", |_| {});
}

/// The system sends SIGHUP to what a process leaves behind if part of it is stopped: that must not hit the guard.
#[test]
fn not_even_a_paused_broker_outlives_a_killed_process() {
    survive_nothing("cluster::tests::not_even_a_paused_broker_outlives_a_killed_process", |kafka| {
        kafka.broker(0).pause().unwrap();
    });
}

/// The calling test starts itself once more in a process of its own, which starts a cluster and waits to be killed.
fn survive_nothing(test: &str, prepare: impl Fn(&Kafka)) {
    if std::env::var_os(VICTIM).is_some() {
        let kafka = Kafka::start(1).unwrap();
        prepare(&kafka);
        println!("\nfolder={}", kafka.data.path().display());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap());
    let folder = output.lines().find_map(|line| Some(line.unwrap().strip_prefix("folder=")?.to_owned()));
    let folder = folder.expect("the victim started no cluster");
    let folder = Path::new(&folder);
    assert!(processes(folder).iter().any(|(_, name)| name == "java"));

    victim.kill().unwrap(); // SIGKILL: no destructor runs
    victim.wait().unwrap();
    await_nothing_of(folder);
}

fn create(kafka: &Kafka, topic: &str, partitions: u32) {
    let partitions = partitions.to_string();
    let arguments = ["--bootstrap-server", kafka.bootstrap(), "--create", "--topic", topic, "--partitions"];
    let arguments = [&arguments[..], &[&partitions]].concat();
    kafka.distribution().tool("org.apache.kafka.tools.TopicCommand", &arguments).unwrap();
}

/// Writes records and waits until every replica that is in sync has them.
fn produce(kafka: &Kafka, topic: &str, records: u32) {
    let (records, servers) = (records.to_string(), format!("bootstrap.servers={}", kafka.bootstrap()));
    let what = ["--topic", topic, "--num-records", &records, "--record-size", "10", "--throughput", "-1"];
    let how = ["--command-property", &servers, "acks=all"];
    let arguments = [&what[..], &how].concat();
    let output = kafka.distribution().tool("org.apache.kafka.tools.ProducerPerformance", &arguments).unwrap();
    assert!(output.contains(&format!("{records} records sent")), "{output}");
}

/// How many records the topic's partitions have together.
fn count(kafka: &Kafka, topic: &str) -> u64 {
    let arguments = ["--bootstrap-server", kafka.bootstrap(), "--topic", topic];
    let output = kafka.distribution().tool("org.apache.kafka.tools.GetOffsetShell", &arguments).unwrap();
    output.lines().map(|line| line.rsplit(':').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// The processes that were started for the cluster in this folder: their numbers and names.
fn processes(folder: &Path) -> Vec<(u32, String)> {
    let all = std::fs::read_dir("/proc").unwrap();
    let numbers = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter_map(|pid| {
            // A process may end meanwhile.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            let about = String::from_utf8_lossy(&line).contains(folder.to_str().unwrap());
            about.then(|| (pid, name.trim_end().to_owned()))
        })
        .collect()
}

/// The state's letter in /proc: T for stopped.
fn state(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap()[..1].to_owned()
}

fn await_nothing_of(folder: &Path) {
    await_that(|| processes(folder).is_empty(), "a process outlived its cluster");
    await_that(|| !folder.exists(), "the data outlived its cluster");
}

fn await_that(condition: impl Fn() -> bool, otherwise: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{otherwise}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
