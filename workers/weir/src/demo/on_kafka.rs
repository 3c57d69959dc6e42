//! The demo on Kafka, with a history unless an earlier run has processed one.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::bail;
use tokio_util::sync::CancellationToken;
use weir_gateway::ingest;
use weir_generator::Delivery;
use weir_kafka::{MemberOptions, Producer, TopicInspector};
use weir_log::PartitionProgress;
use weir_manifest::Pipeline;

use super::{
    Demo,
    opening::{Banner, Opening},
    simulation::Sink,
};
use crate::{
    backoff::retry_with_backoff,
    generate, generation, process,
    threads::{join_all, part},
    top, topics,
};

pub(super) fn run(demo: &Demo<'_>, brokers: &str) -> anyhow::Result<()> {
    let Demo { pipeline, stop, .. } = *demo;
    topics::apply(pipeline, brokers, &topics::Apply::default(), stop)?;
    let Some(pipeline) = &generation::newest(pipeline, brokers, stop)? else { return Ok(()) };
    let Some(producer) = generate::producer(pipeline, brokers, stop)? else { return Ok(()) };
    let out_of_orderness = pipeline.spec.window.out_of_orderness.as_millis();
    let history = match earlier_run(pipeline, brokers, stop)? {
        EarlierRun::Unknown => return Ok(()),
        EarlierRun::None => demo.history(),
        // The events that an earlier run has processed are its history, and events older than its watermark would be late.
        EarlierRun::UpTo(watermark) if watermark <= demo.start - out_of_orderness => 0,
        EarlierRun::UpTo(watermark) => {
            let text = jiff::Timestamp::from_millisecond(watermark)
                .map_or(watermark.to_string(), |at| at.to_string());
            bail!(
                "pipeline {} has processed {} up to {text}: at {} times the clock this demo would begin before that, and all its events \
                 would be late. Leave --speed out, or take a pipeline with another name and topics (--pipeline FILE)",
                pipeline.metadata.name,
                pipeline.events_topic(),
                demo.speed
            );
        }
    };
    let simulation = demo.simulation(history)?;
    let reading = CancellationToken::new();
    thread::scope(|scope| {
        let first = (history == 0).then_some(40.0 / demo.speed);
        let banner = Banner { location: format!("on Kafka at {brokers}"), speed: demo.speed, first };
        let (mut opening, open) = Opening::new(&demo.address, banner);
        // The dashboard is open while windows are filling.
        opening.open();
        // The gateway's readers end with the console, which ends once `stop` is set.
        let readers_end = reading.clone().drop_guard();
        let parts = [
            part(scope, "simulation", stop, move || {
                let mut sink = Shop { topic: pipeline.events_topic(), producer };
                simulation.run(stop, &mut sink)?;
                sink.producer.flush(Duration::from_secs(10))?;
                sink.check()
            }),
            part(scope, "console", stop, move || {
                let _reading = readers_end;
                top::follow(pipeline, brokers, false, stop, |screen| opening.shown(screen))
            }),
            demo.dashboard(scope, open),
            part(scope, "reader of the dashboard", stop, || {
                Ok(ingest::follow(&demo.state, brokers, &reading)?)
            }),
            part(scope, "processing", stop, || {
                process::run(pipeline, brokers, &process::ProcessOptions::default(), stop)
            }),
        ];
        join_all(parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?)
    })
}

/// What an earlier run of the pipeline has processed.
enum EarlierRun {
    /// A stop was requested before the committed progress was read.
    Unknown,
    /// No event.
    None,
    /// Events up to this watermark, the greatest of all partitions.
    UpTo(i64),
}

/// Reads the pipeline's committed progress.
fn earlier_run(pipeline: &Pipeline, brokers: &str, stop: &AtomicBool) -> anyhow::Result<EarlierRun> {
    let group = pipeline.windows_group();
    let mut options = MemberOptions::new(brokers, &group, pipeline.events_topic(), "");
    options.connection.client_id = "weir-demo".to_owned();
    let inspector = TopicInspector::connect(&options)?;
    let Some(committed) = retry_with_backoff(stop, || inspector.committed())? else {
        return Ok(EarlierRun::Unknown);
    };
    let progress = committed
        .iter()
        .flatten()
        .filter_map(|committed| serde_json::from_str::<PartitionProgress>(&committed.metadata).ok());
    let watermark = progress.filter_map(|partition| partition.watermark).max();
    Ok(watermark.map_or(EarlierRun::None, EarlierRun::UpTo))
}

struct Shop<'a> {
    topic: &'a str,
    producer: Producer,
}

impl Shop<'_> {
    fn check(&self) -> anyhow::Result<()> {
        match self.producer.failed() {
            (0, _) => Ok(()),
            (failed, reason) => {
                bail!("{failed} events were not taken by the brokers: {}", reason.unwrap_or_default())
            }
        }
    }
}

impl Sink for Shop<'_> {
    fn send(&mut self, delivery: &Delivery<'_>) -> anyhow::Result<()> {
        Ok(self.producer.send(self.topic, delivery.partition, delivery.key, delivery.value)?)
    }

    /// Kafka keeps unprocessed events, so there is no backlog to wait for.
    fn keep_up(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        if stop.load(Ordering::SeqCst) { Ok(()) } else { self.check() }
    }

    fn history_ends(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}
