//! How many processors a pipeline should have, by what piles up. Pure.
//!
//! Processors are worth adding only where the share of partitions of the busiest one shrinks: of six partitions, four processors
//! leave one with two, as three do. So only numbers are chosen that share differently.

use std::collections::VecDeque;

use weir_manifest::Autoscaling;

/// Rates are taken over so long at least, milliseconds: progress is committed in jumps.
const SPAN: i64 = 45_000;
/// Samples further apart than this tell nothing of now, milliseconds.
const STALE: i64 = 180_000;
/// A backlog of so many seconds of what comes in is what lies between two commits, not one to catch up with.
const USUAL_LAG: f64 = 30.0;
/// Below so many events nothing is worth a pod.
const MIN_BACKLOG_EVENTS: f64 = 1_000.0;
/// How much more than it manages must be asked of a number before it is raised, and to how much of what fewer manage load must have
/// fallen before it is lowered.
const DEAD_BAND: (f64, f64) = (1.1, 0.7);

/// Where reading stands, over all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// Sum of the offsets up to which everything was processed.
    pub committed: i64,
    /// Sum of the offsets at the partitions' ends.
    pub end: i64,
}

/// What is remembered of a pipeline between decisions. Forgotten with the operator, but for what is said of it in the status.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    samples: VecDeque<Sample>,
    /// What was needed, and when, while fewer might not have been enough.
    needs: VecDeque<(i64, i32)>,
    /// Events a second that one processor was seen to manage.
    capacity: Option<f64>,
    /// When the number was last changed.
    changed: Option<i64>,
    /// For how many processors the samples were taken.
    replicas: i32,
}

/// What is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// How many.
    pub replicas: i32,
    /// Why, in one word.
    pub reason: Reason,
    /// What it was decided by; absent where nothing was measured.
    pub measured: Option<Measured>,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Events that wait.
    pub lag: i64,
    /// Events a second that came.
    pub arriving: f64,
    /// Events a second that were processed.
    pub processed: f64,
    /// Events a second that one processor manages, if that is known.
    pub capacity: Option<f64>,
}

/// Why there are to be as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There are fewer than `minReplicas` or more than `maxReplicas`.
    OutOfBounds,
    /// What came or piled up asks for more.
    ScaleUp,
    /// Fewer have been enough for a while.
    ScaleDown,
    /// The number is right.
    Steady,
    /// More would be added, but for a recent change.
    CoolingDown,
    /// What has piled up is being worked off.
    CatchingUp,
    /// Fewer would do, but not for long enough yet.
    Waiting,
    /// There are too few samples yet.
    Measuring,
    /// Not all processors are ready.
    Settling,
    /// How much a processor manages was neither said nor seen.
    CapacityUnknown,
    /// Kafka did not tell where reading stands.
    NoSample,
}

impl Reason {
    /// One word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfBounds => "OutOfBounds",
            Self::ScaleUp => "ScaleUp",
            Self::ScaleDown => "ScaleDown",
            Self::Steady => "Steady",
            Self::CoolingDown => "CoolingDown",
            Self::CatchingUp => "CatchingUp",
            Self::Waiting => "Waiting",
            Self::Measuring => "Measuring",
            Self::Settling => "Settling",
            Self::CapacityUnknown => "CapacityUnknown",
            Self::NoSample => "NoSample",
        }
    }
}

/// How it is now.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Processors that there should be.
    pub replicas: i32,
    /// Those that are ready.
    pub ready: i32,
    /// Where reading stands; `None` when Kafka did not tell.
    pub sample: Option<Sample>,
}

impl Memory {
    /// As the status remembers it.
    pub fn new(capacity: Option<i32>, changed: Option<i64>) -> Self {
        Self { capacity: capacity.map(f64::from), changed, ..Self::default() }
    }

    /// Events a second that one processor was seen to manage.
    pub fn capacity(&self) -> Option<f64> {
        self.capacity
    }

    /// When the last sample was taken, milliseconds since the epoch.
    pub fn last_sample(&self) -> Option<i64> {
        self.samples.back().map(|sample| sample.at)
    }

