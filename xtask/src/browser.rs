//! `cargo xtask browser`, and the check of the dashboard's built files.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use weir_broker::target;

use crate::{cargo, root, succeeds};

/// Names under which Chromium is found.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Tests the dashboard in a real browser, over the demo. Whether all tests passed.
pub(crate) fn run() -> anyhow::Result<bool> {
    ensure!(found("npm").is_some(), "npm is not installed; on Debian: apt-get install nodejs npm");
    let browser =
        env::var_os("WEIR_CHROMIUM").map(PathBuf::from).or_else(|| BROWSERS.into_iter().find_map(found));
    let browser = browser.context(
        "no Chromium is installed; on Debian: apt-get install chromium. If it has another name, set WEIR_CHROMIUM to its path",
    )?;
    if !succeeds(&mut cargo(&["build", "--locked", "-p", "weir"]))? || !install()? {
        return Ok(false);
    }
    let target = target();
    let pictures = target.join("pictures");
    let passed = succeeds(
        Command::new("node")
            .arg("browser.mjs")
            .current_dir(sources())
            .env("WEIR", target.join("debug/weir"))
            .env("CHROMIUM", browser)
            .env("PICTURES", &pictures),
    )?;
    println!("pictures: {}", pictures.display());
    Ok(passed)
}

/// Whether the dashboard's sources type-check and make the built files that are committed. Without npm the check is skipped, with
/// a message.
pub(crate) fn dashboard() -> anyhow::Result<bool> {
    if found("npm").is_none() {
        println!("skipped: npm is not installed, so whether the dashboard's built files match is not known");
        return Ok(true);
    }
    Ok(install()?
        && succeeds(Command::new("npm").args(["run", "--silent", "check"]).current_dir(sources()))?
        && succeeds(Command::new("node").args(["build.mjs", "--check"]).current_dir(sources()))?)
}

fn install() -> anyhow::Result<bool> {
    let arguments = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    succeeds(Command::new("npm").args(arguments).current_dir(sources()))
}

fn sources() -> PathBuf {
    root().join("workers/gateway/dashboard")
}

/// The path of a program.
pub(crate) fn found(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
