//! `weir demo`: the whole product in one process, on a log in memory.

use std::{
    io::IsTerminal,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use weir_events::{decode_page_analytics, decode_top_pages};
use weir_gateway::{Batch, Gateway, Limits, Options, follow};
use weir_generator::Generator;
use weir_spec::{Pipeline, Role};
use weir_stream::{
    log::{Committed, Member as _},
    memory::{Broker, Clock, Member, MemberOptions, Retention},
};

use crate::{
    console::{Assembler, Style, render_sealed},
    generate, process,
    serve::serve,
};

/// What a partition of the log in memory keeps, bytes, of events and of everything else: far more than a reader is behind.
const KEPT: (usize, usize) = (32 << 20, 1 << 20);
/// How long a demo can run before fast event time overtakes the clock.
const LASTS: i64 = 24 * 3_600_000;
/// Time between two looks of the console.
const LOOK: Duration = Duration::from_millis(20);
/// Time between two looks at where the pipeline stands.
const STANDINGS: Duration = Duration::from_millis(500);
/// Longest sleep of the shop, so that a stop is heard.
const NAP: Duration = Duration::from_millis(200);

/// Simulates a shop, processes its clicks and prints each sealed window, until `stop`. Event time runs `speed` times as fast as
/// the clock.
///
/// # Errors
/// Options that make no sense, or a stage that failed.
pub fn run(pipeline: &Pipeline, listen: SocketAddr, speed: f64, stop: &AtomicBool) -> anyhow::Result<()> {
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
    let gateway = Gateway::new(pipeline.clone(), Limits::default(), &[])?;
    let listening = Options { listen, next_free: true, origins: Vec::new() };
    let first = 40.0 / speed;
    thread::scope(|scope| {
        scope.spawn(|| feed(pipeline, &broker, &gateway, simulation, start, speed, stop));
        scope.spawn(|| show(pipeline, &broker, &gateway, stop));
        let served = scope.spawn(|| {
            let served = serve(&gateway, &listening, stop, |address| {
                println!(
                    "a simulated shop in memory; its dashboard is at {address}\nthe first window is sealed after about {first:.0} s. ctrl-C ends."
                );
            });
            stop.store(true, Ordering::SeqCst);
            served
        });
        let processed = process::stages(pipeline, false, stop, |group, topic| -> Result<Member, _> {
            Ok(broker.member(MemberOptions::new(group, topic, group)))
        });
        stop.store(true, Ordering::SeqCst);
        served.join().map_err(|_| anyhow::anyhow!("the server panicked"))?.and(processed)
    })
}

fn feed(
    pipeline: &Pipeline,
    broker: &Broker,
    gateway: &Gateway,
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
            thread::sleep(early.min(NAP));
        }
        gateway.offer(delivery.value);
        let (key, value) = (Some(delivery.key), Some(delivery.value));
        if let Err(error) = broker.append(pipeline.events_topic(), delivery.partition, key, value, &[]) {
            tracing::error!(%error, "an event was not taken");
            stop.store(true, Ordering::SeqCst);
        }
    }
}

/// Reads what the stages wrote, for the console and the gateway.
fn show(pipeline: &Pipeline, broker: &Broker, gateway: &Gateway, stop: &AtomicBool) {
    let style = Style { color: std::io::stdout().is_terminal(), width: 120 };
    let mut windows = Assembler::default();
    let topics = pipeline.topics();
    let shown = [Role::Results, Role::TopPages, Role::Live];
    let mut next: Vec<(Role, &str, i32, i64)> = topics
        .iter()
        .filter(|topic| shown.contains(&topic.role))
        .flat_map(|topic| {
            (0..topic.partitions).map(|partition| (topic.role, topic.name.as_str(), partition, 0))
        })
        .collect();
    let name = format!("{}.windows", pipeline.metadata.name);
    // Looks, and never joins.
    let mut group = broker.member(MemberOptions::new(&name, pipeline.events_topic(), "gateway"));
    let mut looked = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        let (mut batch, mut sealed) = (Batch::default(), Vec::new());
        for (role, topic, partition, next) in &mut next {
            for record in broker.records_from(topic, *partition, *next) {
                *next = record.offset + 1;
                let value = record.value.unwrap_or_default();
                batch.record(*role, &value);
                match role {
                    Role::TopPages => {
                        sealed
                            .extend(decode_top_pages(&value).map(|top| windows.top(top)).unwrap_or_default());
                    }
                    Role::Results => {
                        let row = decode_page_analytics(&value);
                        sealed.extend(row.map(|row| windows.row(row)).unwrap_or_default());
                    }
                    _ => {}
                }
            }
        }
        gateway.apply(batch);
        if looked.elapsed() >= STANDINGS {
            looked = Instant::now();
            stand(pipeline, broker, &mut group, gateway);
        }
        for window in sealed {
            println!("{}", render_sealed(&window, style));
        }
        thread::sleep(LOOK);
    }
}

/// Tells the gateway where the pipeline stands. What cannot be seen now is seen the next time.
fn stand(pipeline: &Pipeline, broker: &Broker, group: &mut Member, gateway: &Gateway) {
    let Ok(committed) = group.committed() else { return };
    let standing = |(committed, partition): (Option<Committed>, i32)| {
        let end = broker.end_offset(pipeline.events_topic(), partition).ok()?;
        follow::standing(partition, &committed?, end)
    };
    gateway.stand(committed.into_iter().zip(0..).filter_map(standing).collect());
}
