//! Golden bytes of stored formats: every release reads those of the previous one.
#![allow(clippy::unwrap_used)]

use weir_analytics::{Block, Definitions, Live, LiveRow, Merge, Partition, Settings, Verdict};
use weir_oracle::{Entry, Event, Kind, Window};

const SETTINGS: Settings = Settings {
    size: 60_000,
    slide: 10_000,
    out_of_orderness: 5_000,
    session_gap: 90_000,
    lanes: 1,
    top: 10,
    trending_half_life: 600_000,
    warm_up: 1,
    duplicate_slack: 60_000,
    page_limit: 100_000,
    definitions: Definitions::V1,
};
const ORACLE_SETTINGS: weir_oracle::Settings = weir_oracle::Settings {
    size: SETTINGS.size,
    slide: SETTINGS.slide,
    out_of_orderness: SETTINGS.out_of_orderness,
    session_gap: SETTINGS.session_gap,
    top: SETTINGS.top,
    trending_half_life: SETTINGS.trending_half_life,
    warm_up: SETTINGS.warm_up,
    duplicate_slack: 0,
    page_limit: None,
    visits_span_users: true,
};
const SNAPSHOT: &str = include_str!("golden/snapshot-1.hex");
/// The same with identities of some of the events.
const SNAPSHOT_WITH_IDS: &str = include_str!("golden/snapshot-2-ids.hex");
/// The same by the second version of the definitions: session ids are shared by users.
const SNAPSHOT_WITH_VISITORS: &str = include_str!("golden/snapshot-2-visitors.hex");
/// One record per line: of the windows before the snapshot, and of those after it.
const BLOCKS_BEFORE: &str = include_str!("golden/blocks-2-before.hex");
const BLOCKS_AFTER: &str = include_str!("golden/blocks-2-after.hex");
const LIVE: &str = include_str!("golden/live-1.hex");
/// Small, so that windows need several records.
const MAX_BYTES: usize = 250;
/// After all windows of the log, late enough for a run of windows without events.
const END: i64 = 1_001_200_000;

fn event(i: i64) -> Event {
    Event {
        user: format!("user-{}", i % 7),
        session: format!("session-{}", i % 3),
        kind: [Kind::View, Kind::Click, Kind::Purchase][i as usize % 3],
        page: format!("/page/{}", i * i % 11),
        timestamp: 1_000_000_000 + i * 4_321 - (i % 4) * 1_000,
        session_duration: (i % 5 == 0).then_some(12),
        event_id: None,
    }
}

/// Visitors on several pages, with sealed windows behind them, baselines, open slices and visits that have ended.
fn before() -> impl Iterator<Item = Event> {
    (0..60).map(event)
}

/// The events after the snapshot, with a page that starts trending.
fn after() -> impl Iterator<Item = Event> {
    let crowd = (0..40).map(|i| Event {
        user: format!("crowd-{}", i % 20),
        session: format!("crowd-{}", i % 20),
        kind: if i % 5 == 4 { Kind::AddToCart } else { Kind::View },
        page: "/caf\u{e9}".to_owned(),
        timestamp: 1_000_380_000 + i * 500,
        session_duration: None,
        event_id: None,
    });
    (60..90).map(event).chain(crowd)
}

/// Reads events; returns the records of the windows they seal.
fn read(partition: &mut Partition, events: impl Iterator<Item = Event>) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for event in events {
        partition.read(&(&event).into());
        records.extend(seal(partition));
    }
    records
}

fn seal(partition: &mut Partition) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| partition.seal(MAX_BYTES)).map(|part| part.record).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let pairs = hex.trim().as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn lines(records: &[Vec<u8>]) -> String {
    records.iter().map(|record| hex(record) + "\n").collect()
}

fn restored() -> Partition {
    Partition::restore(0, SETTINGS, &from_hex(SNAPSHOT)).unwrap()
}

#[test]
fn a_partition_writes_the_same_bytes() {
    let mut partition = Partition::new(0, SETTINGS);
    assert_eq!(lines(&read(&mut partition, before())), BLOCKS_BEFORE);
    assert_eq!(hex(&partition.snapshot().unwrap()), SNAPSHOT.trim());
    let mut blocks = read(&mut partition, after());
    assert_eq!(hex(&partition.live_snapshot(i64::MIN).unwrap().encode().unwrap()), LIVE.trim());
    partition.advance_watermark(END);
    blocks.extend(seal(&mut partition));
    assert_eq!(lines(&blocks), BLOCKS_AFTER);
}

#[test]
fn a_restored_stored_snapshot_continues_identically() {
    let mut partition = restored();
    assert_eq!(hex(&partition.snapshot().unwrap()), SNAPSHOT.trim());
    let mut blocks = read(&mut partition, after());
    assert_eq!(hex(&partition.live_snapshot(i64::MIN).unwrap().encode().unwrap()), LIVE.trim());
    partition.advance_watermark(END);
    blocks.extend(seal(&mut partition));
    assert_eq!(lines(&blocks), BLOCKS_AFTER);
}

