//! Per-page sums over the window.

use serde::{Deserialize, Serialize};
use weir_events::EventType;

use super::visits::VisitMetrics;

/// Sums of one page, or of the site, over the window.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    pub(crate) users: u32,
    pub(crate) visits: u32,
    pub(crate) bounces: u32,
    pub(crate) duration: i64,
}

/// Event counts by type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) views: u64,
    pub(crate) clicks: u64,
    pub(crate) conversions: u64,
    /// For live values only.
    pub(crate) carts: u64,
}

impl Totals {
    pub(super) fn weigh(&mut self, metrics: VisitMetrics, sign: i64) {
        self.visits = (i64::from(self.visits) + sign) as u32;
        self.bounces = (i64::from(self.bounces) + sign * i64::from(metrics.bounced)) as u32;
        self.duration += sign * metrics.duration;
    }

    /// Updates the sums for a visit whose metrics changed.
    pub(super) fn change(&mut self, before: VisitMetrics, after: VisitMetrics) {
        self.bounces = self.bounces - u32::from(before.bounced) + u32::from(after.bounced);
        self.duration += after.duration - before.duration;
    }
}

impl Counts {
    pub(crate) fn count(&mut self, kind: EventType) {
        match kind {
            EventType::View => self.views += 1,
            EventType::Click => self.clicks += 1,
            EventType::Purchase => self.conversions += 1,
            EventType::AddToCart => self.carts += 1,
            EventType::Search => {}
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.views += other.views;
        self.clicks += other.clicks;
        self.conversions += other.conversions;
        self.carts += other.carts;
    }

    pub(super) fn subtract(&mut self, other: Self) {
        self.views -= other.views;
        self.clicks -= other.clicks;
        self.conversions -= other.conversions;
        self.carts -= other.carts;
    }
}
