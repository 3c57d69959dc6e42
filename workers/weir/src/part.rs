//! A part of the processing: a worker that is stepped until it is done, stopped, or superseded by another generation.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail};
use weir_log::{Error, Member};
use weir_manifest::Pipeline;
use weir_processor::stage::Stage;
use weir_processor::worker::Worker;
use weir_telemetry::millis;

use crate::{
    backoff::{Backoff, retry_with_backoff},
    metrics::StageMetrics,
    stopping::{self, register_part},
};

/// What ends the processing beside the user, set by the watch over topics and generations.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Why nothing more may be committed.
    pub(crate) fault: OnceLock<String>,
    /// The generation that has begun: what is done is committed, and the process leaves.
    pub(crate) superseded: OnceLock<u32>,
}

impl Signals {
    pub(crate) fn result(&self, pipeline: &Pipeline) -> anyhow::Result<()> {
        let Some(newer) = self.superseded.get() else { return Ok(()) };
        bail!(
            "generation {newer} of the pipeline {} has begun, and this process has left the one before: start it again with the newest document",
            pipeline.metadata.name
        )
    }
}

/// What a part of the processing is run with.
pub(crate) struct Part<'a> {
    /// Maximum wait for records.
    pub(crate) wait: Duration,
    /// Bytes of outputs after which a transaction is committed.
    pub(crate) transaction_bytes: usize,
    /// Where it is shown.
    pub(crate) metrics: &'a StageMetrics,
    /// While a generation takes over: the other stage, which does not run yet. Nothing is ready until it does.
    pub(crate) not_running: Option<&'a StageMetrics>,
    /// The user's stop.
    pub(crate) stop: &'a AtomicBool,
    /// The watch's.
    pub(crate) signals: &'a Signals,
}

impl Part<'_> {
    /// Whether it is to end, with what is done committed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.signals.superseded.get().is_some()
    }

    /// Shows that it is alive.
    pub(crate) fn heartbeat(&self) {
        self.metrics.heartbeat.turn();
        if let Some(not_running) = self.not_running {
            not_running.heartbeat.turn();
        }
    }

    /// Steps a worker until it is done or stopped; retries transient errors.
    ///
    /// # Errors
    /// Errors that need the user's action.
    pub(crate) fn drive<S: Stage, M: Member>(
        &self,
        name: &str,
        mut connect: impl FnMut() -> Result<M, Error>,
        stage: S,
        mut done: impl FnMut(&mut Worker<S, M>) -> bool,
    ) -> Result<(), Error> {
        let Self { wait, transaction_bytes, metrics, not_running, stop, signals } = *self;
        let _stop_on_panic = StopOnPanic(stop);
        let _part = register_part(name);
        let connect = || {
            self.heartbeat();
            connect()
        };
        let Some(member) = retry_with_backoff(stop, connect)? else { return Ok(()) };
        let heartbeats: Vec<_> = [Some(metrics), not_running]
            .into_iter()
            .flatten()
            .map(|stage| Arc::clone(&stage.heartbeat))
            .collect();
        let mut worker = Worker::new(stage, member)
            .with_heartbeat(move || heartbeats.iter().for_each(|heartbeat| heartbeat.turn()))
            .with_transaction_bytes(transaction_bytes);
        let mut backoff = Backoff::new();
        while !self.is_stopped() {
            if let Some(why) = signals.fault.get() {
                return Err(Error::fatal(why.clone()));
            }
            match worker.step(millis(), wait) {
                Ok(()) => {
                    backoff = Backoff::new();
                    if worker.is_assigned() && not_running.is_none() {
                        metrics.heartbeat.success();
                    }
                }
                Err(Error::Fatal(why)) => return Err(Error::Fatal(why)),
                Err(error) => backoff.wait(&error, stop),
            }
            self.heartbeat();
            metrics.show(worker.counts());
            if done(&mut worker) {
                break;
            }
        }
        // The other stage may have seen the fault first, and stopped this one.
        if let Some(why) = signals.fault.get() {
            return Err(Error::fatal(why.clone()));
        }
        worker.leave()
    }

    /// As [`drive`](Self::drive), of one of the two stages. One is of no use without the other.
    pub(crate) fn drive_to_the_end<S: Stage, M: Member>(
        &self,
        name: &str,
        connect: impl FnMut() -> Result<M, Error>,
        stage: S,
        done: impl FnMut(&mut Worker<S, M>) -> bool,
    ) -> anyhow::Result<()> {
        let result = self.drive(name, connect, stage, done);
        match &result {
            Ok(()) => self.metrics.heartbeat.end(),
            Err(error) => {
                stopping::failed(&error.to_string());
                self.stop.store(true, Ordering::SeqCst);
            }
        }
        result.map_err(|error| anyhow!("{error}"))
    }
}

/// Stops the other stage when this one panics.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}
