//! `weir`: real-time clickstream analytics.

use std::{io, process::ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    match weir::run(weir::args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read it has seen enough: `weir top | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
