//! Objects that others change: how often they were repaired, and when they are left alone.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Context;
use crate::object::Kind;
use crate::plan::Difference;

/// Consecutive repairs of one object before it is left alone, and for how long.
const MAX_REPAIRS_AND_PAUSE: (u32, Duration) = (5, Duration::from_secs(600));

/// An object by namespace, kind and name.
pub(crate) type ObjectKey = (String, Kind, String);

/// Past repairs of an object.
pub(super) struct Repairs {
    count: u32,
    last: Instant,
    /// Differences that remained right after the repair.
    left: Vec<Difference>,
}

/// Whether to repair an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    Yes,
    /// The API server, or an admission webhook, reverts the repair at once.
    Reverted,
    /// Another writer changes it again and again; repairing it each time would never end.
    Contested,
}

impl Context {
    /// Whether an object with these differences is to be repaired.
    pub(crate) fn may_repair(&self, object: &ObjectKey, differences: &[Difference]) -> Repair {
        let mut all = self.repairs();
        all.retain(|_, repairs| {
            !repairs.left.is_empty() || repairs.last.elapsed() < 2 * MAX_REPAIRS_AND_PAUSE.1
        });
        match all.get_mut(object) {
            Some(repairs) if repairs.left == differences => Repair::Reverted,
            Some(repairs) if repairs.count >= MAX_REPAIRS_AND_PAUSE.0 => {
                if repairs.last.elapsed() < MAX_REPAIRS_AND_PAUSE.1 {
                    return Repair::Contested;
                }
                // One more repair, to find out whether the other writer is still there.
                repairs.count = MAX_REPAIRS_AND_PAUSE.0 - 1;
                Repair::Yes
            }
            _ => Repair::Yes,
        }
    }

    /// Records a repair, and the differences that remained.
    pub(crate) fn repaired(&self, object: ObjectKey, left: Vec<Difference>) {
        let now = Instant::now();
        let mut all = self.repairs();
        let repairs = all.entry(object).or_insert(Repairs { count: 0, last: now, left: Vec::new() });
        let fresh = repairs.last.elapsed() > 2 * MAX_REPAIRS_AND_PAUSE.1;
        *repairs = Repairs { count: if fresh { 1 } else { repairs.count + 1 }, last: now, left };
    }

    fn repairs(&self) -> MutexGuard<'_, HashMap<ObjectKey, Repairs>> {
        self.repairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
