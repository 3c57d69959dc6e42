//! All visitors: at each tick of the pace exactly one of them acts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use weir_events::EventType;

use crate::mix::Mix;
use crate::options::{Burst, GeneratorOptions};
use crate::pace::Pace;
use crate::people::Roster;
use crate::random::Random;
use crate::shop::Shop;
use crate::visit::{FIRST_EVENTS, Micros, SECOND, THINK_MEAN, Visit, rest_of_thought, think};

/// An event, as indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Action {
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    pub(crate) user: u32,
    pub(crate) visit: u64,
    pub(crate) under_way: bool,
    pub(crate) kind: EventType,
    pub(crate) page: u32,
    pub(crate) before: Option<u32>,
    pub(crate) product: Option<u32>,
    pub(crate) duration: Option<i32>,
    /// Counts the actions of a generator.
    pub(crate) number: u64,
}

/// Share of the events whose client says how old the visit is.
const DURATION_KNOWN: f64 = 0.8;

pub(crate) struct Crowd {
    pace: Pace,
    start: i64,
    mix: Mix,
    roster: Roster,
    visits: Vec<Visit>,
    free: Vec<u32>,
    /// Visits by the time of their next action.
    agenda: BinaryHeap<Reverse<(Micros, u32)>>,
    opened: u64,
    acted: u64,
    burst: Option<Burst>,
    /// Deficit of events on the burst's page.
    wanted: f64,
}

impl Crowd {
    pub(crate) fn new(options: &GeneratorOptions, shop: &Shop, random: &mut Random) -> Self {
        let mut crowd = Self {
            pace: Pace::new(options.events_per_second, options.profile, options.start),
            start: options.start,
            mix: Mix::default(),
            roster: Roster::new(options.users, options.partitions),
            visits: Vec::new(),
            free: Vec::new(),
            agenda: BinaryHeap::new(),
            opened: 0,
            acted: 0,
            burst: options.faults.burst,
            wanted: 0.0,
        };
        // The stream starts with the steady-state number of open visits, so that there is neither a wave of first views nor
        // one of bounces.
        let thinking = crowd.pace.rate() * THINK_MEAN / SECOND as f64 * (1.0 - FIRST_EVENTS);
        for _ in 0..thinking as u64 {
            let user = crowd.roster.open(random);
            let visit = Visit::under_way(user, crowd.opened, shop, random);
            let due = rest_of_thought(random);
            let slot = crowd.enter(visit);
            crowd.agenda.push(Reverse((due, slot)));
        }
        crowd
    }

    /// Event time of the next event.
    pub(crate) fn next_timestamp(&self) -> i64 {
        self.start + self.pace.at() as i64
    }

    pub(crate) fn act(&mut self, shop: &Shop, random: &mut Random) -> Action {
        let timestamp = self.next_timestamp();
        let now = (self.pace.at() * 1e3) as Micros;
        self.pace.advance();
        let slot = self.due(now).unwrap_or_else(|| {
            let user = self.roster.open(random);
            let visit = Visit::begin(user, self.opened, now, random);
            self.enter(visit)
        });
        let burst = self.burst.filter(|b| (timestamp - self.start) % b.every >= b.every - b.length);
        let visit = &mut self.visits[slot as usize];
        let kind = if visit.last.is_some() {
            self.mix.choose(visit.inclinations(shop), random)
        } else {
            self.mix.record(EventType::View);
            EventType::View
        };
        let usual = visit.destination(shop, random);
        let target = burst.filter(|_| self.wanted > 0.0).map_or(usual, |b| b.page);
        let product = visit.act(kind, target, shop, random);
        self.roster.count_event(visit.user);
        self.wanted =
            burst.map_or(0.0, |b| self.wanted + b.share - if visit.page == b.page { 1.0 } else { 0.0 });
        let age = (now - visit.began) / SECOND;
        let action = Action {
            timestamp,
            user: visit.user,
            visit: visit.number,
            under_way: visit.began < 0,
            kind,
            page: visit.page,
            before: visit.before,
            product,
            duration: random.chance(DURATION_KNOWN).then_some(age as i32),
            number: self.acted,
        };
        self.acted += 1;
        let next = now + think(random);
        if visit.is_over(next) {
            self.leave(slot);
        } else {
            self.agenda.push(Reverse((next, slot)));
        }
        action
    }

    /// The most overdue visit. Visits that ended while they waited leave without another event.
    fn due(&mut self, now: Micros) -> Option<u32> {
        while let Some(next) = self.agenda.peek()
            && next.0.0 <= now
        {
            let Some(Reverse((_, slot))) = self.agenda.pop() else { break };
            if !self.visits[slot as usize].is_over(now) {
                return Some(slot);
            }
            self.leave(slot);
        }
        None
    }

    fn enter(&mut self, visit: Visit) -> u32 {
        self.opened += 1;
        if let Some(slot) = self.free.pop() {
            self.visits[slot as usize] = visit;
            return slot;
        }
        self.visits.push(visit);
        (self.visits.len() - 1) as u32
    }

    fn leave(&mut self, slot: u32) {
        self.roster.close(self.visits[slot as usize].user);
        self.free.push(slot);
    }
}
