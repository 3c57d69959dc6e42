//! How a process of a generation takes over from those before, step by step, as `weir process` does.

use std::{rc::Rc, time::Duration};

use weir_log::{Error, Generations, Member as _, generations};
use weir_memory::MemberOptions;
use weir_processor::{
    ending::Ending,
    results::Results,
    takeover::{self, End, Next},
    worker::Worker,
};

use crate::{
    faulty_member::{FaultPlan, FaultyMember},
    planted::Planted,
    setup::{EVENTS, GENERATIONS, Setup},
    simulation::{Simulation, progress_of},
};

/// What a process does before its stages run.
pub struct TakeOver {
    number: u32,
    name: String,
    is_static: bool,
    fault_plan: Rc<FaultPlan>,
    phase: Phase,
}

enum Phase {
    Reading,
    Ending(End, Box<Worker<Ending, FaultyMember>>),
    Draining(End, i64, Box<Worker<Results, FaultyMember>>),
    Recording(End, i64),
    Failed,
}

impl TakeOver {
    pub fn new(number: u32, name: &str, is_static: bool, fault_plan: Rc<FaultPlan>) -> Self {
        Self { number, name: name.to_owned(), is_static, fault_plan, phase: Phase::Reading }
    }

    /// One step. Returns the generation with its cut once its stages are to run.
    pub fn step(&mut self, simulation: &Rc<Simulation>, now: i64) -> Result<Option<Setup>, Error> {
        let done = match std::mem::replace(&mut self.phase, Phase::Failed) {
            Phase::Reading => {
                let id = format!("generations.{}", self.name);
                let mut member = self.recorder(simulation, &id);
                match Generations::read(&mut member, GENERATIONS) {
                    Ok(generations) => return Ok(self.next(simulation, &generations)),
                    Err(error) => Err((Phase::Reading, error)),
                }
            }
            Phase::Ending(end, mut worker) => match worker.step(now, Duration::ZERO) {
                Ok(()) => {
                    let committed = worker.member().committed().ok();
                    match committed.and_then(|committed| end.cut(&committed)) {
                        None => Ok(Phase::Ending(end, worker)),
                        Some(cut) => {
                            worker.leave()?;
                            Ok(self.drain(simulation, end, cut))
                        }
                    }
                }
                Err(error) => Err((Phase::Ending(end, worker), error)),
            },
            Phase::Draining(end, cut, mut worker) => match worker.step(now, Duration::ZERO) {
                Ok(()) => {
                    let committed = worker.member().committed();
                    if committed.is_ok_and(|committed| end.is_drained(&committed)) {
                        worker.leave()?;
                        Ok(Phase::Recording(end, cut))
                    } else {
                        Ok(Phase::Draining(end, cut, worker))
                    }
                }
                Err(error) => Err((Phase::Draining(end, cut, worker), error)),
            },
            Phase::Recording(end, cut) => {
                // All processes record under one transactional id: of two that do so at once, one fails.
                let mut member = self.recorder(simulation, GENERATIONS);
                let recorded = generations::record_begun(&mut member, GENERATIONS, &end.begun(cut));
                match recorded {
                    Ok(generations) => {
                        simulation.note("cuts recorded");
                        return Ok(self.next(simulation, &generations));
                    }
                    Err(_) if !self.fault_plan.dead.get() => {
                        simulation.note("records of a cut tried again");
                        Ok(Phase::Recording(end, cut))
                    }
                    Err(error) => Err((Phase::Recording(end, cut), error)),
                }
            }
            Phase::Failed => return Err(Error::fatal("it has failed before")),
        };
        match done {
            Ok(phase) => {
                self.phase = phase;
                Ok(None)
            }
            Err((phase, error)) => {
                self.phase = phase;
                Err(error)
            }
        }
    }

    /// Leaves the group that it is in.
    pub fn leave(self) -> Result<(), Error> {
        match self.phase {
            Phase::Ending(_, worker) => worker.leave(),
            Phase::Draining(_, _, worker) => worker.leave(),
            Phase::Reading | Phase::Recording(..) | Phase::Failed => Ok(()),
        }
    }

    fn recorder(&self, simulation: &Rc<Simulation>, id: &str) -> FaultyMember {
        let options = MemberOptions::new(GENERATIONS, GENERATIONS, id);
        FaultyMember::new(options, (self.number, None), self.fault_plan.clone(), simulation)
    }

    /// What is to be done next, by what is recorded.
    fn next(&mut self, simulation: &Rc<Simulation>, generations: &Generations) -> Option<Setup> {
        match takeover::next(generations, self.number).unwrap() {
            Next::Begin(cut) => Some(simulation.generation(self.number).after(cut)),
            Next::End(end) => {
                let ends = simulation.generation(end.generation().number);
                if simulation.setup.planted == Some(Planted::EarlyGeneration) {
                    let committed = simulation.committed(&ends, 0).unwrap_or_default();
                    let sealed = committed.iter().filter_map(|it| progress_of(it)["sealed"].as_i64()).min();
                    self.phase = Phase::Recording(end, sealed.unwrap_or_default());
                    return None;
                }
                let stage = Ending::new(EVENTS, &ends.state(), &ends.blocks(), end.by());
                let worker = Worker::new(stage, self.member(simulation, &ends, 0));
                self.phase = Phase::Ending(end, Box::new(worker));
                simulation.note("take-overs begun");
                None
            }
        }
    }

    fn drain(&self, simulation: &Rc<Simulation>, end: End, cut: i64) -> Phase {
        if !end.drains(cut) {
            return Phase::Recording(end, cut);
        }
        let ends = simulation.generation(end.generation().number).after(end.cut_before());
        // As recorded: what is recorded is all that is known of it.
        let settings = weir_analytics::decisive::settings_in(&end.generation().settings).unwrap();
        assert_eq!(settings, ends.settings);
        let stage = ends.results(Some(end.by()));
        let worker = Worker::new(stage, self.member(simulation, &ends, 1))
            .with_transaction_bytes(ends.transaction_bytes);
        Phase::Draining(end, cut, Box::new(worker))
    }

    fn member(&self, simulation: &Rc<Simulation>, ends: &Setup, stage: usize) -> FaultyMember {
        FaultyMember::new(
            ends.member(stage, &self.name, self.is_static),
            (ends.generation, Some(stage)),
            self.fault_plan.clone(),
            simulation,
        )
    }
}
