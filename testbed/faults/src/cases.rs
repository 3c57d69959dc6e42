//! The faults by name, each with what it does to a pipeline of its own.

mod brokers;
mod commits;
mod data;
mod gateway;
mod mix;
mod network;
mod processes;
mod topics;

use crate::{
    invariants::Outcome,
    pipeline::{Setup, TestPipeline},
    traffic::TrafficOptions,
};

/// A fault of the suite.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) brokers: usize,
    /// Whether it is in the short form, for CI.
    pub(crate) is_short: bool,
    pub(crate) setup: Setup,
    pub(crate) run: Run,
}

/// How a fault is injected, and what must come of it.
pub(crate) enum Run {
    /// The pipeline goes on afterwards, and every invariant is checked.
    Heals(fn(&mut TestPipeline<'_>) -> anyhow::Result<()>),
    /// The pipeline stops, with the reason and what to do, which is checked there.
    Stops(fn(&mut TestPipeline<'_>) -> anyhow::Result<()>),
    /// With a cure taken out something must be found: else the suite could not have found its lack.
    Bites(fn(&mut TestPipeline<'_>) -> anyhow::Result<()>),
    /// So many minutes of everything.
    Mix,
}

/// All faults, in the order of docs/reliability.md.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "F1",
        title: "a processor dies (SIGKILL) at each step of the protocol",
        brokers: 3,
        is_short: true,
        setup: Setup { processors: 3, ..Setup::COMMON },
        run: Run::Heals(processes::killed_at_failpoints),
    },
    Case {
        name: "F1-bites",
        title: "F1 with offsets in a transaction of their own: must be found",
        brokers: 3,
        is_short: true,
        setup: Setup { processors: 3, environment: &[("WEIR_WITHOUT", "one-transaction")], ..Setup::COMMON },
        run: Run::Bites(processes::killed_once_offsets_are_sent),
    },
    Case {
        name: "F2",
        title: "a processor freezes in a transaction, past session and transaction timeout, and comes back",
        brokers: 3,
        is_short: true,
        setup: Setup { processors: 3, ..Setup::COMMON },
        run: Run::Heals(processes::zombies),
    },
    Case {
        name: "F3",
        title: "another producer takes a transactional id over",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(processes::hijacked),
    },
    Case {
        name: "F4",
        title: "a commit is delivered again, amid its producer's next transaction, which dies",
        brokers: 3,
        is_short: true,
        setup: Setup { processors: 4, partitions: 8, proxied: true, ..Setup::COMMON },
        run: Run::Heals(commits::delivered_late),
    },
    Case {
        name: "F4-pauses",
        title: "a broker freezes for 8 s during commits",
        brokers: 3,
        is_short: false,
        setup: Setup { processors: 4, partitions: 8, ..Setup::COMMON },
        run: Run::Heals(commits::paused_brokers),
    },
    Case {
        name: "F4-bites",
        title: "F4 without the fresh producer: must be found",
        brokers: 3,
        is_short: true,
        setup: Setup {
            processors: 4,
            partitions: 8,
            proxied: true,
            environment: &[("WEIR_WITHOUT", "fresh-producer")],
            ..Setup::COMMON
        },
        run: Run::Bites(commits::delivered_late),
    },
    Case {
        name: "F5",
        title: "each broker restarted, then killed; then all at once",
        brokers: 3,
        is_short: true,
        setup: Setup::COMMON,
        run: Run::Heals(brokers::restarted_and_killed),
    },
    Case {
        name: "F6",
        title: "the coordinators of groups and transactions, and a leader, killed",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(brokers::coordinators_killed),
    },
    Case {
        name: "F7",
        title: "processors cut off for 20 s: silence, requests alone, refused connections",
        brokers: 3,
        is_short: false,
        setup: Setup { proxied: true, ..Setup::COMMON },
        run: Run::Heals(network::apart),
    },
    Case {
        name: "F8",
        title: "requests and responses delayed by 100 ms each",
        brokers: 3,
        is_short: false,
        setup: Setup { proxied: true, ..Setup::COMMON },
        run: Run::Heals(network::slow),
    },
    Case {
        name: "F9",
        title: "a broker freezes for 30 s",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(brokers::frozen),
    },
    Case {
        name: "F11",
        title: "a broker's disk is full, then every broker's",
        brokers: 3,
        is_short: false,
        setup: Setup { disks: true, ..Setup::COMMON },
        run: Run::Heals(brokers::disk_full),
    },
    Case {
        name: "F12",
        title: "processors' clocks jump, two hours ahead and behind, and apart from each other",
        brokers: 3,
        is_short: false,
        setup: Setup { clocks: true, ..Setup::COMMON },
        run: Run::Heals(processes::wrong_clocks),
    },
    Case {
        name: "F13",
        title: "10 % duplicates, 5 % late events, 2 % records that are none",
        brokers: 3,
        is_short: true,
        setup: Setup {
            traffic: TrafficOptions {
                late: 0.05,
                duplicates: 0.1,
                malformed: 0.02,
                ..TrafficOptions::COMMON
            },
            ..Setup::COMMON
        },
        run: Run::Heals(data::faulty_events),
    },
    Case {
        name: "F14",
        title: "the events topic deleted and made again",
        brokers: 3,
        is_short: true,
        setup: Setup::COMMON,
        run: Run::Stops(topics::made_again),
    },
    Case {
        name: "F15",
        title: "partitions added to the events topic",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Stops(topics::partitions_added),
    },
    Case {
        name: "F20",
        title: "a processor is killed by the kernel as it needs more memory than its limit",
        brokers: 3,
        is_short: false,
        setup: Setup { processors: 3, limits: true, ..Setup::COMMON },
        run: Run::Heals(processes::out_of_memory),
    },
    Case {
        name: "F21",
        title: "1, then 6, then 2 processors, and again",
        brokers: 3,
        is_short: true,
        setup: Setup { processors: 1, partitions: 6, ..Setup::COMMON },
        run: Run::Heals(processes::scaled),
    },
    Case {
        name: "F22",
        title: "a gateway's clients that never read, and a storm of clients",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(gateway::hostile_clients),
    },
    Case {
        name: "F24",
        title: "retention deletes events that stopped processors have not read",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Stops(topics::deleted_while_stopped),
    },
    Case {
        name: "F24-slow",
        title: "retention deletes events that slow processors have not read",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Stops(topics::deleted_while_reading),
    },
    Case {
        name: "F25",
        title: "a mix of all from a seed, on three brokers and on one",
        brokers: 3,
        is_short: false,
        setup: Setup { window: (60, 5), ..Setup::COMMON },
        run: Run::Mix,
    },
    Case {
        name: "F26",
        title: "no events for longer than the idle timeout, then than a window",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(mix::quiet),
    },
    Case {
        name: "F27",
        title: "producers' transactions open for 40 s, committed and aborted",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(mix::open_transactions),
    },
    Case {
        name: "F28",
        title: "records of 3 MB in compressed batches",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(mix::oversized),
    },
    Case {
        name: "F29",
        title: "every broker restarted, one after the other, four times",
        brokers: 3,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(mix::rolled),
    },
    Case {
        name: "F29-single",
        title: "the only broker restarted four times",
        brokers: 1,
        is_short: false,
        setup: Setup::COMMON,
        run: Run::Heals(mix::rolled),
    },
    Case {
        name: "R1",
        title: "5,000 events/s, a processor restarted",
        brokers: 3,
        is_short: false,
        setup: Setup::FAST,
        run: Run::Heals(mix::processor_restarted),
    },
    Case {
        name: "R2",
        title: "5,000 events/s, a processor killed",
        brokers: 3,
        is_short: false,
        setup: Setup::FAST,
        run: Run::Heals(mix::processor_killed),
    },
    Case {
        name: "R3",
        title: "5,000 events/s, a broker killed, away for 20 s",
        brokers: 3,
        is_short: false,
        setup: Setup::FAST,
        run: Run::Heals(mix::broker_killed),
    },
];

/// Injects the fault and checks what came of it.
pub(crate) fn run(case: &Case, mut pipeline: TestPipeline<'_>) -> anyhow::Result<Outcome> {
    pipeline.await_progress("the first window")?;
    match case.run {
        Run::Heals(inject) => {
            inject(&mut pipeline)?;
            pipeline.await_progress(case.title)?;
            pipeline.check()
        }
        Run::Stops(inject) => {
            inject(&mut pipeline)?;
            pipeline.give_up()
        }
        Run::Bites(inject) => {
            let mut outcome = match inject(&mut pipeline) {
                Ok(()) => pipeline.check()?,
                // What a cure prevents may make the processors stand still.
                Err(error) => {
                    let mut outcome = pipeline.give_up()?;
                    outcome.violated("I7", &error);
                    outcome
                }
            };
            outcome.expect_violation();
            Ok(outcome)
        }
        Run::Mix => unreachable!("the mix has pipelines of its own"),
    }
}

pub(crate) use mix::run as run_mix;
