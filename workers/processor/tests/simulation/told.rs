//! What all generations together have told: each window once, by one of them, as the oracle computes it from the whole log.

use std::collections::BTreeMap;

use weir_events::{decode_page_analytics, decode_top_pages};
use weir_log::{Committed, PartitionProgress};
use weir_oracle::Window;

use crate::{
    expected,
    setup::{RESULTS, Setup, TOP_PAGES},
    simulation::Simulation,
    visitors::Written,
};

/// What a generation has read, and which windows are its own.
pub struct Part {
    /// The records that it read: the log without what was deleted before it began.
    pub log: Vec<Written>,
    /// The end up to which each partition tells no window.
    pub told_after: Vec<Option<i64>>,
    /// The end up to which the generation tells no window, and that of its last one; `None`: it is the newest.
    pub after: Option<i64>,
    pub until: Option<i64>,
}

impl Part {
    /// By its commits and the recorded cuts.
    pub fn of(simulation: &Simulation, setup: &Setup) -> Self {
        let committed = simulation.committed(setup, 0).unwrap();
        let progress: Vec<PartitionProgress> = committed.iter().map(progress).collect();
        let visitors = simulation.visitors.borrow();
        let mut log = Vec::new();
        for ((partition, committed), progress) in (0..).zip(&committed).zip(&progress) {
            let end = committed.as_ref().map_or(0, |committed| committed.offset);
            let own = || visitors.log.iter().filter(move |record| record.partition == partition);
            let before = own().filter(|record| record.offset < end).count();
            // What it did not read of those before its commit was deleted.
            log.extend(own().skip(before - progress.read as usize).cloned());
        }
        log.sort_by_key(|record| (record.timestamp, record.partition, record.offset));
        let told_after: Vec<Option<i64>> = progress.iter().map(|progress| progress.told_after).collect();
        let cuts = simulation.cuts();
        let until = cuts.get(&(setup.generation + 1)).copied().flatten();
        Self { log, after: told_after.iter().copied().max().flatten().max(setup.cut), told_after, until }
    }

    /// Whether a window is its own.
    fn tells(&self, end: i64) -> bool {
        Some(end) > self.after && self.until.is_none_or(|until| end <= until)
    }
}

fn progress(committed: &Option<Committed>) -> PartitionProgress {
    let read = |committed: &Committed| serde_json::from_str(&committed.metadata).unwrap();
    committed.as_ref().map(read).unwrap_or_default()
}

/// Compares all windows that were told. Returns the number of windows, and of those that some generation left out.
pub fn check(simulation: &Simulation) -> Result<(usize, usize), String> {
    let cuts = simulation.cuts();
    let visitors = simulation.visitors.borrow();
    let (mut expected, mut left_out) = (Vec::new(), 0);
    for setup in simulation.generations.borrow().iter() {
        let setup = setup.after(cuts[&setup.generation]);
        let part = Part::of(simulation, &setup);
        let advances = simulation.advances.borrow().get(&setup.generation).cloned().unwrap_or_default();
        let advances: Vec<_> = advances.into_iter().collect();
        // What was deleted before the first one read it is in no window.
        let whole = if setup.generation == 1 { &part.log } else { &visitors.log };
        let whole = expected::by_oracle(&setup, whole, &advances).windows;
        let sealed = |end: i64| Some(end) > setup.cut && part.until.is_none_or(|until| end <= until);
        left_out += whole.iter().filter(|window| sealed(window.end) && !part.tells(window.end)).count();
        let mut own: Vec<Window> = whole.into_iter().filter(|window| part.tells(window.end)).collect();
        if part.log.len() < visitors.log.len() {
            // Trends begin where the events begin that are there.
            let there = expected::by_oracle(&setup, &part.log, &advances).windows;
            let there: BTreeMap<i64, Window> = there.into_iter().map(|window| (window.end, window)).collect();
            for window in &mut own {
                if let Some(there) = there.get(&window.end) {
                    (window.warming_up, window.trending) = (there.warming_up, there.trending.clone());
                }
            }
        }
        expected.extend(own);
    }
    let told = told(simulation, &expected)?;
    weir_oracle::compare(&expected, &told)
        .map_err(|why| format!("cuts are {cuts:?}, windows of all generations: {why}"))?;
    Ok((told.len(), left_out))
}

/// All windows in the results, in the order of their ends, which is that of the generations.
fn told(simulation: &Simulation, expected: &[Window]) -> Result<Vec<Window>, String> {
    let mut rows: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    for partition in 0..simulation.setup.result_partitions {
        for record in simulation.broker.records(RESULTS, partition) {
            let row = decode_page_analytics(&record.value.unwrap()).unwrap();
            rows.entry(row.window_end).or_default().push(row);
        }
    }
    let mut windows = BTreeMap::new();
    for record in simulation.broker.records(TOP_PAGES, 0) {
        let mut window: Window = decode_top_pages(&record.value.unwrap()).unwrap().into();
        let own = rows.remove(&window.end).unwrap_or_default();
        if own.iter().any(|row| row.window_start != window.start) {
            return Err(format!(
                "rows and ranking of the window that ends at {} differ in its start",
                window.end
            ));
        }
        window.pages = own.into_iter().map(Into::into).collect();
        window.pages.sort_by(|a: &weir_oracle::Page, b| a.page.cmp(&b.page));
        let sums = expected.iter().find(|expected| expected.end == window.end);
        if windows.insert(window.end, window.with_sums(sums)).is_some() {
            return Err("a window has two rankings".to_owned());
        }
    }
    if !rows.is_empty() {
        return Err(format!("rows without a ranking: {:?}", rows.keys()));
    }
    Ok(windows.into_values().collect())
}
