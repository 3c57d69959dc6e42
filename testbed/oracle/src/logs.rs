//! Random logs for property tests, full of the cases that go wrong.
//!
//! Settings and a script of steps are drawn apart from each other; the script's times are in parts of the settings, and
//! every step moves one clock on. So both shrink freely: a step that is taken away leaves a log that still makes sense.

use std::ops::RangeInclusive;

use proptest::{bool::weighted, collection, option, prelude::*};

use crate::{Entry, Event, Kind, Settings};

/// One property test's input.
#[derive(Debug, Clone)]
pub struct Case {
    /// Small windows, so that short logs have many.
    pub settings: Settings,
    /// One to four logs, in reading order.
    pub partitions: Vec<Vec<Entry>>,
}

impl Case {
    /// The same logs, with no id on any event.
    #[must_use]
    pub fn without_ids(mut self) -> Self {
        for entry in self.partitions.iter_mut().flatten() {
            if let Entry::Event(event) = entry {
                event.event_id = None;
            }
        }
        self
    }
}

/// Logs of a few users on a few pages: several visits under one session id, session ids that several users have, visits that straddle windows, absurd session
/// durations, disorder up to far too late, long silences, advanced watermarks, ties, and bursts that trend.
///
/// Most logs carry event ids, some of them on a part of their events only. Events are sent again, as they were or with
/// another timestamp, page or user, at once or much later, often around the watermark up to which their identity is held.
///
/// No silence is so long that a weight of the usual level vanishes in `f64` (1,000 half-lives).
pub fn logs() -> impl Strategy<Value = Case> {
    let epoch = 0..=12_000_i64;
    let script = collection::vec(step(), 1..=80);
    // The parts of events that carry an id.
    let ids = prop_oneof![2 => Just(0_i64), 3 => Just(1_000_i64), 3 => 200..=950_i64];
    (settings(), 1..=4_usize, epoch, ids, script, option::weighted(0.9, 0..=3_000_i64)).prop_map(
        |(settings, partitions, epoch, ids, script, ending)| {
            let clock = 1 + settings.size * epoch / 1000;
            let partitions = vec![Vec::new(); partitions];
            let mut writer = Writer { settings: &settings, partitions, clock, ids, sent: Vec::new() };
            for step in script {
                writer.write(step);
            }
            if let Some(ahead) = ending {
                writer.close(ahead);
            }
            Case { partitions: writer.partitions, settings }
        },
    )
}

/// All parts are thousandths.
#[derive(Debug, Clone)]
enum Step {
    /// One event; the clock moves on by parts of a slide first.
    Event { action: Action, on: i64 },
    /// An earlier event is sent again; the clock moves on by parts of a slide first.
    Again { repeat: Repeat, on: i64 },
    /// Many users at once on one page, within one window.
    Burst { page: u8, users: u8, views: u8 },
    /// Nothing for so many parts of a window and of the session gap.
    Silence { windows: i64, gaps: i64 },
    /// An advanced watermark, in parts of a window ahead of the clock.
    WatermarkAdvance { partition: u8, ahead: i64 },
}

#[derive(Debug, Clone)]
struct Action {
    user: u8,
    session: u8,
    kind: Kind,
    page: u8,
    late: Lateness,
    session_duration: Option<i32>,
    /// The event carries an id where the log's part of ids is greater.
    id: i64,
}

/// Which earlier event is sent again, and how the copy differs.
#[derive(Debug, Clone)]
struct Repeat {
    of: Earlier,
    /// First the clock and the partition's watermark reach the one up to which the identity is held, give or take so many
    /// milliseconds and parts of a window. It is exact where the event was the newest of its partition.
    expiry: Option<(i64, i64)>,
    timestamp: Option<Lateness>,
    page: Option<u8>,
    user: Option<u8>,
}

#[derive(Debug, Clone)]
enum Earlier {
    /// So many events back, from the last one.
    Back(usize),
    /// In parts of all events so far.
    Any(usize),
}

