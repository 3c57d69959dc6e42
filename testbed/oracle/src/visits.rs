//! Splits the events of one user and session id into visits.

use crate::intake::{Accepted, Intake, Session};

/// Maximum plausible duration reported by a client: a day.
const MAX_VISIT_SECONDS: i32 = 86_400;

/// One visit as of some window's end.
pub(crate) struct Visit<'a> {
    /// In timestamp order; never empty.
    pub(crate) events: Vec<&'a Accepted<'a>>,
}

impl Visit<'_> {
    /// Greatest age over its events, milliseconds.
    pub(crate) fn duration(&self) -> i64 {
        let t1 = self.events[0].event.timestamp;
        let age = |accepted: &&Accepted<'_>| match accepted.event.session_duration {
            Some(reported) if (0..=MAX_VISIT_SECONDS).contains(&reported) => i64::from(reported) * 1000,
            _ => accepted.event.timestamp - t1,
        };
        self.events.iter().map(age).max().unwrap_or(0)
    }

    /// Whether it has exactly one event, on any page.
    pub(crate) fn is_bounce(&self) -> bool {
        self.events.len() == 1
    }
}

/// The visits of one session as of `end`: from all earlier events that were read before that window was sealed.
pub(crate) fn of_session<'a>(
    intake: &'a Intake<'a>,
    session: Session<'a>,
    session_gap: i64,
    end: i64,
) -> Vec<Visit<'a>> {
    let counts = |accepted: &&Accepted<'_>| accepted.known_to(end) && accepted.event.timestamp < end;
    let mut visits: Vec<Visit<'a>> = Vec::new();
    let mut last = None;
    for accepted in intake.sessions[&session].iter().map(|index| &intake.events[*index]).filter(counts) {
        let timestamp = accepted.event.timestamp;
        match (visits.last_mut(), last) {
            (Some(visit), Some(last)) if timestamp - last <= session_gap => visit.events.push(accepted),
            _ => visits.push(Visit { events: vec![accepted] }),
        }
        last = Some(timestamp);
    }
    visits
}
