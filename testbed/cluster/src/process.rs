//! One part of the control plane: a process that can be stopped and started again.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, tail};

const SCRIPT: &str = include_str!("guard.sh");

/// For a part to get ready on a busy machine.
const READY: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A part, with what it is called as.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    /// What is removed when whoever started this is gone.
    data: Option<PathBuf>,
    running: Mutex<Option<Running>>,
}

/// The shell that watches over the part, and the pipe whose end ends it.
#[derive(Debug)]
struct Running {
    shell: Child,
    pipe: Option<ChildStdin>,
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
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(SCRIPT).arg("sh").arg(self.data.as_deref().unwrap_or(Path::new("")));
        shell.arg(&self.log).arg(&self.program).args(&self.arguments);
        // A group of its own: Ctrl-C at a terminal ends this process alone, and the script does the rest.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = shell.spawn().map_err(Error::io("start a shell (sh)"))?;
        let pipe = shell.stdin.take();
        *self.running() = Some(Running { shell, pipe });
        let deadline = Instant::now() + READY;
        while !ready() {
            if !self.runs()? {
                return Err(self.failed("ended"));
            }
            if Instant::now() > deadline {
                return Err(self.failed("was not ready in time"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Kills it; what it has on disk stays.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        if let Some(mut running) = self.running().take() {
            drop(running.pipe.take());
            running.shell.wait().map_err(Error::io(format!("wait for the end of {}", self.name)))?;
        }
        Ok(())
    }

    fn runs(&self) -> Result<bool, Error> {
        let Some(running) = &mut *self.running() else { return Ok(false) };
        let ended = running.shell.try_wait().map_err(Error::io(format!("look after {}", self.name)))?;
        Ok(ended.is_none())
    }

    fn failed(&self, what: &'static str) -> Error {
        let log = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Error::Part { part: self.name.clone(), what, log: tail(&log.unwrap_or_default()) }
    }

    /// A test that failed while it held the lock must not keep the others from cleaning up.
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to tell; when this fails, the end of the pipe makes the script do the same.
        let _ = self.stop();
    }
}
