//! Instruction counts of a fixed piece of work, by valgrind: unlike times they do not depend on the machine's load, so CI can compare
//! them with accepted counts.

use std::{collections::BTreeMap, fs, hint::black_box, process::Command};

use anyhow::{Context, ensure};
use weir_analytics::{Block, Partition};

use crate::{
    engine::{Batch, Shape, Stage1, generator, settings},
    process::Process,
};

/// By how much a count may exceed the accepted one. Compilers are pinned (rust-toolchain.toml); what is left is the C library's
/// choice of `memcpy` and its like by processor.
const TOLERANCE: f64 = 0.05;
const ACCEPTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results/instructions.json");
/// Events before counting begins, and events counted.
const BEFORE: u64 = 60_000;
const EVENTS: u64 = 60_000;

/// Instructions by stage, for all that it was given.
type Counts = BTreeMap<String, u64>;

/// Counts, and compares with the accepted counts; with `accept`, stores them. Returns whether all are within the limit.
pub(crate) fn check(accept: bool) -> anyhow::Result<bool> {
    if cfg!(not(target_arch = "x86_64")) {
        println!("skipped: the accepted counts are those of x86_64");
        return Ok(true);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: no valgrind here (Debian: apt-get install valgrind)");
        return Ok(true);
    }
    let found = count()?;
    if accept {
        fs::write(ACCEPTED, serde_json::to_string_pretty(&found)? + "\n")?;
    }
    let text = fs::read_to_string(ACCEPTED)
        .context("nothing accepted yet: cargo xtask bench --instructions --accept")?;
    let accepted: Counts = serde_json::from_str(&text)?;
    let mut good = true;
    for (stage, accepted) in &accepted {
        let found = *found.get(stage).with_context(|| format!("stage {stage} was not counted"))?;
        let more = found as f64 / *accepted as f64 - 1.0;
        println!("{stage:<20} {found:>12} instructions, accepted {accepted:>12} ({:+.1} %)", more * 100.0);
        good &= more <= TOLERANCE;
    }
    if !good {
        println!(
            "more than {:.0} % above what was accepted. Where that is meant: cargo xtask bench --instructions --accept",
            TOLERANCE * 100.0
        );
    }
    Ok(good)
}

