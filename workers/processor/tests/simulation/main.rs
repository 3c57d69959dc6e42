//! The pipeline on the in-memory log under faults: a seed determines the settings, the log, the processes, their order and
//! the faults. In every case the committed results are those of a run without faults.
//!
//! `WEIR_SIM_SEEDS=N` runs N seeds, from `WEIR_SIM_FIRST` or 0 on; `WEIR_SIM_SEED=S` runs only seed S, and prints a trace with
//! `-- --nocapture`; with `WEIR_SIM_ONLY=3,7-9` only these of its actions take place. Failures are printed with as few actions as
//! they need.
#![allow(clippy::unwrap_used)]

mod case;
mod dice;
mod expected;
mod faulty_member;
mod found;
mod generations;
mod idle;
mod planted;
mod process;
mod setup;
mod simulation;
mod takeover;
mod tally;
mod told;
mod trouble;
mod visitors;

use std::{
    collections::BTreeSet,
    rc::Rc,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use case::Case;
use expected::{Counts, Judged};
use found::WatermarkAdvance;
use planted::Planted;
use setup::Setup;
use simulation::Simulation;
use tally::Tally;
use told::Part;
use visitors::Written;
use weir_log::PartitionProgress;
use weir_processor::windows::EndOfLog;

/// Default number of seeds.
const SEEDS: u64 = 4_000;
const THREADS: usize = 2;
/// Number of seeds from which on every kind of incident must occur.
const MIN_SEEDS_FOR_COVERAGE: u64 = 500;
/// Maximum number of failures printed.
const MAX_FAILURES_PRINTED: usize = 10;
/// Maximum number of failures that are made smaller.
const MAX_SHRUNK: usize = 3;

/// Incidents that must occur at least once.
const EXPECTED: [&str; 49] = [
    "starts",
    "leaves",
    "crashes between steps",
    "crashes within a step",
    "crashes after a commit",
    "stalls between steps",
    "stalls within a step",
    "stalls after a commit",
    "successors of the living",
    "zombies told to stop",
    "assignments",
    "partitions revoked",
    "partitions lost",
    "commits",
    "commits lost",
    "commits unknown",
    "commits late",
    "markers late",
    "commits without answer",
    "commits refused",
    "commits sent twice",
    "commits that hang",
    "transactions begun twice",
    "restarts that hang",
    "late requests amid a transaction",
    "held commits let go",
    "outages",
    "outages within a step",
    "steps put off",
    "clock jumps",
    "compactions",
    "idle decisions amid the log",
    "trends",
    "partly late",
    "duplicates",
    "quiet phases",
    "transactions of producers",
    "misplaced",
    "windows sealed by the clock",
    "logs compared with an undisturbed process",
    "generations declared",
    "settings changed back",
    "take-overs begun",
    "cuts recorded",
    "superseded processes left",
    "refused processes",
    "events deleted that a generation needs",
    "windows left out after events were deleted",
    "windows told after some were left out",
];

#[test]
fn results_are_those_of_an_undisturbed_run() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds = match number("WEIR_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("WEIR_SIM_FIRST").unwrap_or(0);
            first..first + number("WEIR_SIM_SEEDS").unwrap_or(SEEDS)
        }
    };
    let only = std::env::var("WEIR_SIM_ONLY").ok().map(|text| case::numbers(&text));
    let (next, all) = (AtomicU64::new(seeds.start), Mutex::new((Tally::default(), Vec::new())));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let case = Case { only: only.clone(), ..Case::seed(seed) };
                    let outcome = case.attempt(seeds.end - seeds.start == 1).1;
                    let mut all = all.lock().unwrap();
                    match outcome {
                        Ok(tally) => all.0.include(&tally),
                        Err(why) => all.1.push((seed, why)),
                    }
                }
            });
        }
    });
    let (tally, mut failures) = all.into_inner().unwrap();
    println!("over {} seeds:\n{tally}", seeds.end - seeds.start);
    failures.sort();
    for (place, (seed, why)) in failures.iter().take(MAX_FAILURES_PRINTED).enumerate() {
        let again = |case: &Case| format!("  {case} cargo test -p weir-processor --test simulation");
        println!("seed {seed}: {why}\n{}", again(&Case::seed(*seed)));
        if place < MAX_SHRUNK && only.is_none() {
            let (small, why) = Case::seed(*seed).shrunk();
            println!("with fewer actions: {why}\n{}", again(&small));
        }
    }
    assert!(failures.is_empty(), "{} of {} seeds failed", failures.len(), seeds.end - seeds.start);
    if seeds.end - seeds.start >= MIN_SEEDS_FOR_COVERAGE {
        for what in EXPECTED {
            assert!(tally.of(what) > 0, "no {what} in all seeds: the simulation covers too little");
        }
    }
}

