//! Errors, each with a remedy.

use std::io;

/// Why there is no Kafka.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Java, or one that is too old.
    #[error(
        "Kafka needs Java 17 or newer and found {found}; install one (Debian: apt-get install -y openjdk-17-jre-headless) or set JAVA_HOME"
    )]
    NoJava {
        /// What was found instead.
        found: String,
    },
    /// No Maven, and the packages are not there yet.
    #[error(
        "Kafka's packages are not in {wanted} and there is no mvn to get them with; install it (Debian: apt-get install -y maven)"
    )]
    NoMaven {
        /// The folder that should hold them.
        wanted: String,
    },
    /// Maven failed.
    #[error("mvn could not get Kafka's packages from Maven Central; its last lines:\n{output}")]
    Download {
        /// The end of its output.
        output: String,
    },
    /// One of Kafka's own tools failed.
    #[error("Kafka's {class} failed; its last lines:\n{output}")]
    Tool {
        /// The tool's class.
        class: String,
        /// The end of its output.
        output: String,
    },
    /// Something else listens on a port that was free a moment ago.
    #[error(
        "{address}, or the controller's port beside it, is taken; stop what listens there or choose another"
    )]
    PortTaken {
        /// Where the broker's clients would reach it.
        address: String,
    },
    /// A broker ended.
    #[error("broker {broker} ended; the last lines of its log:\n{log}")]
    Died {
        /// The broker's index.
        broker: usize,
        /// The end of its log.
        log: String,
    },
    /// A broker runs but does not get ready.
    #[error("broker {broker} was not ready after {seconds} s; the last lines of its log:\n{log}")]
    NotReady {
        /// The broker's index.
        broker: usize,
        /// How long the wait was.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// The broker is down, so that it can be neither paused nor resumed.
    #[error("broker {broker} is not running: start it first")]
    NotRunning {
        /// The broker's index.
        broker: usize,
    },
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
