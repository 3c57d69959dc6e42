//! Compares a pipeline's topics with the results that the brute-force oracle computes from its events.
//!
//! Everything is read from Kafka: the events with the decisions that their log implies, the results, the rankings, the dead
//! letters. The processes that wrote them are not contacted. Of the engine's code only the codecs and the validation are used.

mod decisions;
mod events;
mod latency;
mod peer;
mod probe;
mod results;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use weir_events::{Decoder, validate};
use weir_kafka::{Connection, MemberOptions, TopicInspector, admin::Admin};
use weir_log::{Generation, Generations, PartitionProgress, Record};
use weir_manifest::{FIRST_GENERATION, Pipeline, Role};
use weir_oracle::{Outcome, Settings, Window};

use decisions::Decisions;

pub use events::Events;
pub use latency::{Delays, Latency};
pub use results::{Pause, Results};

/// Maximum wait for a group's offsets: a busy broker responds late, and a transaction may be pending.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(60);
const COMMITTED_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The result of an audit without differences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Records of the events topic.
    pub records: usize,
    /// Those of them that are no valid event.
    pub invalid: usize,
    /// Events that came after all of their windows were sealed.
    pub late: usize,
    /// Events that count, but not in all of their windows, as those were sealed.
    pub partly_late: usize,
    /// Events that were counted before and have been sent again.
    pub duplicates: usize,
    /// Events whose page was one too many: they count under the page `(other)`.
    pub other_pages: usize,
    /// The ends of the windows that lack those events.
    pub not_whole: Vec<i64>,
    /// Events of visitors who belong into another partition: each visitor is counted once in every partition with such events.
    pub misplaced: usize,
    /// Whether the log was declared to end, and windows were sealed ahead of the clock.
    pub ended: bool,
    /// Windows that equal the oracle's in every field.
    pub windows: usize,
    /// Windows of generations whose topics have been deleted since they ended: nothing tells what they were counted with.
    pub not_compared: usize,
    /// Rows of those that equal the oracle's.
    pub rows: usize,
    /// Windows that the oracle has and the topics do not have yet.
    pub outstanding: usize,
    /// Hash of all rows and rankings, bytes as they are in the topics, by window and page: the same for two pipelines with
    /// the same events.
    pub digest: String,
    /// The times without a new window.
    pub pauses: Vec<Pause>,
}

/// The topics of one pipeline.
pub struct Audit {
    /// In its newest generation.
    pipeline: Pipeline,
    brokers: String,
    topics: TopicInspector,
    /// Empty where it is in its first.
    generations: Generations,
}

impl Audit {
    /// Connects.
    ///
    /// # Errors
    /// No broker, or options that the client refuses.
    pub fn connect(pipeline: &Pipeline, brokers: &str) -> anyhow::Result<Self> {
        let name = format!("{}.audit", pipeline.metadata.name);
        let topics =
            TopicInspector::connect(&MemberOptions::new(brokers, &name, pipeline.events_topic(), &name))?;
        let recorded = pipeline.generations_topic();
        let generations = match topics.topics(&[&recorded])?.pop().flatten() {
            None => Generations::default(),
            Some(_) => Generations::collect(&recorded, |sink| topics.read(&recorded, 0, 0, sink).map(drop))?,
        };
        let number = generations.newest().map_or(FIRST_GENERATION, |newest| newest.number);
        Ok(Self {
            pipeline: pipeline.in_generation(number),
            brokers: brokers.to_owned(),
            topics,
            generations,
        })
    }

