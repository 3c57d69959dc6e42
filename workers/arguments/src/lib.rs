//! Common parts of command lines: addresses and bounded numbers. Errors state what was found, what was expected, and what to do
//! if that is not obvious.
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

/// Parses this process's command line; on errors exits with a message. An empty environment variable counts as
/// not set, as shells, compose files and manifests leave them.
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
