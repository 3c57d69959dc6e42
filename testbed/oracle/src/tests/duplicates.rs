//! Events that are sent again. H is 20 s, the window size, unless a test says otherwise.

use super::*;

/// The event with an id.
fn id(id: &str, event: Event) -> Event {
    Event { event_id: Some(id.into()), ..event }
}

/// One partition's log of events, as it stands.
fn entries<const N: usize>(events: [Event; N]) -> [Vec<Entry>; 1] {
    [events.map(Entry::Event).to_vec()]
}

/// (late, partly late, duplicates) of the first partition.
fn kinds(outcome: &Outcome) -> (&[usize], &[usize], &[usize]) {
    (&outcome.late[0], &outcome.partly_late[0], &outcome.duplicates[0])
}

const NONE: &[usize] = &[];

#[test]
fn a_repeat_while_its_identity_is_held_is_a_duplicate() {
    // Watermark 5 after the first, 14 before the last: 14 < 5 + 20.
    let outcome = outcome([
        id("a", view("ann", "/", 5)),
        view("ann", "/", 9),
        view("bob", "/other", 14),
        id("a", view("ann", "/", 5)),
    ]);
    assert_eq!(kinds(&outcome), (NONE, NONE, &[3][..]));
    assert_eq!(page(&outcome, 20, "/").view_count, 2);
}

#[test]
fn timestamp_page_and_kind_are_no_part_of_the_identity() {
    let outcome = outcome([
        id("a", view("ann", "/", 5)),
        id("a", view("ann", "/", 8)),
        id("a", view("ann", "/other", 5)),
        id("a", event("ann", Kind::Purchase, "/", 5)),
        id("a", Event { session: "other".into(), ..view("ann", "/", 5) }),
    ]);
    assert_eq!(kinds(&outcome), (NONE, NONE, &[1, 2, 3, 4][..]));
    assert_eq!(
        window(&outcome, 20).site,
        Site { views: 1, unique_users: 1, visits: 1, bounces: 1, ..Site::default() }
    );
}

#[test]
fn a_repeat_with_a_newer_timestamp_counts_once_its_identity_is_no_longer_held() {
    // Held from 5 up to 25. The repeat at 31, read at watermark 30, counts and is held up to 51: so the next, read at 50, is not.
    let outcome = outcome([
        id("a", view("ann", "/", 5)),
        view("bob", "/", 30),
        id("a", view("ann", "/", 31)),
        view("bob", "/", 50),
        id("a", view("ann", "/", 50)),
    ]);
    assert_eq!(kinds(&outcome), (NONE, NONE, &[4][..]));
    assert_eq!(page(&outcome, 40, "/").view_count, 2);
    assert_eq!(page(&outcome, 60, "/").view_count, 1); // bob's at 50
}

#[test]
fn an_identity_is_held_until_the_watermark_has_risen_by_exactly_h() {
    // H = 20 + 3 + 4 = 27 s. Watermark 5 - 3 = 2 after the first: held below 29 s.
    let settings = Settings { out_of_orderness: 3_000, duplicate_slack: 4_000, ..settings() };
    let repeat_at = |watermark: i64| {
        let other = Event { timestamp: watermark + 3_000, ..view("bob", "/", 0) };
        let log = entries([id("a", view("ann", "/", 5)), other, id("a", view("ann", "/", 40))]);
        compute(&log, &settings).duplicates[0].clone()
    };
    assert_eq!(repeat_at(28_999), [2]);
    assert_eq!(repeat_at(29_000), NONE);
}

#[test]
fn the_hold_begins_at_the_watermark_after_the_event() {
    // The first event takes the watermark from 5 to 100: held below 120, not only below 25. The other leaves it at 100
    // with its older timestamp: held below 120 too, not only below 115.
    let repeat_at = |watermark| {
        let log = entries([
            view("bob", "/", 5),
            id("a", view("ann", "/", 100)),
            id("b", view("ann", "/", 95)),
            view("bob", "/", watermark),
            id("a", view("ann", "/", 120)),
            id("b", view("ann", "/", 120)),
        ]);
        compute(&log, &settings()).duplicates[0].clone()
    };
    assert_eq!(repeat_at(119), [4, 5]);
    assert_eq!(repeat_at(120), NONE);
}

#[test]
fn a_late_copy_is_late() {
    // Watermark 22: 10 and 20 are sealed. The identity is held below 25.
    let outcome = outcome([id("a", view("ann", "/", 5)), view("bob", "/", 22), id("a", view("ann", "/", 5))]);
    assert_eq!(kinds(&outcome), (&[2][..], NONE, NONE));
}

#[test]
fn a_late_event_holds_no_identity() {
    // 5 is late at watermark 22; the next event with its id counts.
    let outcome =
        outcome([view("bob", "/", 22), id("a", view("ann", "/", 5)), id("a", view("ann", "/", 23))]);
    assert_eq!(kinds(&outcome), (&[1][..], NONE, NONE));
    assert_eq!(page(&outcome, 30, "/").view_count, 2);
}

