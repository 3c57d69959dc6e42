//! Where the pipeline stands: read from what its processors committed beside their offsets.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use weir_spec::Pipeline;
use weir_stream::{
    kafka::{Lookup, Options},
    log::{Committed, Error},
    windows,
};

use crate::{Gateway, Standing};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Looks again and again until `stop`. What cannot be seen now stays as it was.
pub(super) fn watch(gateway: &Gateway, pipeline: &Pipeline, brokers: &str, stop: &AtomicBool) {
    let group = format!("{}.windows", pipeline.metadata.name);
    let mut options = Options::new(brokers, &group, pipeline.events_topic(), "");
    options.client_id = "weir-serve".to_owned();
    // Whether the transaction is through that carries them makes no difference to what is only shown.
    options.extra.push(("isolation.level".to_owned(), "read_uncommitted".to_owned()));
    let mut lookup = None;
    while !stop.load(Ordering::SeqCst) {
        match look(&mut lookup, &options) {
            Ok(standings) => gateway.stand(standings),
            Err(error) => tracing::debug!(%error, "the group's offsets cannot be seen now"),
        }
        thread::sleep(LOOK);
    }
}

fn look(lookup: &mut Option<Lookup>, options: &Options) -> Result<Vec<Standing>, Error> {
    let lookup = match lookup {
        Some(lookup) => lookup,
        None => lookup.insert(Lookup::connect(options)?),
    };
    let committed = lookup.committed()?;
    let mut standings = Vec::with_capacity(committed.len());
    for (committed, partition) in committed.iter().zip(0..) {
        if let Some(committed) = committed {
            standings.extend(standing(partition, committed, lookup.end(partition)?));
        }
    }
    Ok(standings)
}

/// What a commit of stage 1 says; `None` if it is not of this version. `end` is the offset after the partition's last record.
pub fn standing(partition: i32, committed: &Committed, end: i64) -> Option<Standing> {
    let said: windows::Standing = serde_json::from_str(&committed.metadata).ok()?;
    Some(Standing {
        partition,
        watermark: said.watermark,
        sealed: said.sealed,
        idle: said.idle,
        lag: (end - committed.offset).max(0),
        read: said.read,
        counted: said.counted,
        late: said.late,
        dead_letters: said.dead,
        partly_late: said.partly_late,
        not_whole: said.not_whole,
        misplaced: said.misplaced,
        ended: said.ended,
    })
}
