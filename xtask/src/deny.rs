//! `cargo xtask deny`.

use std::process::Command;

use crate::tool::Tool;
use crate::{root, succeeds};

/// The program that judges dependencies.
const JUDGE: Tool = Tool { name: "cargo-deny", version: "0.20.2", arguments: &["--no-default-features"] };

/// Asks cargo-deny (deny.toml) about every dependency's licence, versions and source. Advisories are left to `cargo deny check`, by
/// hand and in time: they come from outside, and fail a commit that was good yesterday.
pub(crate) fn run() -> anyhow::Result<bool> {
    let mut command = Command::new(JUDGE.installed()?);
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