/// Each bug, the number of seeds among which it must be found, and words of what is found. "Not quiet": processing stops, as the journal and
/// the commits contradict each other.
const PLANTED: [(Planted, u64, &[&str]); 11] = [
    (Planted::OffsetsOutside, 200, &["not quiet", "twice"]),
    (Planted::CommitAfterRevoke, 400, &["twice", "was at"]),
    (Planted::ReusedProducer, 400, &["twice"]),
    (Planted::NoFreshProducer, 800, &["twice"]),
    (Planted::SnapshotBeforeData, 200, &["not quiet"]),
    (Planted::WallClockIdleness, 200, &["should not be there", "late are", "too many"]),
    (Planted::IdsInMemory, 400, &["should be", "duplicates are"]),
    (Planted::WatermarkPassesClock, 200, &["decided", "before its time"]),
    (Planted::EarlyGeneration, 200, &["has not ended"]),
    (Planted::HeldBackIsTheEnd, 200, &["held the partition back"]),
    (Planted::PositionAfterLastRecord, 400, &["committed Some"]),
];

/// The first case in which a planted bug is found, and how.
fn found_by(planted: Planted, seeds: u64) -> (Case, String) {
    let case = |seed| Case { planted: Some(planted), ..Case::seed(seed) };
    let found = (0..seeds).find_map(|seed| Some((case(seed), case(seed).attempt(false).1.err()?)));
    found.unwrap_or_else(|| panic!("{planted:?} is not found in {seeds} seeds"))
}

#[test]
fn planted_bugs_are_found() {
    for (planted, seeds, words) in PLANTED {
        let (case, why) = found_by(planted, seeds);
        let line = format!("{planted:?}, seed {}: {why:.200}", case.seed);
        println!("{line}");
        assert!(words.iter().any(|word| why.contains(word)), "{line}");
    }
}

#[test]
fn failures_are_made_small() {
    let (case, _) = found_by(Planted::CommitAfterRevoke, 400);
    let (actions, _) = case.attempt(false);
    let (small, why) = case.shrunk();
    println!("of {actions} actions are left: {small}: {why:.200}");
    assert_eq!(small.attempt(false).1, Err(why));
    let only = small.only.clone().unwrap();
    assert!(only.len() * 4 < actions as usize, "{} of {actions} actions are left", only.len());
    let text = small.to_string();
    assert_eq!(case::numbers(text.split_once("ONLY=").unwrap().1), only);
}

