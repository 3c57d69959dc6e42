//! Generations where retention has deleted events, or offsets have expired.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::time::Duration;

use fixture::{Fixture, Generation, MAX_FUTURE, START};
use weir_analytics::{Block, Definitions, Settings};
use weir_log::{Error, Member as _, Output};

const SETTINGS: Settings = Settings {
    size: 20_000,
    slide: 5_000,
    out_of_orderness: 1_000,
    session_gap: 30_000,
    lanes: 2,
    top: 3,
    trending_half_life: 600_000,
    // Nothing trends: baselines are not there after a retention.
    warm_up: 1_000_000,
    duplicate_slack: 0,
    page_limit: 100_000,
    definitions: Definitions::NEWEST,
};
/// The users of the two partitions.
const USERS: [&str; 2] = ["ann", "bob"];

/// Events of one visitor a partition, each in a visit of its own, between two times.
fn visits(fixture: &mut Fixture, from: i64, to: i64) {
    visits_of(fixture, &USERS, from, to);
}

/// As [`visits`], of these users alone.
fn visits_of(fixture: &mut Fixture, users: &[&str], from: i64, to: i64) {
    for at in (from..to).step_by(2_500) {
        for user in users {
            fixture.view(&format!("{user}-{}", at / 2_500), &format!("/{}", at / 2_500 % 5), at);
        }
    }
}

/// The first generation, which has told windows and has no processes any more.
fn counted(fixture: &mut Fixture, settings: Settings) -> Generation {
    let first = fixture.generation(1, settings, None);
    let mut process = fixture.process(&first);
    visits(fixture, 0, 120_000);
    fixture.run(&mut process).unwrap();
    process.windows.leave().unwrap();
    process.results.leave().unwrap();
    first
}

/// As [`counted`], and ended; with its end.
fn ended(fixture: &mut Fixture, settings: Settings) -> (Generation, i64) {
    let first = counted(fixture, settings);
    let cut = fixture.end(&first);
    (first, cut)
}

#[test]
fn a_generation_ends_where_retention_has_overtaken_its_commits() {
    let mut fixture = Fixture::new();
    let first = counted(&mut fixture, SETTINGS);
    let before = fixture.progress(&first);
    visits(&mut fixture, 150_000, 160_000);
    fixture.delete_events();
    let sealed = before.iter().map(|partition| partition.as_ref().unwrap().sealed.unwrap());
    let requests = fixture.broker.requests("ends");
    assert_eq!(fixture.end_stage_one(&first), Ok(sealed.min().unwrap()));
    assert_eq!(fixture.broker.requests("ends") - requests, 1, "once for all partitions");
    let after = fixture.progress(&first);
    assert!(after.iter().all(|partition| partition.as_ref().unwrap().ended_by == Some(2)), "{after:?}");
}

#[test]
fn a_partition_with_state_but_without_a_commit_does_not_end() {
    let mut fixture = Fixture::new();
    let first = counted(&mut fixture, SETTINGS);
    // A group of another name has no commits, like one whose offsets have expired.
    let renamed = Generation { number: 7, ..first };
    for partition in 0..fixture::PARTITIONS {
        for record in fixture.broker.records(&first.state(), partition) {
            fixture.broker.create_topic(&renamed.state(), fixture::PARTITIONS);
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            fixture.broker.append(&renamed.state(), partition, key, value, &[]).unwrap();
        }
    }
    let Err(Error::Fatal(why)) = fixture.end_stage_one(&renamed) else { panic!("it ended") };
    assert!(why.contains("state.7/0 holds state") && why.contains("no commit"), "{why}");
}

#[test]
fn a_partition_with_blocks_but_without_a_commit_does_not_end() {
    let mut fixture = Fixture::new();
    let first = counted(&mut fixture, SETTINGS);
    for topic in ["events", &first.state()] {
        fixture.broker.delete_topic(topic);
        fixture.broker.create_topic(topic, fixture::PARTITIONS);
    }
    let Err(Error::Fatal(why)) = fixture.end_stage_one(&first) else { panic!("it ended") };
    assert!(why.contains("blocks.1 holds blocks") && why.contains("no commit"), "{why}");
}

/// As [`visits`], and one visitor that never pauses.
fn visits_and_a_long_one(fixture: &mut Fixture, from: i64, to: i64) {
    for at in (from..to).step_by(10_000) {
        fixture.view("a visitor", "/long", at);
        visits(fixture, at, at + 10_000);
    }
}

