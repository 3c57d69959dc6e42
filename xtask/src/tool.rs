//! Programs from crates.io that tasks call, compiled once and kept.

use std::path::PathBuf;

use anyhow::ensure;

use crate::{cargo, succeeds};

/// A program of crates.io, and its version.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What `cargo install` is told beside that.
    pub(crate) arguments: &'static [&'static str],
}

impl Tool {
    /// Installs it in the cache unless it is there; where it is.
    pub(crate) fn installed(&self) -> anyhow::Result<PathBuf> {
        let Self { name, version, arguments } = self;
        let folder = weir_broker::cache()?.join(format!("{name}-{version}"));
        let program = folder.join("bin").join(name);
        if !program.is_file() {
            println!("installing {name} {version} into {}", folder.display());
            let built = folder.join("build");
            // It runs for a second: what optimisation costs would be more.
            let mut install =
                cargo(&["install", "--quiet", "--locked", "--debug", "--version", version, name]);
            install.args(*arguments).arg("--root").arg(&folder).arg("--target-dir").arg(&built);
            ensure!(succeeds(&mut install)?, "{name} could not be installed");
            std::fs::remove_dir_all(built)?;
        }
        Ok(program)
    }
}
