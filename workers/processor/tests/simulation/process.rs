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
    /// By stage.
    pub fates: [Rc<FaultPlan>; 2],
    /// Until when, by the broker's clock, it does nothing.
    pub asleep_until: Cell<i64>,
    /// Another ran under the same name at some time of its life: either may be told so, and must then stop.
    pub has_rival: Cell<bool>,
    /// By how much its clock differs from the broker's.
    skew: i64,
    windows: RefCell<Option<Worker<Windows, FaultyMember>>>,
    results: RefCell<Option<Worker<Results, FaultyMember>>>,
}

impl Process {
    pub fn start(simulation: &Rc<Simulation>, name: &str, is_static: bool) -> Self {
        let Simulation { setup, dice, .. } = &**simulation;
        let fates = [Rc::<FaultPlan>::default(), Rc::<FaultPlan>::default()];
        let member = |stage: usize| {
            FaultyMember::new(setup.member(STAGES[stage], name, is_static), fates[stage].clone(), simulation)
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
            fates,
        }
    }

    /// One step of a stage; nothing if it is in the middle of one.
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

    /// What `--until-end` waits for; `None` if it is in the middle of a step.
    pub fn finished(&self) -> Option<EndOfLog> {
        self.windows.try_borrow().ok()?.as_ref()?.stage().end_of_log()
    }

    /// Dies on the spot, also in the middle of a step.
    pub fn die(&self) {
        self.fates.iter().for_each(|fault_plan| fault_plan.dead.set(true));
    }

    pub fn is_dead(&self) -> bool {
        self.fates.iter().any(|fault_plan| fault_plan.dead.get())
    }

    /// Leaves both groups; `None` if it is in the middle of a step.
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
