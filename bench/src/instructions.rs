//! Instructions that a fixed piece of work takes, counted by valgrind: the same on a busy machine and on a quiet one, which no
//! time is. So a step of CI can hold them against what was accepted.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

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

/// Per event, or per whole snapshot: whatever name a stage's function has.
type Counts = BTreeMap<String, u64>;

/// Counts, and compares with what is accepted; with `accept`, accepts. Whether nothing takes more than it may.
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

/// Runs [`work`] under callgrind, which counts inside the functions below only and writes a file whenever one ends.
fn count() -> anyhow::Result<Counts> {
    let folder = tempfile::tempdir()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "-q",
        "--tool=callgrind",
        "--collect-atstart=no",
        "--toggle-collect=*::counted_*",
        "--dump-after=*::counted_*",
    ]);
    valgrind.arg(format!("--callgrind-out-file={}", folder.path().join("counts").display()));
    valgrind.arg(std::env::current_exe()?).args(["--child", "work"]);
    Process::start(&mut valgrind)?.finish()?;
    let mut counts = Counts::new();
    for file in fs::read_dir(folder.path())? {
        counts.extend(read(&file?.path())?);
    }
    Ok(counts)
}

/// The stage that a file of callgrind's tells of, and its instructions; `None` for the one it writes at the end.
fn read(file: &Path) -> anyhow::Result<Option<(String, u64)>> {
    let text = fs::read_to_string(file)?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let Some((_, name)) = field("desc: Trigger: ").and_then(|trigger| trigger.split_once("counted_")) else {
        return Ok(None);
    };
    let total = field("summary: ").or_else(|| field("totals: ")).context("callgrind wrote no total")?;
    let stage = name.trim_end().trim_end_matches(|end: char| end == '\'' || end.is_ascii_digit());
    Ok(Some((stage.to_owned(), total.trim().parse()?)))
}

/// What is counted.
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
    Ok(())
}

// Each is a function of its own in the binary, or callgrind could not tell it from the rest.

#[inline(never)]
fn counted_decode(stage: &Stage1, batch: &Batch) -> usize {
    stage.decode(batch)
}

#[inline(never)]
fn counted_engine(stage: &mut Stage1, batch: &Batch) -> anyhow::Result<Vec<Block>> {
    stage.read(batch)
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
    records.iter().map(|record| Ok(Block::decode(record)?.pages.len())).sum()
}

#[inline(never)]
fn counted_snapshot(stage: &Stage1) -> anyhow::Result<Vec<u8>> {
    Ok(stage.partitions[0].snapshot()?)
}

#[inline(never)]
fn counted_restore(shape: &Shape, snapshot: &[u8]) -> anyhow::Result<Partition> {
    Ok(Partition::restore(0, settings(shape), snapshot)?)
}
