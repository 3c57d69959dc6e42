//! Windows, ranking and trends: what is counted over which time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Which events a result covers, and how long it waits for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Window {
    /// Length of a window: a multiple of `slide`, at most 8,640 of them.
    pub size: Duration,
    /// Time between the ends of two windows, at least 100ms.
    pub slide: Duration,
    /// How much older than the newest event of its partition an event may be and still count everywhere. At most 1d.
    pub out_of_orderness: Duration,
    /// Silence (wall clock) after which a partition that was read to its end no longer holds results back.
    pub idle_timeout: Duration,
    /// Longest pause within a visit.
    pub session_gap: Duration,
    /// How far an event's timestamp may be ahead of the broker's clock; beyond that it is invalid. At most 1d.
    pub max_future: Duration,
    /// How much longer than `size` and `outOfOrderness` an event's `event_id` is remembered: sent again within that time it counts once. At most 1h; costs about 50 bytes of memory per event of that time.
    #[serde(skip_serializing_if = "is_default_slack")]
    pub duplicate_slack: Duration,
}

const DEFAULT_SLACK: Duration = Duration::from_secs(60);

/// Documents are written without it then, so that releases that do not know it can read them.
fn is_default_slack(slack: &Duration) -> bool {
    *slack == DEFAULT_SLACK
}

impl Default for Window {
    fn default() -> Self {
        Self {
            size: Duration::from_secs(300),
            slide: Duration::from_secs(10),
            out_of_orderness: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            session_gap: Duration::from_secs(1_800),
            max_future: Duration::from_secs(300),
            duplicate_slack: DEFAULT_SLACK,
        }
    }
}

/// The top pages and the trending pages of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ranking {
    /// Length of the ranking.
    #[schemars(range(min = 1, max = 1000))]
    pub top: u32,
    /// Age at which a past window weighs half in a page's usual level, at least 1s.
    pub trending_half_life: Duration,
    /// Aligned windows that must lie behind before a page can trend.
    #[schemars(range(min = 1, max = 1000))]
    pub warm_up: u32,
}

impl Default for Ranking {
    fn default() -> Self {
        Self { top: 10, trending_half_life: Duration::from_secs(7_200), warm_up: 2 }
    }
}
