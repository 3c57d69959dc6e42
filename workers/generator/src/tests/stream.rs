#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use weir_events::{EventType, partition_of};

use super::*;
use crate::{Burst, Defect, Faults, Profile};

fn constant(events_per_second: f64) -> GeneratorOptions {
    GeneratorOptions { events_per_second, profile: Profile::Constant, ..GeneratorOptions::default() }
}

fn generator(options: &GeneratorOptions) -> Generator {
    Generator::new(options.clone()).unwrap()
}

/// One event, owned.
struct Seen {
    user: String,
    session: String,
    kind: EventType,
    page: String,
    product: Option<String>,
    timestamp: i64,
    referrer: Option<String>,
    duration: Option<i32>,
    under_way: bool,
}

/// Visits by session id, each in event-time order, of the first `n` events. Without disorder, or the last seconds would
/// have gaps.
fn visits(options: &GeneratorOptions, n: usize) -> HashMap<String, Vec<Seen>> {
    let mut generator = generator(&GeneratorOptions { out_of_orderness: 0, ..options.clone() });
    let mut visits: HashMap<String, Vec<Seen>> = HashMap::new();
    for _ in 0..n {
        let Arrival { event, under_way, .. } = generator.next_event();
        let seen = Seen {
            user: event.user_id.into(),
            session: event.session_id.into(),
            kind: event.event_type,
            page: event.page_url.into(),
            product: event.product_id.map(Into::into),
            timestamp: event.timestamp,
            referrer: event.referrer.map(Into::into),
            duration: event.session_duration,
            under_way,
        };
        visits.entry(seen.session.clone()).or_default().push(seen);
    }
    visits
}

fn hash(options: &GeneratorOptions) -> u64 {
    let (mut generator, mut hasher) = (generator(options), DefaultHasher::new());
    for _ in 0..100_000 {
        let Delivery { key, value, partition, timestamp, due } = generator.next();
        (key, value, partition, timestamp, due).hash(&mut hasher);
    }
    hasher.finish()
}

#[test]
fn the_seed_determines_every_byte() {
    let faults = Faults { late: 0.01, duplicates: 0.01, malformed: 0.01, ..Faults::default() };
    let options = GeneratorOptions { faults, ..constant(500.0) };
    assert_eq!(hash(&options), hash(&options));
    assert_ne!(hash(&options), hash(&GeneratorOptions { seed: 43, ..options.clone() }));
}

#[test]
fn the_mix_holds_in_any_100_000_events() {
    for options in [
        constant(10.0),
        constant(1_000.0),
        constant(5_000.0),
        constant(50_000.0),
        GeneratorOptions::default(),
    ] {
        let mut generator = generator(&options);
        for stretch in 0..3 {
            let mut counts: HashMap<EventType, f64> = HashMap::new();
            for _ in 0..100_000 {
                *counts.entry(generator.next_event().event.event_type).or_default() += 0.001;
            }
            let share = |kind| counts.get(&kind).copied().unwrap_or(0.0);
            let place = format!("{} events/s, stretch {stretch}: {counts:?}", options.events_per_second);
            for (kind, wanted) in [
                (EventType::View, 70.0),
                (EventType::Click, 20.0),
                (EventType::AddToCart, 7.0),
                (EventType::Purchase, 3.0),
            ] {
                assert!((share(kind) - wanted).abs() <= 1.0, "{kind:?} at {place}");
            }
            assert!((share(EventType::View) + share(EventType::Search) - 70.0).abs() <= 1.0, "{place}");
            assert!(share(EventType::Search) > 0.3, "{place}");
        }
    }
}

#[test]
fn partitions_are_even_within_10_percent() {
    for partitions in [1, 3, 6, 12, 24] {
        for rate in [10.0, 100.0, 5_000.0] {
            let mut generator = generator(&GeneratorOptions { partitions, ..constant(rate) });
            let mut counts = vec![0_u32; partitions as usize];
            for _ in 0..100_000 {
                let Delivery { key, partition, .. } = generator.next();
                assert_eq!(partition, partition_of(key, partitions));
                counts[partition as usize] += 1;
            }
            let mean = 100_000.0 / f64::from(partitions);
            let worst = counts.iter().map(|c| (f64::from(*c) / mean - 1.0).abs()).fold(0.0, f64::max);
            assert!(worst <= 0.1, "{partitions} partitions, {rate} events/s: {worst}");
        }
    }
}

