//! Reads the logs: watermarks; accepted, late and duplicate events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    Entry, Event, Settings,
    live_pages::{LivePages, OTHER},
};

/// An accepted event and its partition's watermark.
pub(crate) struct Accepted<'a> {
    pub(crate) event: &'a Event,
    /// The page that it counts under.
    pub(crate) page: &'a str,
    pub(crate) partition: usize,
    /// The partition's watermark just before this was read; `None` (less than any) where nothing had been read.
    before: Option<i64>,
}

impl Accepted<'_> {
    /// It was read before its partition sealed `end`.
    pub(crate) fn known_to(&self, end: i64) -> bool {
        self.before < Some(end)
    }
}

/// What the events of a visit have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Session<'a> {
    partition: usize,
    /// `None` where visits span users.
    user: Option<&'a str>,
    id: &'a str,
}

impl<'a> Session<'a> {
    pub(crate) fn of(accepted: &Accepted<'a>, settings: &Settings) -> Self {
        let Accepted { event, partition, .. } = *accepted;
        let user = (!settings.visits_span_users).then_some(event.user.as_str());
        Self { partition, user, id: &event.session }
    }
}

/// All logs, read.
pub(crate) struct Intake<'a> {
    /// Accepted events of all partitions by timestamp.
    pub(crate) events: Vec<Accepted<'a>>,
    /// Indices into `events`, so by timestamp too, by what visits have in common.
    pub(crate) sessions: HashMap<Session<'a>, Vec<usize>>,
    /// Indices of late entries in each partition's log.
    pub(crate) late: Vec<Vec<usize>>,
    /// Indices of accepted entries that miss a window, in each partition's log.
    pub(crate) partly_late: Vec<Vec<usize>>,
    /// Indices of duplicates in each partition's log.
    pub(crate) duplicates: Vec<Vec<usize>>,
    /// Indices of accepted entries that count under another page than their own, in each partition's log.
    pub(crate) other_pages: Vec<Vec<usize>>,
    /// Number of accepted events that each window misses, by end.
    pub(crate) not_whole: BTreeMap<i64, usize>,
    /// Each partition's last watermark.
    watermarks: Vec<Option<i64>>,
}

impl<'a> Intake<'a> {
    pub(crate) fn read(partitions: &'a [Vec<Entry>], settings: &Settings) -> Self {
        let mut intake = Self {
            events: Vec::new(),
            sessions: HashMap::new(),
            late: Vec::new(),
            partly_late: Vec::new(),
            duplicates: Vec::new(),
            other_pages: Vec::new(),
            not_whole: BTreeMap::new(),
            watermarks: Vec::new(),
        };
        for (partition, log) in partitions.iter().enumerate() {
            let mut watermark = None;
            let (mut late, mut partly_late, mut duplicates) = (Vec::new(), Vec::new(), Vec::new());
            let (mut live_pages, mut other_pages) = (LivePages::default(), Vec::new());
            // For each identity, the watermark right after its last accepted event. Nothing is removed: what is no longer
            // held is told by its age.
            let mut identities: HashMap<(&str, &str), i64> = HashMap::new();
            for (place, entry) in log.iter().enumerate() {
                match entry {
                    Entry::AdvanceWatermark(to) => watermark = watermark.max(Some(*to)),
                    Entry::Event(event) => {
                        let accepted = Accepted { event, page: &event.page, partition, before: watermark };
                        let (missed, open): (Vec<i64>, Vec<i64>) =
                            own_ends(event, settings).partition(|end| !accepted.known_to(*end));
                        let is_held =
                            |since: &i64| watermark.is_some_and(|now| now - since < settings.hold());
                        if open.is_empty() {
                            late.push(place);
                        } else if event.identity().and_then(|id| identities.get(&id)).is_some_and(is_held) {
                            duplicates.push(place);
                        } else {
                            if !missed.is_empty() {
                                partly_late.push(place);
                            }
                            for end in missed {
                                *intake.not_whole.entry(end).or_default() += 1;
                            }
                            let sealed = watermark.map(|watermark| sealed_by(watermark, settings.slide));
                            let page = live_pages.page_of(event, sealed, settings);
                            if page == OTHER {
                                other_pages.push(place);
                            }
                            intake.events.push(Accepted { page, ..accepted });
                            let after = (event.timestamp - settings.out_of_orderness)
                                .max(watermark.unwrap_or(i64::MIN));
                            watermark = Some(after);
                            if let Some(identity) = event.identity() {
                                identities.insert(identity, after);
                            }
                        }
                    }
                }
            }
            intake.late.push(late);
            intake.partly_late.push(partly_late);
            intake.duplicates.push(duplicates);
            intake.other_pages.push(other_pages);
            intake.watermarks.push(watermark);
        }
        intake.events.sort_by_key(|accepted| accepted.event.timestamp);
        for (index, accepted) in intake.events.iter().enumerate() {
            let session = Session::of(accepted, settings);
            intake.sessions.entry(session).or_default().push(index);
        }
        intake
    }

    /// The greatest window end that every partition has sealed.
    pub(crate) fn sealed(&self, slide: i64) -> Option<i64> {
        let slowest = self.watermarks.iter().copied().min()??;
        Some(sealed_by(slowest, slide))
    }

    /// The ends of all windows that may have members.
    pub(crate) fn ends(&self, settings: &Settings) -> BTreeSet<i64> {
        let firsts: BTreeSet<i64> =
            self.events.iter().map(|accepted| first_end(accepted.event, settings)).collect();
        firsts.iter().flat_map(|&first| ends_from(first, settings)).collect()
    }
}

/// The greatest window end that a watermark has reached.
fn sealed_by(watermark: i64, slide: i64) -> i64 {
    watermark.div_euclid(slide) * slide
}

/// The ends of all windows that the event is in.
fn own_ends(event: &Event, settings: &Settings) -> impl Iterator<Item = i64> + use<> {
    ends_from(first_end(event, settings), settings)
}

fn ends_from(first: i64, settings: &Settings) -> impl Iterator<Item = i64> + use<> {
    let slide = settings.slide;
    (0..settings.size / slide).map(move |n| first + n * slide)
}

/// The end of the first window that the event is in.
fn first_end(event: &Event, settings: &Settings) -> i64 {
    (event.timestamp.div_euclid(settings.slide) + 1) * settings.slide
}
