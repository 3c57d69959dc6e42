//! What cannot be done is refused before anything is done.
#![allow(clippy::unwrap_used)]

use std::{process, sync::atomic::AtomicBool};

use clap::Parser;
use weir::{
    args::{Args, Command},
    generate,
};
use weir_spec::Pipeline;

#[test]
fn what_is_not_supported_is_not_left_out_silently() {
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
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{field}: {said}");
        assert!(said.contains(&format!("spec.kafka.{field}: not supported by this version")), "{said}");
    }
}

#[test]
fn events_of_the_future_are_not_sent() {
    let args = Args::parse_from(["weir", "generate", "--rate", "0"]);
    let Command::Generate(options) = args.command else { panic!("{args:?}") };
    // Told to stop already, it would otherwise end well before it finds a broker.
    let stop = AtomicBool::new(true);
    let refused = generate::run(&Pipeline::demo(), "127.0.0.1:1", &options, &stop).unwrap_err().to_string();
    assert!(
        refused.contains("--rate 0 without --start") && refused.contains("--start 2026-01-01T00:00:00Z"),
        "{refused}"
    );
}
