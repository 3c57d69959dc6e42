//! One broker: a process that can be stopped, killed, paused and started again with the same data and ports.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Distribution;
use crate::error::Error;
use crate::supervised::{SupervisedProcess, tail};

/// Maximum time until a broker is ready, on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum time of an orderly stop, which is slow when the other brokers are down.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// One broker of a [`Kafka`](crate::Kafka).
#[derive(Debug)]
pub struct Broker {
    pub(crate) index: usize,
    pub(crate) address: String,
    pub(crate) distribution: Distribution,
    pub(crate) heap_mib: u32,
    /// The properties file.
    pub(crate) settings: PathBuf,
    /// The folder to remove when this process dies without having stopped the broker: the whole cluster's data.
    pub(crate) cluster: PathBuf,
    pub(crate) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    process: Option<SupervisedProcess>,
    /// How often it was started: each run has a log of its own, so that readiness is never read from an older one.
    runs: u32,
}

impl Broker {
    /// The address for clients: `127.0.0.1:PORT`, the same after every start.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts it with its data, and waits until it serves. Does nothing when it runs.
    ///
    /// # Errors
    /// [`Error::Died`] or [`Error::NotReady`] with the end of its log, [`Error::PortTaken`].
    pub fn start(&self) -> Result<(), Error> {
        self.launch()?;
        self.await_ready()
    }

    /// Stops it in an orderly way (SIGTERM): it hands over what it leads. It is killed when that takes over 30 s.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn stop(&self) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(process) = &mut state.process {
            let mut end = || {
                process.signal("CONT")?; // a paused one would not see the next signal
                process.signal("TERM")?;
                let deadline = Instant::now() + STOP_TIMEOUT;
                while process.runs()? && Instant::now() < deadline {
                    std::thread::sleep(POLL_INTERVAL);
                }
                process.kill()
            };
            end().map_err(Error::io("stop a broker"))?;
            state.process = None;
        }
        Ok(())
    }

    /// Kills it (SIGKILL), as a crash of its machine would, save that the page cache survives.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn kill(&self) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(process) = &mut state.process {
            process.kill().map_err(Error::io("kill a broker"))?;
            state.process = None;
        }
        Ok(())
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing responds. A running thread may still finish its work: the system
    /// stops it at the next opportunity.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when it is down.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal("STOP")
    }

    /// Ends a [`pause`](Self::pause) (SIGCONT).
    ///
    /// # Errors
    /// [`Error::NotRunning`] when it is down.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal("CONT")
    }

    /// Whether its process exists; that of a paused broker does.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn runs(&self) -> Result<bool, Error> {
        self.state().runs_now()
    }

    /// The end of its log, for messages.
    #[must_use]
    pub fn log(&self) -> String {
        tail(&self.read_log(self.state().runs))
    }

    /// Starts the process; it serves only later, see [`Self::await_ready`].
    pub(crate) fn launch(&self) -> Result<(), Error> {
        let mut state = self.state();
        if state.runs_now()? {
            return Ok(());
        }
        state.runs += 1;
        let mut java = self.distribution.java("kafka.Kafka", self.heap_mib);
        java.arg(&self.settings);
        let process = SupervisedProcess::start(&java, &self.log_file(state.runs), Some(&self.cluster));
        state.process = Some(process.map_err(Error::io("start a shell (sh)"))?);
        Ok(())
    }

    /// Waits until the broker's log shows that it serves, which is once the controller has admitted it.
    pub(crate) fn await_ready(&self) -> Result<(), Error> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let runs = self.runs()?; // before the log is read: a dead broker's log is complete
            let log = self.read_log(self.state().runs);
            let broker = self.index;
            if runs && log.contains("Kafka Server started") {
                return Ok(());
            }
            if !runs && log.contains("Address already in use") {
                return Err(Error::PortTaken { address: self.address.clone() });
            }
            if !runs {
                return Err(Error::Died { broker, log: tail(&log) });
            }
            if Instant::now() > deadline {
                return Err(Error::NotReady { broker, seconds: READY_TIMEOUT.as_secs(), log: tail(&log) });
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn signal(&self, name: &str) -> Result<(), Error> {
        let mut state = self.state();
        let sent = state.process.as_mut().map_or(Ok(false), |process| process.signal(name));
        let sent = sent.map_err(Error::io("signal a broker"))?;
        if sent { Ok(()) } else { Err(Error::NotRunning { broker: self.index }) }
    }

    fn log_file(&self, run: u32) -> PathBuf {
        self.settings.with_extension(format!("{run}.log"))
    }

    /// The log of a run so far; empty before its first line.
    fn read_log(&self, run: u32) -> String {
        fs::read(self.log_file(run))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// A test that failed while it held the lock must not keep the others from cleaning up.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn runs_now(&mut self) -> Result<bool, Error> {
        self.process
            .as_mut()
            .map_or(Ok(false), SupervisedProcess::runs)
            .map_err(Error::io("check a broker's process"))
    }
}
