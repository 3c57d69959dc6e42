//! What blocks and snapshots are lists of: sections, each with a tag and a version of its own.

/// Whose section it is, and how it is written. Tags are never used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionId {
    /// Of the feature.
    pub tag: u8,
    /// Of the section's layout.
    pub version: u8,
}

/// Strings, waiting events and how far the engine has come; in snapshots.
pub(crate) const ENGINE: SectionId = SectionId { tag: 0, version: 1 };
/// Sums by page; in blocks and snapshots.
pub(crate) const PAGES: SectionId = SectionId { tag: 1, version: 1 };

/// A section of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Whose it is.
    pub id: SectionId,
    /// Its rows, one after the other.
    pub body: Vec<u8>,
}

/// Why a section cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// Written by another version.
    #[error("section {tag} of version {version}, this version reads up to {known}", tag = found.tag, version = found.version)]
    Version {
        /// As it was found.
        found: SectionId,
        /// The newest version that is read.
        known: u8,
    },
    /// It is not there.
    #[error("no section {0}")]
    Missing(u8),
    /// Not what its tag says.
    #[error("section {0} is damaged")]
    Malformed(u8),
}

impl SectionId {
    /// Whether a section that was found is this feature's.
    ///
    /// # Errors
    /// It is, but of a later version.
    pub(crate) fn is(self, found: Self) -> Result<bool, SectionError> {
        if found.tag == self.tag && found.version > self.version {
            return Err(SectionError::Version { found, known: self.version });
        }
        Ok(found.tag == self.tag)
    }
}

/// Adds rows to a section, which is the last one or a new one.
pub(crate) fn append(sections: &mut Vec<Section>, id: SectionId, rows: &[u8]) {
    match sections.iter_mut().find(|section| section.id == id) {
        Some(section) => section.body.extend_from_slice(rows),
        None => sections.push(Section { id, body: rows.to_vec() }),
    }
}
