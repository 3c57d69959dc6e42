//! Counts one window from scratch.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::{
    Kind, Page, Settings, Site, Window,
    intake::{Intake, Session},
    visits::{self, Visit},
};

/// The counts of a page, or of the site.
#[derive(Default)]
struct Tally<'a> {
    views: i64,
    clicks: i64,
    conversions: i64,
    users: HashSet<&'a str>,
    visits: i64,
    bounces: i64,
    duration_sum_ms: i64,
}

impl<'a> Tally<'a> {
    fn add_event(&mut self, kind: Kind, user: &'a str) {
        match kind {
            Kind::View => self.views += 1,
            Kind::Click => self.clicks += 1,
            Kind::Purchase => self.conversions += 1,
            Kind::AddToCart | Kind::Search => {}
        }
        self.users.insert(user);
    }

    fn add_visit(&mut self, visit: &Visit<'_>) {
        self.visits += 1;
        self.bounces += i64::from(visit.is_bounce());
        self.duration_sum_ms += visit.duration();
    }

    fn unique_users(&self) -> i32 {
        i32::try_from(self.users.len()).expect("users fit into 31 bits")
    }
}

/// The window that ends at `end`, without ranking and trends; `None` if it has no row.
pub(crate) fn count(intake: &Intake<'_>, settings: &Settings, end: i64) -> Option<Window> {
    let start = end - settings.size;
    let from = intake.events.partition_point(|accepted| accepted.event.timestamp < start);
    let to = intake.events.partition_point(|accepted| accepted.event.timestamp < end);

    let mut site = Tally::default();
    let mut pages: BTreeMap<&str, Tally<'_>> = BTreeMap::new();
    let mut sessions = HashSet::new();
    for member in intake.events[from..to].iter().filter(|accepted| accepted.known_to(end)) {
        let event = member.event;
        site.add_event(event.kind, &event.user);
        pages.entry(member.page).or_default().add_event(event.kind, &event.user);
        sessions.insert(Session::of(member, settings));
    }
    if pages.is_empty() {
        return None;
    }

    for session in sessions {
        for visit in visits::of_session(intake, session, settings.session_gap, end) {
            let members = visit.events.iter().filter(|accepted| accepted.event.timestamp >= start);
            let touched: BTreeSet<&str> = members.map(|accepted| accepted.page).collect();
            if !touched.is_empty() {
                site.add_visit(&visit);
            }
            for page in touched {
                pages.entry(page).or_default().add_visit(&visit);
            }
        }
    }

    Some(Window {
        start,
        end,
        pages: pages.iter().map(|(page, tally)| row(page, tally)).collect(),
        top: Vec::new(),
        warming_up: false,
        trending: Vec::new(),
        site: Site {
            views: site.views,
            clicks: site.clicks,
            conversions: site.conversions,
            unique_users: site.unique_users(),
            visits: site.visits,
            bounces: site.bounces,
        },
    })
}

fn row(page: &str, tally: &Tally<'_>) -> Page {
    Page {
        page: page.to_owned(),
        view_count: tally.views,
        unique_users: tally.unique_users(),
        click_count: tally.clicks,
        conversion_count: tally.conversions,
        engagement_rate: if tally.views == 0 { 0.0 } else { tally.clicks as f64 / tally.views as f64 },
        bounce_rate: tally.bounces as f64 / tally.visits as f64,
        avg_session_duration: tally.duration_sum_ms as f64 / (tally.visits * 1000) as f64,
        visits: tally.visits,
        bounces: tally.bounces,
        duration_sum_ms: tally.duration_sum_ms,
    }
}
