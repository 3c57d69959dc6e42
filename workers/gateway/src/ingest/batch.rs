//! Records of the pipeline's topics, on their way in.

use weir_analytics::Live;
use weir_events::{PageAnalytics, TopPages, decode_page_analytics, decode_top_pages};
use weir_manifest::Role;

/// Records read together. They are decoded as they come and taken over at once, so that reading never waits for a socket and
/// nobody who asks waits for a decoder.
#[derive(Default)]
pub struct Batch {
    pub(crate) rows: Vec<PageAnalytics>,
    pub(crate) tops: Vec<TopPages>,
    pub(crate) lives: Vec<Live>,
    pub(crate) unreadable: u64,
    /// The very first record of the rankings' topic is still there, so the first window held is the first there ever was.
    pub(crate) from_beginning: bool,
}

impl Batch {
    /// Adds a record of a topic with this role, by its offset. One that cannot be read is counted and left out; roles other than results,
    /// rankings and live values are not looked at.
    pub fn record(&mut self, role: Role, offset: i64, value: &[u8]) {
        #[cfg(test)]
        assert_ne!(value, b"panic", "planted");
        let read = match role {
            Role::Results => decode_page_analytics(value).map(|row| self.rows.push(row)).is_ok(),
            Role::TopPages => decode_top_pages(value).map(|top| self.tops.push(top)).is_ok(),
            Role::Live => Live::decode(value).map(|live| self.lives.push(live)).is_ok(),
            Role::Events | Role::Blocks | Role::State | Role::DeadLetters => true,
        };
        self.from_beginning |= role == Role::TopPages && offset == 0;
        self.unreadable += u64::from(!read);
    }

    /// Whether there is nothing to take over.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.tops.is_empty() && self.lives.is_empty() && self.unreadable == 0
    }
}