#[test]
fn journeys_are_consistent() {
    let visits = visits(&constant(200.0), 300_000);
    let mut purchases = 0;
    for visit in visits.values() {
        let first = &visit[0];
        assert!(
            first.under_way || (first.kind == EventType::View && first.referrer.is_none()),
            "{}",
            first.session
        );
        let (mut before, mut cart): (Option<&Seen>, Vec<&str>) = (None, Vec::new());
        for event in visit {
            assert_eq!(event.user, first.user);
            // What a visit did before the stream began is not known here.
            let known = before.is_some() || !event.under_way;
            let product = event.product.as_deref();
            if let Some(before) = before {
                if event.kind == EventType::View && !event.under_way {
                    assert_eq!(event.referrer.as_deref(), Some(before.page.as_str()));
                }
                if !matches!(event.kind, EventType::View | EventType::Search) {
                    assert_eq!(event.page, before.page, "only views and searches move");
                    assert_eq!(event.referrer, before.referrer);
                }
            }
            let previous = before.map(|b| b.kind);
            match event.kind {
                EventType::Click if known => assert_eq!(previous, Some(EventType::View)),
                EventType::AddToCart => {
                    assert!(event.page.contains("/product/"), "{}", event.page);
                    assert!(!known || matches!(previous, Some(EventType::View | EventType::Click)));
                    cart.push(product.unwrap());
                }
                EventType::Purchase if event.under_way => assert!(product.is_some()),
                EventType::Purchase => {
                    let place = cart.iter().position(|p| *p == product.unwrap());
                    cart.remove(place.expect("bought what was not in the cart"));
                    purchases += 1;
                }
                EventType::Search => assert_eq!((product, event.page.ends_with("/search")), (None, true)),
                EventType::Click | EventType::View => {
                    assert_eq!(product.is_some(), event.page.contains("/product/"));
                }
            }
            before = Some(event);
        }
    }
    assert!(purchases > 3_000, "{purchases}");
}

#[test]
fn visits_are_bounces_or_short_or_engaged() {
    // Two hours; visits that may have been cut off by the end are left out.
    let options = constant(50.0);
    let end = options.start + 7_200_000;
    let visits = visits(&options, 360_000);
    let whole = visits.values().filter(|v| !v[0].under_way && v[0].timestamp < end - 47 * 60_000);
    let (mut bounces, mut short, mut engaged) = (0.0, 0.0, 0.0);
    for visit in whole {
        let minutes = (visit[visit.len() - 1].timestamp - visit[0].timestamp) as f64 / 60_000.0;
        match minutes {
            _ if visit.len() == 1 => {
                assert_eq!(visit[0].kind, EventType::View);
                bounces += 1.0;
            }
            // A last thought may exceed a short plan.
            ..6.1 => short += 1.0,
            _ => {
                assert!((15.0..=45.0).contains(&minutes), "{minutes} min, {} events", visit.len());
                engaged += 1.0;
            }
        }
    }
    let all = bounces + short + engaged;
    assert!(engaged > 300.0, "{engaged}");
    assert!((0.42..0.48).contains(&(bounces / all)), "{bounces} of {all}");
    assert!((0.08..0.12).contains(&(engaged / all)), "{engaged} of {all}");
}

#[test]
fn the_stream_starts_in_its_steady_state() {
    // Per minute: how many of the visits that are seen begin there. No wave: the first minutes look like later ones.
    let options = constant(1_000.0);
    let visits = visits(&options, 600_000);
    let mut begun = [0.0_f64; 10];
    let mut bounced = [0.0_f64; 10];
    for visit in visits.values().filter(|v| !v[0].under_way) {
        let minute = (visit[0].timestamp - options.start) as usize / 60_000;
        begun[minute.min(9)] += 1.0;
        bounced[minute.min(9)] += if visit.len() == 1 { 1.0 } else { 0.0 };
    }
    let mean = begun.iter().sum::<f64>() / 10.0;
    for minute in 0..9 {
        assert!((0.7..1.3).contains(&(begun[minute] / mean)), "minute {minute}: {begun:?}");
        assert!(
            (0.4..0.5).contains(&(bounced[minute] / begun[minute])),
            "minute {minute}: {bounced:?} of {begun:?}"
        );
    }
    assert!(visits.values().filter(|v| v[0].under_way).all(|v| v.len() > 1));
}

