//! The operator: keeps the Kafka topics and the pods of each `ClickstreamPipeline` in sync with its resource.
//!
//! A pass over a pipeline ([`reconcile`]) reads the actual state, decides with pure functions ([`objects`], [`plan`], [`conditions`])
//! what to do, does it, and reports in the resource's status and in events. It needs no state of its own: after an interruption
//! the next pass continues from what it finds.

mod args;
pub mod autoscale;
mod claims;
pub mod conditions;
mod context;
mod error;
mod events;
mod health;
mod kafka;
mod lease;
mod loss;
mod metrics;
pub mod object;
pub mod objects;
pub mod plan;
mod reconcile;
mod release;
mod run;

pub use args::{Args, Command, LogFormat, Release, Run};
pub use error::Error;
pub use reconcile::reconcile;
pub use release::release;
pub use run::serve;

/// Runs the command.
///
/// # Errors
/// Errors that a person must act on, with a message for people.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Run(options) => run::run(options),
        Command::Release(options) => run::release(options),
        Command::Crd => {
            print!("{}", crd()?);
            Ok(())
        }
    }
}

/// The custom resource's definition, in YAML.
///
/// # Errors
/// None in practice: the definition depends only on the types.
pub fn crd() -> anyhow::Result<String> {
    // Through JSON, which omits absent fields.
    let value = serde_json::to_value(weir_manifest::definition())?;
    Ok(serde_saphyr::to_string(&value)?)
}
