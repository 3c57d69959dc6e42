//! Renders a sealed window, and the open one.

use std::collections::HashMap;

use weir_analytics::{Live, LiveRow};
use weir_events::{PageAnalytics, SiteTotals, TopPage, TrendingPage};

use super::{
    Sealed, Style, format, page,
    table::{self, Column, Paint, Row},
};

/// Maximum lines of a table, so that a frame fits on the screen.
const MAX_LINES: usize = 10;

/// Minimum width: a window's bounds fit, even over midnight and with milliseconds.
const MIN_WIDTH: usize = 60;

/// A sealed window as text, each line ended: its bounds, the site's totals, the ranking, the trends.
pub fn render_sealed(sealed: &Sealed, style: Style) -> String {
    let style = usable(style);
    let top = &sealed.top;
    let mut text = Paint::Bold.on(&format::window(top.window_start, top.window_end), style);
    text.push('\n');
    text.push_str(&site(&top.site, style));
    text.push('\n');

    if top.pages.is_empty() {
        text.push_str("no page was viewed\n");
    } else {
        let numbers: HashMap<&str, &PageAnalytics> =
            sealed.rows.iter().map(|row| (row.page_url.as_str(), row)).collect();
        let rows: Vec<_> = top
            .pages
            .iter()
            .take(MAX_LINES)
            .map(|page| ranked(page, numbers.get(page.page_url.as_str()).copied()))
            .collect();
        text.push_str(&table::render(&RANKED, &rows, style));
        text.push_str(&left_out(top.pages.len()));
    }
    text.push('\n');
    text.push_str(&trends(top.warming_up, &top.trending, style));
    text
}

/// The open window as text, each line ended: marked provisional, with the site's totals and the pages by views.
pub fn render_live(live: &Live, style: Style) -> String {
    let style = usable(style);
    let title = format!("provisional, as of {}", format::moment(live.as_of));
    let mut text = Paint::Provisional.on(&title, style);
    text.push('\n');
    let site = &live.site;
    text.push_str(&items(
        &[
            format::counted(site.views as i64, "view"),
            format::counted(site.clicks as i64, "click"),
            format::counted(site.carts as i64, "cart addition"),
            format::counted(site.conversions as i64, "conversion"),
            format::counted(site.users, "user"),
        ],
        style,
    ));
    text.push('\n');
    if live.pages.is_empty() {
        text.push_str("no page has an event yet\n");
        return text;
    }
    let rows: Vec<_> = live.pages.iter().take(MAX_LINES).map(provisional).collect();
    text.push_str(&table::render(&LIVE, &rows, style));
    text.push_str(&left_out(live.pages.len()));
    text
}

const RANKED: [Column; 9] = [
    Column { title: "#", dispensable: 0 },
    Column { title: "", dispensable: 0 },
    Column { title: "views", dispensable: 0 },
    Column { title: "users", dispensable: 1 },
    Column { title: "clicks", dispensable: 2 },
    Column { title: "conversions", dispensable: 4 },
    Column { title: "engagement", dispensable: 3 },
    Column { title: "bounce", dispensable: 5 },
    Column { title: "visit", dispensable: 6 },
];

fn ranked(page: &TopPage, row: Option<&PageAnalytics>) -> Row {
    let number = |value: fn(&PageAnalytics) -> String| row.map_or(format::NONE.to_owned(), value);
    let (change, paint) = change(page);
    let cells = vec![
        (page.rank.to_string(), Paint::Plain),
        (change, paint),
        (format::count(page.view_count), Paint::Bold),
        (format::count(page.unique_users), Paint::Plain),
        (number(|r| format::count(r.click_count)), Paint::Plain),
        (number(|r| format::count(r.conversion_count)), Paint::Plain),
        (number(|r| format::percent(r.engagement_rate)), Paint::Plain),
        (number(|r| format::percent(r.bounce_rate)), Paint::Plain),
        (number(|r| format::span(r.avg_session_duration)), Paint::Plain),
    ];
    Row { cells, page: page.page_url.clone() }
}

