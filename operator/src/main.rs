//! `weir-operator`: keeps pipelines as their resources say.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match weir_operator::run(weir_operator::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
