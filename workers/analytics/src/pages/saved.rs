//! What a snapshot has of pages, and whether its numbers can be those of a state: lists are as long as the greatest number in them, so a
//! damaged one would ask for any amount of memory.

use std::{collections::BTreeMap, ops::Range};

use serde::Deserialize;

use super::{
    baseline::Baselines,
    seen_pages::SeenPages,
    totals::{Counts, Totals},
    visits::Visit,
};
use crate::{event::Names, settings::Settings, snapshot::SnapshotError};

/// The section of a snapshot; the field order is the format.
#[derive(Deserialize)]
pub(super) struct Saved {
    pub(super) totals: Vec<Totals>,
    pub(super) slices: BTreeMap<i64, Vec<(u32, Counts)>>,
    pub(super) users: Vec<SeenPages>,
    pub(super) visits: Vec<Option<Visit>>,
    pub(super) baselines: Baselines,
    pub(super) last_emitted_pages: Vec<(u32, Option<u64>)>,
}

impl Saved {
    /// Refuses numbers of strings that are not there, and slices that are not in reach of each other.
    pub(super) fn check(&self, names: &Names, settings: &Settings) -> Result<(), SnapshotError> {
        let (pages, sessions) = (names.pages.len(), names.sessions.len());
        let is_page = |page: u32| (page as usize) < pages;
        let require = |holds: bool, what| holds.then_some(()).ok_or(SnapshotError::OutOfRange(what));

        let by_page = self.totals.len().max(self.baselines.all().len());
        let listed = self.slices.values().flatten().map(|(page, _)| *page);
        let mut listed = listed.chain(self.last_emitted_pages.iter().map(|(page, _)| *page));
        require(by_page <= pages && listed.all(is_page), "a page")?;
        require(self.users.len() <= names.users.len(), "a visitor")?;
        let visits = || self.visits.iter().flatten();
        require(visits().all(|visit| (visit.session as usize) < sessions), "a session")?;

        // Twice as many as there can be.
        let most = 2 * (settings.size / settings.slide + 1);
        let first = self.slices.keys().next().copied().unwrap_or_default();
        let last = self.slices.keys().next_back().copied().unwrap_or_default();
        require(last.checked_sub(first).is_some_and(|span| span < most), "a slice")?;
        let near = -most..most;
        let is_seen = |seen: &SeenPages| seen.pages().all(is_page) && seen.are_near(first, &near);
        require(self.users.iter().all(is_seen), "a page of a visitor")?;
        require(visits().all(|visit| is_seen(&visit.seen_pages)), "a page of a visit")?;

        let most = most + 2 * (settings.session_gap / settings.slide + 1);
        let past = visits().filter(|visit| visit.seen_pages.is_empty());
        let ends = past.map(|visit| visit.last_slice(settings.slide));
        let Range { start, end } = ends.fold(0..0, |all: Range<i64>, slice| match all.is_empty() {
            true => slice..slice.saturating_add(1),
            false => all.start.min(slice)..all.end.max(slice.saturating_add(1)),
        });
        require(end.checked_sub(start).is_some_and(|span| span <= most), "a visit's end")
    }
}
