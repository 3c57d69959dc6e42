#![allow(clippy::unwrap_used)]

use weir_analytics::{Partition, Settings};
use weir_events::PageAnalytics;
use weir_events::{
    ClickstreamEvent, EventType, SiteTotals, TopPage, TopPages, encode_page_analytics, encode_top_pages,
};

use super::*;

const END: i64 = 1_795_225_200_000;

/// The records of a window with one page: its row, its ranking.
fn window(end: i64, views: i64) -> (Vec<u8>, Vec<u8>) {
    let row = PageAnalytics {
        page_url: "/shoes".to_owned(),
        window_start: end - 300_000,
        window_end: end,
        view_count: views,
        unique_users: 1,
        click_count: 0,
        conversion_count: 0,
        engagement_rate: 0.0,
        bounce_rate: 0.0,
        avg_session_duration: 0.0,
    };
    let page = TopPage {
        rank: 1,
        page_url: "/shoes".to_owned(),
        view_count: views,
        unique_users: 1,
        previous_rank: None,
    };
    let top = TopPages {
        window_start: end - 300_000,
        window_end: end,
        pages: vec![page],
        warming_up: true,
        trending: vec![],
        site: SiteTotals { view_count: views, ..SiteTotals::default() },
        page_count: None,
    };
    (encode_page_analytics(&row), encode_top_pages(&top))
}

/// A partition's live values after `views` views.
fn live(number: i32, views: usize) -> Vec<u8> {
    let mut partition = Partition::new(number, Settings::default());
    for _ in 0..views {
        partition.read(&ClickstreamEvent {
            user_id: "u",
            session_id: "s",
            event_type: EventType::View,
            page_url: "/hats",
            product_id: None,
            timestamp: END,
            user_agent: "",
            ip_address: "",
            referrer: None,
            session_duration: None,
            ..ClickstreamEvent::EMPTY
        });
    }
    partition.live_snapshot(0).unwrap().encode().unwrap()
}

fn shown(terminal: bool, records: &[(usize, Vec<u8>)]) -> String {
    let mut out = Vec::new();
    let mut screen = Screen::new(&mut out, &Pipeline::demo(), terminal, false);
    let topics = screen.topics().map(str::to_owned);
    for (topic, value) in records {
        screen.take(&topics[*topic], value).unwrap();
        screen.draw().unwrap();
    }
    drop(screen);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_pipe_gets_each_sealed_window_once_and_no_control_codes() {
    let (first, second) = (window(END, 7), window(END + 10_000, 8));
    let text = shown(false, &[(0, first.0), (1, first.1), (2, live(0, 5)), (0, second.0), (1, second.1)]);
    assert!(!text.contains('\x1b') && !text.contains("provisional"), "{text}");
    assert_eq!((text.matches("7 views").count(), text.matches("8 views").count()), (1, 1), "{text}");
}

#[test]
fn a_terminal_is_redrawn_in_place_and_restored() {
    let first = window(END, 7);
    let text = shown(true, &[(2, live(0, 5)), (2, live(1, 4)), (0, first.0), (1, first.1)]);
    let frames: Vec<&str> = text.split("\x1b[H").collect();
    assert!(frames[0].ends_with(ENTER));
    assert!(frames[1].contains("provisional") && frames[1].contains("5 views"), "{text}");
    assert!(frames[1].contains("no window was sealed yet"), "{text}");
    assert!(frames[2].contains("9 views"), "both partitions: {text}");
    let last = frames.last().unwrap();
    assert!(last.contains("9 views") && last.contains("7 views"), "{text}");
    assert_eq!((text.matches(ENTER).count(), text.matches(LEAVE).count()), (1, 1));
    assert!(text.split(LEAVE).nth(1).unwrap().contains("7 views"), "the last window stays: {text}");
}

#[test]
fn a_terminal_never_goes_back_in_time() {
    let (first, second) = (window(END, 7), window(END + 10_000, 8));
    let text = shown(true, &[(0, second.0), (1, second.1), (0, first.0), (1, first.1)]);
    let last = text.split("\x1b[H").last().unwrap();
    assert!(last.contains("8 views") && !last.contains("7 views"), "{text}");
}

#[test]
fn undecodable_records_are_skipped() {
    let first = window(END, 7);
    let text = shown(false, &[(0, vec![1, 2, 3]), (2, vec![99]), (0, first.0), (1, first.1)]);
    assert_eq!(text.matches("7 views").count(), 1, "{text}");
}

#[test]
fn the_header_is_above_every_frame_and_remains() {
    let mut out = Vec::new();
    let mut screen = Screen::new(&mut out, &Pipeline::demo(), true, false);
    screen.announce("the dashboard is at http://here/", "dashboard: http://here/").unwrap();
    let (row, top) = window(END, 7);
    screen.take(Pipeline::demo().results_topic(), &row).unwrap();
    screen.take(Pipeline::demo().top_pages_topic(), &top).unwrap();
    screen.draw().unwrap();
    drop(screen);
    let text = String::from_utf8(out).unwrap();
    let (before, drawn) = text.split_once(ENTER).unwrap();
    assert_eq!(before, "the dashboard is at http://here/\n");
    let (drawn, after) = drawn.split_once(LEAVE).unwrap();
    assert!(drawn.starts_with("\x1b[Hdashboard: http://here/\x1b[K\r\n"), "{drawn:?}");
    assert!(after.ends_with("dashboard: http://here/\n"), "{after:?}");
}
