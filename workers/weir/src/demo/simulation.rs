//! The simulated shop: first its history, as fast as that is processed, then paced by the clock.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use weir_generator::{Delivery, Generator};

/// Maximum sleep, so that a stop is noticed.
const MAX_SLEEP: Duration = Duration::from_millis(200);
/// Events sent between two checks of the backlog.
const EVENTS_PER_BACKLOG_CHECK: u32 = 1_000;

/// A shop on the clock.
pub(super) struct Simulation {
    /// Begins with the history.
    pub(super) generator: Generator,
    /// Event time that is `begun` on the clock; earlier events are the history.
    pub(super) start: i64,
    /// When the demo began.
    pub(super) begun: Instant,
    /// How many times faster than the clock event time runs.
    pub(super) speed: f64,
}

/// The destination of events.
pub(super) trait Sink {
    /// Sends an event.
    fn send(&mut self, delivery: &Delivery<'_>) -> anyhow::Result<()>;

    /// Waits until the backlog has room for more events, or until `stop`.
    fn keep_up(&mut self, stop: &AtomicBool) -> anyhow::Result<()>;

    /// Called once the history is sent; later events are sent when they are due.
    fn history_ends(&mut self) -> anyhow::Result<()>;
}

impl Simulation {
    /// Sends events until `stop`.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn run(mut self, stop: &AtomicBool, sink: &mut impl Sink) -> anyhow::Result<()> {
        let (mut history, mut unchecked) = (true, 0);
        while !stop.load(Ordering::SeqCst) {
            let delivery = self.generator.next();
            if history && delivery.due >= self.start {
                history = false;
                sink.history_ends()?;
            }
            let due = (delivery.due - self.start).max(0) as f64 / 1000.0 / self.speed;
            sleep_until(self.begun + Duration::from_secs_f64(due), stop);
            // After a stop the event may be far from due.
            if stop.load(Ordering::SeqCst) {
                break;
            }
            sink.send(&delivery)?;
            unchecked += 1;
            if unchecked == EVENTS_PER_BACKLOG_CHECK {
                unchecked = 0;
                sink.keep_up(stop)?;
            }
        }
        Ok(())
    }
}

/// Sleeps, in parts: the next event may be minutes away.
fn sleep_until(moment: Instant, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(MAX_SLEEP));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use weir_generator::GeneratorOptions;

    use super::*;

    /// Records due times; stops soon after the history, or fails after some events.
    struct Log<'a> {
        begun: Instant,
        due: Vec<(i64, Duration)>,
        history: Option<usize>,
        fails_after: usize,
        stop: &'a AtomicBool,
    }

    impl Sink for Log<'_> {
        fn send(&mut self, delivery: &Delivery<'_>) -> anyhow::Result<()> {
            anyhow::ensure!(self.due.len() < self.fails_after, "full");
            self.due.push((delivery.due, self.begun.elapsed()));
            self.stop
                .store(self.history.is_some_and(|history| self.due.len() == history + 3), Ordering::SeqCst);
            Ok(())
        }

        fn keep_up(&mut self, _: &AtomicBool) -> anyhow::Result<()> {
            Ok(())
        }

        fn history_ends(&mut self) -> anyhow::Result<()> {
            self.history = Some(self.due.len());
            Ok(())
        }
    }

    /// Events by when they were due, with when they were sent.
    type Sent = Vec<(i64, Duration)>;

    fn run(fails_after: usize) -> (anyhow::Result<()>, Sent, Option<usize>, i64) {
        const HISTORY: i64 = 60_000;
        // An event every two seconds: less often than a sleep lasts. At 10 times the clock one every 200 ms.
        let options = GeneratorOptions { events_per_second: 0.5, ..GeneratorOptions::default() };
        let start = options.start + HISTORY;
        let (stop, begun) = (AtomicBool::new(false), Instant::now());
        let simulation =
            Simulation { generator: Generator::new(options).unwrap(), start, begun, speed: 10.0 };
        let mut log = Log { begun, due: Vec::new(), history: None, fails_after, stop: &stop };
        let ended = simulation.run(&stop, &mut log);
        (ended, log.due, log.history, start)
    }

    #[test]
    fn history_is_sent_at_once_and_later_events_when_due() {
        let (ended, sent, history, start) = run(usize::MAX);
        ended.unwrap();
        let (before, after) = sent.split_at(history.unwrap());
        assert!(before.len() > 20 && before.iter().all(|(due, _)| *due < start), "{before:?}");
        assert_eq!(after.len(), 3);
        for (due, at) in after {
            assert!(
                at.as_millis() as i64 >= (due - start) / 10,
                "due {} ms after the start, sent at {at:?}",
                due - start
            );
        }
    }

    #[test]
    fn a_refused_event_ends_the_simulation_with_an_error() {
        let (ended, sent, ..) = run(5);
        assert_eq!((ended.unwrap_err().to_string().as_str(), sent.len()), ("full", 5));
    }
}
