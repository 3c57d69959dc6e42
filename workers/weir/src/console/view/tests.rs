use weir_analytics::{Partition, Settings};
use weir_events::{ClickstreamEvent, EventType, TopPages};

use super::*;

const START: i64 = 1_795_225_200_000;

fn style(width: usize) -> Style {
    Style { color: false, width }
}

/// Each page: URL, views, users, rank one slide before.
fn sealed(pages: &[(&str, i64, i32, Option<i32>)]) -> Sealed {
    let ranks = (1..).zip(pages);
    Sealed {
        top: TopPages {
            window_start: START,
            window_end: START + 300_000,
            pages: ranks
                .map(|(rank, (url, views, users, before))| TopPage {
                    rank,
                    page_url: (*url).to_owned(),
                    view_count: *views,
                    unique_users: *users,
                    previous_rank: *before,
                })
                .collect(),
            warming_up: false,
            trending: vec![],
            site: SiteTotals {
                view_count: 21_345,
                click_count: 4_321,
                conversion_count: 99,
                unique_users: 1_234,
                visits: 2_000,
                bounces: 845,
            },
            page_count: None,
        },
        rows: pages
            .iter()
            .map(|(url, views, users, _)| PageAnalytics {
                page_url: (*url).to_owned(),
                window_start: START,
                window_end: START + 300_000,
                view_count: *views,
                unique_users: *users,
                click_count: views / 3,
                conversion_count: views / 100,
                engagement_rate: 0.3333,
                bounce_rate: 0.4125,
                avg_session_duration: 185.4,
            })
            .rev()
            .collect(),
    }
}

fn shop() -> Sealed {
    let mut shop = sealed(&[
        ("/", 12_345, 1_020, Some(1)),
        ("/products/7", 1_184, 45, Some(3)),
        ("/cart", 184, 44, Some(2)),
        ("/search?q=shoes", 9, 3, None),
    ]);
    shop.top.trending =
        vec![trend("/products/7", 1_184, 412.6), trend("/products/12", 18, 4.04), trend("/new", 15, 0.0)];
    shop
}

fn trend(url: &str, views: i64, expected: f64) -> TrendingPage {
    TrendingPage { page_url: url.to_owned(), view_count: views, expected, score: 9.0, unique_users: 5 }
}

#[track_caller]
fn shows(text: &str, expected: &str) {
    // The literal begins with a line end, for readability.
    assert_eq!(text, &expected[1..], "\n{text}");
}

#[test]
fn a_sealed_window() {
    shows(
        &render_sealed(&shop(), style(110)),
        "
2026-11-21 01:40:00 - 01:45:00 UTC
site:  21,345 views  4,321 clicks  99 conversions  1,234 users  2,000 visits  42.2 % bounced

#        views  users  clicks  conversions  engagement  bounce  visit  page
1    =  12,345  1,020   4,115          123      33.3 %  41.2 %   3:05  /
2   ▲1   1,184     45     394           11      33.3 %  41.2 %   3:05  /products/7
3   ▼1     184     44      61            1      33.3 %  41.2 %   3:05  /cart
4  new       9      3       3            0      33.3 %  41.2 %   3:05  /search?q=shoes

trending
1,184 views, 413 expected, 2.9 times  /products/7
18 views, 4.0 expected, 4.5 times     /products/12
15 views, none expected               /new
",
    );
}

