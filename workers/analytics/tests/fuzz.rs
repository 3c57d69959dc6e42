//! Any bytes as blocks, live values and snapshots.
#![allow(clippy::unwrap_used)]

use weir_analytics::{Block, Definitions, Live, Partition, Settings};
use weir_fuzz::Target;

fn from_hex(hex: &str) -> Vec<u8> {
    let pairs = hex.trim().as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn fuzz_block() {
    let golden = [
        include_str!("golden/block-1.hex"),
        include_str!("golden/block-2.hex"),
        include_str!("golden/block-3.hex"),
        include_str!("golden/blocks-2-before.hex"),
        include_str!("golden/blocks-2-after.hex"),
    ];
    let seeds = golden.iter().flat_map(|lines| lines.lines()).map(from_hex);
    // A row is a dozen bytes, of which one says that its URL is the one before it.
    Target::new("block").seeds(seeds).bytes_per_byte(2_048).run(|bytes| {
        let block = Block::decode(bytes).map_err(|error| error.to_string())?;
        // Compared as bytes: a baseline may be no number.
        let encoded = block.encode().unwrap();
        let again = Block::decode(&encoded[0]).unwrap().encode().unwrap();
        assert_eq!(again[0], encoded[0]);
        Ok(())
    });
}

#[test]
fn fuzz_live() {
    Target::new("live").seeds([from_hex(include_str!("golden/live-1.hex"))]).run(|bytes| {
        let live = Live::decode(bytes).map_err(|error| error.to_string())?;
        assert_eq!(Live::decode(&live.encode().unwrap()).unwrap(), live);
        // Of a window that ends before it begins nothing is left.
        assert!(Live::merge([&live, &live]).is_some() == (live.end > live.start));
        Ok(())
    });
}

#[test]
fn fuzz_snapshot() {
    let golden = [
        include_str!("golden/snapshot-1.hex"),
        include_str!("golden/snapshot-2-ids.hex"),
        include_str!("golden/snapshot-2-visitors.hex"),
    ];
    // A visit that is gone is one byte.
    Target::new("snapshot").seeds(golden.map(from_hex)).bytes_per_byte(1_024).executions(10_000).run(
        |bytes| {
            let mut outcome = Ok(());
            for definitions in [Definitions::V1, Definitions::V2] {
                let settings = Settings { definitions, ..Settings::default() };
                match Partition::restore(0, settings, bytes) {
                    // None is taken of one that is behind.
                    Ok(restored) if !restored.is_behind() => drop(restored.snapshot().unwrap()),
                    Ok(_) => {}
                    Err(error) => outcome = Err(error.to_string()),
                }
            }
            outcome
        },
    );
}
