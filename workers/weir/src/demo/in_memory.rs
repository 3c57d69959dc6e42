//! The demo on a log in memory, which deletes records that no part needs any more.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use weir_analytics::decisive;
use weir_gateway::{
    ingest::{self, Batch},
    store::dead_letters::DeadLetter,
};
use weir_generator::Delivery;
use weir_log::{Committed, Error, Member as _, PartitionProgress};
use weir_manifest::{Pipeline, Role};
use weir_memory::{Broker, Clock, Member, MemberOptions};

use super::{
    Demo,
    opening::{Banner, Opening},
    simulation::Sink,
};
use crate::{
    console::Screen,
    key,
    metrics::Metrics,
    part::Signals,
    process,
    threads::{join_all, part},
};

/// Maximum unprocessed events of a partition: enough for full speed, and few enough for memory.
const MAX_BACKLOG: i64 = 2_000;
/// Pause while processing lags behind, or computes the history.
const SHORT_PAUSE: Duration = Duration::from_millis(2);
/// Interval at which the stages' outputs are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Polls of outputs per check of the pipeline's progress.
const POLLS_PER_CHECK: u32 = 10;
/// Maximum wait for the history's results once it is processed: a log with few events may have no more of them.
const MAX_WAIT_FOR_RESULTS: Duration = Duration::from_secs(5);

pub(super) fn run(demo: &Demo<'_>) -> anyhow::Result<()> {
    let Demo { pipeline, stop, .. } = *demo;
    let broker = Broker::new(Clock::System);
    for topic in pipeline.topics() {
        broker.create_topic(&topic.name, topic.partitions);
        match topic.role {
            Role::State => broker.set_compacted(&topic.name)?,
            // Their records are deleted once they are read: see `show`.
            Role::Events
            | Role::Blocks
            | Role::Results
            | Role::TopPages
            | Role::Live
            | Role::DeadLetters
            | Role::Generations => {}
        }
    }
    let history = demo.history();
    let simulation = demo.simulation(history)?;
    let history_sent = AtomicBool::new(false);
    thread::scope(|scope| {
        let banner = Banner { location: "in memory".to_owned(), speed: demo.speed, first: None };
        let (opening, open) = Opening::new(&demo.address, banner);
        let (broker, history_sent) = (&broker, &history_sent);
        let parts = [
            part(scope, "simulation", stop, move || {
                let mut sink =
                    Shop { demo, broker, group: observer(broker, pipeline, "simulation"), history_sent };
                simulation.run(stop, &mut sink)
            }),
            part(scope, "console", stop, move || show(demo, broker, opening, history_sent, history)),
            demo.dashboard(scope, open),
            part(scope, "processing", stop, move || {
                process::stages(
                    pipeline,
                    decisive::settings(pipeline),
                    None,
                    key::privacy(pipeline, None)?,
                    process::Steps::default(),
                    &Metrics::default(),
                    stop,
                    &Signals::default(),
                    |group, topic| -> Result<Member, Error> {
                        Ok(broker.member(MemberOptions::new(group, topic, group)))
                    },
                )
            }),
        ];
        // If a part cannot be started, the running ones end.
        join_all(parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?)
    })
}

/// Reads stage 1's progress without joining its group.
fn observer(broker: &Broker, pipeline: &Pipeline, name: &str) -> Member {
    let group = pipeline.windows_group();
    broker.member(MemberOptions::new(&group, pipeline.events_topic(), name))
}

struct Shop<'a> {
    demo: &'a Demo<'a>,
    broker: &'a Broker,
    group: Member,
    history_sent: &'a AtomicBool,
}

impl Shop<'_> {
    /// The maximum backlog of a partition; `None` while it is unavailable.
    fn backlog(&mut self) -> Option<i64> {
        let topic = self.demo.pipeline.events_topic();
        let committed = self.group.committed().ok()?;
        let backlog = |(committed, partition): (Option<Committed>, i32)| {
            let end = self.broker.end_offset(topic, partition).ok()?;
            Some(end - committed.map_or(0, |committed| committed.offset))
        };
        committed.into_iter().zip(0..).map(backlog).max().flatten()
    }
}

