//! `weir demo`: the whole product in one process, on a log in memory or on Kafka.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use weir_gateway::{Gateway, Limits};
use weir_generator::{Delivery, Generator};
use weir_spec::{Pipeline, Role};
use weir_stream::memory::{Broker, Clock, Member, MemberOptions, Retention};

use crate::{console::Screen, generate, process, serve, signs::Signs, top, topics};

/// What a partition of the log in memory keeps, bytes, of events and of everything else: far more than a reader is behind.
const KEPT: (usize, usize) = (32 << 20, 1 << 20);
/// How long a demo can run before fast event time overtakes the clock.
const LASTS: i64 = 24 * 3_600_000;
/// Time between two looks of the console.
const LOOK: Duration = Duration::from_millis(200);

/// What can be said about a demo.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How many times faster than the clock event time runs; 1 or more.
    pub speed: f64,
    /// Where the dashboard listens. `None`: on the loopback address, the first free port from 8080 on.
    pub listen: Option<SocketAddr>,
}

/// Simulates a shop, processes its clicks and shows what comes out, until `stop`: on `brokers`, or else in memory.
///
/// # Errors
/// Options that make no sense, or a part that failed.
pub fn run(
    pipeline: &Pipeline,
    brokers: Option<&str>,
    options: &Options,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let speed = options.speed;
    anyhow::ensure!(speed.is_finite() && speed >= 1.0, "--speed is {speed}, expected 1 or more");
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let start = now - ((speed - 1.0) * LASTS as f64) as i64;
    let simulation =
        Simulation { simulation: Generator::new(generate::options_of(pipeline, start))?, start, speed };
    let listener = listener(options.listen)?;
    let first = 40.0 / speed;
    let place = brokers.map_or("in memory".to_owned(), |brokers| format!("on Kafka at {brokers}"));
    println!("a simulated shop {place}; the first window is sealed after about {first:.0} s. ctrl-C ends.");
    println!("the dashboard is at http://{}/", listener.local_addr()?);
    let gateway = Gateway::new(pipeline, Limits::default());
    thread::scope(|scope| {
        scope.spawn(|| {
            if let Err(error) = gateway.serve(listener, stop) {
                tracing::error!(%error, "the dashboard ended");
            }
        });
        let done = match brokers {
            None => in_memory(pipeline, simulation, &gateway, stop),
            Some(brokers) => on_kafka(pipeline, brokers, simulation, &gateway, stop),
        };
        stop.store(true, Ordering::SeqCst);
        done
    })
}

fn listener(given: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    if let Some(address) = given {
        return TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    }
    // Any port, if all of these are taken.
    let mut ports = (8_080..8_090).chain([0]);
    ports
        .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .context("no port is free on 127.0.0.1")
}

fn in_memory(
    pipeline: &Pipeline,
    simulation: Simulation,
    gateway: &Gateway,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let broker = Broker::new(Clock::System);
    for topic in pipeline.topics() {
        broker.create_topic(&topic.name, topic.partitions);
        match topic.role {
            Role::State => broker.set_compacted(&topic.name)?,
            role => {
                let kept = if role == Role::Events { KEPT.0 } else { KEPT.1 };
                broker.retain(&topic.name, Retention { max_bytes: Some(kept), max_age: None })?;
            }
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            simulation.run(stop, |delivery| {
                let (key, value) = (Some(delivery.key), Some(delivery.value));
                broker.append(pipeline.events_topic(), delivery.partition, key, value, &[])?;
                Ok(())
            })
        });
        let shown = scope.spawn(|| {
            let shown = show(pipeline, &broker, gateway, stop);
            stop.store(true, Ordering::SeqCst);
            shown
        });
        let done =
            process::stages(pipeline, false, &Signs::default(), stop, |group, topic| -> Result<Member, _> {
                Ok(broker.member(MemberOptions::new(group, topic, group)))
            });
        done.and(ended(shown.join()))
    })
}

fn on_kafka(
    pipeline: &Pipeline,
    brokers: &str,
    simulation: Simulation,
    gateway: &Gateway,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    topics::apply(pipeline, brokers)?;
    let Some(producer) = generate::producer(pipeline, brokers, stop)? else { return Ok(()) };
    thread::scope(|scope| {
        scope.spawn(|| {
            simulation.run(stop, |delivery| {
                producer.send(pipeline.events_topic(), delivery.partition, delivery.key, delivery.value)?;
                Ok(())
            })
        });
        let shown = scope.spawn(|| {
            let shown = top::run(pipeline, brokers, false, stop);
            stop.store(true, Ordering::SeqCst);
            shown
        });
        scope.spawn(|| {
            if let Err(error) = serve::feed(gateway, brokers, stop) {
                tracing::error!(%error, "the dashboard has no more news");
            }
        });
        let done = process::run(pipeline, brokers, &process::Options::default(), stop);
        done.and(ended(shown.join()))
    })
}

/// What became of the console's thread.
fn ended(shown: thread::Result<anyhow::Result<()>>) -> anyhow::Result<()> {
    shown.unwrap_or_else(|_| Err(anyhow::anyhow!("the console panicked")))
}

/// A shop on the clock.
struct Simulation {
    simulation: Generator,
    start: i64,
    speed: f64,
}

impl Simulation {
    fn run(mut self, stop: &AtomicBool, mut send: impl FnMut(&Delivery<'_>) -> anyhow::Result<()>) {
        let begun = Instant::now();
        while !stop.load(Ordering::SeqCst) {
            let delivery = self.simulation.next();
            let due = (delivery.due - self.start).max(0) as f64 / 1000.0 / self.speed;
            if let Some(early) = Duration::from_secs_f64(due).checked_sub(begun.elapsed()) {
                thread::sleep(early.min(LOOK));
            }
            if let Err(error) = send(&delivery) {
                tracing::error!(%error, "an event was not taken");
                stop.store(true, Ordering::SeqCst);
            }
        }
    }
}

fn show(pipeline: &Pipeline, broker: &Broker, gateway: &Gateway, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut screen = Screen::on_stdout(pipeline);
    let mut next: Vec<(String, i32, i64)> = Vec::new();
    for topic in pipeline.topics().into_iter().filter(|topic| screen.topics().contains(&topic.name.as_str()))
    {
        next.extend((0..topic.partitions).map(|partition| (topic.name.clone(), partition, 0)));
    }
    while !stop.load(Ordering::SeqCst) {
        for (topic, partition, next) in &mut next {
            let from = *next;
            for record in broker.records(topic, *partition).into_iter().filter(|record| record.offset >= from)
            {
                *next = record.offset + 1;
                let value = record.value.unwrap_or_default();
                gateway.take(topic, &value);
                screen.take(topic, &value)?;
            }
        }
        gateway.caught_up();
        gateway.tell();
        screen.draw()?;
        thread::sleep(LOOK);
    }
    Ok(())
}
