//! Bounds of the state, so that nothing that a site sends makes it grow for ever.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a partition's state may hold at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Pages of an events partition that are live at once: in a recent window, or with a usual level. Events of further pages count under the page `(other)`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub pages: u32,
}

impl Limits {
    /// Documents are written without it then, so that releases that do not know it can read them.
    pub(super) fn are_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { pages: 100_000 }
    }
}
