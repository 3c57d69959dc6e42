//! The autoscaler: decides the number of processors by lag and rates. Pure.
//!
//! Adding a processor helps only if the busiest one then has fewer partitions: with six partitions, four processors leave one of
//! them with two, as three do. So only numbers that change the largest share are chosen.

use std::collections::VecDeque;

use weir_manifest::Autoscaling;

/// Minimum time over which rates are measured, milliseconds: progress is committed in jumps.
const MIN_RATE_SPAN_MS: i64 = 45_000;
/// Maximum gap between samples, milliseconds: older ones do not describe the current load.
const MAX_SAMPLE_GAP_MS: i64 = 180_000;
/// Lag that is normal between two commits, in seconds of input: it needs no catching up.
const USUAL_LAG_SECONDS: f64 = 30.0;
/// Minimum lag in events that is worth a pod.
const MIN_BACKLOG_EVENTS: f64 = 1_000.0;
/// Hysteresis: scale up when the load exceeds the capacity by this factor, and down when it falls below this factor of the capacity
/// of fewer processors.
const DEAD_BAND: (f64, f64) = (1.1, 0.7);

/// Committed and end offsets, summed over all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Sum of the offsets up to which everything was processed.
    pub committed: i64,
    /// Sum of the offsets at the partitions' ends.
    pub end: i64,
}

/// The autoscaler's state of one pipeline. Lost when the operator restarts, except for what the status holds.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    samples: VecDeque<Sample>,
    /// Required numbers of processors within the cooldown, with their times.
    needs: VecDeque<(i64, i32)>,
    /// Events a second that one processor was seen to manage.
    capacity: Option<f64>,
    /// When the number was last changed.
    changed: Option<i64>,
    /// The number of processors while the samples were taken.
    replicas: i32,
}

/// A scaling decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The number of processors.
    pub replicas: i32,
    /// The reason, for conditions and events.
    pub reason: Reason,
    /// The measured rates; absent where nothing was measured.
    pub measured: Option<Measured>,
}

/// Measured lag and rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Lag, in events.
    pub lag: i64,
    /// Incoming events per second.
    pub arriving: f64,
    /// Processed events per second.
    pub processed: f64,
    /// Capacity of one processor, events per second, if known.
    pub capacity: Option<f64>,
}

/// The reason of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There are fewer than `minReplicas` or more than `maxReplicas`.
    OutOfBounds,
    /// Input rate or lag requires more.
    ScaleUp,
    /// Fewer have been enough for a while.
    ScaleDown,
    /// The number is right.
    Steady,
    /// More are required, but the last change is too recent.
    CoolingDown,
    /// The lag is being worked off.
    CatchingUp,
    /// Fewer would do, but the cooldown is not over.
    Waiting,
    /// There are too few samples yet.
    Measuring,
    /// Not all processors are ready.
    Settling,
    /// A processor's capacity is neither configured nor measured.
    CapacityUnknown,
    /// The offsets could not be read from Kafka.
    NoSample,
}

impl Reason {
    /// As conditions and events have it.
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

/// The current state.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Wanted processors.
    pub replicas: i32,
    /// Ready processors.
    pub ready: i32,
    /// Current offsets; `None` if they could not be read from Kafka.
    pub sample: Option<Sample>,
}

impl Memory {
    /// Restores the state that the status holds.
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

    /// Decides the number of processors. A caller that applies the decision calls [`Self::changed`]; until then the decision is repeated.
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
            // A member that joins or leaves pauses the whole group: samples of that time are not representative.
            self.samples.clear();
            return hold(Reason::Settling, None);
        }
        let Some(measured) = self.measure(settings, partitions, now.replicas) else {
            return hold(Reason::Measuring, None);
        };
        let usual = (measured.arriving * USUAL_LAG_SECONDS).max(MIN_BACKLOG_EVENTS);
        let lag = measured.lag as f64;
        let behind = lag > usual;
        let catch_up = settings.catch_up.as_millis() as f64 / 1_000.0;
        let load = measured.arriving + if behind { lag / catch_up } else { 0.0 };
        let Some(capacity) = measured.capacity else {
            // With unknown capacity, one step at a time.
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
        // The largest number that was required within the cooldown, each with headroom.
        let lower = self.needs.iter().map(|(_, n)| *n).max().unwrap_or(now.replicas).max(least);
        if lower >= now.replicas {
            let fewer_now = enough(load / DEAD_BAND.1) < now.replicas;
            return hold(if fewer_now { Reason::Waiting } else { Reason::Steady }, Some(measured));
        }
        let watched = self.needs.front().is_some_and(|(at, _)| {
            now.at - at >= settings.scale_down_cooldown.as_millis() - MIN_RATE_SPAN_MS
        });
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

    /// The number of processors changed at `at`: earlier samples do not describe the new number.
    pub fn changed(&mut self, at: i64) {
        self.changed = Some(at);
        self.samples.clear();
        self.needs.clear();
    }

    fn take(&mut self, sample: Sample, replicas: i32) {
        let restarted = self.samples.back().is_some_and(|last| {
            sample.end < last.end
                || sample.committed < last.committed
                || sample.at - last.at > MAX_SAMPLE_GAP_MS
        });
        // Another topic, another number of processors, or too long ago.
        if restarted || replicas != self.replicas {
            self.samples.clear();
        }
        self.replicas = replicas;
        self.samples.push_back(sample);
        while self.samples.get(1).is_some_and(|second| sample.at - second.at >= MIN_RATE_SPAN_MS) {
            self.samples.pop_front();
        }
    }

    /// Rates over the samples; `None` while they are too close together.
    fn measure(&mut self, settings: &Autoscaling, partitions: i32, replicas: i32) -> Option<Measured> {
        let (first, last) = (*self.samples.front()?, *self.samples.back()?);
        if last.at - first.at < MIN_RATE_SPAN_MS {
            return None;
        }
        let rate = |from: i64, to: i64| (to - from) as f64 * 1_000.0 / (last.at - first.at) as f64;
        let (arriving, processed) = (rate(first.end, last.end), rate(first.committed, last.committed));
        let waited = self.samples.iter().all(|sample| {
            (sample.end - sample.committed) as f64 > (arriving * USUAL_LAG_SECONDS).max(MIN_BACKLOG_EVENTS)
        });
        if waited && processed > 0.0 && replicas > 0 {
            // There was lag all the time, so the busiest processors ran at capacity.
            let seen = processed / share_factor(partitions, replicas);
            self.capacity = Some(self.capacity.map_or(seen, |old| (old + seen) / 2.0));
        }
        let capacity = settings.events_per_processor.map(f64::from).or(self.capacity);
        Some(Measured { lag: last.end - last.committed, arriving, processed, capacity })
    }
}

/// Throughput of `n` processors as a multiple of one: the processor with the most partitions limits all.
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
