//! Compares what a pipeline's topics hold with what the brute-force oracle makes of its events.
//!
//! Everything is read from Kafka: the events with the decisions that their log implies, the results, the rankings, the dead
//! letters. Nothing is asked of the processes that wrote them. From the engine's side only the codecs and the validation are used.

mod events;
mod latency;
mod peer;
mod probe;
mod results;

use anyhow::{Context, ensure};
use weir_events::{Decoder, validate};
use weir_oracle::{Outcome, Settings};
use weir_spec::Pipeline;
use weir_stream::{
    kafka::{Lookup, Options},
    log::Record,
};

pub use events::Events;
pub use latency::{Delays, Latency};
pub use results::{Pause, Results};

/// What an audit found to be in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Records of the events topic.
    pub records: usize,
    /// Those of them that are no valid event.
    pub invalid: usize,
    /// Events that came after all of their windows were sealed.
    pub late: usize,
    /// Windows that equal the oracle's in every field.
    pub windows: usize,
    /// Their rows.
    pub rows: usize,
    /// Windows that the oracle has and the topics do not have yet.
    pub outstanding: usize,
    /// Hash of all rows and rankings, bytes as they are in the topics, by window and page: the same for two pipelines with
    /// the same events.
    pub digest: String,
    /// The longest time without a new window.
    pub longest_pause: Option<Pause>,
}

/// The topics of one pipeline.
pub struct Audit<'a> {
    pipeline: &'a Pipeline,
    topics: Lookup,
}

impl<'a> Audit<'a> {
    /// Connects.
    ///
    /// # Errors
    /// No broker, or options that the client refuses.
    pub fn connect(pipeline: &'a Pipeline, brokers: &str) -> anyhow::Result<Self> {
        let name = format!("{}.audit", pipeline.metadata.name);
        let topics = Lookup::connect(&Options::new(brokers, &name, pipeline.events_topic(), &name))?;
        Ok(Self { pipeline, topics })
    }

    /// Compares everything. `ended`: the log came to its end and was sealed there, as `weir process --until-end` does; then
    /// every window must be there. Without it the topics may lack the last windows, as long as no window is missing between.
    ///
    /// # Errors
    /// The first differences, one a line.
    pub fn compare(&self, ended: bool) -> anyhow::Result<Report> {
        // First, so that while the pipeline runs the events are there that made them.
        let results = self.results()?;
        let (events, outcome) = self.expected(ended)?;
        let due = match results.windows.last_key_value() {
            _ if ended => outcome.windows.len(),
            Some((&last, _)) => outcome.windows.partition_point(|window| window.end <= last),
            None => 0,
        };
        let expected = &outcome.windows[..due];
        weir_oracle::compare(expected, &results.with_sums(expected))
            .map_err(|differences| anyhow::anyhow!("{differences}"))?;
        let late: usize = outcome.late.iter().map(Vec::len).sum();
        let refused = self.dead_letters()?;
        ensure!(
            !ended || refused == events.invalid + late,
            "{refused} dead letters, expected {}: {} invalid records and {late} late events",
            events.invalid + late,
            events.invalid
        );
        Ok(Report {
            records: events.records,
            invalid: events.invalid,
            late,
            windows: due,
            rows: expected.iter().map(|window| window.pages.len()).sum(),
            outstanding: outcome.windows.len() - due,
            digest: results.digest(),
            longest_pause: results.longest_pause(),
        })
    }

    /// The events topic and what the oracle makes of it. `ended` as [`Self::compare`] has it.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn expected(&self, ended: bool) -> anyhow::Result<(Events, Outcome)> {
        let settings = settings(self.pipeline);
        let mut events = self.events()?;
        if ended {
            events.end(&settings);
        }
        let outcome = weir_oracle::compute(&events.log, &settings);
        Ok((events, outcome))
    }

    /// The events topic as the oracle takes it.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn events(&self) -> anyhow::Result<Events> {
        let spec = &self.pipeline.spec;
        let mut events = Events::new(spec.topics.events.partitions, spec.window.max_future.as_millis());
        for partition in 0..spec.topics.events.partitions {
            self.read(self.pipeline.events_topic(), partition, &mut |record| events.take(&record))?;
        }
        Ok(events)
    }

    /// The result topics.
    ///
    /// # Errors
    /// The topics cannot be read, or hold something twice, or something that is no result.
    pub fn results(&self) -> anyhow::Result<Results> {
        let (mut results, mut refused) = (Results::default(), None);
        let mut note = |done: anyhow::Result<()>, topic: &str, record: &Record<'_>| {
            let place = || format!("{topic}/{} at {}", record.partition, record.offset);
            refused = refused.take().or_else(|| done.with_context(place).err());
        };
        let topic = self.pipeline.top_pages_topic();
        self.read(topic, 0, &mut |record| note(results.ranking(&record), topic, &record))?;
        let topic = self.pipeline.results_topic();
        for partition in 0..self.pipeline.spec.topics.results.partitions {
            self.read(topic, partition, &mut |record| note(results.row(&record), topic, &record))?;
        }
        refused.map_or(Ok(results), Err)
    }

    /// Reads the events topic and counts its records.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn drain(&self) -> anyhow::Result<u64> {
        let mut records = 0;
        for partition in 0..self.pipeline.spec.topics.events.partitions {
            self.read(self.pipeline.events_topic(), partition, &mut |_| records += 1)?;
        }
        Ok(records)
    }

    /// Reads the events topic and decodes and validates its records: how many there are, and how many of them are valid.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn decode(&self) -> anyhow::Result<(u64, u64)> {
        let (decoder, max_future) = (Decoder::new(), self.pipeline.spec.window.max_future.as_millis());
        let (mut records, mut valid) = (0, 0);
        for partition in 0..self.pipeline.spec.topics.events.partitions {
            self.read(self.pipeline.events_topic(), partition, &mut |record| {
                let decoded = decoder.decode(record.value.unwrap_or_default());
                valid += u64::from(
                    decoded.is_ok_and(|event| validate(&event, record.timestamp, max_future).is_ok()),
                );
                records += 1;
            })?;
        }
        Ok((records, valid))
    }

    fn dead_letters(&self) -> anyhow::Result<usize> {
        let mut records = 0;
        self.read(&self.pipeline.dead_letters_topic(), 0, &mut |_| records += 1)?;
        Ok(records)
    }

    fn read(&self, topic: &str, partition: i32, sink: &mut dyn FnMut(Record<'_>)) -> anyhow::Result<()> {
        self.topics.read(topic, partition, 0, sink)?;
        Ok(())
    }
}

fn settings(pipeline: &Pipeline) -> Settings {
    let (window, ranking) = (&pipeline.spec.window, &pipeline.spec.ranking);
    Settings {
        size: window.size.as_millis(),
        slide: window.slide.as_millis(),
        out_of_orderness: window.out_of_orderness.as_millis(),
        session_gap: window.session_gap.as_millis(),
        top: ranking.top as usize,
        trending_half_life: ranking.trending_half_life.as_millis(),
        warm_up: ranking.warm_up,
    }
}