/// Ranks gained or lost against the window one slide before.
fn change(page: &TopPage) -> (String, Paint) {
    match page.previous_rank {
        None => ("new".to_owned(), Paint::Up),
        Some(before) if before > page.rank => (format!("▲{}", before.saturating_sub(page.rank)), Paint::Up),
        Some(before) if before < page.rank => (format!("▼{}", page.rank.saturating_sub(before)), Paint::Down),
        Some(_) => ("=".to_owned(), Paint::Dim),
    }
}

const LIVE: [Column; 5] = [
    Column { title: "views", dispensable: 0 },
    Column { title: "users", dispensable: 1 },
    Column { title: "clicks", dispensable: 2 },
    Column { title: "conversions", dispensable: 4 },
    Column { title: "engagement", dispensable: 3 },
];

fn provisional(page: &LiveRow) -> Row {
    let cells = [
        format::count(page.views as i64),
        format::count(page.users),
        format::count(page.clicks as i64),
        format::count(page.conversions as i64),
        format::percent(page.engagement_rate()),
    ];
    Row { cells: cells.into_iter().map(|cell| (cell, Paint::Plain)).collect(), page: page.url.clone() }
}

fn site(totals: &SiteTotals, style: Style) -> String {
    let totals = [
        format::counted(totals.view_count, "view"),
        format::counted(totals.click_count, "click"),
        format::counted(totals.conversion_count, "conversion"),
        format::counted(totals.unique_users, "user"),
        format::counted(totals.visits, "visit"),
        format!("{} bounced", format::share(totals.bounces, totals.visits)),
    ];
    items(&totals, style)
}

/// The site's totals, on as many lines as the width needs.
fn items(items: &[String], style: Style) -> String {
    let mut lines = vec!["site:".to_owned()];
    for item in items {
        let line = lines.last_mut().filter(|line| line.len() + 2 + item.len() <= style.width);
        match line {
            Some(line) => line.extend(["  ", item]),
            None => lines.push(format!("       {item}")),
        }
    }
    lines.join("\n") + "\n"
}

fn trends(warming_up: bool, trending: &[TrendingPage], style: Style) -> String {
    if warming_up {
        return wrapped(
            "warming up: trends are shown once there are enough earlier windows to compare with",
            style,
        );
    }
    if trending.is_empty() {
        return "nothing is trending\n".to_owned();
    }
    let sentences: Vec<_> = trending.iter().take(MAX_LINES).map(|t| (sentence(t), &t.page_url)).collect();
    let width = sentences.iter().map(|(sentence, _)| sentence.len()).max().unwrap_or_default();
    let mut text = Paint::Bold.on("trending", style) + "\n";
    for (sentence, url) in sentences {
        // Beside the sentence where there is room, else below it.
        let room = style.width.saturating_sub(width + 2);
        let (between, room) = if room >= 24 {
            (" ".repeat(width + 2 - sentence.len()), room)
        } else {
            ("\n  ".to_owned(), style.width - 2)
        };
        text.push_str(&format!("{}{between}{}\n", Paint::Up.on(&sentence, style), page::shown(url, room)));
    }
    text.push_str(&left_out(trending.len()));
    text
}

/// Why a page trends: `184 views, 41 expected, 4.5 times`.
fn sentence(trend: &TrendingPage) -> String {
    let views = format::counted(trend.view_count, "view");
    if !trend.expected.is_finite() || trend.expected < 0.05 {
        return format!("{views}, none expected");
    }
    let expected = if trend.expected < 10.0 {
        format!("{:.1}", trend.expected)
    } else {
        format::count(trend.expected.round() as i64)
    };
    format!("{views}, {expected} expected, {:.1} times", trend.view_count as f64 / trend.expected)
}

fn left_out(lines: usize) -> String {
    if lines > MAX_LINES {
        format!("and {} more\n", format::count((lines - MAX_LINES) as i64))
    } else {
        String::new()
    }
}

fn wrapped(sentence: &str, style: Style) -> String {
    let mut lines = vec![String::new()];
    for word in sentence.split(' ') {
        match lines.last_mut().filter(|line| line.is_empty() || line.len() + 1 + word.len() <= style.width) {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(format!("  {word}")),
        }
    }
    lines.join("\n") + "\n"
}

fn usable(style: Style) -> Style {
    Style { width: style.width.max(MIN_WIDTH), ..style }
}

#[cfg(test)]
mod tests;
