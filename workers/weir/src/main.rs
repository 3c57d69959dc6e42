//! `weir`: real-time clickstream analytics.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match weir::run(weir::args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}
