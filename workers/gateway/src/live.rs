//! Provisional values: what the open window shows, the newest of each input partition, added up.

use std::collections::{BTreeMap, HashMap};

use crate::stub::{Live, LiveRow};

/// The newest values of each input partition.
#[derive(Default)]
pub struct Now {
    parts: BTreeMap<i32, Part>,
}

struct Part {
    values: Live,
    /// When they came, by this process's clock.
    at: i64,
}

/// Where one input partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The partition.
    pub partition: i32,
    /// Its watermark.
    pub watermark: Option<i64>,
    /// The end up to which its windows are sealed.
    pub sealed: Option<i64>,
    /// Records read.
    pub read: u64,
    /// Events counted.
    pub counted: u64,
    /// Events that missed all their windows.
    pub late: u64,
    /// Records that are no valid event.
    pub dead_letters: u64,
    /// When it was last heard of, by this process's clock.
    pub heard: i64,
}

/// All partitions together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sum {
    /// The newest end of a partition's open window; `None` before any was heard of.
    pub end: Option<i64>,
    /// All pages.
    pub site: LiveRow,
    /// Pages with an event, most viewed first, ties by page.
    pub pages: Vec<LiveRow>,
}

impl Now {
    /// Takes what a partition says, at `at` by this process's clock.
    pub fn take(&mut self, values: Live, at: i64) {
        self.parts.insert(values.partition, Part { values, at });
    }

    /// Adds the partitions up. A partition whose open window ended a window's length before the newest shows nothing that is
    /// in the newest window, so it is left out.
    pub fn sum(&self, size: i64) -> Sum {
        let end = self.parts.values().map(|part| part.values.end).max();
        let mut site = LiveRow::default();
        let mut pages: HashMap<&str, LiveRow> = HashMap::new();
        for part in self.parts.values().filter(|part| end.is_some_and(|end| part.values.end > end - size)) {
            add(&mut site, &part.values.site);
            for row in &part.values.pages {
                add(pages.entry(&row.url).or_default(), row);
            }
        }
        let mut pages: Vec<LiveRow> =
            pages.into_iter().map(|(url, row)| LiveRow { url: url.to_owned(), ..row }).collect();
        pages.sort_unstable_by(|a, b| b.views.cmp(&a.views).then_with(|| a.url.cmp(&b.url)));
        Sum { end, site, pages }
    }

    /// Where each partition stands, by partition.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |part: &Part| Standing {
            partition: part.values.partition,
            watermark: part.values.watermark,
            sealed: part.values.sealed,
            read: part.values.read,
            counted: part.values.counted,
            late: part.values.late,
            dead_letters: part.values.dead_letters,
            heard: part.at,
        };
        self.parts.values().map(standing).collect()
    }
}

fn add(sum: &mut LiveRow, row: &LiveRow) {
    sum.views += row.views;
    sum.clicks += row.clicks;
    sum.carts += row.carts;
    sum.conversions += row.conversions;
    sum.users += row.users;
}