#[test]
fn a_narrow_terminal_has_fewer_columns() {
    let mut shop = shop();
    shop.top.pages[1].page_url = "https://shop.example/catalogue/shoes/products/7".to_owned();
    shop.top.trending.truncate(1);
    shop.top.trending[0].page_url = "https://shop.example/catalogue/shoes/products/7".to_owned();
    // Without that page's row its numbers are not shown.
    shows(
        &render_sealed(&shop, style(70)),
        "
2026-11-21 01:40:00 - 01:45:00 UTC
site:  21,345 views  4,321 clicks  99 conversions  1,234 users
       2,000 visits  42.2 % bounced

#        views  users  clicks  engagement  page
1    =  12,345  1,020   4,115      33.3 %  /
2   ▲1   1,184     45       -           -  https://shop.…es/products/7
3   ▼1     184     44      61      33.3 %  /cart
4  new       9      3       3      33.3 %  /search?q=shoes

trending
1,184 views, 413 expected, 2.9 times  https://shop.ex…shoes/products/7
",
    );
    let narrow = "
2026-11-21 01:40:00 - 01:45:00 UTC
site:  21,345 views  4,321 clicks  99 conversions
       1,234 users  2,000 visits  42.2 % bounced

#        views  users  clicks  page
1    =  12,345  1,020   4,115  /
2   ▲1   1,184     45       -  https://shop.e…oes/products/7
3   ▼1     184     44      61  /cart
4  new       9      3       3  /search?q=shoes

trending
1,184 views, 413 expected, 2.9 times
  https://shop.example/catalogue/shoes/products/7
";
    shows(&render_sealed(&shop, style(60)), narrow);
    shows(&render_sealed(&shop, style(0)), narrow);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let mut shop = shop();
    shop.top.pages[0].page_url = "/x".repeat(1_000);
    shop.top.trending[0].page_url = "/y".repeat(1_000);
    let warming = Sealed { top: TopPages { warming_up: true, ..shop.top.clone() }, rows: vec![] };
    for width in 60..200 {
        for text in [
            render_sealed(&shop, style(width)),
            render_sealed(&warming, style(width)),
            render_live(&live(), style(width)),
        ] {
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}

#[test]
fn an_empty_window() {
    let mut empty = sealed(&[]);
    empty.top.site = SiteTotals { view_count: 1, ..SiteTotals::default() };
    empty.top.warming_up = true;
    shows(
        &render_sealed(&empty, style(110)),
        "
2026-11-21 01:40:00 - 01:45:00 UTC
site:  1 view  0 clicks  0 conversions  0 users  0 visits  - bounced

no page was viewed

warming up: trends are shown once there are enough earlier windows to compare with
",
    );
    empty.top.warming_up = false;
    assert!(render_sealed(&empty, style(110)).ends_with("\n\nnothing is trending\n"));
}

#[test]
fn no_visitor_controls_the_terminal() {
    let nasty = "/\u{1b}]0;owned\u{7}\r\n\u{9b}2J\u{202e}\u{0}";
    let mut shop = sealed(&[(nasty, 5, 1, None)]);
    shop.top.trending = vec![trend(nasty, 20, 2.0)];
    let mut live = live();
    live.pages[0].url = nasty.to_owned();
    for text in [render_sealed(&shop, style(110)), render_live(&live, style(110))] {
        assert!(text.contains("/%1B]0;owned%07%0D%0A%C2%9B2J%E2%80%AE%00\n"), "{text}");
        assert!(
            text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic() || "▲▼…".contains(c)),
            "{text}"
        );
    }
    // With colours, the only sequences are ours: colours.
    let text = render_sealed(&shop, Style { color: true, width: 110 });
    for sequence in text.split('\x1b').skip(1) {
        let (code, _) = sequence.split_once('m').unwrap_or_default();
        assert!(
            code.starts_with('[') && code[1..].bytes().all(|b| b.is_ascii_digit() || b == b';'),
            "{text:?}"
        );
    }
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let colored = render_sealed(&shop(), Style { color: true, width: 110 });
    assert!(colored.contains("\n2   \x1b[32m▲1\x1b[0m   \x1b[1m1,184\x1b[0m  "), "{colored:?}");
    let mut plain = String::new();
    for (i, part) in colored.split('\x1b').enumerate() {
        plain.push_str(if i == 0 { part } else { part.split_once('m').unwrap_or_default().1 });
    }
    assert_eq!(plain, render_sealed(&shop(), style(110)));
}

#[test]
fn tables_have_at_most_ten_lines() {
    let urls: Vec<_> = (0..12).map(|i| format!("/{i}")).collect();
    let pages: Vec<_> = urls.iter().map(|url| (url.as_str(), 5, 1, Some(20))).collect();
    let mut many = sealed(&pages);
    many.top.trending = urls.iter().map(|url| trend(url, 20, 2.0)).collect();
    let text = render_sealed(&many, style(110));
    assert_eq!(text.matches("\nand 2 more\n").count(), 2, "{text}");
    assert!(text.contains("\n10  ▲10 ") && !text.contains("\n11 "), "{text}");
    assert_eq!(text.matches(" times ").count(), 10, "{text}");
}

/// The live values of a partition that has read these events.
fn live() -> Live {
    let mut partition = Partition::new(0, Settings::default());
    for (page, views, clicks) in [("/b", 10, 5), ("/z", 1_200, 600), ("/a", 10, 0), ("/clicks-only", 0, 3)] {
        for i in 0..views + clicks {
            let (user_id, session_id) = (&format!("u{}", i % 7)[..], "s");
            let event_type = if i < views { EventType::View } else { EventType::Click };
            partition.read(&ClickstreamEvent {
                user_id,
                session_id,
                event_type,
                page_url: page,
                product_id: None,
                timestamp: START + 263_250,
                user_agent: "",
                ip_address: "",
                referrer: None,
                session_duration: None,
                ..ClickstreamEvent::EMPTY
            });
        }
    }
    partition.live_snapshot(0).expect("events were read")
}

#[test]
fn the_open_window_is_marked_provisional() {
    shows(
        &render_live(&live(), style(110)),
        "
provisional, as of 2026-11-21 01:44:23.250 UTC
site:  1,220 views  608 clicks  0 cart additions  0 conversions  7 users

views  users  clicks  conversions  engagement  page
1,200      7     600            0      50.0 %  /z
   10      7       0            0       0.0 %  /a
   10      7       5            0      50.0 %  /b
    0      3       3            0       0.0 %  /clicks-only
",
    );
    let mut nothing = live();
    nothing.pages.clear();
    assert!(render_live(&nothing, style(110)).ends_with("\n\nno page has an event yet\n"));
}