/// Runs [`work`] under callgrind, which counts inside the functions below only.
fn count() -> anyhow::Result<Counts> {
    let file = tempfile::NamedTempFile::new()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["-q", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*::counted_*"]);
    valgrind.arg(format!("--callgrind-out-file={}", file.path().display()));
    valgrind.arg(std::env::current_exe()?).args(["--child", "work"]);
    Process::start(&mut valgrind)?.finish()?;
    read(&fs::read_to_string(file.path())?)
}

/// Adds up what callgrind wrote of the functions below, with everything that they called. A function's lines follow its `fn=`:
/// `PLACE COST`, of which those after a `calls=` are a whole call's. A name is spelled out once and has a number from then on.
fn read(profile: &str) -> anyhow::Result<Counts> {
    let (mut stages, mut counts) = (BTreeMap::new(), Counts::new());
    let mut current: Option<String> = None;
    for line in profile.lines() {
        let function = ["fn=", "cfn="].iter().find_map(|key| line.strip_prefix(key));
        if let Some((number, name)) = function.and_then(|function| function.split_once(") "))
            && let Some((_, stage)) = name.split_once("::counted_")
        {
            stages.insert(number, stage.split(['\'', ':']).next().unwrap_or(stage).to_owned());
        }
        if let Some(function) = line.strip_prefix("fn=") {
            current = stages.get(function.split(')').next().unwrap_or_default()).cloned();
        } else if let Some(stage) = &current
            && line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
        {
            let cost: u64 =
                line.rsplit(' ').next().unwrap_or_default().parse().context("a cost that is no number")?;
            *counts.entry(stage.clone()).or_default() += cost;
        }
    }
    Ok(counts)
}

/// The work that is counted.
pub(crate) fn work() -> anyhow::Result<()> {
    let shape = Shape { rate: 600.0, users: 5_000, partitions: 1, ..Shape::default() };
    let mut generator = generator(&shape)?;
    let mut stage = Stage1::new(&shape);
    stage.process(&Batch::of(&mut generator, BEFORE, 1))?;
    let batch = Batch::of(&mut generator, EVENTS, 1);
    ensure!(counted_decode(&stage, &batch) == EVENTS as usize, "a simulated event is invalid");
    let blocks = counted_engine(&mut stage, &batch)?;
    let bytes = counted_block_encode(blocks)?;
    ensure!(counted_block_decode(&bytes)? > 0, "no block");
    let snapshot = counted_snapshot(&stage)?;
    ensure!(counted_restore(&shape, &snapshot)?.live() == stage.live(), "a restored state is another");
    drop((stage, generator));

    // The same events with and without ids, in windows so short that as many identities expire as are added.
    let short = Shape { slides: 6, ..shape };
    let (mut stage, batch) = warm(&short)?;
    ensure!(counted_short_windows(&mut stage, &batch)? > 0, "no block");
    let (mut stage, batch) = warm(&Shape { ids: true, ..short })?;
    let held = counted_short_windows_with_ids(&mut stage, &batch)?;
    ensure!(held > 80_000, "{held} identities are held");
    Ok(())
}

/// A state that has forgotten its first events, and events for it.
fn warm(shape: &Shape) -> anyhow::Result<(Stage1, Batch)> {
    let (mut generator, mut stage) = (generator(shape)?, Stage1::new(shape));
    stage.process(&Batch::of(&mut generator, 2 * BEFORE, 1))?;
    Ok((stage, Batch::of(&mut generator, EVENTS, 1)))
}

// Each is a function of its own in the binary, and more than a jump to another: callgrind must see where it begins and ends.

#[inline(never)]
fn counted_decode(stage: &Stage1, batch: &Batch) -> usize {
    black_box(stage.decode(batch))
}

#[inline(never)]
fn counted_engine(stage: &mut Stage1, batch: &Batch) -> anyhow::Result<Vec<Block>> {
    black_box(stage.read(batch))
}

#[inline(never)]
fn counted_short_windows(stage: &mut Stage1, batch: &Batch) -> anyhow::Result<usize> {
    Ok(black_box(stage.read(batch)?).len())
}

#[inline(never)]
fn counted_short_windows_with_ids(stage: &mut Stage1, batch: &Batch) -> anyhow::Result<usize> {
    black_box(stage.read(batch)?);
    Ok(stage.partitions[0].held_ids())
}

#[inline(never)]
fn counted_block_encode(blocks: Vec<Block>) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    for block in blocks {
        records.extend(block.encode()?);
    }
    Ok(records)
}

#[inline(never)]
fn counted_block_decode(records: &[Vec<u8>]) -> anyhow::Result<usize> {
    black_box(records.iter().map(|record| Ok(Block::decode(record)?.pages.len())).sum())
}

#[inline(never)]
fn counted_snapshot(stage: &Stage1) -> anyhow::Result<Vec<u8>> {
    black_box(Ok(stage.partitions[0].snapshot()?))
}

#[inline(never)]
fn counted_restore(shape: &Shape, snapshot: &[u8]) -> anyhow::Result<Partition> {
    black_box(Ok(Partition::restore(0, settings(shape), snapshot)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_stages_count_includes_its_callees() {
        let profile = "fn=(1) main\ncfn=(2) weir_bench::instructions::counted_decode\ncalls=1 5\n7 999\n\n\
                       fn=(2)\n5 10\n+1 2\ncfi=(4)\ncfn=(3) other\ncalls=3 -1\n* 300\nfe=(1)\n-2 1\n\nfn=(3)\n9 300\n";
        assert_eq!(read(profile).unwrap(), Counts::from([("decode".to_owned(), 313)]));
    }
}
