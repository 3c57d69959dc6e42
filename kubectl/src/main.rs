//! `kubectl weir`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match kubectl_weir::run(weir_arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kubectl weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}
