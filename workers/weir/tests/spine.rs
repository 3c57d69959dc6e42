//! The main path over a real broker: topics, events, processes that come, go and are killed, results.
#![allow(clippy::unwrap_used)]

mod support;

use std::{process::Child, time::Duration};

use support::Trial;
use weir_audit::{Audit, Report};

const KILLS: usize = 6;

fn process(trial: &Trial, instance: &str) -> Child {
    trial.weir(&["process", "--until-end", "--instance", instance]).spawn().unwrap()
}

fn audit(trial: &Trial) -> Report {
    Audit::connect(&trial.pipeline, trial.brokers).unwrap().compare(true).unwrap()
}

#[test]
fn results_equal_the_oracle_whatever_is_killed() {
    const EVENTS: usize = 500_000;
    let trial = Trial::new("kills", "kills-events");
    trial.generate(EVENTS);

    let mut survivor = process(&trial, "p0");
    let mut victim = process(&trial, "p1");
    for kill in 0..KILLS {
        // Not a wait for a condition: the later, the more varied the moment of death.
        std::thread::sleep(Duration::from_millis(300 + 400 * kill as u64));
        victim.kill().unwrap();
        victim.wait().unwrap();
        victim = process(&trial, "p1");
    }
    assert!(survivor.wait().unwrap().success());
    assert!(victim.wait().unwrap().success());

    let report = audit(&trial);
    assert_eq!(report.records, EVENTS);
    assert!(report.late > 0 && report.invalid > 0 && report.windows > 400, "{report:?}");
}

#[test]
fn any_number_of_processes_gives_the_same_bytes() {
    const EVENTS: usize = 100_000;
    Trial::new("alone", "shared-events").generate(EVENTS);
    let mut digests = Vec::new();
    for (name, processes) in [("alone", 1), ("pair", 2), ("crowd", 6)] {
        let trial = Trial::new(name, "shared-events");
        let mut running: Vec<Child> = (0..processes).map(|i| process(&trial, &format!("p{i}"))).collect();
        for process in &mut running {
            assert!(process.wait().unwrap().success());
        }
        let report = audit(&trial);
        assert!(report.records == EVENTS && report.windows > 50, "{report:?}");
        digests.push(report.digest);
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}
