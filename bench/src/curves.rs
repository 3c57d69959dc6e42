//! How the cost of an event, memory and recovery scale. The engine alone: Kafka's share does not depend on these parameters.
//!
//! Each point is measured in a separate process, so that memory is independent.

use std::{fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};
use weir_analytics::Partition;

use crate::{
    engine::{Batch, SLIDE, Shape, Stage1, cpu_nanos, generator, resident, settings},
    machine::Machine,
    process::Process,
};

/// Events between two readings of the clock.
const BATCH: u64 = 50_000;
/// Batches measured, after those that bring everything into its steady state, and told as one: Linux may count a thread's time in
/// steps of 4 ms.
const MEASURED: u64 = 15;
/// How often each curve is gone through, by points in turn; of each point the run in the middle is told.
const ROUNDS: usize = 3;
/// How often a snapshot is taken and restored: told is the mean, for the same reason.
const REPEATED: u32 = 10;
/// Event time after which as much expires as comes: the longest silence inside a visit, and a little more. Seconds.
const STEADY: i64 = 2_000;

/// What is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curves {
    pub(crate) machine: Machine,
    pub(crate) curves: Vec<Curve>,
    /// State of several sizes, restored in a fresh process.
    pub(crate) states: Vec<Point>,
}

/// One thing varied, all else alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub(crate) varied: String,
    pub(crate) points: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) shape: Shape,
    /// CPU time of decoding, validation, counting, sealing and encoding blocks.
    pub(crate) ns_per_event: f64,
    /// CPU time of making an event with the generator.
    pub(crate) generator_ns_per_event: f64,
    /// (page, visitor) pairs, (page, visit) pairs and visits.
    pub(crate) live: usize,
    pub(crate) snapshot_bytes: usize,
    pub(crate) snapshot_ms: f64,
    pub(crate) restored: Option<Restored>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// CPU time.
    pub(crate) ms: f64,
    /// What a process grows by.
    pub(crate) memory_mib: f64,
}

/// All curves.
pub(crate) fn measure(quick: bool) -> anyhow::Result<Curves> {
    let machine = Machine::detect();
    let base = Shape { partitions: 1, ..Shape::default() };
    let many = Shape { users: 10_000, ..base };
    let plan: [(&str, Vec<Shape>); 5] = [
        ("size / slide", [30, 360, 3_600].map(|slides| Shape { slides, rate: 500.0, ..base }).into()),
        ("visitors", [1_000, 100_000, 1_000_000].map(|users| Shape { users, pages: 1_000, ..base }).into()),
        ("pages", [100, 10_000, 100_000].map(|pages| Shape { pages, ..many }).into()),
        ("partitions", [1, 6, 24].map(|partitions| Shape { partitions, ..many }).into()),
        ("out-of-orderness, s", [1, 30, 300].map(|s| Shape { out_of_orderness: s * 1_000, ..many }).into()),
    ];
    let folder = tempfile::tempdir()?;
    let mut curves = Vec::new();
    for (varied, shapes) in plan {
        let (shapes, rounds) = if quick { (&shapes[..1], 1) } else { (&shapes[..], ROUNDS) };
        let mut runs = vec![Vec::new(); shapes.len()];
        for _ in 0..rounds {
            for (shape, runs) in shapes.iter().zip(&mut runs) {
                runs.push(point(shape, folder.path())?);
            }
        }
        let points = runs.into_iter().map(middle).collect();
        curves.push(Curve { varied: varied.to_owned(), points });
    }
    let rates: &[f64] = if quick { &[30.0] } else { &[30.0, 300.0, 1_000.0, 3_000.0] };
    let mut states = Vec::new();
    for &rate in rates {
        let shape = Shape { users: 1_000_000, pages: 2_000, rate, ..base };
        let mut state = point(&shape, folder.path())?;
        // Each time in a fresh process, whose memory is fresh, too.
        let restore = |_| child("restore", &shape, folder.path());
        let runs = (0..REPEATED).map(restore).collect::<anyhow::Result<Vec<Restored>>>()?;
        let mean = |of: fn(&Restored) -> f64| runs.iter().map(of).sum::<f64>() / f64::from(REPEATED);
        state.restored = Some(Restored { ms: mean(|run| run.ms), memory_mib: mean(|run| run.memory_mib) });
        states.push(state);
    }
    Ok(Curves { machine, curves, states })
}

