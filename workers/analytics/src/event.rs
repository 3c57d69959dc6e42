//! An event inside the engine: its strings are numbers.

use serde::{Deserialize, Serialize};
use weir_events::EventType;

use crate::intern::Interner;

/// The page number that stands for the whole site.
pub(crate) const SITE: u32 = 0;

/// An event with its strings as numbers.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct InternedEvent {
    pub(crate) page: u32,
    pub(crate) user: u32,
    pub(crate) session: u32,
    pub(crate) kind: EventType,
    pub(crate) timestamp: i64,
    /// The visit's age as the client reported it, milliseconds, if plausible.
    pub(crate) measured: Option<u32>,
}

/// The interned strings of all live state.
pub struct Names {
    pub(crate) pages: Interner,
    pub(crate) users: Interner,
    pub(crate) sessions: Interner,
}
