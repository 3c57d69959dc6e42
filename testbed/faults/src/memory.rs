//! A limit on the memory of one processor, as Kubernetes sets one: the kernel kills what exceeds it. Takes root, and control groups of
//! version 1, whose limit can be lowered to what is in use without a kill.

use std::{fs, io, path::PathBuf};

use anyhow::Context;

const GROUPS: &str = "/sys/fs/cgroup/memory";
/// The limit is lowered in such steps.
const STEP: u64 = 128 << 10;

/// A control group, removed when dropped.
pub(crate) struct MemoryLimit(PathBuf);

impl MemoryLimit {
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let folder = PathBuf::from(GROUPS).join(format!("weir-faults-{}-{name}", std::process::id()));
        fs::create_dir(&folder)
            .with_context(|| format!("make {} (root and control groups of version 1)", folder.display()))?;
        Ok(Self(folder))
    }

    /// A process that writes its id here belongs to it.
    pub(crate) fn processes(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Lowers the limit to what is in use and cannot be taken away, so that the next page is one too many.
    pub(crate) fn tighten(&self) -> anyhow::Result<()> {
        let mut limit = self.read("memory.usage_in_bytes")?;
        while self.set(&limit.to_string()).is_ok() && limit > STEP {
            limit -= STEP;
        }
        Ok(())
    }

    pub(crate) fn lift(&self) -> io::Result<()> {
        self.set("-1")
    }

    /// How often the kernel killed a process for it.
    pub(crate) fn kills(&self) -> anyhow::Result<u64> {
        let control = fs::read_to_string(self.0.join("memory.oom_control"))?;
        let kills = control.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(kills.context("no oom_kill in memory.oom_control")?.parse()?)
    }

    fn read(&self, file: &str) -> anyhow::Result<u64> {
        Ok(fs::read_to_string(self.0.join(file))?.trim().parse()?)
    }

    fn set(&self, limit: &str) -> io::Result<()> {
        fs::write(self.0.join("memory.limit_in_bytes"), limit)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // Its processes have ended before, or another run reports what is left.
        let _ = fs::remove_dir(&self.0);
    }
}
