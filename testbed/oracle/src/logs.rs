//! Random logs for property tests, full of the cases that go wrong.
//!
//! Settings and a script of steps are drawn apart from each other; the script's times are in parts of the settings, and
//! every step moves one clock on. So both shrink freely: a step that is taken away leaves a log that still makes sense.

use std::ops::RangeInclusive;

use proptest::{collection, option, prelude::*};

use crate::{Entry, Event, Kind, Settings};

/// One property test's input.
#[derive(Debug, Clone)]
pub struct Case {
    /// Small windows, so that short logs have many.
    pub settings: Settings,
    /// One to four logs, in reading order.
    pub partitions: Vec<Vec<Entry>>,
}

/// Logs of a few users on a few pages: several visits under one session id, visits that straddle windows, absurd session
/// durations, disorder up to far too late, long silences, advanced watermarks, ties, and bursts that trend.
///
/// No silence is so long that a weight of the usual level vanishes in `f64` (1,000 half-lives).
pub fn logs() -> impl Strategy<Value = Case> {
    let epoch = 0..=12_000_i64;
    let script = collection::vec(step(), 1..=80);
    (settings(), 1..=4_usize, epoch, script, option::weighted(0.9, 0..=3_000_i64)).prop_map(
        |(settings, partitions, epoch, script, ending)| {
            let clock = 1 + settings.size * epoch / 1000;
            let mut writer = Writer { settings: &settings, partitions: vec![Vec::new(); partitions], clock };
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
    )
        .prop_map(|(slide, windows, disorder, gap, top, half_life, warm_up)| Settings {
            size: slide * windows,
            slide,
            out_of_orderness: slide * disorder / 1000,
            session_gap: slide * gap / 1000,
            top,
            trending_half_life: (slide * windows * half_life / 1000).max(1),
            warm_up,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let on = prop_oneof![4 => 0..=200_i64, 4 => 0..=1_500_i64, 1 => 1_000..=8_000_i64];
    let ahead: RangeInclusive<i64> = -2_000..=1_500;
    prop_oneof![
        40 => (action(), on).prop_map(|(action, on)| Step::Event { action, on }),
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
    (0..10_u8, prop_oneof![4 => Just(0_u8), 1 => 1..=2_u8], kind, 0..6_u8, lateness(), session_duration)
        .prop_map(|(user, session, kind, page, late, session_duration)| Action {
            user,
            session,
            kind,
            page,
            late,
            session_duration,
        })
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

/// Turns steps into entries.
struct Writer<'a> {
    settings: &'a Settings,
    partitions: Vec<Vec<Entry>>,
    clock: i64,
}

impl Writer<'_> {
    fn write(&mut self, step: Step) {
        let Settings { size, slide, session_gap, .. } = *self.settings;
        match step {
            Step::Event { action, on } => {
                self.clock += slide * on / 1000;
                self.event(action);
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
        let Settings { size, out_of_orderness, .. } = *self.settings;
        let behind = (out_of_orderness * action.late.disorder + size * action.late.windows) / 1000;
        let partition = usize::from(action.user) % self.partitions.len();
        self.partitions[partition].push(Entry::Event(Event {
            user: format!("user-{}", action.user),
            session: format!("session-{}-{}", action.user, action.session),
            kind: action.kind,
            page: format!("/page/{}", action.page),
            timestamp: (self.clock - behind).max(1),
            session_duration: action.session_duration,
        }));
    }

    /// Every partition falls idle, so that the last windows are sealed too, some of them or all.
    fn close(&mut self, ahead: i64) {
        let to = self.clock + self.settings.size * ahead / 1000;
        for log in &mut self.partitions {
            log.push(Entry::AdvanceWatermark(to));
        }
    }
}
