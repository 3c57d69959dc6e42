//! Any bytes as blocks and live values.
#![allow(clippy::unwrap_used)]

use weir_analytics::{Block, Live};
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
