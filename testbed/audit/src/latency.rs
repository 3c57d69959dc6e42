//! How long after its seal a window's result can be read, and how far processing is behind, while a pipeline runs.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weir_events::{Decoder, decode_top_pages};
use weir_kafka::{Connection, MemberOptions, Reader, Start, TopicInspector};
use weir_log::Error;

use crate::{Audit, settings};

/// The measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// Per window: from the moment the broker stored the event that sealed it (in the last partition
    /// to do so) to the moment a reader of committed records had its ranking.
    pub delays: Delays,
    /// Events that were stored but not committed as processed, sampled once a second, in ascending order.
    pub lags: Vec<i64>,
}

/// Durations in milliseconds, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delays(Vec<i64>);

impl Delays {
    pub(crate) fn new(mut delays: Vec<i64>) -> Self {
        delays.sort_unstable();
        Self(delays)
    }

    /// The number of delays.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The delay that a share of them does not exceed.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<i64> {
        let last = self.0.len().checked_sub(1)?;
        self.0.get((last as f64 * share).round() as usize).copied()
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| self.percentile(share).unwrap_or_default());
        write!(f, "p50 {p50} ms, p95 {p95} ms, p99 {p99} ms of {}", self.count())
    }
}

impl Audit {
    /// Measures for `time`. Reader, processes and broker must share a clock.
    ///
    /// # Errors
    /// The topics cannot be read.
    pub fn latency(&self, brokers: &str, time: Duration) -> anyhow::Result<Latency> {
        let group = self.pipeline.windows_group();
        let progress = TopicInspector::connect(&MemberOptions::new(
            brokers,
            &group,
            self.pipeline.events_topic(),
            "audit",
        ))?;
        let options = Connection::new(brokers, "weir-audit");
        let mut reader = Reader::follow(&options, &[self.pipeline.top_pages_topic()], Start::End)?;
        let (begun, mut sampled) = (Instant::now(), Instant::now());
        let (mut arrivals, mut lags) = (BTreeMap::new(), Vec::new());
        while begun.elapsed() < time {
            reader.poll(1_000, Duration::from_millis(5), &mut |_, record| {
                let now =
                    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
                if let Ok(top) = decode_top_pages(record.value.unwrap_or_default()) {
                    arrivals.insert(top.window_end, now);
                }
            })?;
            if sampled.elapsed() >= Duration::from_secs(1) {
                sampled = Instant::now();
                lags.extend(lag(&progress)?);
            }
        }
        let seals = self.seals(arrivals.keys().copied().collect())?;
        let delays = arrivals.iter().filter_map(|(end, arrival)| Some(arrival - seals.get(end)?));
        lags.sort_unstable();
        Ok(Latency { delays: Delays::new(delays.collect()), lags })
    }

    /// When each window was sealed by the last partition, by the broker's clock.
    fn seals(&self, ends: Vec<i64>) -> anyhow::Result<BTreeMap<i64, i64>> {
        let (decoder, bound) = (Decoder::new(), settings(&self.pipeline).out_of_orderness);
        let mut seals: BTreeMap<i64, i64> = BTreeMap::new();
        for partition in 0..self.pipeline.spec.topics.events.partitions {
            let mut open = ends.iter().copied().peekable();
            self.read(self.pipeline.events_topic(), partition, &mut |record| {
                let Ok(event) = decoder.decode(record.value.unwrap_or_default()) else { return };
                while let Some(end) = open.next_if(|end| *end <= event.timestamp - bound) {
                    let seal = seals.entry(end).or_insert(record.timestamp);
                    *seal = record.timestamp.max(*seal);
                }
            })?;
        }
        Ok(seals)
    }
}

fn lag(progress: &TopicInspector) -> anyhow::Result<Option<i64>> {
    let committed = match progress.committed() {
        Err(Error::Retry(_)) => return Ok(None),
        committed => committed?,
    };
    let mut lag = 0;
    for (partition, committed) in (0..).zip(committed) {
        let from = match committed {
            Some(committed) => committed.offset,
            None => progress.beginning(partition)?,
        };
        lag += (progress.end(partition)? - from).max(0);
    }
    Ok(Some(lag))
}
