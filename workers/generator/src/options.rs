//! The generator's options and their validation.

use crate::pace::{Pace, Profile};

/// What to simulate. The same options give the same bytes in the same order, on every machine.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorOptions {
    /// Events per second of event time; with [`Profile::Diurnal`] the mean over a day. Above 0, at most 1,000,000.
    pub events_per_second: f64,
    /// Visitors. 1 to 10,000,000.
    pub users: u32,
    /// Pages of the shop. 1 to 1,000,000.
    pub pages: u32,
    /// Products of the shop. 1 to 10,000,000.
    pub products: u32,
    /// Seed of all random choices.
    pub seed: u64,
    /// How the rate changes over the day.
    pub profile: Profile,
    /// Event time of the first event, milliseconds since the epoch. At least 1.
    pub start: i64,
    /// Partitions of the events topic. 1 to 10,000.
    pub partitions: i32,
    /// The consumers' allowed out-of-orderness, milliseconds: no event without a fault uses more than 0.8 of it.
    pub out_of_orderness: i64,
    /// Faults on the way to the topic.
    pub faults: Faults,
}

impl Default for GeneratorOptions {
    /// The shop of the pipeline document's defaults, on 1 January 2026.
    fn default() -> Self {
        Self {
            events_per_second: 100.0,
            users: 1_000,
            pages: 100,
            products: 500,
            seed: 42,
            profile: Profile::Diurnal,
            start: 1_767_225_600_000,
            partitions: 6,
            out_of_orderness: 30_000,
            faults: Faults::default(),
        }
    }
}

/// Faults on the way to the topic. An event is late, sent twice or malformed, so these shares must not add up to more than 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// Share of the events that are delivered [`late_by`](Self::late_by).
    pub late: f64,
    /// Milliseconds by which late events are delayed, and up to 10 s more. For all windows of an event to be closed it
    /// must exceed window size + out-of-orderness by more than the usual gap between two events of one partition.
    pub late_by: i64,
    /// Share of the events whose bytes are delivered twice. Above 0 all events have ids, so that consumers can tell.
    pub duplicates: f64,
    /// Share of the events whose bytes are damaged; they replace the original ones.
    pub malformed: f64,
    /// Share of the events whose page's URL is like no other, as where links carry a click id.
    pub distinct_urls: f64,
    /// A recurring burst of visits to one page.
    pub burst: Option<Burst>,
}

impl Default for Faults {
    /// No fault; `late_by` fits windows of 5 min with an out-of-orderness of 30 s.
    fn default() -> Self {
        Self { late: 0.0, late_by: 390_000, duplicates: 0.0, malformed: 0.0, distinct_urls: 0.0, burst: None }
    }
}

/// A recurring burst of visits to one page. The rate of all events stays the same. The mix of event types
/// may suffer when most of the events go to a page without products.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Index of the page, from 0 (the most popular one).
    pub page: u32,
    /// Milliseconds from the end of one burst to the end of the next; the first one ends this long after the start.
    pub every: i64,
    /// Milliseconds that a burst lasts.
    pub length: i64,
    /// Share of the events during the burst that are on this page.
    pub share: f64,
}

/// An option out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, allowed is {allowed}: change it")]
pub struct OptionsError {
    /// Name of the option, with dots.
    pub field: &'static str,
    /// Its value.
    pub found: String,
    /// The allowed values.
    pub allowed: String,
}

impl GeneratorOptions {
    /// Events per second at [`start`](Self::start), by the profile.
    pub fn rate_at_start(&self) -> f64 {
        Pace::new(self.events_per_second, self.profile, self.start).rate()
    }

    pub(crate) fn validate(&self) -> Result<(), OptionsError> {
        // Destructured in full, so that a new option cannot be forgotten here.
        let Self {
            events_per_second,
            users,
            pages,
            products,
            seed: _,
            profile: _,
            start,
            partitions,
            out_of_orderness,
            faults: Faults { late, late_by, duplicates, malformed, distinct_urls, burst },
        } = self;
        let rate = *events_per_second;
        check("events_per_second", rate, rate > 0.0 && rate <= 1e6, "above 0, at most 1,000,000")?;
        check("users", users, (1..=10_000_000).contains(users), "1 to 10,000,000")?;
        check("pages", pages, (1..=1_000_000).contains(pages), "1 to 1,000,000")?;
        check("products", products, (1..=10_000_000).contains(products), "1 to 10,000,000")?;
        check("start", start, (1..=LAST_START).contains(start), "1 ms after the epoch to the year 9999")?;
        check("partitions", partitions, (1..=10_000).contains(partitions), "1 to 10,000")?;
        let day = "0 ms to 1 day (86400000 ms)";
        check("out_of_orderness", out_of_orderness, (0..=86_400_000).contains(out_of_orderness), day)?;
        let shares = [
            ("faults.late", late),
            ("faults.duplicates", duplicates),
            ("faults.malformed", malformed),
            ("faults.distinct_urls", distinct_urls),
        ];
        for (field, share) in shares {
            check(field, share, (0.0..=1.0).contains(share), "a share of 0 to 1")?;
        }
        let sum = late + duplicates + malformed;
        check("faults.late + faults.duplicates + faults.malformed", sum, sum <= 1.0, "at most 1")?;
        check("faults.late_by", late_by, (0..=86_400_000).contains(late_by), day)?;
        if let Some(Burst { page, every, length, share }) = burst {
            check("faults.burst.page", page, page < pages, "below the number of pages")?;
            check("faults.burst.every", every, *every > 0, "1 ms or more")?;
            let fits = (1..=*every).contains(length);
            check("faults.burst.length", length, fits, "1 ms to faults.burst.every")?;
            check("faults.burst.share", share, (0.0..=1.0).contains(share), "a share of 0 to 1")?;
        }
        Ok(())
    }
}

/// 9999-12-31: most programs cannot read later timestamps as dates.
const LAST_START: i64 = 253_402_214_400_000;

fn check(
    field: &'static str,
    found: impl ToString,
    allowed: bool,
    range: &'static str,
) -> Result<(), OptionsError> {
    if allowed {
        Ok(())
    } else {
        Err(OptionsError { field, found: found.to_string(), allowed: range.into() })
    }
}
