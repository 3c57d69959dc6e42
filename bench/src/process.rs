//! CPU time and peak memory of a process, from Linux's /proc.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Seek},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

/// Sampling interval: the peak is read while the process lives, so memory used for less than this time before its end may be
/// missed.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// /proc counts CPU time in hundredths of a second on every Linux.
const TICKS: f64 = 100.0;

/// Resource usage of a process from start to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds by the clock.
    pub(crate) wall: f64,
    /// Seconds of CPU, user and system, all threads.
    pub(crate) cpu: f64,
    /// Peak memory, MiB.
    pub(crate) peak: f64,
}

/// A process under measurement; ends with this value.
pub(crate) struct Process {
    child: Child,
    name: String,
    begun: Instant,
    peak: f64,
    output: File,
    messages: File,
}

impl Process {
    /// Starts it. What it prints is kept for [`Self::finish`].
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = words(command);
        let (output, messages) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(messages.try_clone()?);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("could not run {name}"))?;
        Ok(Self { child, name, begun, peak: 0.0, output, messages })
    }

    /// Usage so far.
    pub(crate) fn usage(&mut self) -> Usage {
        self.peak = self.peak.max(peak(self.child.id()).unwrap_or(0.0));
        let cpu = cpu(self.child.id()).unwrap_or(0.0);
        Usage { wall: self.begun.elapsed().as_secs_f64(), cpu, peak: self.peak }
    }

    /// Waits for its end; what it used, and what it printed.
    pub(crate) fn finish(mut self) -> anyhow::Result<(Usage, String)> {
        // Before it is waited for, /proc still has an ended process's CPU time, but no longer its memory.
        while state(self.child.id()).is_some_and(|state| state != 'Z') {
            self.peak = self.peak.max(peak(self.child.id()).unwrap_or(0.0));
            thread::sleep(POLL_INTERVAL);
        }
        let usage = self.usage();
        let status = self.child.wait()?;
        let messages = text(&mut self.messages)?;
        ensure!(status.success(), "{}: {status}\n{}", self.name, tail(&messages));
        Ok((usage, text(&mut self.output)?))
    }

    /// Asks it to end (SIGTERM), then as [`Self::finish`].
    pub(crate) fn stop(self) -> anyhow::Result<(Usage, String)> {
        Command::new("sh").args(["-c", "kill \"$0\"", &self.child.id().to_string()]).status()?;
        self.finish()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Does nothing where it was waited for; otherwise something else failed, and is being reported.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process so far, seconds; `None` when it is gone.
pub(crate) fn cpu(pid: u32) -> Option<f64> {
    let stat = stat(pid)?;
    let ticks = |index: usize| stat.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// CPU time that all processors have spent on anything, seconds.
pub(crate) fn busy() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("no /proc/stat: measuring needs Linux")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, waiting), interrupts
    Ok(ticks
        .iter()
        .enumerate()
        .filter(|(i, _)| matches!(i, 0..=2 | 5..=6))
        .map(|(_, ticks)| ticks)
        .sum::<f64>()
        / TICKS)
}

/// The children of a process, and theirs, whose program has this name.
pub(crate) fn descendants(of: u32, name: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: Vec<u32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parents = |mut pid: u32| {
        std::iter::from_fn(move || {
            pid = stat(pid)?.get(1)?.parse().ok()?;
            Some(pid)
        })
    };
    let named =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name);
    pids.into_iter().filter(named).filter(|&pid| parents(pid).any(|parent| parent == of)).collect()
}

/// Peak memory of a living process, MiB.
pub(crate) fn peak(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// The fields of /proc/PID/stat after the name, which may hold anything: state first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    // A class path says nothing to a reader.
    let words = command.get_args().map(OsStr::to_string_lossy).filter(|word| word.len() < 200);
    words.fold(program, |all, word| all + " " + &word)
}

fn text(file: &mut File) -> anyhow::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(4_000);
    text.get(from..).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn usage_and_output_of_a_process_are_returned() {
        // 32 MB held at once, and some tenths of a second of work.
        let script = "x=$(head -c 32000000 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo ${#x}";
        let (usage, printed) =
            Process::start(Command::new("sh").args(["-c", script])).unwrap().finish().unwrap();
        assert_eq!(printed, "32000000\n");
        assert!(usage.peak > 30.0, "{usage:?}");
        assert!(usage.cpu > 0.02 && usage.wall > 0.02, "{usage:?}");
    }

    #[test]
    fn a_failure_contains_the_process_output() {
        let failed = Process::start(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]))
            .unwrap()
            .finish();
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("exit 3") && message.contains("no such thing"), "{message}");
    }

    #[test]
    fn descendants_are_found_by_name() {
        let child = Process::start(Command::new("sh").args(["-c", "sleep 60; :"])).unwrap();
        let id = child.child.id();
        while descendants(id, "sleep").is_empty() {
            thread::sleep(POLL_INTERVAL);
        }
        assert_eq!(descendants(std::process::id(), "sleep"), descendants(id, "sleep"));
        let sleep = descendants(id, "sleep")[0];
        Command::new("kill").arg(sleep.to_string()).status().unwrap();
        child.finish().unwrap();
    }
}
