//! Programs from crates.io that tasks call, compiled once into the cache.

use std::path::PathBuf;

use anyhow::ensure;

use crate::{cargo, succeeds};

/// A program of crates.io, and its version.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Further arguments of `cargo install`.
    pub(crate) arguments: &'static [&'static str],
}

impl Tool {
    /// Installs it in the cache unless it is there; returns its path.
    pub(crate) fn installed(&self) -> anyhow::Result<PathBuf> {
        let Self { name, version, arguments } = self;
        let folder = weir_broker::cache()?.join(format!("{name}-{version}"));
        let program = folder.join("bin").join(name);
        if !program.is_file() {
            println!("installing {name} {version} into {}", folder.display());
            let built = folder.join("build");
            // A debug build: it runs for a second, less than optimising it would take.
            let mut install =
                cargo(&["install", "--quiet", "--locked", "--debug", "--version", version, name]);
            install.args(*arguments).arg("--root").arg(&folder).arg("--target-dir").arg(&built);
            ensure!(succeeds(&mut install)?, "{name} could not be installed");
            std::fs::remove_dir_all(built)?;
        }
        Ok(program)
    }
}