#[test]
fn most_events_carry_the_visits_age() {
    let visits = visits(&constant(100.0), 50_000);
    let mut known = 0;
    for visit in visits.values() {
        for event in visit {
            let Some(duration) = event.duration else { continue };
            known += 1;
            // 45 minutes, and two thoughts of those that were under way: they always have two events.
            assert!((0..=2_820).contains(&duration), "{duration}");
            if !event.under_way {
                let seconds = (event.timestamp - visit[0].timestamp) / 1_000;
                assert!((seconds - i64::from(duration)).abs() <= 1, "{seconds} {duration}");
            }
        }
    }
    assert!((39_000..41_000).contains(&known), "{known}");
}

#[test]
fn popular_pages_are_popular() {
    let mut generator = generator(&constant(100.0));
    let rank: HashMap<String, usize> = generator.pages().iter().cloned().zip(0..).collect();
    let mut views = vec![0_u32; 100];
    let mut products = HashSet::new();
    for _ in 0..200_000 {
        let event = generator.next_event().event;
        views[rank[event.page_url]] += u32::from(event.event_type == EventType::View);
        products.extend(event.product_id.map(str::to_owned));
    }
    assert!(views.iter().all(|v| *v > 0), "{views:?}");
    assert_eq!(products.len(), 500);
    // Product pages of ranks 5 and 50: popularity as 1 / rank.
    let ratio = f64::from(views[4]) / f64::from(views[49]);
    assert!((7.0..14.0).contains(&ratio), "{ratio}");
    assert!(views[0] > 5 * views[20], "{views:?}");
}

#[test]
fn events_keep_the_pace_exactly() {
    for rate in [0.5, 10.0, 333.0, 5_000.0, 100_000.0] {
        // Without disorder the order of deliveries is that of the events.
        let options = GeneratorOptions { out_of_orderness: 0, users: 20, ..constant(rate) };
        let mut generator = generator(&options);
        for i in 0..20_000_u32 {
            let arrival = generator.next_event();
            let wanted = options.start + (f64::from(i) * 1_000.0 / rate) as i64;
            assert!((arrival.event.timestamp - wanted).abs() <= 1, "event {i} at {rate} events/s");
            assert_eq!(arrival.due, arrival.event.timestamp);
        }
    }
}

#[test]
fn disorder_stays_within_the_bound() {
    let options = constant(300.0);
    let mut generator = generator(&options);
    let mut greatest: HashMap<i32, i64> = HashMap::new();
    let (mut due, mut slow, mut disordered) = (0, 0, 0);
    for _ in 0..100_000 {
        let delivery = generator.next();
        assert!(delivery.due >= due && delivery.due >= delivery.timestamp);
        due = delivery.due;
        slow += u32::from(delivery.due - delivery.timestamp > 50);
        let greatest = greatest.entry(delivery.partition).or_insert(delivery.timestamp);
        let behind = *greatest - delivery.timestamp;
        assert!(behind <= options.out_of_orderness * 4 / 5, "{behind}");
        disordered += u32::from(behind > 10_000);
        *greatest = delivery.timestamp.max(*greatest);
    }
    assert!((4_000..5_500).contains(&slow), "{slow}");
    assert!(disordered > 1_000, "{disordered}");
}

#[test]
fn faults_have_their_configured_shares() {
    let faults = Faults { late: 0.02, duplicates: 0.03, malformed: 0.04, ..Faults::default() };
    let options = GeneratorOptions { faults, ..constant(1_000.0) };
    // Past the first minutes, in which the late ones are still on their way.
    let mut generator = generator(&options);
    for _ in 0..500_000 {
        generator.next_event();
    }
    let (mut late, mut twice, mut malformed) = (0.0, 0.0, 0.0);
    let mut greatest: HashMap<i32, i64> = HashMap::new();
    for _ in 0..206_000 {
        let arrival = generator.next_event();
        let delay = arrival.due - arrival.event.timestamp;
        let greatest = greatest.entry(arrival.partition).or_insert(0);
        match arrival.fault {
            Some(Fault::Late) => {
                late += 1.0;
                let behind = *greatest - arrival.event.timestamp;
                assert!(*greatest == 0 || behind >= 340_000, "a window may still be open: {behind}");
            }
            fault => {
                assert!(delay <= 24_000, "{delay}");
                twice += if fault == Some(Fault::Duplicate) { 1.0 } else { 0.0 };
                malformed += if matches!(fault, Some(Fault::Malformed(_))) { 1.0 } else { 0.0 };
            }
        }
        *greatest = arrival.event.timestamp.max(*greatest);
    }
    for (found, wanted) in [(late, 4_000.0), (twice, 6_000.0), (malformed, 8_000.0)] {
        assert!((found / wanted - 1.0_f64).abs() < 0.1, "{late} late, {twice} twice, {malformed} malformed");
    }
}

