//! Invalid input is refused before anything is done.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    process::{self, Stdio},
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use clap::Parser;
use weir::{
    args::{Args, Command},
    generate,
};
use weir_manifest::Pipeline;

#[test]
fn unsupported_fields_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    for (field, value) in [
        ("tls", "{}"),
        ("sasl", "{mechanism: PLAIN, secretRef: {name: user}}"),
        ("schemaRegistry", "{url: 'http://registry:8080'}"),
    ] {
        let document = format!(
            "{{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {{name: shop}}, \
             spec: {{kafka: {{bootstrapServers: ['127.0.0.1:1'], {field}: {value}}}}}}}"
        );
        std::fs::write(&file, document).unwrap();
        let mut weir = process::Command::new(env!("CARGO_BIN_EXE_weir"));
        let output = weir.arg("--pipeline").arg(&file).args(["topics", "apply"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{field}: {message}");
        assert!(
            message.contains(&format!("spec.kafka.{field}: is not supported by this version")),
            "{message}"
        );
    }
}

#[test]
fn events_of_the_future_are_not_sent() {
    let args = Args::parse_from(["weir", "generate", "--rate", "0"]);
    let Command::Generate(options) = args.command else { panic!("{args:?}") };
    // With the stop flag set, it would otherwise end without an error before it reaches a broker.
    let stop = AtomicBool::new(true);
    let refused = generate::run(&Pipeline::demo(), "127.0.0.1:1", &options, &stop).unwrap_err().to_string();
    assert!(
        refused.contains("--rate 0 without --start") && refused.contains("--start 2026-01-01T00:00:00Z"),
        "{refused}"
    );
}

/// Runs the program without a broker, and without a terminal.
fn weir(arguments: &[&str], variables: &[(&str, &str)]) -> process::Output {
    let mut weir = process::Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn a_wrong_file_or_variable_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("empty.yaml"), "").unwrap();
    std::fs::write(path("other.yaml"), "kind: Deployment").unwrap();
    std::fs::write(path("binary.yaml"), [0xff, 0xfe]).unwrap();
    let hashing = "{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {name: shop}, spec: {kafka: {bootstrapServers: \
                   ['127.0.0.1:1']}, pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}}}";
    std::fs::write(path("hashing.yaml"), hashing).unwrap();
    std::fs::write(path("short.key"), [b'\n'; 15]).unwrap();
    std::fs::write(path("long.key"), [0xff; 32]).unwrap();
    std::fs::write(path("huge.key"), [0xff; 65_537]).unwrap();
    std::os::unix::fs::symlink("short.key", path("link.key")).unwrap();
    let no_brokers =
        "no Kafka brokers: give --brokers HOST:PORT,..., set WEIR_BROKERS, or spec.kafka.bootstrapServers";
    for (arguments, variables, expected) in [
        (vec!["top", "--pipeline", &path("none.yaml")], vec![], "--pipeline: cannot read"),
        (vec!["top", "--pipeline", &path(".")], vec![], "--pipeline: cannot read"),
        (vec!["top", "--pipeline", &path("binary.yaml")], vec![], "--pipeline: cannot read"),
        (vec!["top", "--pipeline", &path("empty.yaml")], vec![], "empty.yaml is not a pipeline: "),
        (vec!["top", "--pipeline", &path("other.yaml")], vec![], "other.yaml is not a pipeline: "),
        (vec!["top"], vec![], no_brokers),
        // An empty variable counts as unset.
        (
            vec!["top"],
            vec![("WEIR_BROKERS", ""), ("WEIR_PIPELINE", ""), ("WEIR_LOG", ""), ("WEIR_LOG_FORMAT", "")],
            no_brokers,
        ),
        (vec!["process"], vec![("WEIR_INSTANCE", ""), ("WEIR_HEALTH", "")], no_brokers),
        (
            vec!["serve"],
            vec![
                ("WEIR_LISTEN", ""),
                ("WEIR_ALLOW_ORIGIN", ""),
                ("WEIR_MAX_CLIENTS", ""),
                ("WEIR_KEEP_HOURS", ""),
                ("WEIR_KEEP_MIB", ""),
            ],
            no_brokers,
        ),
        // One stage cannot start: the other does not run without it.
        (
            vec!["process", "--pipeline", &path("hashing.yaml")],
            vec![("WEIR_PII_KEY", ""), ("WEIR_PII_KEY_FILE", "")],
            "(the key is read from the file --pii-key-file, or from WEIR_PII_KEY)",
        ),
        (
            vec!["process", "--pipeline", &path("hashing.yaml")],
            vec![("WEIR_PII_KEY", "sesame")],
            "WEIR_PII_KEY: found 6 bytes, expected at least 16, better 32 random ones",
        ),
        (
            vec!["process", "--pipeline", &path("hashing.yaml")],
            vec![("WEIR_PII_KEY_FILE", &path("short.key"))],
            "short.key: found 15 bytes, expected at least 16",
        ),
        (
            vec!["process", "--pipeline", &path("hashing.yaml"), "--pii-key-file", &path("none.key")],
            vec![],
            "none.key: cannot be read: No such file",
        ),
        (
            vec!["process", "--pipeline", &path("hashing.yaml"), "--pii-key-file", &path("link.key")],
            vec![],
            "link.key: found 15 bytes, expected at least 16",
        ),
        (
            vec!["process", "--pipeline", &path("hashing.yaml"), "--pii-key-file", &path("huge.key")],
            vec![],
            "huge.key: cannot be read: found more than 65536 bytes, expected a key",
        ),
        (
            vec!["process", "--pipeline", &path("hashing.yaml"), "--pii-key-file", "/dev/zero"],
            vec![],
            "/dev/zero: cannot be read: found no regular file",
        ),
        (
            vec!["process", "--pipeline", &path("hashing.yaml"), "--pii-key-file", &path("long.key")],
            vec![("WEIR_PII_KEY", "a key of sixteen")],
            "found both, expected one",
        ),
        (vec!["top"], vec![("WEIR_BROKERS", "kafka")], "found `kafka`, expected HOST:PORT"),
        (vec!["top"], vec![("WEIR_LOG", "debgu")], "WEIR_LOG: found `debgu`, expected one of off, error,"),
        (
            vec!["generate", "--brokers", "127.0.0.1:1", "--start", "2100-01-01T00:00:00Z"],
            vec![],
            "--start is 2100-01-01T00:00:00Z, after now",
        ),
        (
            vec!["generate", "--brokers", "127.0.0.1:1", "--late", "0.6", "--malformed", "0.6"],
            vec![],
            "--late + --duplicates + --malformed: found 1.2, expected at most 1",
        ),
        (
            vec!["generate", "--brokers", "127.0.0.1:1", "--burst", "500"],
            vec![],
            "--burst: found 500, expected below the number of pages",
        ),
    ] {
        let output = weir(&arguments, &variables);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && message.contains(expected),
            "{arguments:?} {variables:?}: {message}"
        );
    }
}

#[test]
fn an_unreachable_broker_is_logged_in_few_lines_without_colours() {
    let mut process = process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["process", "--brokers", "127.0.0.1:1"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    // By the fifth attempt librdkafka alone had written hundreds.
    let (mut logged, mut attempts) = (Vec::new(), 0);
    let begun = Instant::now();
    for line in lines {
        attempts += u32::from(line.contains("transient error, retrying"));
        logged.push(line);
        if attempts == 4 || begun.elapsed() > Duration::from_secs(60) {
            break;
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(attempts, 4, "{logged:#?}");
    assert!(logged.len() < 25, "{logged:#?}");
    assert!(!logged.iter().any(|line| line.contains('\x1b')), "{logged:#?}");
}
