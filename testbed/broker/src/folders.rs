//! Folders for what is made: what every checkout may use, and what belongs to this one.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The folder for downloads and builds that are reused: `WEIR_CACHE`, else `weir` in the user's cache folder.
///
/// # Errors
/// [`Error::Io`] when it does not exist and cannot be made.
pub fn cache() -> Result<PathBuf, Error> {
    let folder = set("WEIR_CACHE")
        .map(PathBuf::from)
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| Path::new(&folder).join("weir")))
        .or_else(|| set("HOME").map(|folder| Path::new(&folder).join(".cache/weir")))
        .unwrap_or_else(|| env::temp_dir().join("weir"));
    fs::create_dir_all(&folder)
        .map_err(Error::io(format!("make the cache folder {} (set WEIR_CACHE)", folder.display())))?;
    // Java resolves a relative class path in its own working directory.
    folder.canonicalize().map_err(Error::io(format!("find the cache folder {}", folder.display())))
}

/// Cargo's target folder, which has the built programs: `CARGO_TARGET_DIR`, else `target` in the workspace. It may not exist.
#[must_use]
pub fn target() -> PathBuf {
    target_in(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")), set("CARGO_TARGET_DIR"))
}

/// A relative one is meant from the workspace, where the tasks run cargo.
fn target_in(workspace: &Path, set: Option<OsString>) -> PathBuf {
    workspace.join(set.unwrap_or_else(|| "target".into()))
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_folder_is_the_one_that_cargo_uses() {
        let target = |set: Option<&str>| target_in(Path::new("/weir"), set.map(OsString::from));
        assert_eq!(target(None), Path::new("/weir/target"));
        assert_eq!(target(Some("/elsewhere")), Path::new("/elsewhere"));
        assert_eq!(target(Some("built")), Path::new("/weir/built"));
    }
}
