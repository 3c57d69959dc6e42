#![allow(clippy::unwrap_used)]
use super::*;

const MINUTE: i64 = 60_000;

fn settings() -> Autoscaling {
    Autoscaling { min_replicas: 1, max_replicas: 12, ..Autoscaling::default() }
}

/// A pipeline that is fed and read at constant rates, looked at every quarter of a minute.
struct Story {
    settings: Autoscaling,
    partitions: i32,
    memory: Memory,
    at: i64,
    replicas: i32,
    committed: f64,
    end: f64,
    decisions: Vec<(i32, Reason)>,
}

impl Story {
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

    /// Goes on for some minutes; what one processor manages decides how fast it is read. Changes are followed at once.
    fn go(mut self, minutes: i64, arriving: f64, capacity: f64) -> Self {
        let until = self.at + minutes * MINUTE;
        while self.at < until {
            self.at += 15_000;
            self.end += arriving * 15.0;
            let read = capacity * share_factor(self.partitions, self.replicas) * 15.0;
            self.committed = (self.committed + read).min(self.end);
            let sample = Sample { at: self.at, committed: self.committed as i64, end: self.end as i64 };
            self.look(Some(sample), self.replicas);
        }
        self
    }

    fn look(&mut self, sample: Option<Sample>, ready: i32) {
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

    /// The numbers that were gone through.
    fn numbers(&self) -> Vec<i32> {
        let mut numbers: Vec<i32> = self.decisions.iter().map(|(n, _)| *n).collect();
        numbers.dedup();
        numbers
    }

    fn ends(&self) -> (i32, Reason) {
        *self.decisions.last().unwrap()
    }
}

#[test]
fn only_numbers_that_share_differently_are_chosen() {
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
fn what_is_known_to_be_managed_decides() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    // What piled up while it was measured counts, too.
    for (arriving, expected) in
        [(500.0, vec![1]), (1_050.0, vec![1]), (1_500.0, vec![1, 2]), (2_500.0, vec![1, 4])]
    {
        let story = Story::new(known.clone(), 12, 1).go(5, arriving, 1_200.0);
        assert_eq!(story.numbers(), expected, "{arriving}: {:?}", story.decisions);
    }
}

#[test]
fn a_backlog_is_worked_off_in_time_and_nothing_is_taken_away_meanwhile() {
    let known = Autoscaling {
        events_per_processor: Some(1_000),
        scale_down_cooldown: weir_manifest::Duration::from_secs(60),
        ..settings()
    };
    let mut story = Story::new(known, 12, 2);
    story.end = 400_000.0;
    // After a minute 310,000 are left: in two minutes 2,583 a second beside the 500 that come.
    let story = story.go(1, 500.0, 1_000.0);
    assert_eq!(story.ends(), (4, Reason::ScaleUp), "{:?}", story.decisions);
    let story = story.go(20, 500.0, 1_000.0);
    let at = |reason| story.decisions.iter().position(|(_, found)| *found == reason).unwrap();
    assert!(at(Reason::CatchingUp) < at(Reason::ScaleDown), "{:?}", story.decisions);
    assert_eq!(story.ends(), (1, Reason::Steady), "{:?}", story.decisions);
}

#[test]
fn without_knowing_what_one_manages_it_goes_step_by_step_and_learns() {
    let story = Story::new(settings(), 6, 1).go(8, 2_500.0, 1_000.0);
    assert_eq!(story.numbers().first_chunk(), Some(&[1, 2]), "{:?}", story.decisions);
    assert!(story.replicas >= 3, "{:?}", story.decisions);
    let learned = story.memory.capacity().unwrap();
    assert!((800.0..1_200.0).contains(&learned), "{learned}");
    // Where reading keeps up nothing is learned, and nothing is taken away on a guess.
    let story = Story::new(settings(), 6, 3).go(30, 100.0, 1_000.0);
    assert_eq!(story.ends(), (3, Reason::CapacityUnknown));
}

#[test]
fn fewer_must_have_been_enough_for_the_whole_cooldown() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    let story = Story::new(known.clone(), 6, 3).go(8, 200.0, 1_000.0);
    assert_eq!(story.ends(), (3, Reason::Waiting));
    // A need in between begins it anew.
    let story = story.go(2, 2_500.0, 1_000.0).go(8, 200.0, 1_000.0);
    assert_eq!(story.numbers(), [3], "{:?}", story.decisions);
    // While rates still fell two were needed, so it is two first.
    let story = story.go(3, 200.0, 1_000.0);
    assert_eq!(story.numbers(), [3, 2], "{:?}", story.decisions);
    let story = story.go(12, 200.0, 1_000.0);
    assert_eq!(story.numbers(), [3, 2, 1], "{:?}", story.decisions);
    // Just below what fewer manage is not low enough.
    let story = Story::new(known, 6, 2).go(30, 900.0, 1_000.0);
    assert_eq!(story.ends(), (2, Reason::Steady), "{:?}", story.decisions);
}

