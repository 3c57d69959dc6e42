//! `cargo xtask sbom`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use weir_broker::target;

use crate::tool::Tool;
use crate::{cargo, root};

/// The program that lists a crate's dependencies.
const CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9", arguments: &[] };

/// The released programs and their platforms.
const PROGRAMS: [&str; 3] = ["weir", "weir-operator", "kubectl-weir"];
const PLATFORMS: [(&str, &str); 2] =
    [("amd64", "x86_64-unknown-linux-gnu"), ("arm64", "aarch64-unknown-linux-gnu")];

/// The dashboard's npm packages: its runtime dependencies are compiled into `weir`.
const DASHBOARD: &str = "workers/gateway/dashboard/package-lock.json";

/// Writes `target/sbom/PROGRAM-ARCHITECTURE.cdx.json`: the crates that are compiled into a program, as CycloneDX 1.5. The same commit makes
/// the same bytes, wherever it is checked out.
pub(crate) fn run() -> anyhow::Result<bool> {
    let cyclonedx = CYCLONEDX.installed()?;
    let time = output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()))?;
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--locked", "--format-version", "1"]))?;
    let members = members(&serde_json::from_str(&metadata)?)?;
    let folder = target().join("sbom");
    fs::create_dir_all(&folder)?;
    for (architecture, platform) in PLATFORMS {
        let name = format!("sbom-{architecture}");
        let mut command = Command::new(&cyclonedx);
        command.args(["cyclonedx", "-qq", "--format", "json", "--spec-version", "1.5", "--no-build-deps"]);
        command.args(["--target", platform, "--override-filename", &name]).current_dir(root());
        output(command.env("SOURCE_DATE_EPOCH", time.trim()))?;
        // It writes a file into the folder of every crate of the workspace.
        for (member, member_folder) in &members {
            let written = member_folder.join(format!("{name}.json"));
            if PROGRAMS.contains(&member.as_str()) {
                let mut list = portable(&fs::read_to_string(&written)?, root())?;
                if member == "weir" {
                    list = with_packages(&list, &fs::read_to_string(root().join(DASHBOARD))?)?;
                }
                let file = folder.join(format!("{member}-{architecture}.cdx.json"));
                fs::write(&file, list)?;
                println!("wrote {}", file.display());
            }
            if written.is_file() {
                fs::remove_file(written)?;
            }
        }
    }
    Ok(true)
}

/// The workspace's crates, each with its folder.
fn members(metadata: &Value) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let member = |package: &Value| {
        let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
        Some((package["name"].as_str()?.to_owned(), folder.to_owned()))
    };
    packages.iter().map(|package| member(package).context("a package without name or manifest")).collect()
}

/// A list without the path of the checkout in it, which cargo has in the ids of the workspace's crates.
fn portable(list: &str, checkout: &Path) -> anyhow::Result<String> {
    let checkout = checkout.canonicalize()?;
    Ok(list.replace(&format!("file://{}/", checkout.display()), "file:///"))
}

/// A list with the packages that a package-lock.json names, but for those that are needed for development alone.
fn with_packages(list: &str, lock: &str) -> anyhow::Result<String> {
    let mut list: Value = serde_json::from_str(list)?;
    let lock: Value = serde_json::from_str(lock)?;
    let packages = lock["packages"].as_object().context("package-lock.json has no packages")?;
    let components = list["components"].as_array_mut().context("a list without components")?;
    for (path, package) in packages {
        let Some((_, name)) = path.rsplit_once("node_modules/") else { continue };
        if package["dev"] != true {
            let version = package["version"].as_str().context("a package without a version")?;
            let url = format!("pkg:npm/{}@{version}", name.replace('@', "%40"));
            let license = json!([{"expression": package["license"]}]);
            components.push(json!({
                "type": "library", "bom-ref": url, "name": name, "version": version, "scope": "required", "licenses": license, "purl": url,
            }));
        }
    }
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

/// The output of a command.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("could not run {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn packages_that_are_shipped_are_listed() {
        let lock = r#"{"packages": {"": {"name": "dashboard"},
            "node_modules/chart": {"version": "1.2.3", "license": "MIT"},
            "node_modules/test": {"version": "2.0.0", "license": "MIT", "dev": true}}}"#;
        let list: Value =
            serde_json::from_str(&with_packages(r#"{"components": []}"#, lock).unwrap()).unwrap();
        let listed = list["components"].as_array().unwrap();
        assert_eq!(listed.len(), 1, "{list}");
        assert_eq!(listed[0]["purl"], "pkg:npm/chart@1.2.3");
    }

    #[test]
    fn a_list_does_not_name_the_checkout() {
        let checkout = root().canonicalize().unwrap();
        let list =
            format!("\"bom-ref\": \"path+file://{}/operator#weir-operator@0.1.0\"", checkout.display());
        assert_eq!(
            portable(&list, root()).unwrap(),
            "\"bom-ref\": \"path+file:///operator#weir-operator@0.1.0\""
        );
    }
}
