//! Topics that do not fit the pipeline, on a real broker: refused with the reason and one way out, at the start and while the
//! pipeline runs.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use weir_broker::Kafka;
use weir_kafka::{Connection, MemberOptions, TopicInspector, admin::Admin};
use weir_manifest::{Compression, Management, Role, TopicSpec};

/// A pipeline whose names all begin with `name`, made unique by this process's id.
struct Fixture {
    name: String,
    results: String,
    file: tempfile::NamedTempFile,
}

/// A process that runs, and is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Fixture {
    fn new(name: &str, events: i32, results: i32) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let file = tempfile::NamedTempFile::new().unwrap();
        let fixture = Self { results: format!("{name}-results"), name, file };
        fixture.write(events, results, "Managed");
        fixture
    }

    fn write(&self, events: i32, results: i32, management: &str) {
        let Self { name, results: topic, .. } = self;
        let manifest = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: ClickstreamPipeline\nmetadata: {{name: {name}}}\nspec:\n  topics:\n    \
             events: {{name: {name}-events, partitions: {events}, management: {management}}}\n    \
             results: {{name: {topic}, partitions: {results}}}\n    topPages: {{name: {topic}-top}}\n"
        );
        std::fs::write(self.file.path(), manifest).unwrap();
    }

    fn events(&self) -> String {
        format!("{}-events", self.name)
    }

    fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).arg("--pipeline").arg(self.file.path()).args(["--brokers", Kafka::shared()]);
        command.stdout(Stdio::null());
        command
    }

    /// Runs it to its end, which must be a success.
    #[track_caller]
    fn run(&self, arguments: &[&str]) {
        let output = self.weir(arguments).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "weir {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs it to its end, which must be a refusal; returns the reason.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let child = Running(self.weir(arguments).stderr(Stdio::piped()).spawn().unwrap());
        ended(child)
    }

    fn generate(&self, events: u32) {
        let (count, start) = (events.to_string(), "2026-01-01T00:00:00Z");
        self.run(&["generate", "--events", &count, "--rate", "0", "--start", start]);
    }

    /// Starts a process, and waits until it has read all events.
    fn process(&self, events: i64) -> Running {
        let child = self.weir(&["process", "--instance", "p0"]).stderr(Stdio::piped()).spawn().unwrap();
        let running = Running(child);
        let group = format!("{}.windows", self.name);
        let inspector =
            TopicInspector::connect(&MemberOptions::new(Kafka::shared(), &group, &self.events(), "test"))
                .unwrap();
        await_that("everything is read", || {
            let committed = inspector.committed().unwrap_or_default();
            committed.iter().flatten().map(|committed| committed.offset).sum::<i64>() == events
        });
        running
    }
}

/// The log of a process that must end with an error.
#[track_caller]
fn ended(mut child: Running) -> String {
    let mut stderr = child.0.stderr.take().unwrap();
    let log = thread::spawn(move || {
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        log
    });
    await_that("it ends", || child.0.try_wait().unwrap().is_some());
    let (status, log) = (child.0.wait().unwrap(), log.join().unwrap());
    assert_eq!(status.code(), Some(1), "{log}");
    log
}

#[track_caller]
fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn admin() -> Admin {
    Admin::new(&Connection::new(Kafka::shared(), "weir-admin")).unwrap()
}

/// Creates a topic outside of the pipeline.
fn create(name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let spec = TopicSpec {
        role: Role::Events,
        name: name.to_owned(),
        partitions,
        replicas: 1,
        compression: Compression::None,
        management: Management::Managed,
        settings: settings.collect::<BTreeMap<_, _>>(),
    };
    admin().ensure_topics(&[spec], |_| false).unwrap();
}

fn delete(topic: &str) {
    admin().delete_topics(&[topic]).unwrap();
    await_that("it is deleted", || !admin().topics().unwrap().contains_key(topic));
}

#[test]
fn applying_keeps_the_records_of_an_existing_topic() {
    let shop = Fixture::new("kept", 2, 1);
    create(&shop.events(), 2, &[("retention.ms", "1209600000"), ("cleanup.policy", "compact")]);
    let log = shop.refused(&["topics", "apply"]);
    let has = |text: &str| format!("topic {} has {text}", shop.events());
    assert!(log.contains(&has("retention.ms=1209600000 (14 d), the pipeline says 7200000 (2 h)")), "{log}");
    assert!(log.contains(&has("cleanup.policy=compact, the pipeline says delete")), "{log}");
    assert!(log.contains("weir topics apply --adopt"), "{log}");
    let kept = || admin().setting(&shop.events(), "retention.ms").unwrap().unwrap();
    assert_eq!(kept(), "1209600000");
    // Nor were other topics created.
    assert!(!admin().topics().unwrap().contains_key(&shop.results));
    shop.run(&["topics", "apply", "--adopt"]);
    assert_eq!(kept(), "7200000");
    // From then on it is treated as created by the pipeline.
    let alter = [("retention.ms", "1209600000"), ("cleanup.policy", "delete")];
    create(&shop.events(), 2, &alter[..1]);
    shop.run(&["topics", "apply"]);
    assert_eq!(kept(), "7200000");
}

