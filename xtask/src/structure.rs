//! `cargo xtask structure`: the crates by floor, which must import downwards only, and the circles among the files of each.

mod circles;
mod imports;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{cargo, root};

/// The page with the table of crates by floor.
const PAGE: &str = "docs/architecture.md";

/// Intended circles: two files that form one unit.
const INTENDED: &[[&str; 2]] = &[["workers/memory/src/broker.rs", "workers/memory/src/member.rs"]];

/// A crate, with the crates of the workspace that its own code (not its tests) needs.
struct Package {
    folder: String,
    needs: Vec<String>,
}

/// Prints the structure; whether nothing is imported upwards and no circle is left.
pub(crate) fn run() -> anyhow::Result<bool> {
    let packages = packages()?;
    let floors = floors(&fs::read_to_string(root().join(PAGE)).with_context(|| format!("no {PAGE}"))?);
    let mut found = Vec::new();
    for floor in (1..=floors.values().copied().max().unwrap_or_default()).rev() {
        println!("floor {floor}");
        for package in packages.iter().filter(|package| floors.get(&package.folder) == Some(&floor)) {
            println!("  {:<20} {}", package.folder, package.needs.join(" "));
        }
    }
    found.extend(upwards(&packages, &floors));
    for package in &packages {
        let files = imports::of(&root().join(&package.folder).join("src"))?;
        let shown = |file: &PathBuf| file.strip_prefix(root()).unwrap_or(file).display().to_string();
        for circle in circles::of(&files) {
            let mut names: Vec<String> = circle.iter().map(shown).collect();
            names.sort();
            if !INTENDED.iter().any(|intended| names == *intended) {
                found.push(format!("a circle of imports: {}", names.join(", ")));
            }
        }
    }
    found.iter().for_each(|fault| println!("{fault}"));
    Ok(found.is_empty())
}

/// The crates of the workspace, by folder.
fn packages() -> anyhow::Result<Vec<Package>> {
    let output =
        cargo(&["metadata", "--no-deps", "--format-version", "1"]).output().context("no cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let home = metadata["workspace_root"].as_str().context("no workspace_root")?;
    let inside = |path: &Value| {
        let path = Path::new(path.as_str()?).strip_prefix(home).ok()?;
        Some(path.display().to_string())
    };
    let of = |package: &Value| {
        let manifest = PathBuf::from(inside(&package["manifest_path"])?);
        let needs = package["dependencies"].as_array()?.iter().filter(|needed| needed["kind"].is_null());
        Some(Package {
            folder: manifest.parent()?.display().to_string(),
            needs: needs.filter_map(|needed| inside(&needed["path"])).collect(),
        })
    };
    let packages: Option<Vec<Package>> =
        metadata["packages"].as_array().context("no packages")?.iter().map(of).collect();
    packages.context("a package outside of the workspace")
}

/// The floors of the page's table, by folder.
fn floors(page: &str) -> BTreeMap<String, u32> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let floor = cells.next()?.parse().ok()?;
        Some((cells.next()?.to_owned(), floor))
    };
    page.lines().filter_map(row).collect()
}

/// Crates that are missing in the table, and imports from the same floor or a higher one.
fn upwards(packages: &[Package], floors: &BTreeMap<String, u32>) -> Vec<String> {
    let mut found = Vec::new();
    for Package { folder, needs } in packages {
        let Some(floor) = floors.get(folder) else {
            if folder.starts_with("workers/") || folder == "operator" {
                found.push(format!("{folder} is on no floor: add it to the table in {PAGE}"));
            }
            continue;
        };
        for needed in needs {
            match floors.get(needed) {
                None => found.push(format!("{folder} needs {needed}, which is on no floor")),
                Some(below) if below >= floor => {
                    found.push(format!(
                        "{folder} (floor {floor}) needs {needed} (floor {below}): imports go downwards only"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, needs: &[&str]) -> Package {
        Package {
            folder: folder.to_owned(),
            needs: needs.iter().map(|needed| (*needed).to_owned()).collect(),
        }
    }

    #[test]
    fn imports_go_downwards_only() {
        let floors = floors(
            "| floor | crate | what |\n|--:|---|---|\n| 1 | workers/a | x |\n| 2 | workers/b | y |\n| | bench | z |\n",
        );
        let found = |packages: &[Package]| upwards(packages, &floors);
        assert_eq!(found(&[package("workers/b", &["workers/a"]), package("bench", &["workers/b"])]), [""; 0]);
        let wrong = found(&[package("workers/a", &["workers/b", "bench"]), package("workers/c", &[])]);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].starts_with("workers/a (floor 1) needs workers/b (floor 2)"), "{}", wrong[0]);
    }
}