#[test]
fn duplicates_repeat_the_bytes() {
    let faults = Faults { duplicates: 1.0, ..Faults::default() };
    let options = GeneratorOptions { faults, ..constant(100.0) };
    let mut generator = generator(&options);
    let mut open: HashMap<Vec<u8>, i64> = HashMap::new();
    let mut pairs = 0;
    for _ in 0..20_000 {
        let delivery = generator.next();
        if let Some(first) = open.remove(delivery.value) {
            assert!((0..=500).contains(&(delivery.due - first)));
            pairs += 1;
        } else {
            open.insert(delivery.value.to_vec(), delivery.due);
        }
    }
    assert!(pairs > 9_900, "{pairs}");
}

#[test]
fn only_where_events_are_sent_twice_do_they_have_ids() {
    let mut without = generator(&constant(100.0));
    assert!((0..1_000).all(|_| without.next_event().event.event_id.is_none()));
    let faults = Faults { duplicates: 0.1, ..Faults::default() };
    // Several events a millisecond: their times do not tell them apart.
    let mut with = generator(&GeneratorOptions { faults: faults.clone(), ..constant(5_000.0) });
    let (mut seen, mut copies) = (HashSet::new(), 0);
    for _ in 0..20_000 {
        let arrival = with.next_event();
        let (copy, id) =
            (arrival.fault == Some(Fault::Duplicate), arrival.event.event_id.unwrap().to_owned());
        assert_eq!(seen.insert(id), !copy, "an id is there again in a copy alone");
        copies += u32::from(copy);
    }
    assert!(copies > 1_000, "{copies}");
    let start = GeneratorOptions::default().start + 1;
    let mut later = generator(&GeneratorOptions { faults, start, ..constant(5_000.0) });
    assert!((0..1_000).all(|_| !seen.contains(later.next_event().event.event_id.unwrap())), "of another run");
}

#[test]
fn malformed_values_have_their_defects() {
    let faults = Faults { malformed: 1.0, ..Faults::default() };
    let spoiled = GeneratorOptions { faults, ..constant(100.0) };
    // The same events twice: what is about to come, and its bytes. Without faults the bytes are whole.
    let (mut names, mut bytes, mut good) = (generator(&spoiled), generator(&spoiled), Vec::new());
    let mut seen = HashSet::new();
    for _ in 0..4_000 {
        let arrival = names.next_event();
        good.clear();
        encode_event(&arrival.event, &mut good);
        let value = bytes.next();
        assert_eq!(value.key, arrival.event.user_id.as_bytes());
        assert_eq!(value.timestamp, arrival.event.timestamp);
        let Some(Fault::Malformed(defect)) = arrival.fault else { panic!("{:?}", arrival.fault) };
        seen.insert(defect);
        let value = value.value;
        let expected = match defect {
            Defect::Truncated => {
                assert!(!value.is_empty() && value.len() < good.len());
                assert!(good.starts_with(value));
                continue;
            }
            Defect::WrongMagic => {
                assert_eq!((&value[1..], value[0]), (&good[1..], 0x7f));
                continue;
            }
            Defect::Empty => Vec::new(),
            Defect::UnknownFingerprint => {
                assert_eq!((&value[..2], &value[10..]), (&good[..2], &good[10..]));
                assert_ne!(value[2..10], good[2..10]);
                continue;
            }
            Defect::EmptyUserId => spoil(&arrival, |event| event.user_id = ""),
            Defect::BadUrl => spoil(&arrival, |event| event.page_url = "javascript:void(0)"),
            Defect::ZeroTimestamp => spoil(&arrival, |event| event.timestamp = 0),
            Defect::FarFuture => spoil(&arrival, |event| event.timestamp += 31_536_000_000),
        };
        assert_eq!(value, expected, "{defect:?}");
    }
    assert_eq!(seen.len(), Defect::ALL.len());
}

fn spoil(arrival: &Arrival<'_>, change: impl FnOnce(&mut ClickstreamEvent<'_>)) -> Vec<u8> {
    let (mut event, mut bytes) = (arrival.event.clone(), Vec::new());
    change(&mut event);
    encode_event(&event, &mut bytes);
    bytes
}

