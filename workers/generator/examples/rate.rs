//! How many deliveries per second one core makes: `cargo run --release -p weir-generator --example rate [EVENTS/S]`.

use std::time::Instant;

use weir_generator::{Generator, GeneratorOptions, Profile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events_per_second = std::env::args().nth(1).map_or(Ok(1_000.0), |rate| rate.parse())?;
    let options =
        GeneratorOptions { events_per_second, profile: Profile::Constant, ..GeneratorOptions::default() };
    let mut generator = Generator::new(options)?;
    let mut bytes = 0;
    (0..500_000).for_each(|_| bytes += generator.next().value.len());
    let (begun, deliveries) = (Instant::now(), 5_000_000);
    bytes = 0;
    (0..deliveries).for_each(|_| bytes += generator.next().value.len());
    let rate = f64::from(deliveries) / begun.elapsed().as_secs_f64();
    println!("{rate:.0} deliveries/s of {} bytes each", bytes / deliveries as usize);
    Ok(())
}
