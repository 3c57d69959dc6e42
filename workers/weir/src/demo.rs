//! `weir demo`: the whole product in one process, on a log in memory or on Kafka.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weir_gateway::{Batch, Gateway, Limits, follow};
use weir_generator::{Burst, Delivery, Faults, Generator};
use weir_spec::{Pipeline, Role};
use weir_stream::{
    log::{Committed, Member as _},
    memory::{Broker, Clock, Member, MemberOptions, Retention},
};

use crate::{console::Screen, generate, process, serve::serve, signs::Signs, top, topics};

/// What a partition of the log in memory keeps, bytes, of events and of everything else: far more than a reader is behind.
const KEPT: (usize, usize) = (32 << 20, 1 << 20);
/// How long a demo can run before fast event time overtakes the clock.
const LASTS: i64 = 24 * 3_600_000;
/// Time between two looks at what the stages wrote.
const LOOK: Duration = Duration::from_millis(50);
/// Looks between two at where the pipeline stands.
const LOOKS: u32 = 10;
/// What the shop advertises now and then, so that there is something to see among the trends: no page of the first.
const ADVERTISED: Burst = Burst { page: 25, every: 600_000, length: 120_000, share: 0.1 };
/// Longest sleep of the shop, so that a stop is heard.
const NAP: Duration = Duration::from_millis(200);
/// Where the dashboard listens if nothing is said, or on the next free port.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8_080);

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
    let Options { speed, listen } = *options;
    anyhow::ensure!(speed.is_finite() && speed >= 1.0, "--speed is {speed}, expected 1 or more");
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let start = now - ((speed - 1.0) * LASTS as f64) as i64;
    let faults = Faults { burst: Some(ADVERTISED), ..Faults::default() };
    let simulation =
        Generator::new(weir_generator::Options { faults, ..generate::options_of(pipeline, start) })?;
    let simulation = Simulation { simulation, start, speed };
    let first = 40.0 / speed;
    let place = brokers.map_or("in memory".to_owned(), |brokers| format!("on Kafka at {brokers}"));
    // In memory nothing is there before it is shown.
    let needed = brokers.map_or(Vec::new(), |_| follow::needed(pipeline).to_vec());
    let gateway = Gateway::new(pipeline.clone(), Limits::default(), &needed)?;
    let listening = weir_gateway::Options {
        listen: listen.unwrap_or(LISTEN),
        next_free: listen.is_none(),
        origins: Vec::new(),
    };
    thread::scope(|scope| {
        let (said, heard) = std::sync::mpsc::channel::<()>();
        let gateway = &gateway;
        let served = scope.spawn(move || {
            let served = serve(gateway, &listening, || stop.load(Ordering::SeqCst), |address| {
                println!(
                    "a simulated shop {place}; the first window is sealed after about {first:.0} s. ctrl-C ends."
                );
                println!("the dashboard is at {address}");
                drop(said);
            });
            stop.store(true, Ordering::SeqCst);
            served
        });
        // Nothing is shown before it is said where.
        let _ = heard.recv().is_ok();
        let done = match brokers {
            None => in_memory(pipeline, simulation, gateway, stop),
            Some(brokers) => on_kafka(pipeline, brokers, simulation, gateway, stop),
        };
        stop.store(true, Ordering::SeqCst);
        ended("dashboard", served.join()).and(done)
    })
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
                gateway.offer(delivery.value);
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
        let done = process::stages(
            pipeline,
            false,
            &Signs::default(),
            stop,
            &OnceLock::new(),
            |group, topic| -> Result<Member, _> {
                Ok(broker.member(MemberOptions::new(group, topic, group)))
            },
        );
        done.and(ended("console", shown.join()))
    })
}

fn on_kafka(
    pipeline: &Pipeline,
    brokers: &str,
    simulation: Simulation,
    gateway: &Gateway,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    topics::apply(pipeline, brokers, topics::Apply::default())?;
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
        // If it panics it stops the others.
        let followed = scope.spawn(|| Ok(follow::follow(gateway, pipeline, brokers, stop)?));
        let done = process::run(pipeline, brokers, &process::Options::default(), stop);
        done.and(ended("console", shown.join())).and(ended("gateway", followed.join()))
    })
}

/// What became of a part's thread.
fn ended(part: &str, done: thread::Result<anyhow::Result<()>>) -> anyhow::Result<()> {
    done.unwrap_or_else(|_| Err(anyhow::anyhow!("the {part} panicked")))
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
                thread::sleep(early.min(NAP));
            }
            if let Err(error) = send(&delivery) {
                tracing::error!(%error, "an event was not taken");
                stop.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Hands what the stages wrote to the console and the gateway.
fn show(pipeline: &Pipeline, broker: &Broker, gateway: &Gateway, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut screen = Screen::on_stdout(pipeline);
    let mut next: Vec<(Role, String, i32, i64)> = Vec::new();
    for topic in pipeline.topics().into_iter().filter(|topic| screen.topics().contains(&topic.name.as_str()))
    {
        next.extend((0..topic.partitions).map(|partition| (topic.role, topic.name.clone(), partition, 0)));
    }
    // Looks, and never joins.
    let name = format!("{}.windows", pipeline.metadata.name);
    let mut group = broker.member(MemberOptions::new(&name, pipeline.events_topic(), "gateway"));
    for look in (0..LOOKS).cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let mut batch = Batch::default();
        for (role, topic, partition, next) in &mut next {
            for record in broker.records_from(topic, *partition, *next) {
                *next = record.offset + 1;
                let value = record.value.unwrap_or_default();
                batch.record(*role, record.offset, &value);
                screen.take(topic, &value)?;
            }
        }
        gateway.apply(batch);
        if look == 0 {
            stand(pipeline, broker, &mut group, gateway);
        }
        screen.draw()?;
        thread::sleep(LOOK);
    }
    Ok(())
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