#[test]
fn windows_are_left_out_while_a_visit_may_have_begun_with_deleted_events() {
    for restarts in [false, true] {
        let mut fixture = Fixture::new();
        let (_, cut) = ended(&mut fixture, SETTINGS);
        visits_and_a_long_one(&mut fixture, 120_000, 190_000);
        fixture.delete_events();
        visits_and_a_long_one(&mut fixture, 190_000, 400_000);
        let settings = Settings { slide: 10_000, ..SETTINGS };
        let second = fixture.generation(2, settings, Some(cut));
        let mut process = fixture.process(&second);
        fixture.run(&mut process).unwrap();
        let progress = fixture.progress(&second);
        let awaited = progress.iter().flatten().filter(|partition| partition.reach.is_some());
        assert_eq!(awaited.count(), 1, "the other partition has no such visit: {progress:?}");
        if restarts {
            process.windows.leave().unwrap();
            process.results.leave().unwrap();
            process = fixture.process(&second);
        }
        visits_and_a_long_one(&mut fixture, 400_000, 520_000);
        visits(&mut fixture, 520_000, 650_000);
        fixture.run(&mut process).unwrap();
        let told_after = fixture.told_after(&second);
        let told = fixture.check_told(&settings, told_after);
        // The visit's last event, a gap, and until no event can continue it.
        let (first, over) = (told[0], 510_000 + settings.session_gap);
        assert!(first > over && first <= over + settings.size + 2 * settings.slide, "{first}");
        assert_eq!(told_after, START + first - settings.slide);
    }
}

#[test]
fn blocks_may_be_deleted_while_stage_two_waits() {
    let mut fixture = Fixture::new();
    let (_, cut) = ended(&mut fixture, SETTINGS);
    visits_and_a_long_one(&mut fixture, 120_000, 190_000);
    fixture.delete_events();
    visits_and_a_long_one(&mut fixture, 190_000, 400_000);
    let second = fixture.generation(2, SETTINGS, Some(cut));
    let mut process = fixture.process(&second);
    fixture.run(&mut process).unwrap();
    // The partition without a long visit writes blocks meanwhile, and retention takes them.
    for lane in 0..SETTINGS.lanes {
        let end = fixture.broker.end_offset(&second.blocks(), lane).unwrap();
        assert!(end > 0, "no blocks in lane {lane}");
        fixture.broker.truncate(&second.blocks(), lane, end).unwrap();
    }
    visits_and_a_long_one(&mut fixture, 400_000, 520_000);
    visits(&mut fixture, 520_000, 650_000);
    fixture.run(&mut process).unwrap();
    let told_after = fixture.told_after(&second);
    assert!(fixture.check_told(&SETTINGS, told_after).len() > 5);
}

#[test]
fn deleted_blocks_of_windows_that_are_told_are_missed() {
    // Those of windows that are told, too, are deleted; or only the others.
    for deleted_up_to in [650_000, 500_000] {
        let mut fixture = Fixture::new();
        let (_, cut) = ended(&mut fixture, SETTINGS);
        visits_and_a_long_one(&mut fixture, 120_000, 190_000);
        fixture.delete_events();
        visits_and_a_long_one(&mut fixture, 190_000, 400_000);
        // The partition without a long visit is ahead.
        visits_of(&mut fixture, &USERS[1..], 400_000, 650_000);
        let second = fixture.generation(2, SETTINGS, Some(cut));
        let mut process = fixture.process(&second);
        fixture.run(&mut process).unwrap();
        fixture.delete_blocks(&second, START + deleted_up_to);
        for at in (400_000..520_000).step_by(10_000) {
            fixture.view("a visitor", "/long", at);
        }
        visits_of(&mut fixture, &USERS[..1], 400_000, 650_000);
        visits(&mut fixture, 650_000, 700_000);
        let done = fixture.run(&mut process);
        let told_after = fixture.told_after(&second) - START;
        assert!(told_after > 500_000 && told_after < 600_000, "{told_after}");
        match done {
            Ok(()) if deleted_up_to < told_after => {
                assert!(fixture.check_told(&SETTINGS, START + told_after).len() > 5);
            }
            Err(Error::Fatal(why)) if deleted_up_to > told_after => {
                assert!(why.contains("retention deleted them"), "{why}");
            }
            other => panic!("{other:?}, deleted up to {deleted_up_to}, told after {told_after}"),
        }
    }
}

#[test]
fn blocks_that_were_deleted_before_stage_two_began_are_missed() {
    let mut fixture = Fixture::new();
    let first = fixture.generation(1, SETTINGS, None);
    let mut process = fixture.process(&first);
    visits_of(&mut fixture, &USERS[1..], 0, 120_000);
    for _ in 0..20 {
        fixture.broker.advance(Duration::from_millis(600));
        process.windows.step(fixture.broker.now(), Duration::ZERO).unwrap();
    }
    fixture.delete_blocks(&first, START + 60_000);
    visits_of(&mut fixture, &USERS[..1], 0, 120_000);
    let Err(Error::Fatal(why)) = fixture.run(&mut process) else { panic!("it goes on without them") };
    assert!(why.contains("retention deleted them"), "{why}");
}

