//! Delivery delays: most events arrive at once, some later, a few much too late or twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::crowd::Action;
use crate::fault::Fault;
use crate::options::{Faults, GeneratorOptions};
use crate::random::Random;

/// Usual delays: exponential with this mean, milliseconds.
const MEAN: f64 = 12.0;
/// Maximum usual delay, milliseconds.
const USUAL: f64 = 50.0;
/// Share of the events that take longer.
const SLOW: f64 = 0.05;
/// Share of the allowed out-of-orderness that slow events use at most.
const MAX_SHARE_OF_OUT_OF_ORDERNESS: f64 = 0.8;
/// Maximum delay of a duplicate after the first delivery, milliseconds.
const MAX_DUPLICATE_DELAY_MS: u32 = 500;
/// Late events are spread over this long, milliseconds.
const SPREAD: u32 = 10_000;

/// A delivery in flight, ordered by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Parcel {
    /// Milliseconds since the epoch.
    pub(crate) due: i64,
    sequence: u64,
    pub(crate) action: Action,
    pub(crate) fault: Option<Fault>,
}

pub(crate) struct Network {
    faults: Faults,
    /// Maximum delay without lateness, milliseconds. No record delivered before a delay's end has a greater
    /// timestamp than that end, so a bound on delays bounds the disorder in every partition.
    bound: i64,
    sequence: u64,
    under_way: BinaryHeap<Reverse<Parcel>>,
}

impl Network {
    pub(crate) fn new(options: &GeneratorOptions) -> Self {
        Self {
            faults: options.faults.clone(),
            bound: (options.out_of_orderness as f64 * MAX_SHARE_OF_OUT_OF_ORDERNESS) as i64,
            sequence: 0,
            under_way: BinaryHeap::new(),
        }
    }

    pub(crate) fn send(&mut self, action: Action, random: &mut Random) {
        let on_time = action.timestamp + self.delay(random);
        match self.faults.draw(random) {
            Some(Fault::Late) => {
                let late = action.timestamp + self.faults.late_by + i64::from(random.below(SPREAD));
                self.push(late, action, Some(Fault::Late));
            }
            Some(Fault::Duplicate) => {
                self.push(on_time, action, None);
                let again = on_time + 1 + i64::from(random.below(MAX_DUPLICATE_DELAY_MS));
                let again = again.min(action.timestamp + self.bound).max(on_time);
                self.push(again, action, Some(Fault::Duplicate));
            }
            fault => self.push(on_time, action, fault),
        }
    }

    /// The next arrival, unless an event at `now` or later may arrive before it.
    pub(crate) fn receive(&mut self, now: i64) -> Option<Parcel> {
        if self.under_way.peek()?.0.due > now {
            return None;
        }
        self.under_way.pop().map(|Reverse(parcel)| parcel)
    }

    fn delay(&self, random: &mut Random) -> i64 {
        let usual = random.exponential(MEAN).min(USUAL);
        let slow = random.chance(SLOW);
        let late = random.unit();
        let delay = if slow {
            // Squared: most slow events are only a little slow.
            usual.max(late * late * self.bound as f64)
        } else {
            usual
        };
        (delay as i64).min(self.bound)
    }

    fn push(&mut self, due: i64, action: Action, fault: Option<Fault>) {
        self.under_way.push(Reverse(Parcel { due, sequence: self.sequence, action, fault }));
        self.sequence += 1;
    }
}
