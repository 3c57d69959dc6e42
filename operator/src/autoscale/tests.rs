#![allow(clippy::unwrap_used)]
use super::*;

const MINUTE: i64 = 60_000;

fn settings() -> Autoscaling {
    Autoscaling { min_replicas: 1, max_replicas: 12, ..Autoscaling::default() }
}

/// A pipeline with constant input and processing rates, sampled every 15 s.
struct LoadSimulation {
    settings: Autoscaling,
    partitions: i32,
    memory: Memory,
    at: i64,
    replicas: i32,
    committed: f64,
    end: f64,
    decisions: Vec<(i32, Reason)>,
}

impl LoadSimulation {
    fn new(settings: Autoscaling, partitions: i32, replicas: i32) -> Self {
        let memory = Memory::default();
        Self {
            settings,
            partitions,
            memory,
            at: 0,
            replicas,
            committed: 0.0,
            end: 0.0,
            decisions: Vec::new(),
        }
    }

    /// Runs for some minutes with this input rate and capacity per processor. Decisions are applied at once.
    fn run(mut self, minutes: i64, arriving: f64, capacity: f64) -> Self {
        let until = self.at + minutes * MINUTE;
        while self.at < until {
            self.at += 15_000;
            self.end += arriving * 15.0;
            let read = capacity * share_factor(self.partitions, self.replicas) * 15.0;
            self.committed = (self.committed + read).min(self.end);
            let sample = Sample { at: self.at, committed: self.committed as i64, end: self.end as i64 };
            self.sample_and_decide(Some(sample), self.replicas);
        }
        self
    }

    fn sample_and_decide(&mut self, sample: Option<Sample>, ready: i32) {
        let now = Now { at: self.at, replicas: self.replicas, ready, sample };
        let decision = self.memory.decide(&self.settings, self.partitions, now);
        if decision.replicas != self.replicas {
            self.memory.changed(self.at);
        }
        self.replicas = decision.replicas;
        if self.decisions.last() != Some(&(decision.replicas, decision.reason)) {
            self.decisions.push((decision.replicas, decision.reason));
        }
    }

    /// The numbers of processors in the order in which they were decided.
    fn numbers(&self) -> Vec<i32> {
        let mut numbers: Vec<i32> = self.decisions.iter().map(|(n, _)| *n).collect();
        numbers.dedup();
        numbers
    }

    fn last_decision(&self) -> (i32, Reason) {
        *self.decisions.last().unwrap()
    }
}

#[test]
fn only_numbers_that_change_the_largest_share_are_chosen() {
    for (partitions, least, most, expected) in [
        (6, 1, 6, vec![1, 2, 3, 6]),
        (12, 1, 12, vec![1, 2, 3, 4, 6, 12]),
        (7, 1, 7, vec![1, 2, 3, 4, 7]),
        (6, 4, 5, vec![4]),
        (6, 2, 5, vec![2, 3]),
        (1, 1, 1, vec![1]),
    ] {
        assert_eq!(even_shares(partitions, least, most).collect::<Vec<_>>(), expected, "{partitions}");
    }
    assert_eq!(share_factor(6, 4), 3.0);
}

#[test]
fn configured_capacity_decides_the_number() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    // Lag from the time of measuring counts too.
    for (arriving, expected) in
        [(500.0, vec![1]), (1_050.0, vec![1]), (1_500.0, vec![1, 2]), (2_500.0, vec![1, 4])]
    {
        let simulation = LoadSimulation::new(known.clone(), 12, 1).run(5, arriving, 1_200.0);
        assert_eq!(simulation.numbers(), expected, "{arriving}: {:?}", simulation.decisions);
    }
}

