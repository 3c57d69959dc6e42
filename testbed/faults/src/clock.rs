//! A wrong clock for one processor: see `clock.c`, which is compiled for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

const SOURCE: &str = include_str!("clock.c");

/// Compiles what wrong clocks take into `folder`.
pub(crate) fn compile(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    fs::write(&source, SOURCE)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).arg("-ldl");
    let compiled = compiler.output().context("run cc")?;
    ensure!(compiled.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&compiled.stderr));
    Ok(library)
}

/// The environment of a process whose clock follows `file`.
pub(crate) fn environment(library: &Path, file: &Path) -> [(String, String); 2] {
    let variable = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
    [variable("LD_PRELOAD", library), variable("WEIR_CLOCK", file)]
}

/// Sets the clock that follows `file` ahead by so many seconds.
pub(crate) fn set(library: &Path, file: &Path, ahead: i64) -> anyhow::Result<()> {
    // Renamed, so that no process reads a part of it.
    let new = file.with_extension("new");
    fs::write(&new, ahead.to_string())?;
    fs::rename(new, file)?;
    // A library that does not load is ignored.
    let output = Command::new("date").arg("+%s").envs(environment(library, file)).output()?;
    let shown: i64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("date +%s")?;
    let expected = crate::traffic::now() / 1_000 + ahead;
    ensure!((shown - expected).abs() <= 2, "a clock set {ahead} s ahead shows {shown}, expected {expected}");
    Ok(())
}
