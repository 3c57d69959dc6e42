//! The processors under test: processes that are restarted when they end, as Kubernetes would, and reported.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use weir_broker::{SupervisedProcess, tail};

/// Maximum time of a processor's stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Processes that share a pipeline's partitions.
pub(crate) struct Processors {
    running: Vec<Processor>,
    /// The processors that ended by themselves, each with the end of its log.
    pub(crate) ended: Vec<String>,
}

struct Processor {
    name: String,
    command: Command,
    log: PathBuf,
    process: SupervisedProcess,
}

impl Processors {
    pub(crate) fn start(
        weir: &Path,
        count: usize,
        folder: &Path,
        pipeline: &Path,
        brokers: &str,
    ) -> io::Result<Self> {
        let running = (0..count).map(|number| {
            let name = format!("p{number}");
            let log = folder.join(format!("{name}.log"));
            let mut command = Command::new(weir);
            command.args(["process", "--instance", &name, "--brokers", brokers, "--pipeline"]).arg(pipeline);
            let process = SupervisedProcess::start(&command, &log, None)?;
            Ok(Processor { name, command, log, process })
        });
        Ok(Self { running: running.collect::<io::Result<_>>()?, ended: Vec::new() })
    }

    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    /// Restarts the processors that have ended.
    pub(crate) fn restart_ended(&mut self) -> io::Result<()> {
        for processor in &mut self.running {
            if !processor.process.runs()? {
                let log = fs::read(&processor.log)?;
                let last_lines = tail(&String::from_utf8_lossy(&log));
                self.ended.push(format!("{} ended by itself:\n{last_lines}", processor.name));
                processor.start()?;
            }
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, number: usize) -> io::Result<()> {
        let processor = &mut self.running[number];
        processor.process.kill()?;
        processor.start()
    }

    pub(crate) fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        let processor = &mut self.running[number];
        processor.stop()?;
        Ok(processor.start()?)
    }

    /// Stops all.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.running.iter_mut().try_for_each(Processor::stop)
    }
}

impl Processor {
    fn start(&mut self) -> io::Result<()> {
        self.process = SupervisedProcess::start(&self.command, &self.log, None)?;
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        self.process.signal("TERM")?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.process.runs()? {
            ensure!(Instant::now() < deadline, "{} runs on, {STOP_TIMEOUT:?} after SIGTERM", self.name);
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