/// How far behind the clock an event is read, in parts of the out-of-orderness and of a window.
#[derive(Debug, Clone)]
struct Lateness {
    disorder: i64,
    windows: i64,
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        prop_oneof![Just(1_000_i64), 1..=10_i64, (1..=10_i64).prop_map(|seconds| seconds * 1000)],
        1..=12_i64,
        prop_oneof![Just(0_i64), 0..=3_000_i64],
        prop_oneof![100..=1_000_i64, 1_000..=12_000_i64, 12_000..=30_000_i64],
        1..=6_usize,
        500..=4_000_i64,
        0..=3_u32,
        prop_oneof![Just(0_i64), 0..=3_000_i64, 0..=20_000_i64],
        (weighted(0.2), option::of(1..=6_usize)),
    )
        .prop_map(
            |(
                slide,
                windows,
                disorder,
                gap,
                top,
                half_life,
                warm_up,
                slack,
                (visits_span_users, page_limit),
            )| Settings {
                size: slide * windows,
                slide,
                out_of_orderness: slide * disorder / 1000,
                session_gap: slide * gap / 1000,
                top,
                trending_half_life: (slide * windows * half_life / 1000).max(1),
                warm_up,
                duplicate_slack: slide * slack / 1000,
                page_limit: page_limit.filter(|_| !visits_span_users),
                visits_span_users,
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    let on = prop_oneof![4 => 0..=200_i64, 4 => 0..=1_500_i64, 1 => 1_000..=8_000_i64];
    let ahead: RangeInclusive<i64> = -2_000..=1_500;
    prop_oneof![
        34 => (action(), on.clone()).prop_map(|(action, on)| Step::Event { action, on }),
        6 => (repeat(), on).prop_map(|(repeat, on)| Step::Again { repeat, on }),
        2 => (0..6_u8, 4..=9_u8, 8..=30_u8).prop_map(|(page, users, views)| Step::Burst { page, users, views }),
        1 => (0..=6_000_i64, 0..=2_000_i64).prop_map(|(windows, gaps)| Step::Silence { windows, gaps }),
        1 => (0..4_u8, ahead).prop_map(|(partition, ahead)| Step::WatermarkAdvance { partition, ahead }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let kind = prop_oneof![
        5 => Just(Kind::View),
        2 => Just(Kind::Click),
        1 => Just(Kind::Purchase),
        1 => Just(Kind::AddToCart),
        1 => Just(Kind::Search),
    ];
    let session_duration = prop_oneof![
        6 => Just(None),
        3 => (0..=60_i32).prop_map(Some),
        1 => prop_oneof![
            Just(86_400), Just(86_401), Just(-1), Just(i32::MIN), Just(i32::MAX)
        ].prop_map(Some),
    ];
    let session = prop_oneof![4 => Just(0_u8), 1 => 1..SHARED, 2 => Just(SHARED)];
    (0..10_u8, session, kind, 0..6_u8, lateness(), session_duration, 0..1_000_i64).prop_map(
        |(user, session, kind, page, late, session_duration, id)| Action {
            user,
            session,
            kind,
            page,
            late,
            session_duration,
            id,
        },
    )
}

fn repeat() -> impl Strategy<Value = Repeat> {
    let of = prop_oneof![
        3 => (0..=5_usize).prop_map(Earlier::Back),
        2 => (0..1_000_usize).prop_map(Earlier::Any),
    ];
    let near = prop_oneof![2 => (-1..=1_i64).prop_map(|off| (off, 0)), 1 => (-2_000..=2_000_i64).prop_map(|parts| (0, parts))];
    let expiry = option::weighted(0.25, near);
    let timestamp = option::weighted(0.5, lateness());
    (of, expiry, timestamp, option::weighted(0.2, 0..6_u8), option::weighted(0.2, 0..10_u8))
        .prop_map(|(of, expiry, timestamp, page, user)| Repeat { of, expiry, timestamp, page, user })
}

fn lateness() -> impl Strategy<Value = Lateness> {
    prop_oneof![
        6 => Just((0_i64, 0_i64)),
        4 => (0..=1_000_i64, Just(0_i64)),
        2 => (Just(1_000_i64), 0..=1_200_i64),
        1 => (Just(1_000_i64), 0..=4_000_i64),
    ]
    .prop_map(|(disorder, windows)| Lateness { disorder, windows })
}

/// From this number on a session's id is the same for all users.
const SHARED: u8 = 3;

fn session_id(user: u8, session: u8) -> String {
    if session < SHARED { format!("session-{user}-{session}") } else { format!("session-{session}") }
}

/// Turns steps into entries.
struct Writer<'a> {
    settings: &'a Settings,
    partitions: Vec<Vec<Entry>>,
    clock: i64,
    /// Thousandths of the events that carry an id.
    ids: i64,
    /// All events so far with their partitions, repeats too.
    sent: Vec<(usize, Event)>,
}

impl Writer<'_> {
    fn write(&mut self, step: Step) {
        let Settings { size, slide, session_gap, .. } = *self.settings;
        match step {
            Step::Event { action, on } => {
                self.clock += slide * on / 1000;
                self.event(action);
            }
            Step::Again { repeat, on } => {
                self.clock += slide * on / 1000;
                self.repeat(repeat);
            }
            Step::Burst { page, users, views } => {
                for view in 0..views {
                    self.clock += slide / i64::from(views) / 2;
                    self.event(Action {
                        user: view % users,
                        session: 0,
                        kind: Kind::View,
                        page,
                        late: Lateness { disorder: 0, windows: 0 },
                        session_duration: None,
                        id: 0,
                    });
                }
            }
            Step::Silence { windows, gaps } => self.clock += (size * windows + session_gap * gaps) / 1000,
            Step::WatermarkAdvance { partition, ahead } => {
                let partition = usize::from(partition) % self.partitions.len();
                self.partitions[partition].push(Entry::AdvanceWatermark(self.clock + size * ahead / 1000));
            }
        }
    }

    fn event(&mut self, action: Action) {
        let event_id = match self.ids {
            0 => None,
            ids if action.id < ids => Some(format!("event-{}", self.sent.len())),
            // An empty id is as good as none.
            _ => (action.id % 4 == 0).then(String::new),
        };
        let event = Event {
            user: format!("user-{}", action.user),
            session: session_id(action.user, action.session),
            kind: action.kind,
            page: format!("/page/{}", action.page),
            timestamp: self.behind(&action.late),
            session_duration: action.session_duration,
            event_id,
        };
        self.send(usize::from(action.user) % self.partitions.len(), event);
    }

    fn repeat(&mut self, repeat: Repeat) {
        let count = self.sent.len();
        let back = match repeat.of {
            Earlier::Back(back) => back,
            Earlier::Any(part) => count * part / 1000,
        };
        let Some((mut partition, mut event)) = self.sent.iter().rev().nth(back).cloned() else { return };
        if let Some((off, parts)) = repeat.expiry {
            let Settings { size, duplicate_slack, .. } = *self.settings;
            // The watermark was the timestamp less the out-of-orderness, which is a part of H again.
            let to = event.timestamp + size + duplicate_slack + off + size * parts / 1000;
            self.clock = self.clock.max(to);
            self.partitions[partition].push(Entry::AdvanceWatermark(to));
        }
        if let Some(late) = &repeat.timestamp {
            event.timestamp = self.behind(late);
        }
        if let Some(page) = repeat.page {
            event.page = format!("/page/{page}");
        }
        if let Some(user) = repeat.user {
            event.user = format!("user-{user}");
            event.session = session_id(user, 0);
            partition = usize::from(user) % self.partitions.len();
        }
        self.send(partition, event);
    }

    fn behind(&self, late: &Lateness) -> i64 {
        let Settings { size, out_of_orderness, .. } = *self.settings;
        let behind = (out_of_orderness * late.disorder + size * late.windows) / 1000;
        (self.clock - behind).max(1)
    }

    fn send(&mut self, partition: usize, event: Event) {
        self.partitions[partition].push(Entry::Event(event.clone()));
        self.sent.push((partition, event));
    }

    /// Every partition falls idle, so that the last windows are sealed too, some of them or all.
    fn close(&mut self, ahead: i64) {
        let to = self.clock + self.settings.size * ahead / 1000;
        for log in &mut self.partitions {
            log.push(Entry::AdvanceWatermark(to));
        }
    }
}
