//! A small file system in memory that can be filled up. Mounting it takes root.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// Unmounted when dropped.
pub(crate) struct Disk(TempDir);

impl Disk {
    pub(crate) fn mount(mebibytes: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "weir-faults"]).arg(folder.path());
        let mounted = mount.output().context("run mount")?;
        ensure!(mounted.status.success(), "{mount:?}: {}", String::from_utf8_lossy(&mounted.stderr));
        Ok(Self(folder))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left.
    pub(crate) fn fill(&self) -> io::Result<()> {
        match io::copy(&mut io::repeat(1), &mut File::create(self.ballast())?) {
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(()),
            other => other.map(drop),
        }
    }

    pub(crate) fn free(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.folder().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that is about to end may still have it open.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder()).status();
    }
}
