//! One `weir process`: the take-over from the generation before, then both stages, each a member of its own group.

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
    planted::Planted,
    setup::Setup,
    simulation::Simulation,
    takeover::TakeOver,
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
    /// The number of its generation.
    pub generation: u32,
    /// Until its stages run.
    taking_over: RefCell<Option<TakeOver>>,
    windows: RefCell<Option<Worker<Windows, FaultyMember>>>,
    results: RefCell<Option<Worker<Results, FaultyMember>>>,
}

impl Process {
    pub fn start(simulation: &Rc<Simulation>, generation: u32, name: &str, is_static: bool) -> Self {
        let fault_plans = [Rc::<FaultPlan>::default(), Rc::<FaultPlan>::default()];
        let take_over = TakeOver::new(generation, name, is_static, fault_plans[0].clone());
        let process = Self {
            generation,
            taking_over: RefCell::new((generation > 1).then_some(take_over)),
            windows: RefCell::default(),
            results: RefCell::default(),
            name: name.to_owned(),
            is_static,
            asleep_until: Cell::new(0),
            has_rival: Cell::new(false),
            skew: match simulation.setup.planted {
                Some(Planted::WatermarkPassesClock) => 3_600_000,
                _ => simulation.dice.pick(&[0, 0, -700, 900, 20_000]),
            },
            fault_plans,
        };
        if generation == 1 {
            process.begin(simulation, &simulation.setup);
        }
        process
    }

    /// Starts the stages.
    fn begin(&self, simulation: &Rc<Simulation>, setup: &Setup) {
        simulation.begun(setup.generation);
        let member = |stage: usize| {
            FaultyMember::new(
                setup.member(stage, &self.name, self.is_static),
                (setup.generation, Some(stage)),
                self.fault_plans[stage].clone(),
                simulation,
            )
        };
        let bytes = setup.transaction_bytes;
        *self.windows.borrow_mut() =
            Some(Worker::new(setup.windows(), member(0)).with_transaction_bytes(bytes));
        *self.results.borrow_mut() =
            Some(Worker::new(setup.results(None), member(1)).with_transaction_bytes(bytes));
    }

    /// One step of a stage, or of what precedes them; does nothing during a step.
    pub fn step(&self, simulation: &Rc<Simulation>, stage: usize, now: i64) -> Result<(), Error> {
        fn step<S, R>(
            cell: &RefCell<Option<S>>,
            run: impl FnOnce(&mut S) -> Result<R, Error>,
        ) -> Result<(), Error> {
            let Ok(mut worker) = cell.try_borrow_mut() else { return Ok(()) };
            worker.as_mut().map_or(Ok(()), |worker| run(worker).map(|_| ()))
        }
        let now = now + self.skew;
        let mut begins = None;
        step(&self.taking_over, |take_over| take_over.step(simulation, now).map(|setup| begins = setup))?;
        if let Some(setup) = begins {
            *self.taking_over.borrow_mut() = None;
            self.begin(simulation, &setup);
        }
        match stage {
            0 => step(&self.windows, |worker| worker.step(now, Duration::ZERO)),
            _ => step(&self.results, |worker| worker.step(now, Duration::ZERO)),
        }
    }

    /// Whether its stages do not run yet.
    pub fn is_taking_over(&self) -> bool {
        self.taking_over.try_borrow().map_or(true, |take_over| take_over.is_some())
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
        let (Ok(mut taking_over), Ok(mut windows), Ok(mut results)) =
            (self.taking_over.try_borrow_mut(), self.windows.try_borrow_mut(), self.results.try_borrow_mut())
        else {
            return None;
        };
        if let Some(take_over) = taking_over.take() {
            return Some(take_over.leave());
        }
        let windows = windows.take().map_or(Ok(()), Worker::leave);
        Some(windows.and(results.take().map_or(Ok(()), Worker::leave)))
    }
}
