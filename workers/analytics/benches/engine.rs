//! Benchmarks of the engine: events, snapshots, restores, live values. `cargo bench -p weir-analytics`.

#![allow(missing_docs, clippy::unwrap_used)]

use divan::{Bencher, black_box, counter::ItemsCount};
use weir_analytics::{Block, Partition, Settings};
use weir_events::{ClickstreamEvent, EventType};

const START: i64 = 1_767_225_600_000;

fn main() {
    divan::main();
}

/// Events of `users` visitors on `pages` pages, `rate` per second.
struct Load {
    users: Vec<(String, String)>,
    pages: Vec<String>,
    rate: i64,
    next: u64,
}

impl Load {
    fn new(users: usize, pages: usize, rate: i64) -> Self {
        Self {
            users: (0..users).map(|i| (format!("user-{i:06}"), format!("session-{i:06}-of-today"))).collect(),
            pages: (0..pages).map(|i| format!("/product/number-{i:05}")).collect(),
            rate,
            next: 0,
        }
    }

    fn read(&mut self, partition: &mut Partition) {
        let i = self.next as i64;
        self.read_at(partition, START + i * 1000 / self.rate - (i % 7) * 500);
    }

    fn read_at(&mut self, partition: &mut Partition, timestamp: i64) {
        let i = self.next;
        self.next += 1;
        // Odd multipliers scatter visitors and pages; squaring skews the page distribution.
        let user = &self.users[(i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize % self.users.len()];
        let share = (i.wrapping_mul(0xD134_2543_DE82_EF95) >> 40) as f64 / (1_u64 << 24) as f64;
        let page = &self.pages[(share * share * self.pages.len() as f64) as usize];
        partition.read(&ClickstreamEvent {
            user_id: &user.0,
            session_id: &user.1,
            event_type: if i.is_multiple_of(4) { EventType::Click } else { EventType::View },
            page_url: page,
            product_id: None,
            timestamp,
            user_agent: "",
            ip_address: "",
            referrer: None,
            session_duration: None,
            ..ClickstreamEvent::EMPTY
        });
    }
}

/// A partition in the middle of its work: 10 minutes of load.
fn warm(users: usize, pages: usize, rate: i64, settings: Settings) -> (Load, Partition) {
    let (mut load, mut partition) = (Load::new(users, pages, rate), Partition::new(0, settings));
    for _ in 0..rate * 600 {
        load.read(&mut partition);
    }
    partition.take_blocks();
    (load, partition)
}

/// Per event, windows sealed and their blocks encoded included; by size over slide.
#[divan::bench(args = [30, 360, 3_600], sample_count = 10)]
fn event_1k_users_100_pages(bencher: Bencher<'_, '_>, slides: i64) {
    let settings = Settings { size: slides * Settings::default().slide, ..Settings::default() };
    event(bencher, warm(1_000, 100, 1_000, settings));
}

#[divan::bench(sample_count = 10)]
fn event_100k_users_2k_pages(bencher: Bencher<'_, '_>) {
    event(bencher, warm(100_000, 2_000, 3_000, Settings::default()));
}

fn event(bencher: Bencher<'_, '_>, (mut load, mut partition): (Load, Partition)) {
    const EVENTS: usize = 100_000;
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        for _ in 0..EVENTS {
            load.read(&mut partition);
            for block in partition.take_blocks() {
                black_box(block.encode().unwrap());
            }
        }
    });
}

/// Per event: buffering it in its slice.
#[divan::bench(sample_count = 20)]
fn insert_1k_users_100_pages(bencher: Bencher<'_, '_>) {
    let (mut load, partition) = warm(1_000, 100, 1_000, Settings::default());
    let snapshot = partition.snapshot().unwrap();
    bencher
        .counter(ItemsCount::new(SLICE))
        .with_inputs(|| Partition::restore(0, Settings::default(), &snapshot).unwrap())
        .bench_local_values(|mut partition| {
            insert(&mut load, &mut partition);
            partition
        });
}

/// Per event: counting it with its slice, and its share of sealing the window.
#[divan::bench(sample_count = 20)]
fn seal_1k_users_100_pages(bencher: Bencher<'_, '_>) {
    let (mut load, partition) = warm(1_000, 100, 1_000, Settings::default());
    let snapshot = partition.snapshot().unwrap();
    let full = || {
        let mut partition = Partition::restore(0, Settings::default(), &snapshot).unwrap();
        insert(&mut load, &mut partition);
        // All slices but the one of `insert`.
        partition.advance_watermark(NEXT);
        partition.take_blocks();
        partition
    };
    bencher.counter(ItemsCount::new(SLICE)).with_inputs(full).bench_local_values(|mut partition| {
        partition.advance_watermark(NEXT + Settings::default().slide);
        let sealed = partition.take_blocks().len();
        assert_eq!(sealed, 1);
        partition
    });
}

/// A slice's worth of events at 1,000 a second, in the slice after those of `warm`.
const SLICE: usize = 10_000;
const NEXT: i64 = START + 600_000;

fn insert(load: &mut Load, partition: &mut Partition) {
    for _ in 0..SLICE {
        load.read_at(partition, NEXT + 1);
    }
}

/// A block of 100 pages.
fn block() -> Block {
    let (_, mut partition) = warm(1_000, 100, 1_000, Settings::default());
    partition.advance_watermark(NEXT);
    partition.take_blocks().pop().unwrap()
}

#[divan::bench]
fn block_encode_100_pages(bencher: Bencher<'_, '_>) {
    let block = block();
    bencher.with_inputs(|| block.clone()).bench_values(|block| block.encode().unwrap());
}

#[divan::bench]
fn block_decode_100_pages(bencher: Bencher<'_, '_>) {
    let bytes = block().encode().unwrap().concat();
    bencher.bench(|| Block::decode(black_box(&bytes)).unwrap().pages.len());
}

/// About a million live (page, visitor) and (page, visit) pairs and visits.
fn million() -> Partition {
    let (_, partition) = warm(150_000, 2_000, 1_500, Settings::default());
    println!("{} live, {} bytes", partition.live(), partition.snapshot().unwrap().len());
    partition
}

#[divan::bench(sample_count = 5)]
fn snapshot_of_a_million(bencher: Bencher<'_, '_>) {
    let partition = million();
    bencher.bench_local(|| partition.snapshot().unwrap().len());
}

#[divan::bench(sample_count = 5)]
fn restore_of_a_million(bencher: Bencher<'_, '_>) {
    let snapshot = million().snapshot().unwrap();
    bencher.bench_local(|| Partition::restore(0, Settings::default(), &snapshot).unwrap().live());
}

#[divan::bench(sample_count = 5)]
fn live_snapshot_of_a_million(bencher: Bencher<'_, '_>) {
    let partition = million();
    bencher.bench_local(|| partition.live_snapshot(0).unwrap().site.views);
}
