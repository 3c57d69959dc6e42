//! The program accepts the commands of the documentation.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use clap::Parser;
use weir::args::Args;

/// The commands of a document that run this program, as their arguments.
fn commands(document: &str) -> Vec<Vec<String>> {
    let lines = document.lines().filter_map(|line| line.strip_prefix("    "));
    let commands = lines.flat_map(|line| line.split("&&")).filter_map(|command| command.split(" #").next());
    let arguments = commands.filter_map(|command| command.trim().strip_prefix("cargo run --release -- "));
    arguments.map(|arguments| arguments.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn the_commands_of_the_documentation_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, min) in [("README.md", 10), ("docs/tutorial.md", 10)] {
        let commands = commands(&fs::read_to_string(root.join(file)).unwrap());
        assert!(commands.len() >= min, "{file}: {commands:?}");
        for command in commands {
            let arguments = std::iter::once("weir".to_owned()).chain(command);
            let args = Args::try_parse_from(arguments).unwrap_or_else(|error| panic!("{file}: {error}"));
            if let Some(pipeline) = args.pipeline.filter(|pipeline| pipeline.starts_with("examples")) {
                assert!(root.join(&pipeline).is_file(), "{file}: {}", pipeline.display());
            }
        }
    }
}

#[test]
fn the_examples_are_pipelines_that_can_run_beside_each_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut topics = std::collections::BTreeMap::new();
    for file in ["development.yaml", "replay.yaml", "production.yaml"] {
        let pipeline =
            weir_manifest::Pipeline::from_yaml(&fs::read_to_string(folder.join(file)).unwrap()).unwrap();
        for topic in pipeline.topics() {
            if let Some(other) = topics.insert(topic.name.clone(), file) {
                panic!("{} is a topic of {other} and of {file}", topic.name);
            }
        }
    }
}