#[test]
fn numbers_of_partitions_that_differ_at_the_start_are_refused() {
    let shop = Fixture::new("disagree", 2, 3);
    let missing = shop.refused(&["process"]);
    assert!(
        missing.contains("run `weir topics apply` first") && missing.contains(&shop.events()),
        "{missing}"
    );
    shop.run(&["topics", "apply"]);
    for (events, results, expected) in [
        (1, 3, "set spec.topics.events.partitions back to 2"),
        (4, 3, "set spec.topics.events.partitions back to 2"),
        (2, 4, "set spec.topics.results.partitions back to 3"),
    ] {
        shop.write(events, results, "Managed");
        for command in [&["process", "--until-end"][..], &["topics", "apply"]] {
            let log = shop.refused(command);
            assert!(log.contains(expected), "{command:?}: {log}");
        }
    }
}

#[test]
fn adding_partitions_ends_a_running_pipeline() {
    let shop = Fixture::new("added", 2, 1);
    shop.run(&["topics", "apply"]);
    shop.generate(2_000);
    let running = shop.process(2_000);
    add_partitions(&shop.events(), 4);
    let expected = format!("the pipeline began with 2 partitions of {}, which has 4 now", shop.events());
    let afresh = "begin afresh: a new metadata.name, new names in spec.topics.results.name";
    let log = ended(running);
    assert!(log.contains(&expected) && log.contains(afresh), "{log}");
    // Every later command, with either number in the document, gives the same way out.
    for partitions in [2, 4] {
        shop.write(partitions, 1, "Managed");
        for command in [&["process"][..], &["topics", "apply"]] {
            let log = shop.refused(command);
            assert!(log.contains(&expected) && log.contains(afresh), "{command:?}: {log}");
        }
    }
}

#[test]
fn recreating_a_topic_ends_a_running_pipeline() {
    // Refilled to the same length, and with more than it had.
    for (which, events) in [("same", 600), ("more", 900)] {
        let shop = Fixture::new(&format!("anew-{which}"), 1, 1);
        shop.run(&["topics", "apply"]);
        shop.generate(600);
        let running = shop.process(600);
        delete(&shop.events());
        shop.run(&["topics", "apply"]);
        shop.generate(events);
        let log = ended(running);
        assert!(log.contains(&format!("topic {} was deleted and made anew", shop.events())), "{log}");
        let log = shop.refused(&["process"]);
        assert!(log.contains("begin afresh: a new metadata.name"), "{log}");
    }
}

#[test]
fn a_recreated_internal_topic_is_refused_at_the_start() {
    for suffix in ["state", "blocks"] {
        let shop = Fixture::new(&format!("inner-{suffix}"), 1, 1);
        shop.run(&["topics", "apply"]);
        shop.generate(600);
        shop.run(&["process", "--until-end"]);
        let topic = format!("{}.{suffix}", shop.name);
        delete(&topic);
        shop.run(&["topics", "apply"]);
        let log = shop.refused(&["process"]);
        assert!(log.contains(&format!("topic {topic} was deleted and made anew")), "{log}");
        assert!(log.contains("begin afresh: a new metadata.name"), "{log}");
    }
}

#[test]
fn events_and_state_made_anew_beside_old_blocks_are_refused_at_the_start() {
    let shop = Fixture::new("beside", 1, 1);
    shop.run(&["topics", "apply"]);
    shop.generate(600);
    shop.run(&["process", "--until-end"]);
    for topic in [format!("{}.state", shop.name), shop.events()] {
        delete(&topic);
        shop.run(&["topics", "apply"]);
    }
    shop.generate(600);
    let log = shop.refused(&["process"]);
    assert!(log.contains(&format!("{}.blocks holds blocks", shop.name)), "{log}");
    assert!(log.contains(&format!("no commit for {}/0", shop.events())), "{log}");
    assert!(log.contains("begin afresh: a new metadata.name"), "{log}");
}

#[test]
fn recreated_results_are_reported_at_the_start() {
    let shop = Fixture::new("outputs", 1, 1);
    shop.run(&["topics", "apply"]);
    shop.generate(600);
    shop.run(&["process", "--until-end"]);
    delete(&shop.results);
    shop.run(&["topics", "apply"]);
    // `--until-end` may end before stage 2 has its partitions.
    let mut running = shop.process(600);
    let log = collect_log(&mut running);
    for text in
        [format!("topic {} was deleted and made anew", shop.results), "The results in it are lost".to_owned()]
    {
        await_that(&text, || log.lock().unwrap().contains(&text));
    }
}

