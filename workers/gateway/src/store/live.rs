//! The open window's provisional values.

use std::{collections::BTreeMap, sync::Arc};

use weir_analytics::Live;

/// The newest values of each input partition.
#[derive(Default)]
pub(super) struct LiveValues {
    partitions: BTreeMap<i32, Arc<Live>>,
    /// When values were last received, by this process's clock.
    received_at: Option<i64>,
}

impl LiveValues {
    /// Stores a partition's values, received at `at` by this process's clock.
    pub(super) fn take(&mut self, values: Live, at: i64) {
        if let Some(partition) = values.partition {
            self.partitions.insert(partition, Arc::new(values));
            self.received_at = Some(at);
        }
    }

    /// Each partition's values, to be merged without holding the lock.
    pub(super) fn partitions(&self) -> Vec<Arc<Live>> {
        self.partitions.values().cloned().collect()
    }

    /// When values were last received, by this process's clock.
    pub(super) fn received_at(&self) -> Option<i64> {
        self.received_at
    }
}
