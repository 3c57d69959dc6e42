//! Commits that arrive late: librdkafka sends one again whose response it did not get, and the first one may still be under way
//! (KAFKA-17754). Delivered amid the producer's next transaction, it would commit a part of that one.

use std::{collections::BTreeMap, thread, time::Duration};

use rand::RngExt;

use crate::{pipeline::TestPipeline, proxy::Delayed};

const DELAYED_COMMITS: u32 = 100;
const PAUSES: u32 = 10;
/// Longer than a request's timeout (5 s), and than the cluster waits for a broker.
const PAUSE: Duration = Duration::from_secs(8);
const BREATH: Duration = Duration::from_secs(3);
/// What a broker answers to a commit of an older epoch: `INVALID_PRODUCER_EPOCH`, `PRODUCER_FENCED`.
const FENCED: [i16; 2] = [47, 90];

/// F4: a commit is held back until its producer, which has sent it again, has written the next transaction's outputs. Then it is
/// delivered, and the processor dies: what it had written must not be visible.
pub(super) fn delivered_late(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let wanted = pipeline.repetitions(DELAYED_COMMITS);
    let count = pipeline.processors.count();
    let mut answers: BTreeMap<i16, u32> = BTreeMap::new();
    let group = pipeline.document.windows_group();
    let ids: Vec<String> =
        (0..count).map(|number| format!("{group}.{}", pipeline.processors.name(number))).collect();
    while pipeline.outcome.repetitions < wanted {
        for id in &ids {
            if pipeline.cluster.proxy.delayed(id).is_none() {
                pipeline.cluster.proxy.delay_commit(id);
            }
        }
        let mut answered = Vec::new();
        pipeline.wait_until("a delayed commit is delivered", |pipeline| {
            pipeline.processors.restart_ended()?;
            for (number, id) in ids.iter().enumerate() {
                if let Some(Delayed::Answered(code)) = pipeline.cluster.proxy.delayed(id) {
                    answered.push((number, code));
                }
            }
            Ok(!answered.is_empty())
        })?;
        for (number, code) in answered {
            // Its offsets still wait in the proxy.
            pipeline.processors.kill(number)?;
            pipeline.cluster.proxy.release(&ids[number]);
            *answers.entry(code).or_default() += 1;
            pipeline.outcome.refused += u32::from(FENCED.contains(&code));
            pipeline.outcome.repetitions += 1;
        }
    }
    ids.iter().for_each(|id| pipeline.cluster.proxy.release(id));
    let fenced: u32 = FENCED.iter().filter_map(|code| answers.get(code)).sum();
    pipeline.outcome.note = format!("{fenced} of {} late commits fenced", pipeline.outcome.repetitions);
    println!("answers to late commits by code: {answers:?}");
    Ok(())
}

/// F4 as it happens by itself: the brokers are frozen in turn while commits are under way.
pub(super) fn paused_brokers(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let mut broker = 0;
    for _ in 0..pipeline.repetitions(PAUSES) {
        broker = (broker + pipeline.random.random_range(1..=2)) % pipeline.cluster.kafka.brokers().len();
        pipeline.cluster.kafka.broker(broker).pause()?;
        thread::sleep(PAUSE);
        pipeline.cluster.kafka.broker(broker).resume()?;
        thread::sleep(BREATH);
        pipeline.processors.restart_ended()?;
        pipeline.outcome.repetitions += 1;
    }
    Ok(())
}
