//! The processors under test: processes that are restarted when they end, as Kubernetes would, and reported.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use weir_broker::{SupervisedProcess, tail};

use crate::{clock, memory::MemoryLimit};

/// Maximum time of a processor's stop, and until a processor does what is waited for.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The status of a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;

/// How the processors of a pipeline are started.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) weir: PathBuf,
    /// Where logs are kept.
    pub(crate) folder: PathBuf,
    /// The pipeline's document.
    pub(crate) pipeline: PathBuf,
    pub(crate) brokers: String,
    pub(crate) environment: Vec<(String, String)>,
    /// What gives each a clock that can be set.
    pub(crate) clock: Option<PathBuf>,
    /// Whether the memory of each can be limited.
    pub(crate) limits: bool,
}

/// Processes that share a pipeline's partitions.
pub(crate) struct Processors {
    program: Program,
    running: Vec<Processor>,
    /// The processors that ended by themselves, each with the end of its log.
    pub(crate) ended: Vec<String>,
    /// Processes started again.
    pub(crate) restarts: u32,
}

struct Processor {
    name: String,
    log: PathBuf,
    process: SupervisedProcess,
    /// The failpoint that its process was started with: it is to end with SIGKILL.
    failpoint: Option<String>,
    memory: Option<MemoryLimit>,
}

impl Processors {
    pub(crate) fn start(program: Program, count: usize) -> anyhow::Result<Self> {
        let mut processors = Self { program, running: Vec::new(), ended: Vec::new(), restarts: 0 };
        (0..count).try_for_each(|_| processors.add())?;
        Ok(processors)
    }

    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    /// Another command of the program, for the same pipeline.
    pub(crate) fn weir(&self) -> Command {
        let Program { weir, pipeline, brokers, .. } = &self.program;
        let mut command = Command::new(weir);
        command.args(["--brokers", brokers, "--pipeline"]).arg(pipeline);
        command
    }

    /// The name that a processor has in its group and its transactional ids.
    pub(crate) fn name(&self, number: usize) -> &str {
        &self.running[number].name
    }

    /// Starts one more.
    pub(crate) fn add(&mut self) -> anyhow::Result<()> {
        let Program { folder, clock, limits, .. } = &self.program;
        let name = format!("p{}", self.running.len());
        let log = folder.join(format!("{name}.log"));
        if let Some(library) = clock {
            clock::set(library, &clock_of(&log), 0)?;
        }
        let memory = limits.then(|| MemoryLimit::new(&name)).transpose()?;
        let process = self.program.start(&name, &log, None, memory.as_ref())?;
        self.running.push(Processor { name, log, process, failpoint: None, memory });
        Ok(())
    }

    /// Sets the clock of a processor ahead by so many seconds.
    pub(crate) fn set_clock(&self, number: usize, ahead: i64) -> anyhow::Result<()> {
        let library = self.program.clock.as_ref().context("processors have no clocks")?;
        clock::set(library, &clock_of(&self.running[number].log), ahead)
    }

    /// The limit of a processor's memory.
    pub(crate) fn memory(&self, number: usize) -> anyhow::Result<&MemoryLimit> {
        self.running[number].memory.as_ref().context("processors have no limits")
    }

    /// Stops the last one for good.
    pub(crate) fn remove(&mut self) -> anyhow::Result<()> {
        self.running.pop().map_or(Ok(()), |mut processor| processor.stop())
    }

    /// Restarts the processors that have ended.
    pub(crate) fn restart_ended(&mut self) -> io::Result<()> {
        for number in 0..self.running.len() {
            if let Some(status) = self.running[number].process.status()? {
                let processor = &self.running[number];
                if processor.failpoint.is_none() || status != KILLED {
                    let lines = tail(&processor.read_log());
                    self.ended.push(format!("{} ended by itself, status {status}:\n{lines}", processor.name));
                }
                self.launch(number, None)?;
            }
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, number: usize) -> io::Result<()> {
        self.running[number].process.kill()?;
        self.launch(number, None)
    }

    pub(crate) fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        self.running[number].stop()?;
        Ok(self.launch(number, None)?)
    }

    /// Kills a processor and starts it with a failpoint.
    pub(crate) fn arm(&mut self, number: usize, failpoint: &str) -> io::Result<()> {
        self.running[number].process.kill()?;
        self.launch(number, Some(failpoint))
    }

    /// Whether its process ended at its failpoint.
    pub(crate) fn is_killed(&mut self, number: usize) -> io::Result<bool> {
        let processor = &mut self.running[number];
        Ok(processor.failpoint.is_some() && processor.process.status()? == Some(KILLED))
    }

    /// The status of a processor that has ended.
    pub(crate) fn status(&mut self, number: usize) -> io::Result<Option<i32>> {
        self.running[number].process.status()
    }

    pub(crate) fn signal(&mut self, number: usize, signal: &str) -> io::Result<()> {
        self.running[number].process.signal(signal).map(drop)
    }

    /// What it has logged since it was first started.
    pub(crate) fn log(&self, number: usize) -> String {
        self.running[number].read_log()
    }

    /// How often a text is in its log.
    pub(crate) fn count_in_log(&self, number: usize, text: &str) -> usize {
        self.log(number).matches(text).count()
    }

    /// How often a text is in the logs of all.
    pub(crate) fn count_in_logs(&self, text: &str) -> usize {
        let logs = fs::read_dir(&self.program.folder).into_iter().flatten().flatten();
        let logs = logs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
        logs.map(|entry| fs::read(entry.path()).unwrap_or_default())
            .map(|log| String::from_utf8_lossy(&log).matches(text).count())
            .sum()
    }

    /// Starts a processor again.
    pub(crate) fn launch(&mut self, number: usize, failpoint: Option<&str>) -> io::Result<()> {
        let processor = &mut self.running[number];
        processor.process =
            self.program.start(&processor.name, &processor.log, failpoint, processor.memory.as_ref())?;
        processor.failpoint = failpoint.map(str::to_owned);
        self.restarts += 1;
        Ok(())
    }

    /// Stops all.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.running.iter_mut().try_for_each(Processor::stop)
    }
}

impl Program {
    fn start(
        &self,
        name: &str,
        log: &Path,
        failpoint: Option<&str>,
        memory: Option<&MemoryLimit>,
    ) -> io::Result<SupervisedProcess> {
        let mut environment = self.environment.clone();
        if let Some(library) = &self.clock {
            environment.extend(clock::environment(library, &clock_of(log)));
        }
        // Supervised programs get no environment of their own: `env` gives it, and becomes the program. So does `sh`, in a group.
        let mut command = Command::new(if memory.is_some() { "sh" } else { "env" });
        if let Some(memory) = memory {
            command.args(["-c", r#"echo $$ >"$0" && exec env "$@""#]).arg(memory.processes());
        }
        command.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.args(failpoint.map(|failpoint| format!("WEIR_FAILPOINT={failpoint}")));
        command.arg(&self.weir).args([
            "process",
            "--instance",
            name,
            "--brokers",
            &self.brokers,
            "--pipeline",
        ]);
        SupervisedProcess::start(command.arg(&self.pipeline), log, None)
    }
}

/// The file that the clock of the processor with this log follows.
fn clock_of(log: &Path) -> PathBuf {
    log.with_extension("clock")
}

impl Processor {
    fn read_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        self.process.signal("CONT")?;
        self.process.signal("TERM")?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.process.runs()? {
            ensure!(Instant::now() < deadline, "{} runs on, {STOP_TIMEOUT:?} after SIGTERM", self.name);
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}