    /// Compares everything. `ended`: the log came to its end and was sealed there, as `weir process --until-end` does; then
    /// every window must be there. Without it the topics may lack the last windows, as long as no window is missing between.
    ///
    /// # Errors
    /// The first differences, one per line, and their possible causes; or why nothing can be compared.
    pub fn compare(&self, ended: bool) -> anyhow::Result<Report> {
        self.check_topics()?;
        // Read first, so that the events of these results are in the log while the pipeline runs.
        let results = self.results()?;
        let progress = self.progress(&self.pipeline)?;
        let told_after = told_after(&progress, self.generations.newest());
        let (events, outcome) = self.expected_after(ended, told_after)?;
        let (due, outstanding) = self.due(&results, &outcome, ended);
        let (mut expected, deleted_up_to) = self.of_ended_generations()?;
        expected.extend(due);
        let is_compared = |end: i64| Some(end) > deleted_up_to;
        weir_oracle::compare(&expected, &results.with_sums(&expected, is_compared))
            .map_err(|differences| self.explained(&differences, &events, &results))?;
        let late: usize = outcome.late.iter().map(Vec::len).sum();
        let refused = self.dead_letters()?;
        ensure!(
            !ended || refused == events.invalid + late,
            "{refused} dead letters, expected {}: {} invalid records and {late} late events",
            events.invalid + late,
            events.invalid
        );
        let partly_late = outcome.partly_late.iter().map(Vec::len).sum();
        let duplicates: usize = outcome.duplicates.iter().map(Vec::len).sum();
        let other_pages: usize = outcome.other_pages.iter().map(Vec::len).sum();
        let sum = |sum: fn(&PartitionProgress) -> u64| progress.iter().map(sum).sum::<u64>() as usize;
        // The committed counts are of these events if they are of as many, with the same decisions.
        if sum(|partition| partition.read) == events.records && events.decisions_lost == 0 && ended {
            let counted = events.records - events.invalid - late - duplicates;
            let expected =
                [counted, late, partly_late, duplicates, other_pages, events.invalid, events.misplaced];
            let committed = [
                sum(|partition| partition.counted),
                sum(|partition| partition.late),
                sum(|partition| partition.partly_late),
                sum(|partition| partition.duplicates),
                sum(|partition| partition.other_pages),
                sum(|partition| partition.dead),
                sum(|partition| partition.misplaced),
            ];
            ensure!(
                committed == expected,
                "committed as counted, late, partly late, duplicates, under (other), invalid and misplaced are {committed:?}, expected {expected:?}"
            );
        }
        Ok(Report {
            records: events.records,
            invalid: events.invalid,
            late,
            partly_late,
            duplicates,
            other_pages,
            not_whole: outcome.not_whole.into_keys().collect(),
            misplaced: events.misplaced,
            ended: progress.iter().any(|partition| partition.ended),
            windows: expected.len(),
            not_compared: results.windows.keys().filter(|&&end| !is_compared(end)).count(),
            rows: expected.iter().map(|window| window.pages.len()).sum(),
            outstanding,
            digest: results.digest(),
            pauses: results.pauses(),
        })
    }

    /// Checks that the topics exist, with the pipeline's numbers of partitions.
    fn check_topics(&self) -> anyhow::Result<()> {
        let mut specs = self.pipeline.topics();
        // Nothing is compared with live values, and a pipeline runs without them.
        specs.retain(|spec| spec.role != Role::Live);
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let found = Admin::new(&Connection::new(&self.brokers, "weir-admin"))?.describe_topics(&names)?;
        let wrong = specs.iter().filter_map(|spec| match found.get(&spec.name) {
            None => Some(format!("there is no topic {}", spec.name)),
            Some(found) if found.partitions != spec.partitions => Some(format!(
                "topic {} has {} partitions, the pipeline says {}",
                spec.name, found.partitions, spec.partitions
            )),
            Some(_) => None,
        });
        let wrong: Vec<String> = wrong.collect();
        ensure!(
            wrong.is_empty(),
            "{}\nexpected at {} the topics of pipeline {}: give the manifest that it runs with (--pipeline FILE); if it never ran, \
             `weir topics apply` makes them and `weir process` fills them",
            wrong.join("\n"),
            self.brokers,
            self.pipeline.metadata.name
        );
        Ok(())
    }

