//! The demo on Kafka, with as much history as no earlier run has processed.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::bail;
use tokio_util::sync::CancellationToken;
use weir_gateway::ingest;
use weir_generator::Delivery;
use weir_kafka::{Options, Producer, TopicInspector};
use weir_log::PartitionProgress;
use weir_manifest::Pipeline;

use super::{
    Demo,
    opening::{Banner, Opening},
    simulation::Sink,
};
use crate::{
    backoff::retry_with_backoff,
    generate, process,
    threads::{join_all, part},
    top, topics,
};

pub(super) fn run(demo: &Demo<'_>, brokers: &str) -> anyhow::Result<()> {
    let Demo { pipeline, stop, .. } = *demo;
    topics::apply(pipeline, brokers, topics::Apply::default())?;
    let Some(producer) = generate::producer(pipeline, brokers, stop)? else { return Ok(()) };
    let Some(watermark) = watermark(pipeline, brokers, stop)? else { return Ok(()) };
    let out_of_orderness = pipeline.spec.window.out_of_orderness.as_millis();
    let history = match watermark {
        None => demo.history(),
        // The events that an earlier run has processed are its history, and what is older than its watermark would be late.
        Some(watermark) if watermark <= demo.start - out_of_orderness => 0,
        Some(watermark) => {
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
        let banner = Banner { place: format!("on Kafka at {brokers}"), speed: demo.speed, first };
        let (mut opening, open) = Opening::new(&demo.address, banner);
        // What fills in the meantime can be seen filling.
        opening.open();
        // The gateway's readers end with the console, which ends once `stop` is raised.
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
                process::run(pipeline, brokers, &process::Options::default(), stop)
            }),
        ];
        join_all(parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?)
    })
}

/// The greatest watermark that the pipeline has reached; `None` outside when told to stop before that was known.
fn watermark(pipeline: &Pipeline, brokers: &str, stop: &AtomicBool) -> anyhow::Result<Option<Option<i64>>> {
    let group = pipeline.windows_group();
    let mut options = Options::new(brokers, &group, pipeline.events_topic(), "");
    options.connection.client_id = "weir-demo".to_owned();
    let lookup = TopicInspector::connect(&options)?;
    let Some(committed) = retry_with_backoff(stop, || lookup.committed())? else { return Ok(None) };
    let standings = committed
        .iter()
        .flatten()
        .filter_map(|committed| serde_json::from_str::<PartitionProgress>(&committed.metadata).ok());
    Ok(Some(standings.filter_map(|standing| standing.watermark).max()))
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

    /// Kafka keeps what is not processed yet.
    fn keep_up(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        if stop.load(Ordering::SeqCst) { Ok(()) } else { self.check() }
    }

    fn history_ends(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}
