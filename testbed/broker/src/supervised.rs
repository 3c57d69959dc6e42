//! A program that does not outlive this process.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = include_str!("guard.sh");

/// A running program under a shell that watches over it and ends it when this process ends, however it ends: see `guard.sh`.
/// Killed when dropped.
#[derive(Debug)]
pub struct SupervisedProcess {
    shell: Child,
    signals: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl SupervisedProcess {
    /// Starts the program of `command` with its arguments alone; its output is appended to the file `log`. `data` is removed when
    /// this process ends without having killed the program.
    ///
    /// # Errors
    /// There is no shell, or the system refuses a process.
    pub fn start(command: &Command, log: &Path, data: Option<&Path>) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(SCRIPT).arg("sh").arg(data.unwrap_or(Path::new(""))).arg(log);
        shell.arg(command.get_program()).args(command.get_args());
        // A group of its own: Ctrl-C at a terminal ends this process alone, and the script does the rest.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn()?;
        match (shell.stdin.take(), shell.stdout.take()) {
            (Some(signals), Some(answers)) => Ok(Self { shell, signals, answers: BufReader::new(answers) }),
            _ => Err(io::Error::other("the shell has no pipes")),
        }
    }

    /// Whether the program exists; a paused one does.
    ///
    /// # Errors
    /// The system refuses.
    pub fn runs(&mut self) -> io::Result<bool> {
        Ok(self.shell.try_wait()?.is_none())
    }

    /// The status that the program ended with, 128 and its number after a signal; `None` while it runs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn status(&mut self) -> io::Result<Option<i32>> {
        Ok(self.shell.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    /// Sends the signal of this name (`TERM`, `STOP`); false when the program is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&mut self, name: &str) -> io::Result<bool> {
        if writeln!(self.signals, "{name}").is_err() {
            return Ok(false);
        }
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer == "sent\n")
    }

    /// Kills it (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.signal("KILL")?;
        self.shell.wait()?;
        Ok(())
    }
}

impl Drop for SupervisedProcess {
    fn drop(&mut self) {
        // An error cannot be reported here; if this fails, the end of the pipe makes the script do the same.
        let _ = self.kill();
    }
}

/// The last lines of a log, for a message.
#[must_use]
pub fn tail(text: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{Duration, Instant};

    use super::*;

    /// A broker also ends when its data is removed; this program ends by a signal alone.
    #[test]
    fn a_program_ends_with_the_process_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut guarded =
            SupervisedProcess::start(&command, &folder.path().join("log"), Some(&data)).unwrap();
        assert!(guarded.runs().unwrap());
        // As when this process ends: its end of the pipe is closed.
        let mut other = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        drop(std::mem::replace(&mut guarded.signals, other.stdin.take().unwrap()));
        other.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while guarded.runs().unwrap() || data.exists() {
            assert!(
                Instant::now() < deadline,
                "the program or its data outlived the process that started it"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