#[test]
fn bursts_have_their_configured_share() {
    let burst = Burst { page: 60, every: 300_000, length: 60_000, share: 0.4 };
    let options =
        GeneratorOptions { faults: Faults { burst: Some(burst), ..Faults::default() }, ..constant(200.0) };
    let mut generator = generator(&options);
    let page = generator.pages()[60].clone();
    let (mut during, mut there, mut before) = (0.0, 0.0, 0.0);
    for _ in 0..120_000 {
        let event = generator.next_event().event;
        let on_page = if event.page_url == page { 1.0 } else { 0.0 };
        if (event.timestamp - options.start) % 300_000 >= 240_000 {
            during += 1.0;
            there += on_page;
        } else if event.timestamp - options.start < 240_000 {
            before += on_page;
        }
    }
    assert!((0.38..0.42).contains(&(there / during)), "{there} of {during}");
    assert!(before < 1_000.0, "{before} of 48,000");
}

#[test]
fn distinct_urls_have_their_share_and_change_nothing_else() {
    let faults = Faults { distinct_urls: 0.25, ..Faults::default() };
    let mut with = generator(&GeneratorOptions { faults, ..constant(200.0) });
    let mut without = generator(&constant(200.0));
    let mut urls = HashSet::new();
    for _ in 0..40_000 {
        let (event, plain) = (with.next_event().event, without.next_event().event);
        if let Some((page, _)) = event.page_url.split_once("?click=") {
            assert_eq!(page, plain.page_url);
            assert!(urls.insert(event.page_url.to_owned()), "{}", event.page_url);
        } else {
            assert_eq!(event, plain);
        }
    }
    assert!((9_600..10_400).contains(&urls.len()), "{}", urls.len());
}

#[test]
fn session_ids_are_unique() {
    let mut sessions = Sessions { seed: 7, text: String::new() };
    let ids: HashSet<String> = (0..200_000).map(|visit| sessions.id(visit).to_owned()).collect();
    assert_eq!(ids.len(), 200_000);
    assert!(ids.iter().all(|id| id.len() == 14 && id.starts_with("s-")));
}

#[test]
fn extreme_options_work() {
    for (users, pages, products, partitions) in
        [(1, 1, 1, 1), (1, 1, 1, 24), (5, 2, 3, 3), (3, 3, 1, 6), (50, 9, 2, 6)]
    {
        let options = GeneratorOptions { users, pages, products, partitions, ..constant(2_000.0) };
        let mut generator = generator(&options);
        let ids: HashSet<Vec<u8>> = (0..20_000).map(|_| generator.next().key.to_vec()).collect();
        assert_eq!(ids.len(), users as usize);
    }
}

#[test]
fn impossible_options_are_refused_by_name() {
    let good = GeneratorOptions::default;
    let burst = |page, every, length, share| {
        let burst = Some(Burst { page, every, length, share });
        GeneratorOptions { faults: Faults { burst, ..Faults::default() }, ..good() }
    };
    let faults = |late, duplicates, malformed| GeneratorOptions {
        faults: Faults { late, duplicates, malformed, ..Faults::default() },
        ..good()
    };
    for (options, field) in [
        (constant(0.0), "events_per_second"),
        (constant(-1.0), "events_per_second"),
        (constant(f64::NAN), "events_per_second"),
        (constant(f64::INFINITY), "events_per_second"),
        (GeneratorOptions { users: 0, ..good() }, "users"),
        (GeneratorOptions { pages: 0, ..good() }, "pages"),
        (GeneratorOptions { products: 0, ..good() }, "products"),
        (GeneratorOptions { start: 0, ..good() }, "start"),
        (GeneratorOptions { partitions: 0, ..good() }, "partitions"),
        (GeneratorOptions { out_of_orderness: -1, ..good() }, "out_of_orderness"),
        (faults(-0.1, 0.0, 0.0), "faults.late"),
        (faults(0.0, 1.1, 0.0), "faults.duplicates"),
        (faults(0.0, 0.0, f64::NAN), "faults.malformed"),
        (faults(0.5, 0.5, 0.5), "faults.late + faults.duplicates + faults.malformed"),
        (
            GeneratorOptions { faults: Faults { late_by: -1, ..Faults::default() }, ..good() },
            "faults.late_by",
        ),
        (burst(100, 10, 5, 0.5), "faults.burst.page"),
        (burst(0, 0, 5, 0.5), "faults.burst.every"),
        (burst(0, 10, 11, 0.5), "faults.burst.length"),
        (burst(0, 10, 5, 1.5), "faults.burst.share"),
    ] {
        let Err(error) = Generator::new(options) else { panic!("{field} was accepted") };
        assert_eq!(error.field, field);
    }
    let Err(error) = Generator::new(GeneratorOptions { users: 0, ..good() }) else { panic!("accepted") };
    assert_eq!(error.to_string(), "users is 0, allowed is 1 to 10,000,000: change it");
}