    /// Decides how many processors there should be. Whoever follows says so by [`Self::changed`]: until then it is decided anew.
    pub fn decide(&mut self, settings: &Autoscaling, partitions: i32, now: Now) -> Decision {
        let hold = |reason, measured| Decision { replicas: now.replicas, reason, measured };
        let most = settings.max_replicas.min(partitions);
        let least = settings.min_replicas.min(most);
        if now.replicas < least || now.replicas > most {
            let replicas = now.replicas.clamp(least, most);
            return Decision { replicas, reason: Reason::OutOfBounds, measured: None };
        }
        let Some(sample) = now.sample else { return hold(Reason::NoSample, None) };
        self.take(sample, now.replicas);
        if now.ready < now.replicas {
            // Whoever joins or leaves stops all for a moment: what is measured then says little.
            self.samples.clear();
            return hold(Reason::Settling, None);
        }
        let Some(measured) = self.measure(settings, partitions, now.replicas) else {
            return hold(Reason::Measuring, None);
        };
        let usual = (measured.arriving * USUAL_LAG).max(MIN_BACKLOG_EVENTS);
        let lag = measured.lag as f64;
        let behind = lag > usual;
        let catch_up = settings.catch_up.as_millis() as f64 / 1_000.0;
        let load = measured.arriving + if behind { lag / catch_up } else { 0.0 };
        let Some(capacity) = measured.capacity else {
            // Without knowing how much one more brings, one step at a time.
            let falling_behind = behind && measured.processed < measured.arriving;
            let target = even_shares(partitions, least, most).find(|&n| n > now.replicas);
            return match target {
                Some(target) if falling_behind => self.raise(settings, now, target, measured),
                _ if behind => hold(Reason::CatchingUp, Some(measured)),
                _ => hold(Reason::CapacityUnknown, Some(measured)),
            };
        };
        let manages = |n: i32| capacity * share_factor(partitions, n);
        let enough = |load: f64| {
            let mut numbers = even_shares(partitions, least, most);
            numbers.find(|&n| manages(n) >= load).unwrap_or(most)
        };
        self.needs.push_back((now.at, enough(load / DEAD_BAND.1)));
        let kept = now.at - settings.scale_down_cooldown.as_millis();
        while self.needs.front().is_some_and(|(at, _)| *at < kept) {
            self.needs.pop_front();
        }
        let target = enough(load);
        if target > now.replicas && load > manages(now.replicas) * DEAD_BAND.0 {
            return self.raise(settings, now, target, measured);
        }
        if behind {
            return hold(Reason::CatchingUp, Some(measured));
        }
        // As many as were needed at any time of the cooldown, each with room to spare.
        let lower = self.needs.iter().map(|(_, n)| *n).max().unwrap_or(now.replicas).max(least);
        if lower >= now.replicas {
            let fewer_now = enough(load / DEAD_BAND.1) < now.replicas;
            return hold(if fewer_now { Reason::Waiting } else { Reason::Steady }, Some(measured));
        }
        let watched = self
            .needs
            .front()
            .is_some_and(|(at, _)| now.at - at >= settings.scale_down_cooldown.as_millis() - SPAN);
        if !watched || self.changed_within(now.at, settings.scale_down_cooldown.as_millis()) {
            return hold(Reason::Waiting, Some(measured));
        }
        Decision { replicas: lower, reason: Reason::ScaleDown, measured: Some(measured) }
    }

    fn raise(&self, settings: &Autoscaling, now: Now, target: i32, measured: Measured) -> Decision {
        let measured = Some(measured);
        if self.changed_within(now.at, settings.scale_up_cooldown.as_millis()) {
            return Decision { replicas: now.replicas, reason: Reason::CoolingDown, measured };
        }
        Decision { replicas: target, reason: Reason::ScaleUp, measured }
    }

    fn changed_within(&self, now: i64, span: i64) -> bool {
        self.changed.is_some_and(|changed| now - changed < span)
    }

    /// There are another number of processors since `at`: what was measured before says nothing of them.
    pub fn changed(&mut self, at: i64) {
        self.changed = Some(at);
        self.samples.clear();
        self.needs.clear();
    }

    fn take(&mut self, sample: Sample, replicas: i32) {
        let anew = self.samples.back().is_some_and(|last| {
            sample.end < last.end || sample.committed < last.committed || sample.at - last.at > STALE
        });
        // Another topic, another number of processors, or too long ago.
        if anew || replicas != self.replicas {
            self.samples.clear();
        }
        self.replicas = replicas;
        self.samples.push_back(sample);
        while self.samples.get(1).is_some_and(|second| sample.at - second.at >= SPAN) {
            self.samples.pop_front();
        }
    }

    /// Rates over the samples; `None` while they are too close together.
    fn measure(&mut self, settings: &Autoscaling, partitions: i32, replicas: i32) -> Option<Measured> {
        let (first, last) = (*self.samples.front()?, *self.samples.back()?);
        if last.at - first.at < SPAN {
            return None;
        }
        let rate = |from: i64, to: i64| (to - from) as f64 * 1_000.0 / (last.at - first.at) as f64;
        let (arriving, processed) = (rate(first.end, last.end), rate(first.committed, last.committed));
        let waited = self.samples.iter().all(|sample| {
            (sample.end - sample.committed) as f64 > (arriving * USUAL_LAG).max(MIN_BACKLOG_EVENTS)
        });
        if waited && processed > 0.0 && replicas > 0 {
            // There was always something to do, so the busiest processors did what they can.
            let seen = processed / share_factor(partitions, replicas);
            self.capacity = Some(self.capacity.map_or(seen, |old| (old + seen) / 2.0));
        }
        let capacity = settings.events_per_processor.map(f64::from).or(self.capacity);
        Some(Measured { lag: last.end - last.committed, arriving, processed, capacity })
    }
}

/// How many times what one processor manages `n` of them do: all wait for the one with the most partitions.
fn share_factor(partitions: i32, n: i32) -> f64 {
    f64::from(partitions) / f64::from((partitions + n - 1) / n.max(1)).max(1.0)
}

/// The numbers from `least` to `most` at which the busiest processor has fewer partitions than with any smaller number; `least`
/// itself is always one.
fn even_shares(partitions: i32, least: i32, most: i32) -> impl Iterator<Item = i32> {
    let share = move |n: i32| (partitions + n - 1) / n.max(1);
    (least..=most).filter(move |&n| n == least || share(n) < share(n - 1))
}

#[cfg(test)]
mod tests;
