//! `weir-operator`: reconciles pipelines with their resources.

use std::process::ExitCode;

fn main() -> ExitCode {
    match weir_operator::run(weir_arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
