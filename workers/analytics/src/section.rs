//! Sections: blocks and snapshots are lists of them, each with its own tag and version.

/// The feature that owns a section, and the version of its layout. Tags are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionId {
    /// Of the feature.
    pub tag: u8,
    /// Of the section's layout.
    pub version: u8,
}

/// Strings, pending events and the engine's progress; in snapshots.
pub(crate) const ENGINE: SectionId = SectionId { tag: 0, version: 1 };
/// Identities that are held; in snapshots.
pub(crate) const HELD_IDS: SectionId = SectionId { tag: 2, version: 1 };
/// The visitor of each visit, sixteen bytes each, where visits do not span users; in snapshots.
pub(crate) const VISITORS: SectionId = SectionId { tag: 3, version: 1 };
/// Sums by page; in blocks and snapshots.
pub(crate) const PAGES: SectionId = SectionId { tag: 1, version: 1 };

/// A section of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its feature and version.
    pub id: SectionId,
    /// Its rows, concatenated.
    pub body: Vec<u8>,
}

/// Why a section cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// Written by another version.
    #[error("section {tag} of version {version}, this version reads up to {known}", tag = found.tag, version = found.version)]
    Version {
        /// The tag and version that were read.
        found: SectionId,
        /// The newest supported version.
        known: u8,
    },
    /// The section is missing.
    #[error("no section {0}")]
    Missing(u8),
    /// The body does not decode.
    #[error("section {0} is damaged")]
    Malformed(u8),
}

impl SectionId {
    /// Whether a section that was read belongs to this feature.
    ///
    /// # Errors
    /// It belongs to this feature, but has a later version.
    pub(crate) fn is(self, found: Self) -> Result<bool, SectionError> {
        if found.tag == self.tag && found.version > self.version {
            return Err(SectionError::Version { found, known: self.version });
        }
        Ok(found.tag == self.tag)
    }
}

/// Appends rows to a section; creates it if it does not exist.
pub(crate) fn append(sections: &mut Vec<Section>, id: SectionId, rows: &[u8]) {
    match sections.iter_mut().find(|section| section.id == id) {
        Some(section) => section.body.extend_from_slice(rows),
        None => sections.push(Section { id, body: rows.to_vec() }),
    }
}
