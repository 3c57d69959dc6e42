//! `weir demo`: the whole product in one process, on a log in memory.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use weir_events::{decode_page_analytics, decode_top_pages};
use weir_generator::Generator;
use weir_spec::{Pipeline, Role};
use weir_stream::memory::{Broker, Clock, Member, MemberOptions, Retention};

use crate::{
    console::{Assembler, Style, render_sealed},
    generate, process,
};

/// What a partition of the log in memory keeps, bytes, of events and of everything else: far more than a reader is behind.
const KEPT: (usize, usize) = (32 << 20, 1 << 20);
/// How long a demo can run before fast event time overtakes the clock.
const LASTS: i64 = 24 * 3_600_000;
/// Time between two looks of the console.
const LOOK: Duration = Duration::from_millis(200);

/// Simulates a shop, processes its clicks and prints each sealed window, until `stop`. Event time runs `speed` times as fast as
/// the clock.
///
/// # Errors
/// Options that make no sense, or a stage that failed.
pub fn run(pipeline: &Pipeline, speed: f64, stop: &AtomicBool) -> anyhow::Result<()> {
    anyhow::ensure!(speed.is_finite() && speed >= 1.0, "--speed is {speed}, expected 1 or more");
    let broker = Broker::new(Clock::System);
    for topic in pipeline.topics() {
        broker.create_topic(&topic.name, topic.partitions);
        if topic.role != Role::State {
            let kept = if topic.role == Role::Events { KEPT.0 } else { KEPT.1 };
            broker.retain(&topic.name, Retention { max_bytes: Some(kept), max_age: None })?;
        }
    }
    let start = broker.now() - ((speed - 1.0) * LASTS as f64) as i64;
    let simulation = Generator::new(generate::options_of(pipeline, start))?;
    println!(
        "a simulated shop in memory; the first window is sealed after about {:.0} s. ctrl-C ends.",
        40.0 / speed
    );
    thread::scope(|scope| {
        scope.spawn(|| feed(pipeline, &broker, simulation, start, speed, stop));
        scope.spawn(|| show(pipeline, &broker, stop));
        process::stages(pipeline, false, stop, |group, topic| -> Result<Member, _> {
            Ok(broker.member(MemberOptions::new(group, topic, group)))
        })
    })
}

fn feed(
    pipeline: &Pipeline,
    broker: &Broker,
    mut simulation: Generator,
    start: i64,
    speed: f64,
    stop: &AtomicBool,
) {
    let begun = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        let delivery = simulation.next();
        let due = Duration::from_secs_f64((delivery.due - start).max(0) as f64 / 1000.0 / speed);
        if let Some(early) = due.checked_sub(begun.elapsed()) {
            thread::sleep(early.min(LOOK));
        }
        let (key, value) = (Some(delivery.key), Some(delivery.value));
        if let Err(error) = broker.append(pipeline.events_topic(), delivery.partition, key, value, &[]) {
            tracing::error!(%error, "an event was not taken");
            stop.store(true, Ordering::SeqCst);
        }
    }
}

fn show(pipeline: &Pipeline, broker: &Broker, stop: &AtomicBool) {
    let style = Style { color: std::io::stdout().is_terminal(), width: 120 };
    let mut windows = Assembler::default();
    let mut next: Vec<(&str, i32, i64)> = (0..pipeline.spec.topics.results.partitions)
        .map(|partition| (pipeline.results_topic(), partition, 0))
        .chain([(pipeline.top_pages_topic(), 0, 0)])
        .collect();
    while !stop.load(Ordering::SeqCst) {
        let mut sealed = Vec::new();
        for (topic, partition, next) in &mut next {
            let from = *next;
            for record in broker.records(topic, *partition).into_iter().filter(|record| record.offset >= from)
            {
                *next = record.offset + 1;
                let value = record.value.unwrap_or_default();
                if *topic == pipeline.top_pages_topic() {
                    sealed.extend(decode_top_pages(&value).map(|top| windows.top(top)).unwrap_or_default());
                } else {
                    sealed.extend(
                        decode_page_analytics(&value).map(|row| windows.row(row)).unwrap_or_default(),
                    );
                }
            }
        }
        for window in sealed {
            println!("{}", render_sealed(&window, style));
        }
        thread::sleep(LOOK);
    }
}
