//! The operator: keeps the Kafka topics and the pods of each `ClickstreamPipeline` as the resource says.
//!
//! A pass over a pipeline ([`reconcile`]) reads what there is, decides with pure functions ([`objects`], [`plan`], [`conditions`])
//! what is to be done, does it, and says in the resource's status and in events how it is. It keeps nothing: whatever
//! it was interrupted at, the next pass finds and goes on from there.

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

/// Does what the command line says.
///
/// # Errors
/// What a person must deal with, in words for a person.
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
/// None that could be dealt with: it is what the types are.
pub fn crd() -> anyhow::Result<String> {
    // Through JSON, which leaves out what is not said.
    let value = serde_json::to_value(weir_manifest::definition())?;
    Ok(serde_saphyr::to_string(&value)?)
}