impl Sink for Shop<'_> {
    fn send(&mut self, delivery: &Delivery<'_>) -> anyhow::Result<()> {
        self.demo.state.offer(delivery.value);
        let (key, value) = (Some(delivery.key), Some(delivery.value));
        self.broker.append(self.demo.pipeline.events_topic(), delivery.partition, key, value, &[])?;
        Ok(())
    }

    fn keep_up(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        while !stop.load(Ordering::SeqCst) && self.backlog().is_none_or(|backlog| backlog > MAX_BACKLOG) {
            thread::sleep(SHORT_PAUSE);
        }
        Ok(())
    }

    fn history_ends(&mut self) -> anyhow::Result<()> {
        self.history_sent.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// Passes the stages' outputs to the console and the gateway, and deletes records that no part needs any more.
fn show(
    demo: &Demo<'_>,
    broker: &Broker,
    mut opening: Opening<'_>,
    history_sent: &AtomicBool,
    history: i64,
) -> anyhow::Result<()> {
    let Demo { pipeline, state, stop, .. } = demo;
    let mut screen = Screen::on_stdout(pipeline);
    let mut next: Vec<(Role, String, i32, i64)> = Vec::new();
    for topic in pipeline.topics().into_iter().filter(|topic| screen.topics().contains(&topic.name.as_str()))
    {
        next.extend((0..topic.partitions).map(|partition| (topic.role, topic.name.clone(), partition, 0)));
    }
    let (dead_letters, mut next_dead_letter) = (pipeline.dead_letters_topic(), 0);
    let mut stages = Stages::new(demo, broker);
    // The history's last window, and when it was processed.
    let mut last: Option<(i64, Instant)> = None;
    let mut percent = None;
    for round in (0..POLLS_PER_CHECK).cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let shown = opening.shown(&mut screen)?;
        // In a pipe the history would be hundreds of windows at once.
        screen.keep_silent(!shown);
        let mut batch = Batch::default();
        for (role, topic, partition, next) in &mut next {
            for record in broker.records_from(topic, *partition, *next) {
                *next = record.offset + 1;
                let value = record.value.unwrap_or_default();
                batch.record(*role, record.offset, &value);
                screen.take(topic, &value)?;
            }
            broker.truncate(topic, *partition, *next)?;
        }
        batch.apply_to(state);
        let letters = broker.records_from(&dead_letters, 0, next_dead_letter).into_iter().map(|record| {
            next_dead_letter = record.offset + 1;
            let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            DeadLetter::new(record.offset, record.timestamp, headers)
        });
        state.add_dead_letters(letters);
        broker.truncate(&dead_letters, 0, next_dead_letter)?;
        if round == 0 || !opening.is_open() {
            let sent = history_sent.load(Ordering::SeqCst);
            let progress = stages.poll(sent)?;
            if !opening.is_open() {
                if let Some(watermark) = progress.iter().map(|partition| partition.watermark).min().flatten()
                {
                    let done = (watermark - (demo.start - history)).clamp(0, history) * 100 / history.max(1);
                    if percent != Some(done) {
                        percent = Some(done);
                        screen.progress(&format!("computing the last {}: {done} %", hours(history)))?;
                    }
                }
                if let (None, Some(sealed)) = (last, stages.history_sealed(&progress, sent)) {
                    last = Some((sealed, Instant::now()));
                }
                let complete = |(sealed, since): (i64, Instant)| {
                    since.elapsed() > MAX_WAIT_FOR_RESULTS
                        || state.windows().latest().is_some_and(|window| window.end() >= sealed)
                };
                if last.is_some_and(complete) {
                    screen.progress("")?;
                    opening.open();
                }
            }
        }
        if shown {
            screen.draw()?;
        }
        thread::sleep(if opening.is_open() { POLL_INTERVAL } else { SHORT_PAUSE });
    }
    Ok(())
}

fn hours(millis: i64) -> String {
    match millis / 3_600_000 {
        0 | 1 => format!("{} minutes", millis / 60_000),
        hours => format!("{hours} hours"),
    }
}

/// The progress of both stages.
struct Stages<'a> {
    demo: &'a Demo<'a>,
    broker: &'a Broker,
    windows: Member,
    results: Member,
    /// The end offset of the history in each partition.
    ends: Option<Vec<i64>>,
}

impl<'a> Stages<'a> {
    fn new(demo: &'a Demo<'a>, broker: &'a Broker) -> Self {
        let group = demo.pipeline.results_group();
        let results = MemberOptions::new(&group, &demo.pipeline.blocks_topic(), "console");
        Self {
            demo,
            broker,
            windows: observer(broker, demo.pipeline, "console"),
            results: broker.member(results),
            ends: None,
        }
    }

    /// Reports the progress to the gateway, and deletes records that no restart of a stage would read again. Unavailable progress is
    /// reported by a later call.
    fn poll(&mut self, history_sent: bool) -> anyhow::Result<Vec<PartitionProgress>> {
        let (pipeline, broker) = (self.demo.pipeline, self.broker);
        let events = pipeline.events_topic();
        if history_sent && self.ends.is_none() {
            let partitions = 0..pipeline.spec.topics.events.partitions;
            self.ends = Some(
                partitions.map(|partition| broker.end_offset(events, partition)).collect::<Result<_, _>>()?,
            );
        }
        if let Ok(committed) = self.results.committed() {
            for (committed, lane) in committed.into_iter().zip(0..) {
                if let Some(committed) = committed {
                    broker.truncate(&pipeline.blocks_topic(), lane, committed.offset)?;
                }
            }
        }
        let Ok(committed) = self.windows.committed() else { return Ok(Vec::new()) };
        let (mut views, mut progress) = (Vec::new(), Vec::new());
        for (committed, partition) in committed.into_iter().zip(0..) {
            let Some(committed) = committed else { continue };
            views.extend(ingest::progress_view(partition, &committed, broker.end_offset(events, partition)?));
            if let Ok(committed) = serde_json::from_str::<PartitionProgress>(&committed.metadata) {
                broker.truncate(events, partition, committed.from)?;
                progress.push(committed);
            }
        }
        self.demo.state.set_progress(views);
        Ok(progress)
    }

    /// The end up to which all partitions are sealed, once the whole history is processed.
    fn history_sealed(&mut self, progress: &[PartitionProgress], history_sent: bool) -> Option<i64> {
        let ends = self.ends.as_ref().filter(|_| history_sent)?;
        let committed = self.windows.committed().ok()?;
        let processed = committed
            .iter()
            .zip(ends)
            .all(|(committed, end)| committed.as_ref().map_or(0, |committed| committed.offset) >= *end);
        // A partition without an event has sealed nothing.
        processed.then(|| progress.iter().filter_map(|partition| partition.sealed).min().unwrap_or(i64::MIN))
    }
}
