//! Saves a partition's state as a snapshot, and restores it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{HeldIds, Partition, Progress};
use crate::{
    event::{InternedEvent, Names},
    feature::Feature,
    intern::Interner,
    pages::Pages,
    section::{ENGINE, HELD_IDS, SectionError},
    settings::Settings,
    snapshot::{PLAIN, SECTIONS, Sections, SnapshotError, SnapshotWriter},
};

/// Pages, users, sessions: strings with holder counts, in the order of their numbers.
type SavedNames<'a> = [Vec<(&'a str, u32)>; 3];

/// Pending events and progress, in the order in which they are written.
#[derive(Deserialize)]
struct SavedProgress {
    pending: BTreeMap<i64, Vec<InternedEvent>>,
    progress: Progress,
}

impl SavedProgress {
    /// Refuses numbers of strings that are not there, and times that cannot be added to.
    fn check(&self, names: &Names) -> Result<(), SnapshotError> {
        let is_known = |event: &InternedEvent| {
            (event.page as usize) < names.pages.len()
                && (event.user as usize) < names.users.len()
                && (event.session as usize) < names.sessions.len()
        };
        if !self.pending.values().flatten().all(is_known) {
            return Err(SnapshotError::OutOfRange("a pending event"));
        }
        let Progress { watermark, greatest, sealed, first_aligned: _ } = self.progress;
        let is_time = |time: i64| (i64::MIN / 4..i64::MAX / 4).contains(&time);
        if ![watermark, greatest, sealed].into_iter().flatten().all(is_time) {
            return Err(SnapshotError::OutOfRange("a time"));
        }
        Ok(())
    }
}

impl<F: Feature> Partition<F> {
    /// The whole state as bytes: about 8 bytes per live pair, and each live string once. All blocks must have been taken.
    ///
    /// # Errors
    /// None in practice: every state can be written.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        self.write_snapshot(&mut |part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }

    /// As [`snapshot`](Self::snapshot), part by part, so that the whole is not in memory twice. A part is 64 KiB, plus at most the
    /// state of sixteen visitors.
    ///
    /// # Errors
    /// None in practice: every state can be written.
    pub fn write_snapshot(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), SnapshotError> {
        debug_assert!(self.blocks.is_empty() && !self.is_behind(), "a snapshot does not contain blocks");
        let (pages, extras) = &self.features;
        if extras.is_on() || !self.held.is_empty() || !self.settings.visits_span_users() {
            let mut out = SnapshotWriter::new(SECTIONS, sink);
            out.section(ENGINE);
            self.save_names(&mut out)?;
            self.save_progress(&mut out)?;
            self.features.save(&mut out)?;
            if !self.held.is_empty() {
                out.section(HELD_IDS);
                self.held.save(&mut out)?;
            }
            return out.finish();
        }
        let mut out = SnapshotWriter::new(PLAIN, sink);
        self.save_names(&mut out)?;
        pages.save(&mut out)?;
        self.save_progress(&mut out)?;
        out.finish()
    }

    fn save_names(&self, out: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError> {
        for strings in [&self.names.pages, &self.names.users, &self.names.sessions] {
            out.each(&strings.all())?;
        }
        Ok(())
    }

    fn save_progress(&self, out: &mut SnapshotWriter<'_>) -> Result<(), SnapshotError> {
        out.lists(&self.pending)?;
        Ok(out.value(&self.progress)?)
    }

    /// A partition with other features than [`Extras`](crate::feature::Extras), as [`restore`](Partition::restore).
    pub(crate) fn restore_with(
        number: i32,
        settings: Settings,
        snapshot: &[u8],
    ) -> Result<Self, SnapshotError> {
        let restored = |names: SavedNames<'_>| Names::restore(names.map(Interner::restore), &settings);
        let (names, features, progress, held) = match snapshot.split_first() {
            Some((&PLAIN, rest)) => {
                let (names, rest) = postcard::take_from_bytes(rest)?;
                let names = restored(names);
                let (pages, rest) = Pages::decode(rest, &names, &settings)?;
                let progress = postcard::from_bytes::<SavedProgress>(rest)?;
                (names, (pages, F::new(&settings)), progress, HeldIds::default())
            }
            Some((&SECTIONS, rest)) => {
                let sections = Sections::read(rest)?;
                let engine = sections.find(ENGINE)?.ok_or(SectionError::Missing(ENGINE.tag))?;
                let (names, rest) = postcard::take_from_bytes(engine)?;
                let names = restored(names);
                let features = Feature::restore(&sections, &names, &settings)?;
                (names, features, postcard::from_bytes(rest)?, HeldIds::restore(&sections)?)
            }
            Some((&other, _)) => return Err(SnapshotError::Version(other)),
            None => return Err(SnapshotError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
        };
        progress.check(&names)?;
        let SavedProgress { pending, progress } = progress;
        Ok(Self {
            settings,
            number,
            names,
            features,
            pending,
            progress,
            due: progress.watermark.map_or(i64::MIN, |watermark| settings.sealed_by(watermark)),
            sealing: None,
            next_aligned: None,
            blocks: Vec::new(),
            held,
            is_other_page: false,
        })
    }
}

impl Partition {
    /// Restores an input partition that continues exactly where the snapshot was taken. The settings must be the same.
    ///
    /// # Errors
    /// Bytes of an unsupported version, or not a snapshot.
    pub fn restore(number: i32, settings: Settings, snapshot: &[u8]) -> Result<Self, SnapshotError> {
        Self::restore_with(number, settings, snapshot)
    }
}
