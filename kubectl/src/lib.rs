//! `kubectl weir`: kubectl finds it as `kubectl-weir` on the path.
//!
//! It reads the pipeline's resource, its objects and, through the API server's proxy, its gateway. It changes annotations only. Output
//! is built by pure functions ([`page`], [`doctor`]).

mod args;
mod bundle;
mod cluster;
pub mod doctor;
pub mod page;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use jiff::Timestamp;

pub use args::{Args, Command, Pipeline};
use cluster::Cluster;

/// Runs the command.
///
/// # Errors
/// The cluster cannot be reached, there is no such pipeline, or the API server refuses.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(act(args))
}

async fn act(args: Args) -> anyhow::Result<ExitCode> {
    let Args { namespace, context, kubeconfig, command } = args;
    let (Command::Status(pipeline)
    | Command::Top(pipeline)
    | Command::DeadLetters(pipeline)
    | Command::Doctor(pipeline)
    | Command::SupportBundle { pipeline, .. }
    | Command::Pause(pipeline)
    | Command::Resume(pipeline)
    | Command::Restart(pipeline)) = &command;
    let name = pipeline.name.clone();
    let cluster = Cluster::connect(namespace, context, kubeconfig).await?;
    let resource = cluster.pipeline(&name).await?;
    let now = Timestamp::now();
    match command {
        Command::Status(_) => {
            print!("{}", page::status(&resource, &cluster.gateway(&name, "health").await, now))
        }
        Command::Top(_) => {
            let top = cluster.gateway(&name, "top").await.map_err(|why| anyhow::anyhow!(why))?;
            print!("{}", page::top(&top));
        }
        Command::DeadLetters(_) => {
            let letters = cluster.gateway(&name, "dead-letters").await.map_err(|why| anyhow::anyhow!(why))?;
            print!("{}", page::dead_letters(&letters));
        }
        Command::Doctor(_) => {
            let findings = findings(&cluster, &name, &resource, now).await?;
            print!("{}", doctor::page(&findings));
            return Ok(if findings.iter().any(|finding| finding.is_wrong) {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
        Command::SupportBundle { output, .. } => {
            let output = output.unwrap_or_else(|| PathBuf::from(format!("{name}-support.tar")));
            let findings = findings(&cluster, &name, &resource, now).await?;
            let tar = bundle::make(&cluster, &name, &resource, &doctor::page(&findings), now).await?;
            std::fs::write(&output, tar).with_context(|| format!("cannot write {}", output.display()))?;
            println!("{}", output.display());
        }
        Command::Pause(_) => {
            cluster.annotate(&name, cluster::PAUSED, Some("true")).await?;
            println!(
                "{name} is paused: the operator changes nothing, pods run on. `kubectl weir resume {name}` ends it"
            );
        }
        Command::Resume(_) => {
            cluster.annotate(&name, cluster::PAUSED, None).await?;
            println!("{name} is resumed: the operator reconciles it again");
        }
        Command::Restart(_) => {
            let rolled = cluster.restart(&name, now).await?;
            anyhow::ensure!(
                !rolled.is_empty(),
                "{name} has no pods to roll: `kubectl weir status {name}` says why"
            );
            println!("rolling {}", rolled.join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn findings(
    cluster: &Cluster,
    name: &str,
    resource: &serde_json::Value,
    now: Timestamp,
) -> anyhow::Result<Vec<doctor::Finding>> {
    let (pods, events) = (cluster.pods(name).await?, cluster.events(name).await?);
    Ok(doctor::findings(resource, &pods, &events, &cluster.gateway(name, "health").await, now))
}
