//! Decides when to write a snapshot, and writes it.

use weir_log::{Error, Output};

use super::{Input, Windows};

/// Maximum number of records that are read again after a restart.
const MAX_REPLAYED_RECORDS: i64 = 2_000_000;

impl Windows {
    pub(super) fn snapshot_due(&self, input: &Input, now: i64) -> bool {
        let changed = input.next > input.progress.from || input.journal.has_advances();
        let every = self.options.snapshot_every;
        let advanced = match (input.saved_sealed, input.engine.sealed()) {
            (Some(before), Some(sealed)) => sealed - before >= every,
            (before, sealed) => before != sealed,
        };
        let many_records = input.next - input.progress.from >= MAX_REPLAYED_RECORDS;
        changed
            && !input.replays()
            && !input.engine.is_behind()
            && (advanced || many_records || now - input.saved_at >= every)
    }

    /// Writes the state of a partition, chunk by chunk.
    pub(super) fn save(
        &mut self,
        input: &mut Input,
        taken: i64,
        send: &mut dyn FnMut(Output) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let state = |sink: &mut dyn FnMut(&[u8])| input.engine.write_snapshot(sink);
        let bytes = input.journal.write_snapshot(input.next, taken, state, send)?;
        self.outcomes.snapshots += 1;
        tracing::debug!(partition = input.number, offset = input.next, bytes, "state saved");
        Ok(())
    }
}
