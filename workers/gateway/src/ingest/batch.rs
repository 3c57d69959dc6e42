//! Decodes records of the pipeline's topics.

use weir_analytics::Live;
use weir_events::{decode_page_analytics, decode_top_pages};
use weir_manifest::Role;

use crate::store::{PipelineState, Records};

/// Records read together. They are decoded on arrival and applied at once, so that reading waits for no socket and no request
/// waits for a decoder.
#[derive(Default)]
pub struct Batch {
    records: Records,
}

impl Batch {
    /// Adds a record of a topic with this role, by its offset. One that cannot be decoded is counted and left out; roles other than results,
    /// rankings and live values are not decoded.
    pub fn record(&mut self, role: Role, offset: i64, value: &[u8]) {
        #[cfg(test)]
        assert_ne!(value, b"panic", "planted");
        let records = &mut self.records;
        let decoded = match role {
            Role::Results => decode_page_analytics(value).map(|row| records.rows.push(row)).is_ok(),
            Role::TopPages => decode_top_pages(value).map(|top| records.tops.push(top)).is_ok(),
            Role::Live => Live::decode(value).map(|live| records.lives.push(live)).is_ok(),
            Role::Events | Role::Blocks | Role::State | Role::DeadLetters | Role::Generations => true,
        };
        records.from_beginning |= role == Role::TopPages && offset == 0;
        records.undecodable += u64::from(!decoded);
    }

    /// Applies the records.
    pub fn apply_to(self, state: &PipelineState) {
        state.apply(self.records);
    }
}
