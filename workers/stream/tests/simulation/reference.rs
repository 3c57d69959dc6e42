//! What must come out: the engine alone over the log, without a loop around it; and the oracle.

use std::collections::BTreeMap;

use weir_analytics::{Merge, Partition, Verdict};
use weir_events::{EventType, encode_page_analytics, encode_top_pages};
use weir_oracle::{Entry, Kind};

use crate::{crew::Plan, log::Sent};

/// Each partition's watermarks that were raised before the record at an offset was read.
pub type Raises = Vec<Vec<(i64, i64)>>;
/// Records by window end and page; no page: the ranking.
pub type Bytes = BTreeMap<(i64, Option<String>), Vec<u8>>;

/// What the engine makes of the log: its results, and how many events were late.
pub fn engine(plan: &Plan, log: &[Vec<Sent>], raises: &Raises) -> (Bytes, u64) {
    let mut merges: Vec<Merge> =
        (0..plan.settings.lanes).map(|_| Merge::new(plan.settings, plan.partitions, None)).collect();
    let (mut bytes, mut late) = (Bytes::new(), 0);
    for ((number, log), raises) in (0..).zip(log).zip(raises) {
        let mut partition = Partition::new(number, plan.settings);
        let mut raises = raises.iter().peekable();
        for (offset, sent) in (0..).zip(log) {
            while let Some((_, watermark)) = raises.next_if(|(at, _)| *at <= offset) {
                partition.raise(*watermark);
            }
            if let Some(event) = &sent.event {
                late += u64::from(partition.read(&event.record()) == Verdict::Late);
            }
        }
        raises.for_each(|(_, watermark)| partition.raise(*watermark));
        for block in partition.take_blocks() {
            merges[plan.settings.lane(block.end) as usize].add(block, 0);
        }
    }
    for result in merges.iter_mut().flat_map(Merge::complete) {
        bytes.insert((result.end, None), encode_top_pages(&result.top));
        for page in &result.pages {
            bytes.insert((result.end, Some(page.page_url.clone())), encode_page_analytics(page));
        }
    }
    (bytes, late)
}

/// What the oracle makes of it.
pub fn oracle(plan: &Plan, log: &[Vec<Sent>], raises: &Raises) -> weir_oracle::Outcome {
    let s = &plan.settings;
    let settings = weir_oracle::Settings {
        size: s.size,
        slide: s.slide,
        out_of_orderness: s.out_of_orderness,
        session_gap: s.session_gap,
        top: s.top,
        trending_half_life: s.trending_half_life,
        warm_up: s.warm_up,
    };
    let entries = |(log, raises): (&Vec<Sent>, &Vec<(i64, i64)>)| {
        let mut raises = raises.iter().peekable();
        let mut entries = Vec::new();
        for (offset, sent) in (0..).zip(log) {
            while let Some((_, watermark)) = raises.next_if(|(at, _)| *at <= offset) {
                entries.push(Entry::RaiseWatermark(*watermark));
            }
            entries.extend(sent.event.as_ref().map(|event| {
                Entry::Event(weir_oracle::Event {
                    user: event.user.clone(),
                    session: event.session.clone(),
                    kind: match event.kind {
                        EventType::View => Kind::View,
                        EventType::Click => Kind::Click,
                        EventType::AddToCart => Kind::AddToCart,
                        EventType::Purchase => Kind::Purchase,
                        EventType::Search => Kind::Search,
                    },
                    page: event.page.clone(),
                    timestamp: event.timestamp,
                    session_duration: event.duration,
                })
            }));
        }
        entries.extend(raises.map(|(_, watermark)| Entry::RaiseWatermark(*watermark)));
        entries
    };
    let entries: Vec<Vec<Entry>> = log.iter().zip(raises).map(entries).collect();
    weir_oracle::compute(&entries, &settings)
}
