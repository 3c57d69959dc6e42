//! Runs the programs that a user would run.

use std::io::{self, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use weir_broker::tail;

/// Maximum time of a step that takes seconds on an idle machine.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(240);

/// Maximum time of a program. Programs have shorter timeouts of their own, with better messages.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(600);

/// kubectl and helm, for one cluster.
#[derive(Clone)]
pub(super) struct Tools {
    kubectl: PathBuf,
    helm: PathBuf,
    /// Absent: their default.
    kubeconfig: Option<PathBuf>,
    /// The end of all waits.
    deadline: Instant,
}

impl Tools {
    /// The user's kubectl and helm, or else those of the testbed, which are compiled the first time.
    pub(super) fn find(kubeconfig: Option<&Path>, deadline: Instant) -> anyhow::Result<Self> {
        let own = |program: &str| Command::new(program).arg("version").arg("--client").output().is_ok();
        let kubectl = if own("kubectl") {
            "kubectl".into()
        } else {
            weir_cluster::Programs::control()?.path("kubectl")
        };
        let helm = if own("helm") { "helm".into() } else { weir_cluster::Programs::control()?.helm()? };
        Ok(Self { kubectl, helm, kubeconfig: kubeconfig.map(Path::to_owned), deadline })
    }

    /// The same with more time, for diagnostics and cleanup.
    pub(super) fn with_more_time(&self, time: Duration) -> Self {
        Self { deadline: self.deadline.max(Instant::now() + time), ..self.clone() }
    }

    /// Whether the time is over.
    pub(super) fn out_of_time(&self) -> bool {
        self.deadline <= Instant::now()
    }

    /// Checks a condition twice a second until it holds.
    pub(super) fn await_that(
        &self,
        what: &str,
        holds: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        self.await_within(what, STEP_TIMEOUT, holds)
    }

    /// As [`Self::await_that`], with another timeout.
    pub(super) fn await_within(
        &self,
        what: &str,
        timeout: Duration,
        holds: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        await_that(what, self.at_most(timeout), holds)
    }

    /// Runs a program to its end; returns its output.
    pub(super) fn run(&self, command: &mut Command) -> anyhow::Result<String> {
        output_within(command, self.at_most(PROGRAM_TIMEOUT))
    }

    fn at_most(&self, timeout: Duration) -> Duration {
        timeout.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Runs kubectl with arguments without spaces; returns its output.
    pub(super) fn kubectl(&self, arguments: &str) -> anyhow::Result<String> {
        self.kubectl_with(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    pub(super) fn kubectl_with(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run(self.command(&self.kubectl).args(arguments))
    }

    /// Applies a manifest.
    pub(super) fn apply(&self, namespace: &str, manifest: &str) -> anyhow::Result<String> {
        let mut command = self.command(&self.kubectl);
        command.args(["--namespace", namespace, "apply", "--filename", "-"]);
        output_with_input(&mut command, manifest)
    }

    /// Runs helm with arguments without spaces; returns its output.
    pub(super) fn helm(&self, arguments: &str) -> anyhow::Result<String> {
        self.run(self.command(&self.helm).args(arguments.split_whitespace()))
    }

    /// Runs a line of shell commands as a user would whose kubectl works in `namespace`.
    pub(super) fn shell(&self, namespace: &str, folder: &Path, line: &str) -> anyhow::Result<String> {
        let kubeconfig = folder.join("kubeconfig");
        let config = self.kubectl("config view --raw --minify --flatten")?;
        std::fs::write(&kubeconfig, config)?;
        let file = kubeconfig.display().to_string();
        self.kubectl_with(&[
            "--kubeconfig",
            &file,
            "config",
            "set-context",
            "--current",
            "--namespace",
            namespace,
        ])?;
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(own) = self.kubectl.parent().filter(|own| !own.as_os_str().is_empty()) {
            path = std::env::join_paths([own.into()].into_iter().chain(std::env::split_paths(&path)))?;
        }
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", line]).current_dir(folder).env("KUBECONFIG", &kubeconfig).env("PATH", path);
        self.run(&mut shell)
    }

    /// Forwards a port of a pod to the same port of the loopback address, until the result is dropped.
    pub(super) fn forward(&self, namespace: &str, pod: &str, port: u16) -> anyhow::Result<Running> {
        let taken = TcpStream::connect(("127.0.0.1", port)).is_ok();
        ensure!(
            !taken,
            "port {port} of this machine is in use, and the cluster's Kafka is to be reached there"
        );
        let mut command = self.command(&self.kubectl);
        command.args(["--namespace", namespace, "port-forward", pod, &port.to_string()]);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("could not run kubectl port-forward")?;
        let forward = Running(child);
        self.await_within("port-forward", Duration::from_secs(20), || {
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })?;
        Ok(forward)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command
    }
}

/// A program that ends when this is dropped.
pub(super) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A failure means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end; returns its output. The error has the output of a failed program.
pub(super) fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output();
    check_status(command, output)
}

/// As [`output_of`], for a program that might wait for ever: after `timeout` it is killed; the error has its last lines.
fn output_within(command: &mut Command, timeout: Duration) -> anyhow::Result<String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = Running(child.with_context(|| format!("could not run `{}`", command_line(command)))?);
    let (stdout, stderr) = (read_all(running.0.stdout.take()), read_all(running.0.stderr.take()));
    let what = format!("the end of `{}`", command_line(command));
    let ended = await_that(&what, timeout, || Ok(running.0.try_wait()?.is_some()));
    // Ends it if it still runs, and so the reads of its output.
    let _ = running.0.kill();
    let status = running.0.wait().with_context(|| what.clone())?;
    let output = Output {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    };
    if let Err(error) = ended {
        let last = [&output.stdout, &output.stderr].map(|bytes| tail(&String::from_utf8_lossy(bytes)));
        bail!("{error:#}; its last lines:\n{}", last.join("\n"));
    }
    check_status(command, Ok(output))
}

/// Reads to the end on a thread, so that the writer does not block.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // The output before a read error is still reported.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

/// As [`output_of`], with a text on its standard input.
pub(super) fn output_with_input(command: &mut Command, input: &str) -> anyhow::Result<String> {
    use std::io::Write;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = child.and_then(|mut child| {
        child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()))?;
        child.wait_with_output()
    });
    check_status(command, output)
}