#[test]
fn lag_is_worked_off_within_catch_up_without_scaling_down() {
    let known = Autoscaling {
        events_per_processor: Some(1_000),
        scale_down_cooldown: weir_manifest::Duration::from_secs(60),
        ..settings()
    };
    let mut simulation = LoadSimulation::new(known, 12, 2);
    simulation.end = 400_000.0;
    // After a minute 310,000 are left: in two minutes 2,583 a second beside the 500 that come.
    let simulation = simulation.run(1, 500.0, 1_000.0);
    assert_eq!(simulation.last_decision(), (4, Reason::ScaleUp), "{:?}", simulation.decisions);
    let simulation = simulation.run(20, 500.0, 1_000.0);
    let at = |reason| simulation.decisions.iter().position(|(_, found)| *found == reason).unwrap();
    assert!(at(Reason::CatchingUp) < at(Reason::ScaleDown), "{:?}", simulation.decisions);
    assert_eq!(simulation.last_decision(), (1, Reason::Steady), "{:?}", simulation.decisions);
}

#[test]
fn unknown_capacity_scales_step_by_step_and_is_measured() {
    let simulation = LoadSimulation::new(settings(), 6, 1).run(8, 2_500.0, 1_000.0);
    assert_eq!(simulation.numbers().first_chunk(), Some(&[1, 2]), "{:?}", simulation.decisions);
    assert!(simulation.replicas >= 3, "{:?}", simulation.decisions);
    let learned = simulation.memory.capacity().unwrap();
    assert!((800.0..1_200.0).contains(&learned), "{learned}");
    // Without lag the capacity is not measured, and nothing is scaled down on a guess.
    let simulation = LoadSimulation::new(settings(), 6, 3).run(30, 100.0, 1_000.0);
    assert_eq!(simulation.last_decision(), (3, Reason::CapacityUnknown));
}

#[test]
fn scale_down_waits_for_the_whole_cooldown() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    let simulation = LoadSimulation::new(known.clone(), 6, 3).run(8, 200.0, 1_000.0);
    assert_eq!(simulation.last_decision(), (3, Reason::Waiting));
    // A higher need in between restarts the cooldown.
    let simulation = simulation.run(2, 2_500.0, 1_000.0).run(8, 200.0, 1_000.0);
    assert_eq!(simulation.numbers(), [3], "{:?}", simulation.decisions);
    // Two were required while rates still fell, so two come first.
    let simulation = simulation.run(3, 200.0, 1_000.0);
    assert_eq!(simulation.numbers(), [3, 2], "{:?}", simulation.decisions);
    let simulation = simulation.run(12, 200.0, 1_000.0);
    assert_eq!(simulation.numbers(), [3, 2, 1], "{:?}", simulation.decisions);
    // A load just below the capacity of fewer is not low enough.
    let simulation = LoadSimulation::new(known, 6, 2).run(30, 900.0, 1_000.0);
    assert_eq!(simulation.last_decision(), (2, Reason::Steady), "{:?}", simulation.decisions);
}

#[test]
fn scale_ups_keep_their_minimum_distance() {
    let cooldown = weir_manifest::Duration::from_secs(180);
    let known = Autoscaling { events_per_processor: Some(1_000), scale_up_cooldown: cooldown, ..settings() };
    let simulation = LoadSimulation::new(known, 12, 1).run(1, 1_500.0, 1_500.0);
    assert_eq!(simulation.last_decision(), (2, Reason::ScaleUp));
    let simulation = simulation.run(2, 5_500.0, 1_000.0);
    assert_eq!(simulation.last_decision(), (2, Reason::CoolingDown), "{:?}", simulation.decisions);
    let simulation = simulation.run(2, 5_500.0, 1_000.0);
    assert_eq!(simulation.numbers(), [1, 2, 12], "{:?}", simulation.decisions);
}

