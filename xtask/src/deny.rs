//! `cargo xtask deny`.

use std::process::Command;

use crate::tool::Tool;
use crate::{root, succeeds};

/// The program that checks dependencies.
const CARGO_DENY: Tool =
    Tool { name: "cargo-deny", version: "0.20.2", arguments: &["--no-default-features"] };

/// Checks every dependency's licence, versions and source with cargo-deny (deny.toml). Advisories are left to `cargo deny check` by
/// hand: a new one would fail a commit that passed before.
pub(crate) fn run() -> anyhow::Result<bool> {
    let mut command = Command::new(CARGO_DENY.installed()?);
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