#[test]
fn additions_keep_their_distance() {
    let cooldown = weir_manifest::Duration::from_secs(180);
    let known = Autoscaling { events_per_processor: Some(1_000), scale_up_cooldown: cooldown, ..settings() };
    let story = Story::new(known, 12, 1).go(1, 1_500.0, 1_500.0);
    assert_eq!(story.ends(), (2, Reason::ScaleUp));
    let story = story.go(2, 5_500.0, 1_000.0);
    assert_eq!(story.ends(), (2, Reason::CoolingDown), "{:?}", story.decisions);
    let story = story.go(2, 5_500.0, 1_000.0);
    assert_eq!(story.numbers(), [1, 2, 12], "{:?}", story.decisions);
}

#[test]
fn what_is_not_followed_is_decided_again() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    let mut memory = Memory::default();
    let decisions = (0..8).map(|look| {
        let at = look * 15_000;
        let sample = Some(Sample { at, committed: look * 15_000, end: look * 22_500 });
        memory.decide(&known, 6, Now { at, replicas: 1, ready: 1, sample })
    });
    let decisions: Vec<_> = decisions.map(|decision| (decision.replicas, decision.reason)).collect();
    assert_eq!(decisions[..3], [(1, Reason::Measuring); 3]);
    assert_eq!(decisions[3..], [(2, Reason::ScaleUp); 5]);
}

#[test]
fn without_a_sample_nothing_changes() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    let mut story = Story::new(known, 6, 6).go(2, 5_900.0, 1_000.0);
    let before = story.replicas;
    for _ in 0..200 {
        story.at += 15_000;
        story.look(None, before);
    }
    assert_eq!(story.ends(), (6, Reason::NoSample));
    // What was measured before the gap is not taken for now's.
    story = story.go(0, 0.0, 0.0);
    story.at += 15_000;
    story.look(Some(Sample { at: story.at, committed: 9_000_000, end: 9_000_000 }), 6);
    assert_eq!(story.ends(), (6, Reason::Measuring));
    story.at += 60_000;
    story.look(Some(Sample { at: story.at, committed: 9_100_000, end: 9_100_000 }), 5);
    assert_eq!(story.ends(), (6, Reason::Settling));
}

#[test]
fn what_was_measured_of_something_else_is_forgotten() {
    let known = Autoscaling { events_per_processor: Some(1_000), ..settings() };
    type Change = fn(&mut Story);
    let changes: [(_, Change); 4] = [
        ("a topic made anew", |story| (story.committed, story.end) = (0.0, 0.0)),
        ("progress set back", |story| story.committed = 0.0),
        ("another number by hand", |story| story.replicas = 3),
        ("one that joins", |story| {
            story.at += 15_000;
            let sample = Sample { at: story.at, committed: story.committed as i64, end: story.end as i64 };
            story.look(Some(sample), 1);
        }),
    ];
    for (what, change) in changes {
        let mut story = Story::new(known.clone(), 6, 2).go(2, 1_500.0, 1_000.0);
        assert_eq!(story.ends(), (2, Reason::Steady), "{what}");
        change(&mut story);
        story.decisions.clear();
        let story = story.go(1, 1_500.0, 1_000.0);
        assert_eq!(story.decisions[0].1, Reason::Measuring, "{what}: {:?}", story.decisions);
    }
}

#[test]
fn bounds_hold_without_any_sample() {
    for (least, most, partitions, current, expected) in
        [(2, 6, 12, 1, 2), (1, 3, 12, 9, 3), (1, 12, 6, 9, 6), (8, 12, 6, 2, 6), (1, 6, 6, 0, 1)]
    {
        let settings = Autoscaling { min_replicas: least, max_replicas: most, ..settings() };
        let mut story = Story::new(settings, partitions, current);
        story.look(None, current);
        assert_eq!(story.ends(), (expected, Reason::OutOfBounds), "{least} {most} {partitions} {current}");
    }
}

#[test]
fn what_the_status_remembers_outlives_the_operator() {
    let known = settings();
    let mut story = Story::new(known, 6, 1);
    story.memory = Memory::new(Some(1_000), Some(30_000));
    // Nothing is learned anew, and the last change still counts.
    let story = story.go(1, 1_500.0, 1_500.0);
    assert_eq!(story.decisions, [(1, Reason::Measuring), (1, Reason::CoolingDown)]);
    let story = story.go(1, 1_500.0, 1_500.0);
    assert_eq!(story.numbers(), [1, 2], "{:?}", story.decisions);
}