/// What is expected is worked out by the oracle, which shares no code with the engine.
#[test]
fn stored_blocks_say_what_the_oracle_says() {
    let mut merge = Merge::new(SETTINGS, 1, None);
    let records: Vec<_> = BLOCKS_BEFORE.lines().chain(BLOCKS_AFTER.lines()).map(from_hex).collect();
    let mut blocks: Vec<Block> = Vec::new();
    for (offset, record) in (0..).zip(&records) {
        merge.read(record, offset).unwrap();
        let block = Block::decode(record).unwrap();
        match blocks.last_mut().filter(|last| last.more) {
            Some(last) => {
                last.pages.extend(block.pages);
                last.more = block.more;
            }
            None => blocks.push(block),
        }
    }
    assert!(records.len() > blocks.len() && blocks.iter().any(|block| block.site.users == 0));
    let log = before().chain(after()).map(Entry::Event).chain([Entry::AdvanceWatermark(END)]).collect();
    let expected = weir_oracle::compute(&[log], &ORACLE_SETTINGS).windows;
    let windows: Vec<Window> = merge
        .complete()
        .into_iter()
        .map(|result| {
            let pages = result.pages.into_iter().map(Into::into).collect();
            let sums = expected.iter().find(|window| window.end == result.end);
            Window { pages, ..result.top.into() }.with_sums(sums)
        })
        .collect();
    assert!(windows.iter().any(|window| !window.trending.is_empty()), "baselines are needed for something");
    weir_oracle::compare(&expected, &windows).unwrap();
}

#[test]
fn identities_are_stored_and_restored_with_the_same_bytes() {
    let with_id =
        |(i, event): (i32, Event)| Event { event_id: (i % 3 > 0).then(|| format!("id-{i}")), ..event };
    let events: Vec<Event> = (0..).zip(before()).map(with_id).collect();
    let mut partition = Partition::new(0, SETTINGS);
    assert_eq!(lines(&read(&mut partition, events.iter().cloned())), BLOCKS_BEFORE);
    assert_eq!(hex(&partition.snapshot().unwrap()), SNAPSHOT_WITH_IDS.trim());
    let mut partition = Partition::restore(0, SETTINGS, &from_hex(SNAPSHOT_WITH_IDS)).unwrap();
    assert_eq!(hex(&partition.snapshot().unwrap()), SNAPSHOT_WITH_IDS.trim());
    // All of those that are not late are held still, or the last bytes would say nothing.
    let newest = events.last().filter(|event| event.event_id.is_some()).unwrap();
    assert_eq!(partition.read(&newest.into()), Verdict::Duplicate);
    let held = partition.held_ids();
    assert!(held > 10, "{held}");
    // Once all have expired nothing of them is left: a release that knows no identities can read it.
    partition.advance_watermark(END);
    seal(&mut partition);
    assert_eq!((partition.held_ids(), partition.snapshot().unwrap()[0]), (0, 1));
}

#[test]
fn visitors_are_stored_and_restored_with_the_same_bytes() {
    let settings = Settings { definitions: Definitions::V2, ..SETTINGS };
    let by_users = weir_oracle::Settings { visits_span_users: false, ..ORACLE_SETTINGS };
    let mut partition = Partition::new(0, settings);
    read(&mut partition, before());
    assert_eq!(hex(&partition.snapshot().unwrap()), SNAPSHOT_WITH_VISITORS.trim());
    let mut restored = Partition::restore(0, settings, &from_hex(SNAPSHOT_WITH_VISITORS)).unwrap();
    assert_eq!(hex(&restored.snapshot().unwrap()), SNAPSHOT_WITH_VISITORS.trim());
    // Visits of both are continued: the same sums as of the log as a whole.
    let mut blocks = read(&mut restored, after());
    restored.advance_watermark(END);
    blocks.extend(seal(&mut restored));
    let log = before().chain(after()).map(Entry::Event).chain([Entry::AdvanceWatermark(END)]).collect();
    let expected = weir_oracle::compute(&[log], &by_users).windows;
    let visits = |row: &weir_oracle::Page| (row.page.clone(), row.visits, row.bounces, row.duration_sum_ms);
    let mut compared = 0;
    for block in blocks.iter().map(|record| Block::decode(record).unwrap()) {
        let rows = block.pages.iter().filter(|row| row.sums.users > 0);
        let found = rows.map(|row| {
            let weir_analytics::Sums { visits, bounces, duration, .. } = row.sums;
            (row.url.clone(), i64::from(visits), i64::from(bounces), duration)
        });
        let window = expected.iter().find(|window| window.end == block.end);
        let expected: Vec<_> =
            window.map(|window| window.pages.iter().map(visits).collect()).unwrap_or_default();
        for row in found {
            assert!(expected.contains(&row), "{row:?} of {expected:?}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn stored_live_values_are_read() {
    let live = Live::decode(&from_hex(LIVE)).unwrap();
    assert_eq!((live.partition, live.start, live.end), (Some(0), 1_000_340_000, 1_000_400_000));
    assert_eq!((live.as_of, live.earliest), (1_000_399_500, Some(1_000_340_000)));
    let row = |url: &str, [views, clicks, carts, conversions]: [u64; 4], users| LiveRow {
        url: url.to_owned(),
        views,
        clicks,
        carts,
        conversions,
        users,
    };
    assert_eq!(live.site, row("", [35, 3, 8, 4], 27));
    let pages = [
        row("/caf\u{e9}", [32, 0, 8, 0], 20),
        row("/page/5", [2, 0, 0, 0], 2),
        row("/page/1", [1, 0, 0, 1], 2),
        row("/page/0", [0, 1, 0, 0], 1),
        row("/page/3", [0, 1, 0, 1], 2),
        row("/page/4", [0, 0, 0, 1], 1),
        row("/page/9", [0, 1, 0, 1], 2),
    ];
    assert_eq!(live.pages, pages);
}
