//! Objects that somebody else changes: how often they were repaired, and when they are left alone.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Context;
use crate::object::Kind;
use crate::plan::Difference;

/// Repairs of one object in a row before it is left alone, and for how long.
const REPAIRS: (u32, Duration) = (5, Duration::from_secs(600));

/// An object by namespace, kind and name.
pub(crate) type ObjectKey = (String, Kind, String);

/// What was repaired of an object.
pub(super) struct Repairs {
    count: u32,
    last: Instant,
    /// What was not as it should be right after.
    left: Vec<Difference>,
}

/// Whether to repair an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    Yes,
    /// The API server, or what it asks, makes it so again at once.
    InVain,
    /// Somebody else changes it again and again: two that do are a quarrel without end.
    Contested,
}

impl Context {
    /// Whether an object that differs so is worth a repair.
    pub(crate) fn may_repair(&self, object: &ObjectKey, differences: &[Difference]) -> Repair {
        let mut all = self.repairs();
        all.retain(|_, repairs| !repairs.left.is_empty() || repairs.last.elapsed() < 2 * REPAIRS.1);
        match all.get_mut(object) {
            Some(repairs) if repairs.left == differences => Repair::InVain,
            Some(repairs) if repairs.count >= REPAIRS.0 => {
                if repairs.last.elapsed() < REPAIRS.1 {
                    return Repair::Contested;
                }
                // One more, to see whether the other is still there.
                repairs.count = REPAIRS.0 - 1;
                Repair::Yes
            }
            _ => Repair::Yes,
        }
    }

    /// Notes a repair, and what it did not change.
    pub(crate) fn repaired(&self, object: ObjectKey, left: Vec<Difference>) {
        let now = Instant::now();
        let mut all = self.repairs();
        let repairs = all.entry(object).or_insert(Repairs { count: 0, last: now, left: Vec::new() });
        let fresh = repairs.last.elapsed() > 2 * REPAIRS.1;
        *repairs = Repairs { count: if fresh { 1 } else { repairs.count + 1 }, last: now, left };
    }

    fn repairs(&self) -> MutexGuard<'_, HashMap<ObjectKey, Repairs>> {
        self.repairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
