//! What the programs' command lines have in common: addresses and bounded numbers. Each refusal tells what was found,
//! what was expected, and what to do where that is not plain.
//!
//! ```
//! use weir_arguments::{bootstrap_servers, listen_address};
//!
//! assert_eq!(listen_address("8090")?.to_string(), "127.0.0.1:8090");
//! assert_eq!(bootstrap_servers("a:9092, b:9092")?, "a:9092,b:9092");
//! assert!(bootstrap_servers("http://a:9092").unwrap_err().contains("without http://"));
//! # Ok::<(), String>(())
//! ```

mod address;
mod number;

use clap::{CommandFactory, FromArgMatches};

pub use address::{bootstrap_servers, listen_address, origin};
pub use number::{Number, number};

/// Parses this process's command line; a wrong one ends it with a message. An environment variable that is empty counts as
/// not set, which is how a shell, a compose file or a manifest leaves one out.
pub fn parse<A: CommandFactory + FromArgMatches>() -> A {
    let matches = without_empty_variables(A::command()).get_matches();
    A::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut A::command()).exit())
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let empty = argument
                .get_env()
                .is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
            if empty { argument.env(None::<&str>) } else { argument }
        })
        .mut_subcommands(without_empty_variables)
}
