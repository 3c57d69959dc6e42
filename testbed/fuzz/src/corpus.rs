//! The inputs that are kept in the repository.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The corpus of a target: a file per input, named by its hash.
pub(crate) struct Corpus(PathBuf);

impl Corpus {
    pub(crate) fn of(target: &str) -> Self {
        Self([env!("CARGO_MANIFEST_DIR"), "corpus", target].iter().collect())
    }

    /// All inputs, in the order of their names; none if there is no folder.
    pub(crate) fn read(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut paths: Vec<PathBuf> = match fs::read_dir(&self.0) {
            Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        paths.sort();
        paths.iter().map(fs::read).collect()
    }

    /// Adds an input. Returns its file.
    pub(crate) fn add(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.0)?;
        // FNV-1a: the same on every machine.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let path = self.0.join(format!("{hash:016x}"));
        fs::write(&path, bytes)?;
        Ok(path)
    }
}
