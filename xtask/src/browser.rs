//! `cargo xtask browser`.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, ensure};

use crate::{cargo, succeeds};

/// Names under which Chromium is found.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs the dashboard in a real browser over the demo. Whether all tests passed.
pub(crate) fn run() -> anyhow::Result<bool> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let tests = root.join("testbed/browser");
    ensure!(found("npm").is_some(), "npm is not installed; on Debian: apt-get install nodejs npm");
    let browser = env::var_os("WEIR_CHROMIUM").map(PathBuf::from).or_else(|| BROWSERS.into_iter().find_map(found)).context(
        "no Chromium is installed; on Debian: apt-get install chromium. If it has another name, set WEIR_CHROMIUM to its path",
    )?;
    println!("building weir");
    ensure!(succeeds(&mut cargo(&["build", "--locked", "-p", "weir"]))?, "weir does not build");
    println!("installing what the tests need from npm");
    let npm = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&tests)
        .status()?;
    ensure!(npm.success(), "npm ci failed in {}", tests.display());
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let pictures = target.join("pictures");
    let passed = Command::new("node")
        .arg("dashboard.mjs")
        .current_dir(&tests)
        .env("WEIR", target.join("debug/weir"))
        .env("CHROMIUM", browser)
        .env("PICTURES", &pictures)
        .status()?
        .success();
    println!("pictures: {}", pictures.display());
    Ok(passed)
}

/// Where a program is.
fn found(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
