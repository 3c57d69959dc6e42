//! `cargo xtask e2e`: the whole product on a real cluster, from nothing to nothing.

mod acts;
mod place;
mod tools;
mod usage;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use self::acts::Stage;
use self::place::{Images, Place, Source};
use self::tools::Tools;
use crate::{cargo, succeeds};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where
    #[arg(long, value_enum, default_value = "kind")]
    cluster: Place,
    /// Image of kind's nodes; kind's own choice when absent
    #[arg(long, env = "WEIR_NODE_IMAGE", value_name = "IMAGE")]
    node_image: Option<String>,
    /// What images are made of
    #[arg(long, value_enum, default_value = "dockerfile")]
    images: Source,
    /// Where images are pushed, for a cluster that pulls them, such as registry.example/team; absent: an existing cluster's
    /// nodes have weir:e2e, weir:e2e-next and the operator's two already
    #[arg(long, value_name = "HOST/PATH")]
    registry: Option<String>,
    /// Delete nothing in the end, and use the kind cluster that an earlier run kept
    #[arg(long)]
    keep: bool,
}

/// Says what is done, and how long it took.
pub(super) struct Journal {
    begun: Instant,
}

impl Journal {
    pub(super) fn step<T>(&self, what: &str, doing: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let begun = Instant::now();
        let done = doing();
        let outcome = if done.is_ok() { "" } else { "  FAILED" };
        println!(
            "{:>7.1} s  {what}: {:.1} s{outcome}",
            self.elapsed().as_secs_f64(),
            begun.elapsed().as_secs_f64()
        );
        done
    }

    /// Figures or findings of the step before.
    pub(super) fn note(&self, what: &str) {
        for line in what.lines() {
            println!("{:>11}{line}", "");
        }
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Runs it. An error tells which step failed and how things stood.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let journal = Journal { begun: Instant::now() };
    let images = Images { prefix: options.registry.iter().map(|registry| format!("{registry}/")).collect() };
    if options.images != Source::Present {
        journal.step("programs for this side: weir, weir-audit", || {
            // The images' programs in the same call: cargo compiles crates anew for another choice of packages.
            let images = if options.images == Source::Binaries { &["-p", "weir-operator"][..] } else { &[] };
            let arguments = [&["build", "--release", "--locked", "-p", "weir", "-p", "weir-audit"], images];
            ensure!(succeeds(&mut cargo(&arguments.concat()))?, "they do not compile");
            Ok(())
        })?;
    }
    let sizes = journal.step("images", || images.make(options.images))?;
    journal.note(&sizes);
    let done = on_cluster(&journal, options, &images);
    if options.cluster == Place::Kind && !options.keep && place::kept().is_some() {
        journal.step("delete the cluster", place::down)?;
    }
    done?;
    println!("{:>7.1} s  passed", journal.elapsed().as_secs_f64());
    Ok(true)
}

fn on_cluster(journal: &Journal, options: &Options, images: &Images) -> anyhow::Result<()> {
    let kubeconfig = match options.cluster {
        Place::Existing => None,
        Place::Kind => Some(match place::kept().filter(|_| options.keep) {
            Some(kept) => kept,
            None => journal.step("kind create cluster", || place::up(options.node_image.as_deref()))?,
        }),
    };
    let tools = Tools::find(kubeconfig.as_deref())?;
    if options.cluster == Place::Existing {
        let definition =
            tools.kubectl("get crd clickstreampipelines.weir.dev --ignore-not-found --output name")?;
        ensure!(
            definition.is_empty(),
            "this cluster has ClickstreamPipelines already, and they would be removed with the test's"
        );
    }
    let kafka = chart_kafka().context("charts/weir/values.yaml names no Kafka image")?;
    match options.cluster {
        Place::Kind => journal.step("images into the cluster", || images.load(&kafka))?,
        Place::Existing if options.registry.is_some() => {
            journal.step("images into the registry", || images.push())?;
        }
        Place::Existing => {}
    }
    let nodes_are_containers = options.cluster == Place::Kind;
    let stage = Stage { journal, tools: &tools, images, nodes_are_containers };
    let done = stage.play();
    if let Err(error) = &done {
        eprintln!("{error:#}");
        stage.tell();
    }
    if !options.keep {
        journal.step("remove what is left", || stage.clear())?;
    }
    done
}

/// The image of Kafka that the chart takes when nothing else is said.
fn chart_kafka() -> Option<String> {
    let values = std::fs::read_to_string(crate::root().join("charts/weir/values.yaml")).ok()?;
    let mut lines = values.lines().map(str::trim).skip_while(|line| *line != "repository: apache/kafka");
    let repository = lines.next()?.strip_prefix("repository: ")?;
    let tag = lines.next()?.strip_prefix("tag: ")?;
    Some(format!("{repository}:{tag}"))
}