#[test]
fn a_decision_that_is_not_applied_is_repeated() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    let mut memory = Memory::default();
    let decisions = (0..8).map(|sample_and_decide| {
        let at = sample_and_decide * 15_000;
        let sample =
            Some(Sample { at, committed: sample_and_decide * 15_000, end: sample_and_decide * 22_500 });
        memory.decide(&known, 6, Now { at, replicas: 1, ready: 1, sample })
    });
    let decisions: Vec<_> = decisions.map(|decision| (decision.replicas, decision.reason)).collect();
    assert_eq!(decisions[..3], [(1, Reason::Measuring); 3]);
    assert_eq!(decisions[3..], [(2, Reason::ScaleUp); 5]);
}

#[test]
fn without_a_sample_nothing_changes() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    let mut simulation = LoadSimulation::new(known, 6, 6).run(2, 5_900.0, 1_000.0);
    let before = simulation.replicas;
    for _ in 0..200 {
        simulation.at += 15_000;
        simulation.sample_and_decide(None, before);
    }
    assert_eq!(simulation.last_decision(), (6, Reason::NoSample));
    // Samples from before the gap do not count.
    simulation = simulation.run(0, 0.0, 0.0);
    simulation.at += 15_000;
    simulation.sample_and_decide(Some(Sample { at: simulation.at, committed: 9_000_000, end: 9_000_000 }), 6);
    assert_eq!(simulation.last_decision(), (6, Reason::Measuring));
    simulation.at += 60_000;
    simulation.sample_and_decide(Some(Sample { at: simulation.at, committed: 9_100_000, end: 9_100_000 }), 5);
    assert_eq!(simulation.last_decision(), (6, Reason::Settling));
}

#[test]
fn samples_of_another_topic_or_number_are_dropped() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    type Change = fn(&mut LoadSimulation);
    let changes: [(_, Change); 4] = [
        ("a topic made anew", |simulation| (simulation.committed, simulation.end) = (0.0, 0.0)),
        ("progress set back", |simulation| simulation.committed = 0.0),
        ("another number by hand", |simulation| simulation.replicas = 3),
        ("one that joins", |simulation| {
            simulation.at += 15_000;
            let sample = Sample {
                at: simulation.at,
                committed: simulation.committed as i64,
                end: simulation.end as i64,
            };
            simulation.sample_and_decide(Some(sample), 1);
        }),
    ];
    for (what, change) in changes {
        let mut simulation = LoadSimulation::new(known.clone(), 6, 2).run(2, 1_500.0, 1_000.0);
        assert_eq!(simulation.last_decision(), (2, Reason::Steady), "{what}");
        change(&mut simulation);
        simulation.decisions.clear();
        let simulation = simulation.run(1, 1_500.0, 1_000.0);
        assert_eq!(simulation.decisions[0].1, Reason::Measuring, "{what}: {:?}", simulation.decisions);
    }
}

#[test]
fn bounds_hold_without_any_sample() {
    for (least, most, partitions, current, expected) in
        [(2, 6, 12, 1, 2), (1, 3, 12, 9, 3), (1, 12, 6, 9, 6), (8, 12, 6, 2, 6), (1, 6, 6, 0, 1)]
    {
        let settings = Autoscaling { min_replicas: least, max_replicas: most, ..settings() };
        let mut simulation = LoadSimulation::new(settings, partitions, current);
        simulation.sample_and_decide(None, current);
        assert_eq!(
            simulation.last_decision(),
            (expected, Reason::OutOfBounds),
            "{least} {most} {partitions} {current}"
        );
    }
}

#[test]
fn state_in_the_status_survives_an_operator_restart() {
    let known = settings();
    let mut simulation = LoadSimulation::new(known, 6, 1);
    simulation.memory = Memory::new(Some(1_000), Some(30_000));
    // The capacity is not measured again, and the last change still counts.
    let simulation = simulation.run(1, 1_500.0, 1_500.0);
    assert_eq!(simulation.decisions, [(1, Reason::Measuring), (1, Reason::CoolingDown)]);
    let simulation = simulation.run(1, 1_500.0, 1_500.0);
    assert_eq!(simulation.numbers(), [1, 2], "{:?}", simulation.decisions);
}