/// A command as a user would write it.
fn command_line(command: &Command) -> String {
    let arguments = std::iter::once(command.get_program()).chain(command.get_args());
    arguments.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn check_status(command: &Command, output: io::Result<Output>) -> anyhow::Result<String> {
    let command_line = command_line(command);
    let output = output.with_context(|| format!("could not run `{command_line}`"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("`{command_line}`: {}\n{}", output.status, text(&output.stdout) + &text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

/// Checks a condition twice a second until it holds.
fn await_that(
    what: &str,
    timeout: Duration,
    mut holds: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let outcome = holds();
        if matches!(outcome, Ok(true)) {
            return Ok(());
        }
        if begun.elapsed() > timeout {
            return match outcome {
                Err(error) => Err(error.context(format!("timed out after {} s: {what}", timeout.as_secs()))),
                Ok(_) => bail!("timed out after {} s: {what}", timeout.as_secs()),
            };
        }
        sleep(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_error_of_a_timeout_has_the_last_lines() {
        // More than a pipe holds: without reads of the output it would block before its last line.
        let mut command = Command::new("sh");
        command.args(["-c", "seq 50000; echo progress >&2; exec sleep 60"]);
        let error = output_within(&mut command, Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.starts_with("timed out after 5 s: the end of `sh -c seq 50000;"), "{error}");
        assert!(error.ends_with("\n50000\nprogress"), "{error}");
    }

    #[test]
    fn a_program_that_ends_in_time_is_checked_by_its_status() {
        let run = |script: &str| {
            let mut command = Command::new("sh");
            output_within(command.args(["-c", script]), Duration::from_secs(60))
        };
        assert_eq!(run("echo done; echo log >&2").unwrap(), "done");
        let error = run("echo refused >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("exit status: 3\nrefused"), "{error}");
    }
}