#[test]
fn a_seed_determines_everything() {
    for seed in 0..40 {
        let [first, second] = [0, 1].map(|_| Case::seed(seed).attempt(false).1.unwrap());
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Runs a simulation, then checks everything.
fn run(simulation: &Rc<Simulation>) -> Result<Tally, String> {
    simulation.run()?;
    simulation.check_all_ended()?;
    let number = simulation.newest();
    let setup = &simulation.generation(number).after(simulation.cuts()[&number]);
    let (told, left_out) = told::check(simulation)?;
    let part = Part::of(simulation, setup);
    let visitors = simulation.visitors.borrow();
    let log = &part.log;
    let advances: Vec<WatermarkAdvance> =
        simulation.advances.borrow().get(&number).into_iter().flatten().copied().collect();
    let end = |partition| {
        let of = log.iter().filter(|record| record.partition == partition);
        of.map(|record| record.offset + 1).max().unwrap_or_default()
    };
    let mid_log = advances.iter().filter(|advance| advance.offset < end(advance.partition)).count();

    let found = found::output(&simulation.broker, setup)?;
    let mut expected = expected::by_engine(setup, log, &advances);
    expected.tell_after(&part.told_after, part.after);
    check_advances(simulation, setup, &advances, &expected.duplicates)?;
    expected.output.compare(&found)?;
    check_counts(simulation, setup, log, &expected.counts)?;
    let judged = expected::check_by_oracle(setup, log, &advances, &found, part.after)?;
    check_partly_late(simulation, setup, &judged)?;
    if setup.until_end
        && simulation
            .finished
            .borrow()
            .iter()
            .any(|finished| finished.map(EndOfLog::last_window_end) != Some(judged.last_end))
    {
        return Err(format!(
            "the last window ends at {:?}, processes report {:?}",
            judged.last_end,
            simulation.finished.borrow()
        ));
    }
    if number == 1 && mid_log == 0 && !setup.has_transactions && !log.is_empty() {
        // Without watermark advances in the middle of the log every run gives the same results.
        let undisturbed = expected::by_one_process(setup, log)?;
        found::same("rows of an undisturbed run", &undisturbed.rows, &found.rows)?;
        found::same("rankings of an undisturbed run", &undisturbed.rankings, &found.rankings)?;
        found::same("dead letters of an undisturbed run", &undisturbed.dead_letters, &found.dead_letters)?;
        simulation.note("logs compared with an undisturbed process");
    }
    let mut tally = simulation.tally.take();
    tally.add("records", log.len() as u64);
    tally.add("dead letters", found.dead_letters.len() as u64);
    tally.add("windows", told as u64);
    tally.add("windows left out after events were deleted", left_out as u64);
    if number > 1 {
        tally.add("generations begun", u64::from(number) - 1);
        tally.add("windows told in runs with generations", told as u64);
    }
    if setup.cut.is_some() && part.after > setup.cut && judged.windows > 0 {
        tally.add("windows told after some were left out", judged.windows as u64);
    }
    tally.add("windows that are not whole", judged.not_whole.len() as u64);
    tally.add("transactions of producers", visitors.held_back.len() as u64);
    tally.add(
        "misplaced",
        (0..setup.inputs).map(|p| visitors::misplaced(&visitors.log, p, setup.inputs)).sum(),
    );
    let by_the_clock = setup.is_live && !setup.until_end;
    tally.add("windows sealed by the clock", if by_the_clock { advances.len() as u64 } else { 0 });
    tally.add("partly late", judged.partly_late.iter().sum());
    tally.add("duplicates", judged.duplicates.iter().sum());
    tally.add("rows", found.rows.len() as u64);
    tally.add("trends", judged.trends as u64);
    tally.add("idle decisions", advances.len() as u64);
    tally.add("idle decisions amid the log", mid_log as u64);
    Ok(tally)
}

/// Each watermark advance was logged once, changed something, and waited for the idle timeout.
///
/// A process that stalled within a step uses an outdated clock, and may be too early.
fn check_advances(
    simulation: &Simulation,
    setup: &Setup,
    advances: &[WatermarkAdvance],
    duplicates: &BTreeSet<(i32, i64)>,
) -> Result<(), String> {
    for pair in advances.windows(2).filter(|pair| pair[0].partition == pair[1].partition) {
        if pair[0].watermark >= pair[1].watermark || pair[0].offset > pair[1].offset {
            return Err(format!("{:?} was followed by {:?}", pair[0], pair[1]));
        }
    }
    if setup.until_end {
        return Ok(());
    }
    if simulation.count("stalls within a step") + simulation.count("stalls after a commit") > 0 {
        return Ok(());
    }
    let visitors = simulation.visitors.borrow();
    for &(partition, from, to) in &visitors.held_back {
        let held = |advance: &&WatermarkAdvance| {
            advance.partition == partition && (from + 1..to).contains(&advance.timestamp)
        };
        if let Some(advance) = advances.iter().find(held) {
            return Err(format!(
                "{advance:?} came while a transaction held the partition back, from {from} to {to}"
            ));
        }
    }
    for advance in advances {
        let sealed = advance.watermark.div_euclid(setup.settings.slide) * setup.settings.slide;
        if sealed + setup.settings.out_of_orderness > advance.timestamp {
            return Err(format!("{advance:?} sealed a window before its time"));
        }
        // Duplicates do not end a silence.
        let ends_silence = |r: &&Written| {
            r.partition == advance.partition
                && r.offset < advance.offset
                && !duplicates.contains(&(r.partition, r.offset))
        };
        let last = visitors.log.iter().rfind(ends_silence);
        if last.is_some_and(|last| advance.timestamp - last.timestamp < setup.idle_timeout) {
            return Err(format!("{advance:?} came before the partition was idle"));
        }
    }
    Ok(())
}

/// The committed progress has as many partly late events and duplicates as the oracle, and all windows that miss events.
fn check_partly_late(simulation: &Simulation, setup: &Setup, judged: &Judged) -> Result<(), String> {
    let committed = simulation.committed(setup, 0).unwrap();
    let progress: Vec<PartitionProgress> = committed
        .iter()
        .flatten()
        .map(|committed| serde_json::from_str(&committed.metadata).unwrap())
        .collect();
    let found: Vec<u64> = progress.iter().map(|partition| partition.partly_late).collect();
    if found != judged.partly_late {
        return Err(format!("partly late are {:?}, committed is {found:?}", judged.partly_late));
    }
    let found: Vec<u64> = progress.iter().map(|partition| partition.duplicates).collect();
    if found != judged.duplicates {
        return Err(format!("duplicates are {:?}, committed is {found:?}", judged.duplicates));
    }
    let is_reported = |end: &&i64| progress.iter().any(|partition| partition.not_whole.contains(**end));
    match judged.not_whole.iter().find(|end| !is_reported(end)) {
        Some(end) => Err(format!("the window that ends at {end} misses events, and is not reported")),
        None => Ok(()),
    }
}

/// The committed numbers of counted, late and dead records are the expected ones.
fn check_counts(
    simulation: &Simulation,
    setup: &Setup,
    log: &[Written],
    expected: &[Counts],
) -> Result<(), String> {
    let committed = simulation.committed(setup, 0).unwrap();
    for ((committed, &expected), partition) in committed.iter().zip(expected).zip(0..) {
        let progress = simulation::progress_of(committed);
        let figure = |name: &str| progress[name].as_u64().unwrap_or_default();
        let found = Counts {
            counted: figure("counted"),
            partly_late: figure("partly_late"),
            late: figure("late"),
            dead: figure("dead"),
            duplicates: figure("duplicates"),
        };
        let read = expected.counted + expected.late + expected.dead + expected.duplicates;
        let offset = committed.as_ref().map_or(0, |committed| committed.offset);
        let end = simulation.broker.end_offset(setup::EVENTS, partition).unwrap();
        let misplaced = visitors::misplaced(log, partition, setup.inputs);
        if found != expected || figure("read") != read || offset != end || figure("misplaced") != misplaced {
            return Err(format!("partition {partition}: read {read}, {expected:?}, committed {committed:?}"));
        }
    }
    Ok(())
}
