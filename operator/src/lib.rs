//! The operator: keeps the Kafka topics and the pods of each `ClickstreamPipeline` as the resource says.

mod args;
pub mod build;
pub mod object;
pub mod plan;

pub use args::{Args, Command};

/// Does what the command line says.
///
/// # Errors
/// What a person must deal with, in words for a person.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
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
    let value = serde_json::to_value(weir_spec::definition())?;
    Ok(serde_saphyr::to_string(&value)?)
}
