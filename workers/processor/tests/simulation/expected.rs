//! The expected contents of topics: by the bare engine, byte for byte, by the oracle, and by a process without faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use weir_analytics::{Merge, Partition, Verdict};
use weir_events::{decode_page_analytics, decode_top_pages, encode_page_analytics, encode_top_pages};
use weir_memory::{Broker, Clock, Member};
use weir_oracle::{Entry, Outcome, Window};
use weir_processor::results::Results;
use weir_processor::windows::Windows;
use weir_processor::worker::Worker;

use crate::{
    found::{self, Output, WatermarkAdvance},
    setup::{EVENTS, Setup},
    visitors::Written,
};

/// One partition's log as it was read, with watermark advances before the records at their offsets.
enum Step<'a> {
    Record(&'a Written),
    WatermarkAdvance(i64),
}

fn steps<'a>(log: &'a [Written], advances: &[WatermarkAdvance], partition: i32) -> Vec<Step<'a>> {
    let mut advances = advances.iter().filter(|advance| advance.partition == partition).peekable();
    let mut steps = Vec::new();
    for record in log.iter().filter(|record| record.partition == partition) {
        while let Some(advance) = advances.next_if(|advance| advance.offset <= record.offset) {
            steps.push(Step::WatermarkAdvance(advance.watermark));
        }
        steps.push(Step::Record(record));
    }
    steps.extend(advances.map(|advance| Step::WatermarkAdvance(advance.watermark)));
    steps
}

/// Records of one partition: counted (of those partly late), late, dead.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub counted: u64,
    pub partly_late: u64,
    pub late: u64,
    pub dead: u64,
    pub duplicates: u64,
}

/// The engine's output for a log.
pub struct Expected {
    pub output: Output,
    pub counts: Vec<Counts>,
    /// Partitions and offsets of duplicates.
    pub duplicates: BTreeSet<(i32, i64)>,
}

impl Expected {
    /// Without what a generation does not tell: each partition's blocks up to its end in `told_after`, and windows up to `after`.
    pub fn tell_after(&mut self, told_after: &[Option<i64>], after: Option<i64>) {
        let Output { blocks, rows, rankings, .. } = &mut self.output;
        blocks.retain(|(partition, end), _| Some(*end) > told_after[*partition as usize]);
        rows.retain(|(end, _), _| Some(*end) > after);
        rankings.retain(|end, _| Some(*end) > after);
    }
}

/// Runs a log through the bare engine.
pub fn by_engine(setup: &Setup, log: &[Written], advances: &[WatermarkAdvance]) -> Expected {
    let settings = setup.settings;
    let (mut output, mut counts) = (Output::default(), Vec::new());
    let mut duplicates = BTreeSet::new();
    for number in 0..setup.inputs {
        let (mut partition, mut count) = (Partition::new(number, settings), Counts::default());
        for step in steps(log, advances, number) {
            let mut is_duplicate = false;
            let refused = match step {
                Step::WatermarkAdvance(watermark) => {
                    partition.advance_watermark(watermark);
                    continue;
                }
                Step::Record(record) => match &record.content {
                    Ok(event) => {
                        let verdict = partition.read(&event.into());
                        is_duplicate = verdict == Verdict::Duplicate;
                        if is_duplicate {
                            duplicates.insert((number, record.offset));
                        }
                        count.partly_late += u64::from(verdict == Verdict::PartlyLate);
                        (verdict == Verdict::Late).then_some((record, "late"))
                    }
                    Err(reason) => Some((record, *reason)),
                },
            };
            match refused {
                None if is_duplicate => count.duplicates += 1,
                None => count.counted += 1,
                Some((_, "late")) => count.late += 1,
                Some(_) => count.dead += 1,
            }
            if let Some((record, reason)) = refused {
                let letter = (reason.to_owned(), Some(record.key.clone()), record.value.clone());
                output.dead_letters.insert((number, record.offset), letter);
            }
        }
        for block in partition.take_blocks() {
            output.blocks.insert((number, block.end), block.encode().unwrap().concat());
        }
        counts.push(count);
    }
    let mut merges: Vec<Merge> =
        (0..settings.lanes).map(|_| Merge::new(settings, setup.inputs, None)).collect();
    for (offset, ((_, end), block)) in output.blocks.iter().enumerate() {
        merges[settings.lane(*end) as usize].read(block, offset as i64).unwrap();
    }
    for result in merges.iter_mut().flat_map(Merge::complete) {
        for page in &result.pages {
            output.rows.insert((result.end, page.page_url.clone()), encode_page_analytics(page));
        }
        output.rankings.insert(result.end, encode_top_pages(&result.top));
    }
    Expected { output, counts, duplicates }
}

/// The oracle's counts besides windows.
pub struct Judged {
    pub windows: usize,
    pub trends: usize,
    /// The end of the last window with an event.
    pub last_end: Option<i64>,
    /// The number of partly late events of each partition.
    pub partly_late: Vec<u64>,
    /// The number of duplicates of each partition.
    pub duplicates: Vec<u64>,
    /// The ends of the windows that miss events.
    pub not_whole: Vec<i64>,
}

