//! An event inside the engine: its strings are numbers.

use serde::{Deserialize, Serialize};
use weir_events::EventType;

use crate::{
    identity::{Identity, visitor},
    intern::Interner,
    settings::Settings,
};

/// The page number that stands for the whole site.
pub(crate) const SITE: u32 = 0;

/// The page of events whose own page is beyond the limit. No valid URL is this.
const OTHER: &str = "(other)";

/// In place of a visitor's identity.
const UNKNOWN: Identity = 0;

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
    /// By user, once it was asked for; 0 until then. Empty where visits span users.
    visitors: Vec<Identity>,
}

impl Names {
    /// The names of a partition before its first event.
    pub(crate) fn new() -> Self {
        let mut names = Self::restore(<[Interner; 3]>::default(), &Settings::default());
        // Held permanently, so that its number stays SITE. No event has an empty page_url.
        names.pages.acquire("");
        names
    }

    /// From the strings of pages, users and sessions.
    pub(crate) fn restore([pages, users, sessions]: [Interner; 3], settings: &Settings) -> Self {
        let known = if settings.visits_span_users() { 0 } else { users.len() };
        Self { pages, users, sessions, visitors: vec![UNKNOWN; known] }
    }

    /// The number of the page that an event counts under, and whether that is another than its own: its own is neither live, nor are
    /// fewer than `limit`. Adds a holder.
    #[inline]
    pub(crate) fn acquire_page(&mut self, url: &str, limit: usize) -> (u32, bool) {
        // The site's number is held, too.
        if self.pages.live() <= limit {
            return (self.pages.acquire(url), false);
        }
        self.acquire_live_page(url, limit)
    }

    #[cold]
    fn acquire_live_page(&mut self, url: &str, limit: usize) -> (u32, bool) {
        let no_pages = 1 + usize::from(self.pages.find(OTHER).is_some());
        let is_own = self.pages.live() - no_pages < limit || self.pages.find(url).is_some();
        (self.pages.acquire(if is_own { url } else { OTHER }), !is_own)
    }

    /// The number of a user; adds a holder.
    pub(crate) fn acquire_user(&mut self, user_id: &str, settings: &Settings) -> u32 {
        let number = self.users.acquire(user_id);
        if self.users.is_new(number) && !settings.visits_span_users() {
            let index = number as usize;
            if index >= self.visitors.len() {
                self.visitors.resize(index + 1, UNKNOWN);
            }
            self.visitors[index] = UNKNOWN;
        }
        number
    }

    /// What a visit of a user has in common with the others of the same session id that are theirs; the same for all users where visits
    /// span users.
    pub(crate) fn visitor(&mut self, user: u32) -> Identity {
        let Some(known) = self.visitors.get_mut(user as usize) else { return UNKNOWN };
        if *known == UNKNOWN {
            *known = visitor(self.users.text(user));
        }
        *known
    }
}
