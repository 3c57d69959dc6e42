//! `cargo xtask e2e`: tests the whole product on a real cluster, from installation to removal.

mod environment;
mod fixture;
mod journal;
mod parts;
mod pipeline;
mod tools;
mod usage;

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use self::environment::{ClusterKind, Images, Source};
use self::fixture::Fixture;
use self::journal::Journal;
use self::parts::Part;
use self::tools::Tools;
use crate::{cargo, succeeds};

/// Extra time for diagnostics and cleanup after the deadline.
const CLEANUP_TIME: Duration = Duration::from_secs(420);

#[derive(clap::Args)]
pub(crate) struct E2eOptions {
    /// Part to run; may be repeated; basics and edits when absent, for which any cluster has room
    #[arg(long = "part", value_enum, value_name = "NAME")]
    parts: Vec<Part>,
    /// Timeout in minutes; then it fails, prints diagnostics and cleans up
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Where to run
    #[arg(long, value_enum, default_value = "kind")]
    cluster: ClusterKind,
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
    /// Tag of an earlier release's images, for the part upgrade; the cluster can have them by their names
    #[arg(long, value_name = "TAG")]
    before: Option<String>,
    /// Delete nothing in the end, and use the kind cluster that an earlier run kept
    #[arg(long)]
    keep: bool,
}

/// Runs the parts. An error names the failed steps.
pub(crate) fn run(options: &E2eOptions) -> anyhow::Result<bool> {
    let journal = Journal::new();
    let deadline = Instant::now() + Duration::from_secs(options.minutes * 60);
    let images = Images { prefix: options.registry.iter().map(|registry| format!("{registry}/")).collect() };
    if options.images != Source::Present {
        journal.step("programs for this machine: weir, weir-audit", || {
            // The images' programs in the same call: cargo recompiles crates for another choice of packages.
            let images = if options.images == Source::Binaries { &["-p", "weir-operator"][..] } else { &[] };
            let arguments = [&["build", "--release", "--locked", "-p", "weir", "-p", "weir-audit"], images];
            ensure!(succeeds(&mut cargo(&arguments.concat()))?, "they do not compile");
            Ok(())
        })?;
    }
    let sizes = journal.step("images", || images.make(options.images))?;
    journal.note(&sizes);
    let done = on_cluster(&journal, options, &images, deadline);
    if options.cluster == ClusterKind::Kind && !options.keep && environment::kept().is_some() {
        journal.step("delete the cluster", environment::down)?;
    }
    done?;
    println!("{:>7.1} s  passed", journal.elapsed().as_secs_f64());
    Ok(true)
}

fn on_cluster(
    journal: &Journal,
    options: &E2eOptions,
    images: &Images,
    deadline: Instant,
) -> anyhow::Result<()> {
    let kept = environment::kept().filter(|_| options.keep && options.cluster == ClusterKind::Kind);
    let is_kept = kept.is_some();
    let kubeconfig = match (options.cluster, kept) {
        (ClusterKind::Existing, _) => None,
        (ClusterKind::Kind, Some(kept)) => Some(kept),
        (ClusterKind::Kind, None) => {
            Some(journal.step("kind create cluster", || environment::up(options.node_image.as_deref()))?)
        }
    };
    let tools = Tools::find(kubeconfig.as_deref(), deadline)?;
    if options.cluster == ClusterKind::Existing {
        let definition =
            tools.kubectl("get crd clickstreampipelines.weir.dev --ignore-not-found --output name")?;
        ensure!(
            definition.is_empty(),
            "this cluster has ClickstreamPipelines already, and they would be removed with the test's"
        );
    }
    let kafka = chart_kafka().context("charts/weir/values.yaml names no Kafka image")?;
    match options.cluster {
        ClusterKind::Kind => journal.step("images into the cluster", || images.load(&kafka))?,
        ClusterKind::Existing if options.registry.is_some() => {
            journal.step("images into the registry", || images.push())?;
        }
        ClusterKind::Existing => {}
    }
    let nodes_are_containers = options.cluster == ClusterKind::Kind;
    let before = options.before.as_deref();
    let fixture = Fixture { journal, tools, images, before, nodes_are_containers };
    if is_kept {
        journal.step("remove what the earlier run left", || fixture.clear())?;
    }
    let parts = if options.parts.is_empty() { Part::ANYWHERE.to_vec() } else { options.parts.clone() };
    run_parts(&fixture, &parts, options)
}

/// Runs one part after the other; after a failure the next part still runs, unless the time is over.
fn run_parts(fixture: &Fixture<'_>, parts: &[Part], options: &E2eOptions) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if fixture.tools.out_of_time() {
            failed.push(format!(
                "{}: not begun, {} minutes are over (--minutes)",
                part.name(),
                options.minutes
            ));
            continue;
        }
        fixture.journal.begin(part.name());
        let for_cleanup = || Fixture { tools: fixture.tools.with_more_time(CLEANUP_TIME), ..*fixture };
        if let Err(error) = part.run(fixture) {
            let why = if fixture.tools.out_of_time() {
                format!("{} minutes are over (--minutes)\n", options.minutes)
            } else {
                String::new()
            };
            eprintln!("{}: {why}{error:#}", part.name());
            for_cleanup().print_diagnostics();
            failed.push(format!(
                "{}: {why}{}",
                part.name(),
                error.to_string().lines().next().unwrap_or_default()
            ));
        }
        if !options.keep || at + 1 < parts.len() {
            let cleared = fixture.journal.step("remove what is left", || for_cleanup().clear());
            failed.extend(cleared.err().map(|error| format!("{}: {error:#}", part.name())));
        }
    }
    println!("\n{}\n", fixture.journal);
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

/// The chart's default image of Kafka.
fn chart_kafka() -> Option<String> {
    let values = std::fs::read_to_string(crate::root().join("charts/weir/values.yaml")).ok()?;
    let mut lines = values.lines().map(str::trim).skip_while(|line| *line != "repository: apache/kafka");
    let repository = lines.next()?.strip_prefix("repository: ")?;
    let tag = lines.next()?.strip_prefix("tag: ")?;
    Some(format!("{repository}:{tag}"))
}
