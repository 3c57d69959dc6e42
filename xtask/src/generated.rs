//! Generated files, and the check that they are up to date.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::root;

/// The definition, as kubectl takes it.
pub(crate) const DEFINITION: &str = "crds/clickstreampipelines.weir.dev.yaml";

/// Writes the files that are out of date. With `check`, the command that would write them, prints their names instead. Whether all
/// are up to date.
pub(crate) fn generate(folder: &Path, files: &[(&str, String)], check: Option<&str>) -> anyhow::Result<bool> {
    let mut same = true;
    for (file, text) in files {
        let path = folder.join(file);
        let name = path.strip_prefix(root()).unwrap_or(&path).display();
        if fs::read_to_string(&path).is_ok_and(|found| found == *text) {
            continue;
        }
        if let Some(command) = check {
            same = false;
            println!("{name} is out of date: run `{command}`");
        } else {
            fs::create_dir_all(path.parent().context("a file without a folder")?)?;
            fs::write(&path, text).with_context(|| format!("could not write {name}"))?;
            println!("wrote {name}");
        }
    }
    Ok(same)
}
