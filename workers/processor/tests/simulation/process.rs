//! One `weir process`: both stages, each a member of its own group.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use weir_log::Error;
use weir_processor::results::Results;
use weir_processor::windows::EndOfLog;
use weir_processor::windows::Windows;
use weir_processor::worker::Worker;

use crate::{
    faulty_member::{FaultPlan, FaultyMember},
    setup::STAGES,
    simulation::Simulation,
};

pub struct Process {
    pub name: String,
    pub is_static: bool,
    /// Planned faults, by stage.
    pub fault_plans: [Rc<FaultPlan>; 2],
    /// Stalled until this time of the broker's clock.
    pub asleep_until: Cell<i64>,
    /// Another process ran under the same name at some time: either may be fenced, and must then stop.
    pub has_rival: Cell<bool>,
    /// Its clock minus the broker's.
    skew: i64,
    windows: RefCell<Option<Worker<Windows, FaultyMember>>>,
    results: RefCell<Option<Worker<Results, FaultyMember>>>,
}

impl Process {
    pub fn start(simulation: &Rc<Simulation>, name: &str, is_static: bool) -> Self {
        let Simulation { setup, dice, .. } = &**simulation;
        let fault_plans = [Rc::<FaultPlan>::default(), Rc::<FaultPlan>::default()];
        let member = |stage: usize| {
            FaultyMember::new(
                setup.member(STAGES[stage], name, is_static),
                fault_plans[stage].clone(),
                simulation,
            )
        };
        Self {
            windows: RefCell::new(Some(
                Worker::new(setup.windows(), member(0)).with_transaction_bytes(setup.transaction_bytes),
            )),
            results: RefCell::new(Some(
                Worker::new(setup.results(), member(1)).with_transaction_bytes(setup.transaction_bytes),
            )),
            name: name.to_owned(),
            is_static,
            asleep_until: Cell::new(0),
            has_rival: Cell::new(false),
            skew: dice.pick(&[0, 0, -700, 900, 20_000]),
            fault_plans,
        }
    }

    /// One step of a stage; does nothing during a step.
    pub fn step(&self, stage: usize, now: i64) -> Result<(), Error> {
        fn step<S, R>(
            cell: &RefCell<Option<S>>,
            run: impl FnOnce(&mut S) -> Result<R, Error>,
        ) -> Result<(), Error> {
            let Ok(mut worker) = cell.try_borrow_mut() else { return Ok(()) };
            worker.as_mut().map_or(Ok(()), |worker| run(worker).map(|_| ()))
        }
        let now = now + self.skew;
        match stage {
            0 => step(&self.windows, |worker| worker.step(now, Duration::ZERO)),
            _ => step(&self.results, |worker| worker.step(now, Duration::ZERO)),
        }
    }

    /// The end of the log, as for `--until-end`; `None` during a step.
    pub fn finished(&self) -> Option<EndOfLog> {
        self.windows.try_borrow().ok()?.as_ref()?.stage().end_of_log()
    }

    /// Crashes immediately, also during a step.
    pub fn die(&self) {
        self.fault_plans.iter().for_each(|fault_plan| fault_plan.dead.set(true));
    }

    pub fn is_dead(&self) -> bool {
        self.fault_plans.iter().any(|fault_plan| fault_plan.dead.get())
    }

    /// Leaves both groups; `None` during a step.
    pub fn leave(&self) -> Option<Result<(), Error>> {
        let (Ok(mut windows), Ok(mut results)) =
            (self.windows.try_borrow_mut(), self.results.try_borrow_mut())
        else {
            return None;
        };
        let windows = windows.take().map_or(Ok(()), Worker::leave);
        Some(windows.and(results.take().map_or(Ok(()), Worker::leave)))
    }
}
