//! `cargo xtask deny`.

use std::process::Command;

use anyhow::ensure;

use crate::{cargo, root, succeeds};

/// The program that judges dependencies, and its version.
const JUDGE: (&str, &str) = ("cargo-deny", "0.20.2");

/// Asks cargo-deny (deny.toml) about every dependency's licence, versions and source. Advisories are left to `cargo deny check`, by
/// hand and in time: they come from outside, and fail a commit that was good yesterday.
pub(crate) fn run() -> anyhow::Result<bool> {
    let (name, version) = JUDGE;
    let tools = weir_testbed::cache()?.join(format!("{name}-{version}"));
    let judge = tools.join("bin").join(name);
    if !judge.is_file() {
        println!("installing {name} {version} into {}", tools.display());
        // It runs for a second: what optimisation costs would be more.
        let install = [
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "--no-default-features",
            "--version",
            version,
            name,
        ];
        let built = tools.join("build");
        let installed = succeeds(cargo(&install).arg("--root").arg(&tools).arg("--target-dir").arg(&built))?;
        ensure!(installed, "{name} could not be installed");
        std::fs::remove_dir_all(built)?;
    }
    let mut command = Command::new(judge);
    succeeds(command.current_dir(root()).args([
        "--log-level",
        "error",
        "--locked",
        "check",
        "licenses",
        "bans",
        "sources",
    ]))
}