#[test]
fn a_silent_partition_misses_no_blocks() {
    let mut fixture = Fixture::new();
    fixture.idle_timeout = 1_000;
    let first = counted(&mut fixture, SETTINGS);
    let mut process = fixture.process(&first);
    visits_of(&mut fixture, &USERS[..1], 150_000, 200_000);
    fixture.run(&mut process).unwrap();
    process.results.leave().unwrap();
    // The other partition follows without events, in jumps.
    visits_of(&mut fixture, &USERS[..1], 220_000, 400_000);
    for _ in 0..20 {
        fixture.broker.advance(Duration::from_secs(60));
        process.windows.step(fixture.broker.now(), Duration::ZERO).unwrap();
    }
    // Its group of stage 2 has no commits, and the rankings tell what was emitted.
    let copy = fixture.copy(&first, 7, |_| ());
    let emitted = fixture.told_ends(0).into_iter().max().unwrap();
    fixture.delete_blocks(&copy, emitted);
    let mut results = fixture.process(&copy).results;
    for _ in 0..5 {
        fixture.broker.advance(Duration::from_millis(600));
        results.step(fixture.broker.now(), Duration::ZERO).unwrap();
    }
    // For the oracle, which knows no idle partitions.
    visits(&mut fixture, 450_000, 455_000);
    let told = fixture.check_told_between(&SETTINGS, 0, START + 415_000);
    assert_eq!(told.last(), Some(&415_000));
}

#[test]
fn windows_are_left_out_for_a_day_at_most() {
    const HOUR: i64 = 3_600_000;
    let mut fixture = Fixture::new();
    let (_, cut) = ended(&mut fixture, SETTINGS);
    let settings = Settings { size: HOUR, slide: HOUR, session_gap: HOUR, ..SETTINGS };
    for hour in 1..40 {
        for minutes in [0, 25, 50] {
            fixture.view("a visitor", "/long", hour * HOUR + minutes * 60_000);
            fixture.view("b visitor", "/", hour * HOUR + minutes * 60_000);
        }
        if hour == 3 {
            fixture.delete_events();
        }
    }
    let second = fixture.generation(2, settings, Some(cut));
    let mut process = fixture.process(&second);
    fixture.run(&mut process).unwrap();
    let reach = 4 * HOUR + MAX_FUTURE + HOUR + settings.out_of_orderness;
    let told_after = fixture.told_after(&second);
    assert_eq!(told_after, settings.last_window_end(START + reach + 24 * HOUR));
    let told = fixture.told_ends(told_after);
    assert!(told.len() > 5 && told[0] == told_after + HOUR, "{told:?}");
}

#[test]
fn the_first_window_told_has_the_previous_ranks_of_the_whole_log() {
    let mut fixture = Fixture::new();
    let settings = Settings { session_gap: 1_000, ..SETTINGS };
    let (_, cut) = ended(&mut fixture, settings);
    // The window that begins at 200 s is the one before the first that begins after the reach of a visit.
    for at in (190_000..202_600).step_by(200) {
        fixture.view("a visitor", "/3", at);
    }
    fixture.delete_events();
    // The first records that are there begin no visit.
    for partition in 0..fixture::PARTITIONS {
        fixture.broker.append("events", partition, None, Some(b"no event"), &[]).unwrap();
    }
    visits(&mut fixture, 205_000, 320_000);
    let second = fixture.generation(2, settings, Some(cut));
    let mut process = fixture.process(&second);
    fixture.run(&mut process).unwrap();
    let told_after = fixture.told_after(&second);
    assert!(fixture.check_told(&settings, told_after).len() > 5);
}

#[test]
fn stage_two_waits_without_an_error_until_it_is_known_what_is_told() {
    let mut fixture = Fixture::new();
    let (_, cut) = ended(&mut fixture, SETTINGS);
    let second = fixture.generation(2, SETTINGS, Some(cut));
    let mut process = fixture.process(&second);
    visits(&mut fixture, 120_000, 200_000);
    let mut polls = 0;
    while polls < 20 {
        let before = fixture.broker.requests("committed_by");
        fixture.broker.advance(Duration::from_millis(600));
        process.results.step(fixture.broker.now(), Duration::ZERO).unwrap();
        if process.results.is_assigned() {
            let reads = fixture.broker.requests("committed_by") - before;
            assert!(polls == 0 || reads == 1, "commits are read {reads} times in a poll");
            polls += 1;
        }
    }
    let committed = fixture.member(&second.results_group(), &second.blocks()).committed().unwrap();
    assert!(committed.iter().all(Option::is_none), "nothing is committed meanwhile: {committed:?}");
    fixture.run(&mut process).unwrap();
    assert_eq!(fixture.told_after(&second), cut, "no event was deleted");
    let told = fixture.check_told(&SETTINGS, cut);
    assert_eq!(told[0], cut - START + SETTINGS.slide);
}

