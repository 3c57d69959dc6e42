//! One part of the control plane: a process that can be stopped and started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir_broker::{SupervisedProcess, tail};

use crate::Error;

/// Maximum time until a part is ready, on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A part, with its command line.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    /// The folder to remove when the process that started this is gone.
    data: Option<PathBuf>,
    running: Mutex<Option<SupervisedProcess>>,
}

impl Process {
    pub(crate) fn new(program: &Path, dir: &Path, arguments: Vec<String>, data: Option<&Path>) -> Self {
        let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self {
            log: dir.join(format!("{name}.log")),
            name,
            program: program.to_owned(),
            arguments,
            data: data.map(Path::to_owned),
            running: Mutex::new(None),
        }
    }

    /// Starts it and waits until `ready`.
    pub(crate) fn start(&self, ready: impl Fn() -> bool) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        let process = SupervisedProcess::start(&command, &self.log, self.data.as_deref());
        *self.running() = Some(process.map_err(Error::io("start a shell (sh)"))?);
        let deadline = Instant::now() + READY_TIMEOUT;
        while !ready() {
            if !self.runs()? {
                return Err(self.failed("ended"));
            }
            if Instant::now() > deadline {
                return Err(self.failed("was not ready in time"));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Kills it; its files stay.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        if let Some(mut running) = self.running().take() {
            running.kill().map_err(Error::io(format!("end {}", self.name)))?;
        }
        Ok(())
    }

    fn runs(&self) -> Result<bool, Error> {
        let Some(running) = &mut *self.running() else { return Ok(false) };
        running.runs().map_err(Error::io(format!("check the process of {}", self.name)))
    }

    fn failed(&self, what: &'static str) -> Error {
        let log = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Error::Part { part: self.name.clone(), what, log: tail(&log.unwrap_or_default()) }
    }

    /// A test that failed while it held the lock must not keep the others from cleaning up.
    fn running(&self) -> MutexGuard<'_, Option<SupervisedProcess>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
