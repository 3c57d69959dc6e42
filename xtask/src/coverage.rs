//! `cargo xtask coverage`.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::Value;
use weir_broker::Distribution;

use crate::{cargo, succeeds};

/// Runs every test and prints how many lines of each crate they reached. Whether all passed.
pub(crate) fn run() -> anyhow::Result<bool> {
    let found = cargo(&["llvm-cov", "--version"]).output().is_ok_and(|output| output.status.success());
    ensure!(
        found,
        "cargo-llvm-cov is not installed; install it with `cargo install cargo-llvm-cov --locked` and \
         `rustup component add llvm-tools`"
    );
    Distribution::install()?;
    if !succeeds(&mut cargo(&["llvm-cov", "--workspace", "--locked", "--no-report"]))? {
        return Ok(false);
    }
    let report = cargo(&["llvm-cov", "report", "--json", "--summary-only"]).output()?;
    ensure!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let root = std::fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    let report = serde_json::from_slice(&report.stdout).context("cargo llvm-cov printed no JSON")?;
    print!("{}", table(&report, &root.to_string_lossy())?);
    Ok(true)
}

/// A line per crate from llvm-cov's report (its `export` format); a file belongs to the folder that holds its `src`.
fn table(report: &Value, root: &str) -> anyhow::Result<String> {
    let files = report["data"][0]["files"].as_array().context("llvm-cov reported no files")?;
    let mut crates: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for file in files {
        let name = file["filename"].as_str().context("llvm-cov reported a file without a name")?;
        let lines = &file["summary"]["lines"];
        let (Some(count), Some(covered)) = (lines["count"].as_u64(), lines["covered"].as_u64()) else {
            anyhow::bail!("llvm-cov reported no lines for {name}");
        };
        let name = name.strip_prefix(root).unwrap_or(name).trim_start_matches('/');
        let folder = name.split_once("/src/").map_or(name, |(folder, _)| folder);
        let sums = crates.entry(folder).or_default();
        *sums = (sums.0 + covered, sums.1 + count);
    }
    let all = crates.values().fold((0, 0), |sum, lines| (sum.0 + lines.0, sum.1 + lines.1));
    let mut table = String::from("covered   lines\n");
    for (name, (covered, count)) in crates.into_iter().chain([("all", all)]) {
        let percent = if count == 0 { 100.0 } else { 100.0 * covered as f64 / count as f64 };
        table.push_str(&format!("{percent:>6.1} % {count:>7}  {name}\n"));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_crate_is_the_sum_of_its_files() {
        let file = |name: &str, covered, count| json!({"filename": name, "summary": {"lines": {"count": count, "covered": covered, "percent": 1.0}}});
        let report = json!({"data": [{"files": [
            file("/home/me/weir/workers/events/src/record.rs", 30, 40),
            file("/home/me/weir/xtask/src/main.rs", 0, 10),
            file("/home/me/weir/workers/events/src/record/tests.rs", 60, 60),
        ]}]});
        let expected = "\
covered   lines
  90.0 %     100  workers/events
   0.0 %      10  xtask
  81.8 %     110  all
";
        assert_eq!(table(&report, "/home/me/weir").unwrap(), expected);
        assert!(table(&json!({"data": []}), "/").is_err());
    }
}