#[test]
fn the_same_id_of_another_user_counts() {
    let outcome =
        outcome([id("a", view("ann", "/", 5)), id("a", view("bob", "/", 5)), id("b", view("ann", "/", 5))]);
    assert_eq!(kinds(&outcome), (NONE, NONE, NONE));
    assert_eq!((page(&outcome, 10, "/").view_count, page(&outcome, 10, "/").unique_users), (3, 2));
}

#[test]
fn an_identity_is_a_pair_and_no_text() {
    let outcome = outcome([id("bc", view("a", "/", 5)), id("c", view("ab", "/", 5))]);
    assert_eq!(kinds(&outcome), (NONE, NONE, NONE));
}

#[test]
fn a_duplicate_moves_no_watermark() {
    // Were the repeat at 90 to move the watermark, 6 would be late.
    let log = entries([id("a", view("ann", "/", 5)), id("a", view("ann", "/", 90)), view("ann", "/", 6)]);
    let outcome = compute(&log, &settings());
    assert_eq!(kinds(&outcome), (NONE, NONE, &[1][..]));
    assert_eq!(outcome.sealed, Some(0)); // of 6 s
}

#[test]
fn a_duplicate_is_in_no_visit() {
    // 1 and 40 are two visits; 20 would join them.
    let outcome =
        outcome([id("a", view("ann", "/", 1)), id("a", view("ann", "/", 20)), view("ann", "/", 40)]);
    assert_eq!(kinds(&outcome), (NONE, NONE, &[1][..]));
    assert_eq!((page(&outcome, 10, "/").bounces, page(&outcome, 50, "/").bounces), (1, 1));
    assert_eq!(page(&outcome, 50, "/").duration_sum_ms, 0);
    assert_eq!(ends(&outcome), [10, 20, 50, 60]);
}

#[test]
fn a_duplicate_does_not_extend_the_hold() {
    // Held from 5 up to 25, whatever the repeat at 20: the one at watermark 26 counts.
    let outcome = outcome([
        id("a", view("ann", "/", 5)),
        view("bob", "/", 20),
        id("a", view("ann", "/", 20)),
        view("bob", "/", 26),
        id("a", view("ann", "/", 26)),
    ]);
    assert_eq!(kinds(&outcome), (NONE, NONE, &[2][..]));
}

#[test]
fn a_partly_late_event_holds_its_identity() {
    // Watermark 12: 5 misses 10 and is in 20. It is held below 12 + 20 = 32, not only below 25.
    let repeat_at = |watermark| {
        let log = entries([
            view("bob", "/", 12),
            id("a", view("ann", "/", 5)),
            view("bob", "/", watermark),
            id("a", view("ann", "/", 32)),
        ]);
        let outcome = compute(&log, &settings());
        assert_eq!(outcome.partly_late, [vec![1]]);
        outcome.duplicates[0].clone()
    };
    assert_eq!(repeat_at(31), [3]);
    assert_eq!(repeat_at(32), NONE);
}

#[test]
fn a_duplicate_that_misses_windows_is_not_partly_late() {
    // Read at watermark 12, the copy of 5 misses 10. No window lacks it.
    let outcome = outcome([id("a", view("ann", "/", 5)), view("bob", "/", 12), id("a", view("ann", "/", 5))]);
    assert_eq!(kinds(&outcome), (NONE, NONE, &[2][..]));
    assert_eq!(outcome.not_whole, [].into());
}

#[test]
fn a_logged_advance_lets_identities_go() {
    // Held from 5 up to 25.
    let repeat_after = |advance| {
        let first = id("a", view("ann", "/", 5));
        let again = id("a", view("ann", "/", 24));
        let log = vec![Entry::Event(first), Entry::AdvanceWatermark(advance), Entry::Event(again)];
        compute(&[log], &settings()).duplicates[0].clone()
    };
    assert_eq!(repeat_after(24_999), [2]);
    assert_eq!(repeat_after(25_000), NONE);
    assert_eq!(repeat_after(-1_000_000), [2], "a lower one changes nothing");
}

#[test]
fn each_partition_holds_its_own() {
    // The watermark of both is 5 when the event is read.
    let partition = || log([view("bob", "/other", 5), id("a", view("ann", "/", 5))], 100);
    let outcome = compute(&[partition(), partition()], &settings());
    assert_eq!(outcome.duplicates, [NONE, NONE]);
    assert_eq!(page(&outcome, 10, "/").view_count, 2);
}

#[test]
fn without_an_id_nothing_is_a_duplicate() {
    let events =
        [view("ann", "/", 5), view("ann", "/", 5), id("", view("ann", "/", 5)), id("", view("ann", "/", 5))];
    let outcome = outcome(events);
    assert_eq!(kinds(&outcome), (NONE, NONE, NONE));
    assert_eq!(page(&outcome, 10, "/").view_count, 4);
}

#[test]
#[should_panic(expected = "make no sense")]
fn a_negative_slack_makes_no_sense() {
    compute(&[], &Settings { duplicate_slack: -1, ..settings() });
}