fn middle(mut runs: Vec<Point>) -> Point {
    runs.sort_by(|a, b| a.ns_per_event.total_cmp(&b.ns_per_event));
    runs.swap_remove(runs.len() / 2)
}

fn point(shape: &Shape, folder: &Path) -> anyhow::Result<Point> {
    let point: Point = child("point", shape, folder)?;
    eprintln!("  {shape:?}: {:.0} ns/event, {} live", point.ns_per_event, point.live);
    Ok(point)
}

/// This program again, with one thing to do.
fn child<T: for<'a> Deserialize<'a>>(task: &str, shape: &Shape, folder: &Path) -> anyhow::Result<T> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--child", task, "--shape", &serde_json::to_string(shape)?]).arg("--folder").arg(folder);
    let (_, printed) = Process::start(&mut command)?.finish()?;
    Ok(serde_json::from_str(&printed)?)
}

/// Brings a pipeline into its steady state, measures, and leaves its snapshots in the folder.
pub(crate) fn measure_point(shape: &Shape, folder: &Path) -> anyhow::Result<Point> {
    let mut generator = generator(shape)?;
    let mut stage = Stage1::new(shape);
    let steady = (shape.slides * SLIDE / 1_000 + 60).max(STEADY);
    let warm_up = (steady as f64 * shape.rate) as u64 / BATCH;
    for _ in 0..warm_up {
        stage.process(&Batch::of(&mut generator, BATCH, shape.partitions))?;
    }
    let (mut generating, mut counting) = (0, 0);
    for _ in 0..MEASURED {
        let begun = cpu_nanos()?;
        let batch = Batch::of(&mut generator, BATCH, shape.partitions);
        let made = cpu_nanos()?;
        stage.process(&batch)?;
        generating += made - begun;
        counting += cpu_nanos()? - made;
    }
    let per_event = |nanos: u64| nanos as f64 / (MEASURED * BATCH) as f64;
    let begun = cpu_nanos()?;
    let mut snapshots = stage.snapshots()?;
    for _ in 1..REPEATED {
        snapshots = stage.snapshots()?;
    }
    let snapshot_ms = (cpu_nanos()? - begun) as f64 / 1e6 / f64::from(REPEATED);
    for (number, snapshot) in snapshots.iter().enumerate() {
        fs::write(folder.join(format!("{number}.snapshot")), snapshot)?;
    }
    Ok(Point {
        shape: *shape,
        ns_per_event: per_event(counting),
        generator_ns_per_event: per_event(generating),
        live: stage.live(),
        snapshot_bytes: snapshots.iter().map(Vec::len).sum(),
        snapshot_ms,
        restored: None,
    })
}

/// Restores the snapshots that [`measure_point`] left.
pub(crate) fn measure_restore(shape: &Shape, folder: &Path) -> anyhow::Result<Restored> {
    let read = |number| fs::read(folder.join(format!("{number}.snapshot")));
    let snapshots = (0..shape.partitions).map(read).collect::<Result<Vec<_>, _>>()?;
    let (before, begun) = (resident()?, cpu_nanos()?);
    let restore = |(number, snapshot): (i32, &Vec<u8>)| Partition::restore(number, settings(shape), snapshot);
    let restored = (0..).zip(&snapshots).map(restore).collect::<Result<Vec<_>, _>>()?;
    let ms = (cpu_nanos()? - begun) as f64 / 1e6;
    let memory_mib = resident()? - before;
    drop(restored);
    Ok(Restored { ms, memory_mib })
}