/// Each partition's log as the oracle reads it, and the offsets of its entries.
fn entries(
    setup: &Setup,
    log: &[Written],
    advances: &[WatermarkAdvance],
) -> (Vec<Vec<Entry>>, Vec<Vec<i64>>) {
    let partitions = (0..setup.inputs).map(|partition| {
        let valid = steps(log, advances, partition).into_iter().filter_map(|step| match step {
            Step::WatermarkAdvance(watermark) => Some((-1, Entry::AdvanceWatermark(watermark))),
            Step::Record(record) => Some((record.offset, Entry::Event(record.content.clone().ok()?))),
        });
        let (offsets, entries): (Vec<i64>, Vec<Entry>) = valid.unzip();
        (entries, offsets)
    });
    partitions.unzip()
}

/// The oracle's results for a log.
pub fn by_oracle(setup: &Setup, log: &[Written], advances: &[WatermarkAdvance]) -> Outcome {
    weir_oracle::compute(&entries(setup, log, advances).0, &setup.oracle())
}

/// Compares the output with the oracle, and checks that all windows are sealed. Windows up to `after` are not told.
pub fn check_by_oracle(
    setup: &Setup,
    log: &[Written],
    advances: &[WatermarkAdvance],
    found: &Output,
    after: Option<i64>,
) -> Result<Judged, String> {
    let (logs, offsets) = entries(setup, log, advances);
    let mut outcome = weir_oracle::compute(&logs, &setup.oracle());
    let late: Vec<(i32, i64)> = (0..)
        .zip(&outcome.late)
        .flat_map(|(partition, late)| late.iter().map(move |&index| (partition, index)))
        .map(|(partition, index)| (partition, offsets[partition as usize][index]))
        .collect();
    let letters: Vec<(i32, i64)> = found
        .dead_letters
        .iter()
        .filter(|(_, letter)| letter.0 == "late")
        .map(|(source, _)| *source)
        .collect();
    if late != letters {
        return Err(format!("late are {late:?}, late dead letters are {letters:?}"));
    }
    let timestamps =
        logs.iter().zip(outcome.late.iter().zip(&outcome.duplicates)).flat_map(|(log, (late, twice))| {
            log.iter().enumerate().filter_map(|(place, entry)| match entry {
                Entry::Event(event) if !late.contains(&place) && !twice.contains(&place) => {
                    Some(event.timestamp)
                }
                Entry::Event(_) | Entry::AdvanceWatermark(_) => None,
            })
        });
    let last = timestamps.max();
    let last_end = last.map(|timestamp| setup.settings.last_window_end(timestamp));
    if outcome.sealed < last_end {
        return Err(format!("sealed up to {:?}, the last window ends at {last_end:?}", outcome.sealed));
    }
    outcome.windows.retain(|window| Some(window.end) > after);
    weir_oracle::compare(&outcome.windows, &windows(found, &outcome.windows))?;
    Ok(Judged {
        windows: outcome.windows.len(),
        trends: outcome.windows.iter().map(|window| window.trending.len()).sum(),
        last_end,
        partly_late: outcome.partly_late.iter().map(|late| late.len() as u64).collect(),
        duplicates: outcome.duplicates.iter().map(|twice| twice.len() as u64).collect(),
        not_whole: outcome.not_whole.into_keys().collect(),
    })
}

/// The windows of an output. The sums behind ratios, which its records do not have, are taken from `expected`.
fn windows(found: &Output, expected: &[Window]) -> Vec<Window> {
    let expected: BTreeMap<i64, &Window> = expected.iter().map(|window| (window.end, window)).collect();
    let rankings = found.rankings.iter().map(|(&end, value)| {
        let rows = found.rows.range((end, String::new())..(end + 1, String::new()));
        let pages = rows.map(|(_, value)| decode_page_analytics(value).unwrap().into());
        let window = Window { pages: pages.collect(), ..decode_top_pages(value).unwrap().into() };
        window.with_sums(expected.get(&end).copied())
    });
    rankings.collect()
}

/// The same log, written at the same times, read by one process without faults until all windows are sealed.
pub fn by_one_process(setup: &Setup, log: &[Written]) -> Result<Output, String> {
    let broker = Broker::new(Clock::Manual(log[0].timestamp));
    setup.create_topics(&broker);
    for record in log {
        broker.advance(Duration::from_millis((record.timestamp - broker.now()) as u64));
        broker.append(EVENTS, record.partition, Some(&record.key), record.value.as_deref(), &[]).unwrap();
    }
    let mut process = Undisturbed::start(setup, &broker, "only");
    // Idle, committed as idle, read by the others, advanced: each within a second; and windows wait for their time.
    let waits =
        if setup.is_live { setup.settings.size + 2 * setup.settings.out_of_orderness + 30_000 } else { 0 };
    for _ in 0..(setup.idle_timeout + 10_000 + waits) / Undisturbed::TURN {
        process.turn(&broker)?;
    }
    found::output(&broker, setup)
}

/// A process without faults.
pub struct Undisturbed {
    windows: Worker<Windows, Member>,
    results: Worker<Results, Member>,
}

impl Undisturbed {
    /// Duration of a turn, milliseconds.
    pub const TURN: i64 = 500;

    pub fn start(setup: &Setup, broker: &Broker, name: &str) -> Self {
        let member = |stage: usize| broker.member(setup.member(stage, name, false));
        Self {
            windows: Worker::new(setup.windows(), member(0)),
            results: Worker::new(setup.results(None), member(1)),
        }
    }

    /// One step of each stage.
    pub fn turn(&mut self, broker: &Broker) -> Result<(), String> {
        broker.advance(Duration::from_millis(Self::TURN as u64));
        let now = broker.now();
        self.windows.step(now, Duration::ZERO).map_err(|error| error.to_string())?;
        self.results.step(now, Duration::ZERO).map_err(|error| error.to_string())
    }
}
