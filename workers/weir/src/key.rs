//! The key that `spec.pii` hashes with, and what is made with it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{anyhow, bail};
use weir_analytics::decisive::{DecisiveSettings, privacy_settings, settings};
use weir_events::Privacy;
use weir_manifest::{Pii, Pipeline};

/// Maximum bytes of the key's file.
const MAX_KEY_BYTES: u64 = 65_536;

/// The privacy stage as in the manifest, with the key from the file, or else from `WEIR_PII_KEY`.
///
/// # Errors
/// There is no key where one is needed, or none that is long enough.
pub(crate) fn privacy(pipeline: &Pipeline, key_file: Option<&Path>) -> anyhow::Result<Privacy> {
    let pii = &pipeline.spec.pii;
    let key = if pii.hashes() { pii_key(key_file)? } else { None };
    Privacy::new(privacy_settings(pii), key.as_deref()).map_err(|error| {
        anyhow!("spec.pii: {error} (the key is read from the file --pii-key-file, or from WEIR_PII_KEY)")
    })
}

/// Whether a key is given.
pub(crate) fn has_key(file: Option<&Path>) -> bool {
    file.is_some() || key_variable().is_some()
}

fn key_variable() -> Option<OsString> {
    std::env::var_os("WEIR_PII_KEY").filter(|key| !key.is_empty())
}

/// Every byte is part of the key, also a newline at the end of the file, as in a Secret's entry.
fn pii_key(file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    let (key, source) = match (file, key_variable()) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            bail!("--pii-key-file and WEIR_PII_KEY: found both, expected one: which is the key?")
        }
        (Some(file), None) => {
            let source = format!("--pii-key-file {}", file.display());
            let key = key_in(file).map_err(|error| anyhow!("{source}: cannot be read: {error}"))?;
            (key, source)
        }
        (None, Some(key)) => (key.into_encoded_bytes(), "WEIR_PII_KEY".to_owned()),
    };
    Pii::check_key(&key).map_err(|wrong| anyhow!("{source}: {wrong}"))?;
    Ok(Some(key))
}

/// The content of a file, or of a link's target: Kubernetes mounts Secrets as links.
fn key_in(file: &Path) -> io::Result<Vec<u8>> {
    // Checked before opening: to open a pipe would block until it has a writer.
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::other("found no regular file, expected one with the key"));
    }
    let mut key = Vec::new();
    File::open(file)?.take(MAX_KEY_BYTES + 1).read_to_end(&mut key)?;
    if key.len() as u64 > MAX_KEY_BYTES {
        return Err(io::Error::other(format!(
            "found more than {MAX_KEY_BYTES} bytes, expected a key, best 32 random ones"
        )));
    }
    Ok(key)
}

/// The document's decisive settings.
pub(crate) fn decisive_settings(pipeline: &Pipeline, privacy: &Privacy) -> DecisiveSettings {
    let max_future = pipeline.spec.window.max_future.as_millis();
    let inputs = pipeline.spec.topics.events.partitions;
    DecisiveSettings::new(&settings(pipeline), max_future, privacy, inputs)
}