#[test]
fn a_generation_that_has_read_nothing_begins_where_the_events_begin_now() {
    let mut fixture = Fixture::new();
    // An open transaction holds back what follows: the generation commits, and has read nothing.
    let mut producer = fixture.member("producers", "events");
    producer.begin().unwrap();
    for partition in 0..fixture::PARTITIONS {
        let (topic, key, value) = ("events".to_owned(), None, Some(b"no event".to_vec()));
        producer.send(Output { topic, partition, key, value, headers: Vec::new() }).unwrap();
    }
    let second = fixture.generation(2, SETTINGS, Some(0));
    let mut process = fixture.process(&second);
    fixture.run(&mut process).unwrap();
    process.windows.leave().unwrap();
    let before = fixture.progress(&second);
    let has_read_nothing = before.iter().flatten().filter(|it| it.told_after.is_none() && it.from == 0);
    assert_eq!(has_read_nothing.count(), 2, "{before:?}");
    producer.restart().unwrap();
    visits(&mut fixture, 100_000, 110_000);
    fixture.delete_events();
    visits(&mut fixture, 110_000, 120_000);
    // One partition has its first snapshot with the first commit, the other without.
    let mut process = fixture.process(&second);
    while fixture.progress(&second).iter().flatten().all(|partition| partition.read == 0) {
        fixture.broker.advance(Duration::from_millis(600));
        process.windows.step(fixture.broker.now(), Duration::ZERO).unwrap();
    }
    process.windows.leave().unwrap();
    let begun = fixture.progress(&second);
    assert_eq!(begun.iter().flatten().filter(|it| it.read > 0 && !it.snapshot).count(), 1, "{begun:?}");
    let mut process = fixture.process(&second);
    fixture.run(&mut process).unwrap();
}

/// A first generation that has ended while a partition jumped over its silence, after the first of the blocks with which it does so; with
/// its cut, which is that block's end.
fn ended_amid_a_silence(fixture: &mut Fixture, lanes: i32) -> (Generation, i64) {
    let settings = Settings { lanes, ..SETTINGS };
    let first = fixture.generation(1, settings, None);
    let mut process = fixture.process(&first);
    visits(fixture, 0, 60_000);
    for at in (60_000..130_000).step_by(2_500) {
        fixture.view("ann", "/", at);
    }
    fixture.run(&mut process).unwrap();
    process.windows.leave().unwrap();
    process.results.leave().unwrap();
    // The other partition jumps over its silence, with a block for each lane: here each is a transaction.
    fixture.view("bob", "/", 130_000);
    let mut windows = fixture.process(&first).windows.with_transaction_bytes(1);
    let jumped =
        |fixture: &mut Fixture| fixture.progress(&first)[0].as_ref().unwrap().sealed.unwrap() - START;
    let first_block = 125_000 - i64::from(lanes - 1) * settings.slide;
    while jumped(fixture) < first_block {
        fixture.broker.advance(Duration::from_millis(600));
        windows.step(fixture.broker.now(), Duration::ZERO).unwrap();
    }
    windows.leave().unwrap();
    assert_eq!(jumped(fixture), first_block, "the blocks of the other lanes are not written");
    let cut = fixture.end_stage_one(&first).unwrap();
    assert_eq!(cut, START + first_block);
    (first, cut)
}

#[test]
fn a_generation_that_ends_amid_a_silence_tells_what_it_has_sealed() {
    for lanes in [2, 4] {
        let mut fixture = Fixture::new();
        let (first, cut) = ended_amid_a_silence(&mut fixture, lanes);
        let reads = fixture.broker.requests("read");
        fixture.end_stage_two(&first).unwrap();
        assert_eq!(
            fixture.broker.requests("read") - reads,
            1,
            "the lane that covers the others is read once"
        );
        let told = fixture.check_told_between(&first.settings, 0, cut);
        assert_eq!(told.last(), Some(&(cut - START)));
    }
}

#[test]
fn a_block_with_events_covers_no_window_of_another_lane() {
    let mut fixture = Fixture::new();
    let (first, cut) = ended_amid_a_silence(&mut fixture, 2);
    let is_last = |block: &Block| (block.partition, block.end) == (0, cut);
    let copy = fixture.copy(&first, 7, |block| {
        if is_last(block) {
            block.site.users = 1
        }
    });
    let Err(Error::Fatal(why)) = fixture.end_stage_two(&copy) else { panic!("it ended") };
    assert!(why.contains("blocks.7/0: the last block of partition 0 has events"), "{why}");
}