#[test]
fn live_values_stop_and_resume_with_their_topic() {
    let shop = Fixture::new("live", 1, 1);
    shop.run(&["topics", "apply"]);
    let live = format!("{}.live", shop.name);
    delete(&live);
    shop.generate(600);
    let mut running = shop.process(600);
    let log = collect_log(&mut running);
    let has_logged = |text: &str| log.lock().unwrap().contains(text);
    let warning = "results go on, and no live values are published";
    await_that("the missing topic is logged", || has_logged(warning));
    for _ in 0..2 {
        shop.run(&["topics", "apply"]);
        await_that("its topic is found", || has_logged("live values are published again"));
        let inspector =
            TopicInspector::connect(&MemberOptions::new(Kafka::shared(), "test", &live, "test")).unwrap();
        await_that("live values are published", || {
            // Each new event changes them.
            shop.generate(10);
            inspector.end(0).is_ok_and(|end| end > 0)
        });
        log.lock().unwrap().clear();
        delete(&live);
        await_that("its deletion is logged", || has_logged(warning));
    }
    assert!(running.0.try_wait().unwrap().is_none(), "{}", log.lock().unwrap());
}

/// Collects a process's log while it runs.
fn collect_log(running: &mut Running) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let (lines, written) = (BufReader::new(running.0.stderr.take().unwrap()).lines(), Arc::clone(&log));
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let mut written = written.lock().unwrap();
            written.push_str(&line);
            written.push('\n');
        }
    });
    log
}

#[test]
fn two_pipelines_do_not_write_to_one_topic() {
    let old = Fixture::new("one-writer", 1, 1);
    old.run(&["topics", "apply"]);
    old.generate(600);
    let running = old.process(600);
    let mut new = Fixture::new("two-writers", 1, 1);
    new.results.clone_from(&old.results);
    new.write(1, 1, "Managed");
    let owned = format!("topic {} belongs to the pipeline {}", old.results, old.name);
    let log = new.refused(&["topics", "apply"]);
    assert!(log.contains(&owned) && log.contains("--take-over") && log.contains("spec.topics"), "{log}");
    let log = new.refused(&["topics", "apply", "--take-over"]);
    assert!(log.contains("which runs: stop its processors first"), "{log}");
    // Nor if the topics were created by other means.
    for (topic, partitions) in [("blocks", 1), ("state", 1), ("live", 1), ("dead-letters", 1)] {
        create(&format!("{}.{topic}", new.name), partitions, &[]);
    }
    create(&new.events(), 1, &[]);
    let log = new.refused(&["process"]);
    assert!(log.contains(&owned), "{log}");

    drop(running);
    await_that("it is no longer a member", || admin().running_members(&old.name).unwrap() == 0);
    new.run(&["topics", "apply", "--take-over", "--adopt"]);
    new.run(&["process", "--until-end"]);
    let log = old.refused(&["process"]);
    assert!(log.contains(&format!("belongs to the pipeline {}", new.name)), "{log}");
}

#[test]
fn the_pipeline_that_manages_the_events_is_named_and_keeps_their_settings() {
    let (old, new) = (Fixture::new("kept-by", 1, 1), Fixture::new("reads", 1, 1));
    old.run(&["topics", "apply"]);
    // It reads the other's results, and would set their retention to two hours instead of a day.
    let manifest = std::fs::read_to_string(new.file.path()).unwrap().replace(&new.events(), &old.results);
    std::fs::write(new.file.path(), manifest).unwrap();
    let kept = format!("topic {} is kept by the pipeline {}", old.results, old.name);
    for arguments in [&["topics", "apply"][..], &["topics", "apply", "--adopt"]] {
        let log = new.refused(arguments);
        assert!(log.contains(&kept) && log.contains("spec.topics.events.management External"), "{log}");
        assert!(!log.contains("--adopt`"), "{log}");
    }
    assert_eq!(admin().setting(&old.results, "retention.ms").unwrap().as_deref(), Some("86400000"));
}

#[test]
fn events_stamped_by_producers_clocks_are_warned_of() {
    let shop = Fixture::new("clock", 1, 1);
    create(&shop.events(), 1, &[("message.timestamp.type", "CreateTime")]);
    shop.write(1, 1, "External");
    shop.run(&["topics", "apply"]);
    let output = shop.weir(&["process", "--until-end"]).stderr(Stdio::piped()).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("message.timestamp.type=CreateTime"), "{log}");
}

/// As `kafka-topics --alter --partitions` does.
fn add_partitions(topic: &str, partitions: i32) {
    admin().add_partitions(topic, partitions).unwrap();
}
