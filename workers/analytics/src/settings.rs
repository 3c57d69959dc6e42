//! The engine's settings. All durations and times are in milliseconds.

/// Window sizes and limits; `docs/semantics.md` explains their effect on the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Length of a window. A multiple of `slide`.
    pub size: i64,
    /// Distance between window ends.
    pub slide: i64,
    /// How far the watermark stays behind the greatest timestamp.
    pub out_of_orderness: i64,
    /// Maximum gap between events of one visit.
    pub session_gap: i64,
    /// Number of partitions of the blocks topic, over which windows are distributed round-robin.
    pub lanes: i32,
    /// Length of the ranking.
    pub top: usize,
    /// Age at which an aligned window's weight in a page's baseline is halved.
    pub trending_half_life: i64,
    /// Number of aligned windows needed before a page can be trending.
    pub warm_up: u32,
    /// How much longer than `size` and `out_of_orderness` an event's identity is held.
    pub duplicate_slack: i64,
    /// How many pages of a partition may be live.
    pub page_limit: usize,
    /// The version of the definitions that results follow. It does not change within a generation.
    pub definitions: Definitions,
}

/// A version of what the numbers mean: `docs/semantics.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Definitions {
    /// A visit has one session id, whoever its users are, and any number of pages is live.
    V1 = 1,
    /// A visit has one user and one session id, and the number of live pages is limited.
    V2 = 2,
}

impl Definitions {
    /// That of generations which begin with this release.
    pub const NEWEST: Self = Self::V2;
}

/// The defaults of the pipeline document, with one lane.
impl Default for Settings {
    fn default() -> Self {
        Self {
            size: 300_000,
            slide: 10_000,
            out_of_orderness: 30_000,
            session_gap: 1_800_000,
            lanes: 1,
            top: 10,
            trending_half_life: 7_200_000,
            warm_up: 2,
            duplicate_slack: 60_000,
            page_limit: 100_000,
            definitions: Definitions::NEWEST,
        }
    }
}

impl Settings {
    /// The slice that contains a timestamp: `[k * slide, (k + 1) * slide)`.
    pub(crate) fn slice_of(&self, timestamp: i64) -> i64 {
        timestamp.div_euclid(self.slide)
    }

    /// The greatest window end that a watermark has reached.
    pub(crate) fn sealed_by(&self, watermark: i64) -> i64 {
        self.slice_of(watermark) * self.slide
    }

    /// The end of the first window that contains a timestamp.
    pub fn first_window_end(&self, timestamp: i64) -> i64 {
        (self.slice_of(timestamp) + 1) * self.slide
    }

    /// The end of the last window that contains a timestamp.
    pub fn last_window_end(&self, timestamp: i64) -> i64 {
        self.slice_of(timestamp) * self.slide + self.size
    }

    /// The first slice of the window that ends at `end`.
    pub(crate) fn first_slice(&self, end: i64) -> i64 {
        (end - self.size).div_euclid(self.slide)
    }

    /// The partition of the blocks topic that gets the window that ends at `end`.
    pub fn lane(&self, end: i64) -> i32 {
        end.div_euclid(self.slide).rem_euclid(i64::from(self.lanes)) as i32
    }

    /// The end of a lane's last window that ends at or before a time.
    pub fn last_end_in_lane(&self, lane: i32, time: i64) -> i64 {
        let last = time.div_euclid(self.slide);
        (last - (last - i64::from(lane)).rem_euclid(i64::from(self.lanes))) * self.slide
    }

    /// The last aligned window `[k * size, (k + 1) * size)` that ended at or before the start of the window that ends at
    /// `end`.
    pub(crate) fn last_aligned(&self, end: i64) -> i64 {
        (end - self.size).div_euclid(self.size) - 1
    }

    /// Whether one visit may be of several users.
    pub(crate) fn visits_span_users(&self) -> bool {
        self.definitions < Definitions::V2
    }

    /// How many pages may be live.
    #[inline]
    pub(crate) fn live_pages(&self) -> usize {
        if self.definitions < Definitions::V2 { usize::MAX } else { self.page_limit }
    }

    /// By how much the watermark rises while an event's identity is held.
    pub fn held_for(&self) -> i64 {
        self.size + self.out_of_orderness + self.duplicate_slack
    }

    /// The factor by which an aligned window's weight decays with each aligned window after it.
    pub(crate) fn decay(&self) -> f64 {
        libm::exp2(-(self.size as f64) / self.trending_half_life as f64)
    }
}

/// `base` to the power of `exponent` by squaring: only multiplications, so that every machine gets the same bits (the
/// platform's `pow` does not guarantee that).
pub(crate) fn power(base: f64, exponent: i64) -> f64 {
    let (mut result, mut square, mut left) = (1.0, base, exponent.max(0));
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}