    /// The differences with their possible causes; or why they are meaningless.
    fn explained(&self, differences: &str, events: &Events, results: &Results) -> anyhow::Error {
        let Events { decisions_lost, misplaced, .. } = *events;
        if decisions_lost > 0 {
            return anyhow!(
                "not compared: {decisions_lost} decisions that were taken while partitions had no events are missing from {}, expected are all \
                 since the first event. The topic is compacted, and what was late because of those cannot be known, so differences would say \
                 nothing. Process the events once more, under another metadata.name with topics of its own and with `weir process \
                 --until-end`, and compare that with --ended",
                self.pipeline.state_topic()
            );
        }
        let mut message = differences.to_owned();
        if results.windows.is_empty() {
            message += "\nthe result topics hold no window: run `weir process`";
        }
        if misplaced > 0 {
            message += &format!(
                "\n{misplaced} events are of visitors who belong into another partition: key every event by user_id and place it by murmur2, \
                 else a visitor is counted once in each partition"
            );
        }
        anyhow!(message)
    }

    /// The windows that must be there, and how many are outstanding. While a pipeline runs, lanes progress independently: a window that
    /// is missing between two of its lane is lost, one after the last of its lane is outstanding.
    fn due(&self, results: &Results, outcome: &Outcome, ended: bool) -> (Vec<Window>, usize) {
        let slide = self.pipeline.spec.window.slide.as_millis();
        let lanes = i64::from(self.pipeline.spec.topics.results.partitions);
        let lane = |end: i64| end.div_euclid(slide).rem_euclid(lanes);
        let mut last: BTreeMap<i64, i64> = BTreeMap::new();
        for &end in results.windows.keys() {
            last.insert(lane(end), end);
        }
        let is_due = |window: &Window| ended || last.get(&lane(window.end)) >= Some(&window.end);
        let due: Vec<Window> = outcome.windows.iter().filter(|window| is_due(window)).cloned().collect();
        let outstanding = outcome.windows.len() - due.len();
        (due, outstanding)
    }

    /// The windows that the generations before the newest told: each with its own settings, up to the cut of the next one. With other
    /// policies of `pii` than the document's they cannot be compared by users. And the end of the last one whose generation's topics
    /// have been deleted.
    fn of_ended_generations(&self) -> anyhow::Result<(Vec<Window>, Option<i64>)> {
        let (mut windows, mut deleted_up_to) = (Vec::new(), None);
        for generation in self.generations.iter() {
            let Some(next) = self.generations.get(generation.number + 1) else { continue };
            let Some(cut) = next.cut else { continue };
            let pipeline = self.pipeline.in_generation(generation.number);
            if self.topics.topics(&[&pipeline.state_topic()])?.iter().all(Option::is_none) {
                deleted_up_to = deleted_up_to.max(Some(cut));
                continue;
            }
            let told_after = told_after(&self.progress(&pipeline)?, Some(generation));
            if told_after >= Some(cut) {
                continue;
            }
            let number = |name: &str| {
                let mut parts = generation.settings.split(", ");
                let number =
                    parts.find_map(|part| part.strip_prefix(name)?.trim_end_matches(" ms").parse().ok());
                number.with_context(|| {
                    format!("no {name:?} in the settings of generation {}", generation.number)
                })
            };
            let settings = Settings {
                size: number("size ")?,
                slide: number("slide ")?,
                out_of_orderness: number("out-of-orderness ")?,
                session_gap: number("session gap ")?,
                top: usize::try_from(number("ranking of ")?)?,
                trending_half_life: number("trending half-life ")?,
                warm_up: u32::try_from(number("warm-up ")?)?,
                duplicate_slack: number("duplicate slack ").unwrap_or(settings(&pipeline).duplicate_slack),
                page_limit: number("live pages within ").ok().and_then(|limit| usize::try_from(limit).ok()),
                visits_span_users: is_of_first_version(&generation.settings),
            };
            let events = self.events_of(&pipeline, number("max future ")?)?;
            windows
                .extend(weir_oracle::compute_between(&events.log, &settings, told_after, Some(cut)).windows);
        }
        Ok((windows, deleted_up_to))
    }

