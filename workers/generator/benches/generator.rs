//! Time per generated event, including encoding: `cargo bench -p weir-generator`.

#![allow(missing_docs, clippy::unwrap_used)]

use divan::{Bencher, counter::ItemsCount};
use weir_generator::{Generator, GeneratorOptions, Profile};

const EVENTS: usize = 100_000;

fn main() {
    divan::main();
}

#[divan::bench(args = [(1_000, 100), (100_000, 2_000)], sample_count = 10)]
fn event(bencher: Bencher<'_, '_>, (users, pages): (u32, u32)) {
    let options = GeneratorOptions {
        users,
        pages,
        events_per_second: 1_000.0,
        profile: Profile::Constant,
        ..GeneratorOptions::default()
    };
    let mut generator = Generator::new(options).unwrap();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench_local(|| (0..EVENTS).map(|_| generator.next().value.len()).sum::<usize>());
}
