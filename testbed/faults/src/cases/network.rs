//! Faults of the network between processors and brokers. Between brokers everything passes.

use std::{thread, time::Duration};

use crate::{pipeline::TestPipeline, proxy::Link};

const APART: Duration = Duration::from_secs(20);
const DELAY: Duration = Duration::from_millis(100);
/// Windows to be sealed while the network is slow.
const SLOW_WINDOWS: u32 = 15;

/// F7: nothing passes, then only requests, then connections are refused.
pub(super) fn apart(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    for (link, what) in [
        (Link::Silent, "nothing passed"),
        (Link::OneWay, "no responses passed"),
        (Link::Refused, "connections were refused"),
    ] {
        pipeline.cluster.proxy.set_link(link);
        thread::sleep(APART);
        pipeline.cluster.proxy.set_link(Link::Whole);
        pipeline.await_progress(what)?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}

/// F8.
pub(super) fn slow(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    pipeline.cluster.proxy.set_link(Link::Slow(DELAY));
    for _ in 0..SLOW_WINDOWS {
        pipeline.await_progress("slow")?;
        pipeline.outcome.repetitions += 1;
    }
    pipeline.cluster.proxy.set_link(Link::Whole);
    Ok(())
}
