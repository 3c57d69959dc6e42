//! Stage 1 without Kafka: the bytes of a simulated shop, decoded, validated, counted; windows sealed, their blocks encoded.

use std::{fs, ops::Range};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use weir_analytics::{Block, Partition, Settings};
use weir_events::{Decoder, validate};
use weir_generator::{Faults, Generator, GeneratorOptions, Profile};

/// The length of a slide, milliseconds.
pub(crate) const SLIDE: i64 = 10_000;

/// What the cost of an event may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) users: u32,
    pub(crate) pages: u32,
    /// Events per second of event time, over all partitions.
    pub(crate) rate: f64,
    /// Window size over slide.
    pub(crate) slides: i64,
    pub(crate) partitions: i32,
    /// Milliseconds; events arrive out of order within 0.8 of it.
    pub(crate) out_of_orderness: i64,
    /// Whether events have ids.
    #[serde(default)]
    pub(crate) ids: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            users: 1_000,
            pages: 100,
            rate: 1_000.0,
            slides: 30,
            partitions: 6,
            out_of_orderness: 30_000,
            ids: false,
        }
    }
}

/// Deliveries, as a fetch brings them: by partition.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    places: Vec<Vec<Range<usize>>>,
}

impl Batch {
    /// The next so many.
    pub(crate) fn of(generator: &mut Generator, events: u64, partitions: i32) -> Self {
        let mut batch = Self { bytes: Vec::new(), places: vec![Vec::new(); partitions as usize] };
        for _ in 0..events {
            let delivery = generator.next();
            let begin = batch.bytes.len();
            batch.bytes.extend_from_slice(delivery.value);
            batch.places[delivery.partition as usize].push(begin..batch.bytes.len());
        }
        batch
    }
}

/// All input partitions of one pipeline.
pub(crate) struct Stage1 {
    decoder: Decoder,
    pub(crate) partitions: Vec<Partition>,
}

impl Stage1 {
    pub(crate) fn new(shape: &Shape) -> Self {
        let partitions =
            (0..shape.partitions).map(|number| Partition::new(number, settings(shape))).collect();
        Self { decoder: Decoder::new(), partitions }
    }

    /// Decodes and validates only; how many events are valid.
    pub(crate) fn decode(&self, batch: &Batch) -> usize {
        let valid = |place: &Range<usize>| {
            let event = self.decoder.decode(&batch.bytes[place.clone()]);
            event.is_ok_and(|event| validate(&event, event.timestamp, 0).is_ok())
        };
        batch.places.iter().flatten().filter(|place| valid(place)).count()
    }

    /// Decodes, validates, counts and seals; the blocks of what was sealed.
    pub(crate) fn read(&mut self, batch: &Batch) -> anyhow::Result<Vec<Block>> {
        let mut blocks = Vec::new();
        for (partition, places) in self.partitions.iter_mut().zip(&batch.places) {
            for place in places {
                let event = self.decoder.decode(&batch.bytes[place.clone()]).context("a simulated event")?;
                ensure!(validate(&event, event.timestamp, 0).is_ok(), "a simulated event is invalid");
                partition.read(&event);
            }
            blocks.extend(partition.take_blocks());
        }
        Ok(blocks)
    }

    /// As [`Self::read`], and encodes the blocks; how many bytes they are.
    pub(crate) fn process(&mut self, batch: &Batch) -> anyhow::Result<usize> {
        let mut written = 0;
        for block in self.read(batch)? {
            written += block.encode()?.iter().map(Vec::len).sum::<usize>();
        }
        Ok(written)
    }

    /// Live pairs and visits.
    pub(crate) fn live(&self) -> usize {
        self.partitions.iter().map(Partition::live).sum()
    }

    pub(crate) fn snapshots(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        self.partitions.iter().map(|partition| Ok(partition.snapshot()?)).collect()
    }
}

/// The shop that the shape describes.
pub(crate) fn generator(shape: &Shape) -> anyhow::Result<Generator> {
    Ok(Generator::new(GeneratorOptions {
        events_per_second: shape.rate,
        users: shape.users,
        pages: shape.pages,
        partitions: shape.partitions,
        out_of_orderness: shape.out_of_orderness,
        // Events have ids where some might be sent twice, which none is.
        faults: Faults { duplicates: if shape.ids { f64::MIN_POSITIVE } else { 0.0 }, ..Faults::default() },
        profile: Profile::Constant,
        ..GeneratorOptions::default()
    })?)
}

pub(crate) fn settings(shape: &Shape) -> Settings {
    Settings {
        size: shape.slides * SLIDE,
        slide: SLIDE,
        out_of_orderness: shape.out_of_orderness,
        lanes: 3,
        ..Settings::default()
    }
}

/// CPU time of this thread so far, nanoseconds: other programs take none of it.
pub(crate) fn cpu_nanos() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").context("measuring needs Linux")?;
    stat.split(' ').next().unwrap_or_default().parse().context("no CPU time in /proc/thread-self/schedstat")
}

/// Memory that this process holds, MiB.
pub(crate) fn resident() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("measuring needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
