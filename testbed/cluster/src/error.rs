//! Errors, each with a remedy.

use std::io;

/// Why there is no cluster, or why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Go, and the programs are not compiled yet.
    #[error(
        "Kubernetes is not in {wanted} and there is no go to compile it with; install Go 1.24 or newer, from https://go.dev/dl"
    )]
    NoGo {
        /// The folder that should hold it.
        wanted: String,
    },
    /// It does not compile, or its modules could not be downloaded.
    #[error("go could not compile {program}; its last lines:\n{output}")]
    Build {
        /// What was compiled.
        program: &'static str,
        /// The end of its output.
        output: String,
    },
    /// A part ended or does not get ready.
    #[error("{part} {what}; the last lines of its log:\n{log}")]
    Part {
        /// Which.
        part: String,
        /// Its problem.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
    /// kubectl, or another program that ends, failed.
    #[error("`{command}` failed:\n{output}")]
    Command {
        /// What was called.
        command: String,
        /// Its output.
        output: String,
    },
    /// The cache folder is not available.
    #[error(transparent)]
    Cache(#[from] weir_broker::Error),
    /// The system refused something.
    #[error("could not {doing}: {cause}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's error.
        cause: io::Error,
    },
}

impl Error {
    /// For `map_err`: an I/O error with what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |cause| Self::Io { doing, cause }
    }
}