    /// Stage 1's progress, in the partitions in which it has committed.
    fn progress(&self, pipeline: &Pipeline) -> anyhow::Result<Vec<PartitionProgress>> {
        let options =
            MemberOptions::new(&self.brokers, &pipeline.windows_group(), pipeline.events_topic(), "");
        let inspector = TopicInspector::connect(&options)?;
        let begun = Instant::now();
        let committed = loop {
            match inspector.committed() {
                Err(weir_log::Error::Retry(_)) if begun.elapsed() < COMMITTED_TIMEOUT => {
                    std::thread::sleep(COMMITTED_RETRY_INTERVAL);
                }
                committed => break committed?,
            }
        };
        committed
            .into_iter()
            .flatten()
            .map(|committed| {
                serde_json::from_str(&committed.metadata).context("the commit is not of this version")
            })
            .collect()
    }

    /// The events topic, and the oracle's results for it. `ended` as in [`Self::compare`].
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn expected(&self, ended: bool) -> anyhow::Result<(Events, Outcome)> {
        self.expected_after(ended, None)
    }

    fn expected_after(&self, ended: bool, after: Option<i64>) -> anyhow::Result<(Events, Outcome)> {
        let committed = self.progress(&self.pipeline)?;
        let settings = match committed.iter().any(|progress| is_of_first_version(&progress.settings)) {
            false => settings(&self.pipeline),
            true => Settings { page_limit: None, visits_span_users: true, ..settings(&self.pipeline) },
        };
        let mut events = self.events()?;
        if ended {
            events.end(&settings);
        }
        let outcome = weir_oracle::compute_between(&events.log, &settings, after, None);
        Ok((events, outcome))
    }

    /// The events topic as the oracle's input.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn events(&self) -> anyhow::Result<Events> {
        self.events_of(&self.pipeline, self.pipeline.spec.window.max_future.as_millis())
    }

    fn events_of(&self, pipeline: &Pipeline, max_future: i64) -> anyhow::Result<Events> {
        let partitions = pipeline.spec.topics.events.partitions;
        let mut events = Events::new(partitions, max_future);
        for partition in 0..partitions {
            events.decided(self.decisions(pipeline, partition)?);
            self.read(pipeline.events_topic(), partition, &mut |record| events.take(&record))?;
            events.finish(partition);
        }
        Ok(events)
    }

    /// The decisions about a partition that are in the state topic.
    fn decisions(&self, pipeline: &Pipeline, partition: i32) -> anyhow::Result<Decisions> {
        let (mut decisions, mut refused) = (Decisions::default(), None);
        self.read(&pipeline.state_topic(), partition, &mut |record| {
            refused = refused.take().or_else(|| decisions.take(&record).err());
        })?;
        refused.map_or(Ok(decisions), Err)
    }

    /// The result topics.
    ///
    /// # Errors
    /// The topics cannot be read, or hold something twice, or something that is no result.
    pub fn results(&self) -> anyhow::Result<Results> {
        let (mut results, mut refused) = (Results::default(), None);
        let mut note = |done: anyhow::Result<()>, topic: &str, record: &Record<'_>| {
            let position = || format!("{topic}/{} at {}", record.partition, record.offset);
            refused = refused.take().or_else(|| done.with_context(position).err());
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

    /// Reads, decodes and validates the records of the events topic; returns the numbers of all and of the valid ones.
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
        duplicate_slack: window.duplicate_slack.as_millis(),
        page_limit: Some(pipeline.spec.limits.pages as usize),
        visits_span_users: false,
    }
}

/// The end of the last window that a generation does not tell: that of the last one before it, or a later one where retention had deleted
/// events. One that ended before it told any has the first only.
fn told_after(progress: &[PartitionProgress], generation: Option<&Generation>) -> Option<i64> {
    let committed = progress.iter().filter_map(|partition| partition.told_after).max();
    committed.max(generation.and_then(|generation| generation.cut))
}

/// Whether a generation with these settings follows the first version of the definitions.
fn is_of_first_version(settings: &str) -> bool {
    let version = settings.split(", ").find_map(|part| part.strip_prefix("definitions "));
    version.is_none_or(|version| version == "1")
}
