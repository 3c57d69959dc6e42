//! The machine, time and versions of a measurement.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

/// Stored with every result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// UTC.
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) system: String,
    pub(crate) rustc: String,
    pub(crate) java: String,
    /// The project's commit, with a `+` where files differed from it.
    pub(crate) commit: String,
    /// Processes that wanted to run, over the last minute before the first measurement: on a machine with other work, more.
    pub(crate) load_average: f64,
}

impl Machine {
    pub(crate) fn detect() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let field = |file: &str, name: &str| {
            let text = read(file);
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
            value.unwrap_or_default().trim().to_owned()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let memory: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let changed = if first_line("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
            ""
        } else {
            "+"
        };
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (memory + (1 << 19)) >> 20,
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            rustc: first_line("rustc", &["--version"]),
            java: first_line("java", &["-version"]),
            commit: first_line("git", &["rev-parse", "--short", "HEAD"]) + changed,
            load_average: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
        }
    }
}

/// The first line of a program's output; empty if there is no such program.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}
