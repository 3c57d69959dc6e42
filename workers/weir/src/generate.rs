//! `weir generate`: simulated visitors at the events topic.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use prometheus_client::metrics::counter::Counter;
use weir_generator::{Burst, Faults, Generator, GeneratorOptions, OptionsError, Profile};
use weir_kafka::{Connection, Producer, ProducerOptions};
use weir_manifest::Pipeline;
use weir_telemetry::{Health, Heartbeat, millis};

use crate::{args::Generate, backoff::retry_with_backoff, stopping::register_part};

/// Time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// How long a record may wait to be batched. With 5 ms, a request for each partition 200 times a second took 70 µs of CPU per event at
/// 5,000 events/s, and more of the brokers'.
const LINGER: Duration = Duration::from_millis(20);
/// Maximum wait for the last events' acknowledgements, and the same after a stop.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The burst of `--burst`: for 2 minutes out of 10, two events in five are of its page.
const BURST: Burst = Burst { page: 0, every: 600_000, length: 120_000, share: 0.4 };
/// Minimum sleep, because waking up for each event would cost more than the event, and maximum, so that a stop is noticed.
const SLEEP_RANGE_MS: (i64, i64) = (5, 100);

/// Sends events until there are enough, or until `stop`.
///
/// # Errors
/// Invalid options, or records that the brokers refused.
pub fn run(pipeline: &Pipeline, brokers: &str, options: &Generate, stop: &AtomicBool) -> anyhow::Result<()> {
    let Generate {
        events,
        rate,
        start,
        seed,
        late,
        duplicates,
        malformed,
        distinct_urls,
        burst,
        health: listen,
    } = options.clone();
    let burst = burst.map(|page| Burst { page, ..BURST });
    let paced = rate != Some(0.0);
    if !paced && start.is_none() {
        bail!(
            "--rate 0 without --start: events sent at once that begin now soon lie in the future, where they are invalid; \
             give a start, such as --start 2026-01-01T00:00:00Z"
        );
    }
    let now = jiff::Timestamp::now();
    if let Some(future) = start.filter(|start| *start > now) {
        bail!(
            "--start is {future}, after now ({now:.0}): events of the future are invalid; give an earlier one, or leave it out"
        );
    }
    let start = start.unwrap_or(now).as_millisecond();
    let defaults = options_of(pipeline, start);
    let options = GeneratorOptions {
        events_per_second: rate.filter(|_| paced).unwrap_or(defaults.events_per_second),
        seed: seed.unwrap_or(defaults.seed),
        faults: Faults { late, duplicates, malformed, distinct_urls, burst, ..defaults.faults },
        ..defaults
    };
    let pace = pace(&options);
    let mut simulation = Generator::new(options).map_err(|error| named(&error))?;
    let mut health = Health::new();
    let metrics = Metrics { heartbeat: health.heartbeat("generator", true), ..Metrics::default() };
    let registry = health.registry();
    registry.register("events_sent", "Events acknowledged by the brokers", metrics.sent.clone());
    registry.register("events_failed", "Events that the brokers did not take", metrics.failed.clone());
    let _part = register_part("the generator");
    health.beside(listen, || {
        let topic = pipeline.events_topic();
        let Some(producer) = producer(pipeline, brokers, stop)? else { return Ok(()) };
        let (begun, mut reported, mut sent) = (Instant::now(), Instant::now(), 0_u64);
        let (mut caught_up, mut out) = (false, io::stdout());
        if paced {
            writeln!(out, "{pace}")?;
        }
        while !stop.load(Ordering::SeqCst) && events.is_none_or(|events| sent < events) {
            let delivery = simulation.next();
            if !paced && delivery.due > millis() {
                caught_up = true;
                break;
            }
            if paced {
                // Each event has its own due time, so the time that sending takes does not accumulate.
                loop {
                    let early = delivery.due - start - begun.elapsed().as_millis() as i64;
                    if early <= 0 || stop.load(Ordering::SeqCst) {
                        break;
                    }
                    metrics.show(&producer);
                    thread::sleep(Duration::from_millis(early.clamp(SLEEP_RANGE_MS.0, SLEEP_RANGE_MS.1) as u64));
                }
                // Stopped while waiting: the event is not due.
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
            producer.send(topic, delivery.partition, delivery.key, delivery.value)?;
            sent += 1;
            if sent % 1024 == 0 {
                metrics.show(&producer);
            }
            if sent % 1024 == 0 && reported.elapsed() >= PROGRESS_INTERVAL {
                reported = Instant::now();
                writeln!(out, "{sent} events, {:.0} per second", sent as f64 / begun.elapsed().as_secs_f64())?;
            }
        }
        // After a stop an unreachable broker is not waited for.
        producer.flush(if stop.load(Ordering::SeqCst) { STOP_FLUSH_TIMEOUT } else { FLUSH_TIMEOUT })?;
        metrics.show(&producer);
        let (failed, reason) = producer.failed();
        let seconds = begun.elapsed().as_secs_f64();
        let took = |share| producer.latency().quantile(share).as_secs_f64() * 1_000.0;
        writeln!(
            out,
            "{sent} events in {seconds:.1} s, {:.0} per second, {} acknowledged: p50 {:.1} ms, p99 {:.1} ms",
            sent as f64 / seconds,
            producer.acknowledged(),
            took(0.5),
            took(0.99)
        )?;
        if failed > 0 {
            bail!("{failed} events were not taken by the brokers: {}", reason.unwrap_or_default());
        }
        match events.filter(|_| caught_up) {
            Some(events) => bail!(
                "event time came to now after {sent} of {events} events, and events of the future are invalid: begin with an earlier \
                 --start, or leave --rate 0 out"
            ),
            None if caught_up => writeln!(out, "event time came to now: events of the future would be invalid")?,
            None => {}
        }
        Ok(())
    })
}

/// The generator's metrics.
#[derive(Debug, Default)]
struct Metrics {
    heartbeat: Arc<Heartbeat>,
    sent: Counter,
    failed: Counter,
}

impl Metrics {
    fn show(&self, producer: &Producer) {
        let acknowledged = producer.acknowledged() - self.sent.get();
        self.failed.inc_by(producer.failed().0 - self.failed.get());
        self.sent.inc_by(acknowledged);
        if acknowledged > 0 { self.heartbeat.success() } else { self.heartbeat.turn() }
    }
}

/// How many events per second there will be.
fn pace(options: &GeneratorOptions) -> String {
    let (mean, begin) = (options.events_per_second, options.rate_at_start());
    match options.profile {
        Profile::Constant => format!("{mean} events per second"),
        Profile::Diurnal => format!(
            "{begin:.0} events per second at first: {mean} is the mean of a day (spec.generator.profile: Diurnal), which has 1.6 times as many at \
             20:00 UTC and 0.4 times at 08:00 UTC"
        ),
    }
}

/// The error for an invalid value, by the option or field that set it.
fn named(error: &OptionsError) -> anyhow::Error {
    let name = match error.field {
        "events_per_second" => "--rate (or spec.generator.eventsPerSecond)",
        "users" => "spec.generator.users",
        "pages" => "spec.generator.pages",
        "products" => "spec.generator.products",
        "start" => "--start",
        "faults.late" => "--late",
        "faults.duplicates" => "--duplicates",
        "faults.malformed" => "--malformed",
        "faults.distinct_urls" => "--distinct-urls",
        "faults.late + faults.duplicates + faults.malformed" => "--late + --duplicates + --malformed",
        "faults.burst.page" => "--burst",
        other => other,
    };
    anyhow!("{name}: found {}, expected {}", error.found, error.allowed)
}

/// A producer for the events topic, which must be as in the manifest; `None` after a stop before a broker was reached.
pub(crate) fn producer(
    pipeline: &Pipeline,
    brokers: &str,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Producer>> {
    let topic = pipeline.events_topic();
    let producer = Producer::connect(&ProducerOptions {
        connection: Connection::new(brokers, "weir-generate"),
        compression: pipeline.spec.topics.events.compression,
        linger: LINGER,
    })?;
    let found = retry_with_backoff(stop, || producer.partition_count(topic))
        .context("run `weir topics apply` first")?;
    let Some(found) = found else { return Ok(None) };
    let expected = pipeline.spec.topics.events.partitions;
    if found != expected {
        bail!(
            "topic {topic} has {found} partitions, the pipeline says {expected}: visitors would be spread wrongly"
        );
    }
    Ok(Some(producer))
}

/// The simulation's options as in the manifest, from `start` on (milliseconds since the epoch).
pub(crate) fn options_of(pipeline: &Pipeline, start: i64) -> GeneratorOptions {
    let generator = &pipeline.spec.generator;
    GeneratorOptions {
        events_per_second: generator.events_per_second,
        users: generator.users,
        pages: generator.pages,
        products: generator.products,
        seed: generator.seed,
        profile: match generator.profile {
            weir_manifest::Profile::Constant => Profile::Constant,
            weir_manifest::Profile::Diurnal => Profile::Diurnal,
        },
        start,
        partitions: pipeline.spec.topics.events.partitions,
        out_of_orderness: pipeline.spec.window.out_of_orderness.as_millis(),
        faults: Faults { late_by: late_by(pipeline), ..Faults::default() },
    }
}

/// Delay after which an event has missed all of its windows, milliseconds: the longer they are, the later.
fn late_by(pipeline: &Pipeline) -> i64 {
    let window = &pipeline.spec.window;
    let size = window.size.as_millis();
    // Watermarks advance with the events of a partition, which are some time apart.
    size + window.out_of_orderness.as_millis() + (size / 5).max(1_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_line_has_the_rate_at_this_time_of_day() {
        let at = |hour: i64, profile| GeneratorOptions {
            events_per_second: 200.0,
            profile,
            ..options_of(&Pipeline::demo(), hour * 3_600_000)
        };
        assert_eq!(pace(&at(20, Profile::Constant)), "200 events per second");
        for (hour, expected) in [(20, "320 "), (8, "80 ")] {
            let line = pace(&at(hour, Profile::Diurnal));
            assert!(line.starts_with(expected) && line.contains("200 is the mean of a day"), "{line}");
        }
    }

    #[test]
    fn late_events_miss_the_windows_that_the_pipeline_has() {
        assert_eq!(late_by(&Pipeline::demo()), Faults::default().late_by);
        let minute = "{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {name: a}, spec: {window: {size: 1m, slide: 5s}}}";
        assert_eq!(late_by(&Pipeline::from_yaml(minute).unwrap()), 60_000 + 30_000 + 12_000);
    }
}
