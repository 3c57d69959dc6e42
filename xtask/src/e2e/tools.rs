//! The programs that a user would call, called.

use std::io::{self, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use weir_broker::tail;

/// How long a step may take that takes seconds on a quiet machine.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(240);

/// Programs have timeouts of their own, which tell more than ours.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(600);

/// kubectl and helm, for one cluster.
#[derive(Clone)]
pub(super) struct Tools {
    kubectl: PathBuf,
    helm: PathBuf,
    /// Absent: what they find by themselves.
    kubeconfig: Option<PathBuf>,
    /// When all has to be over: nothing is waited for any longer.
    deadline: Instant,
}

impl Tools {
    /// kubectl and helm of the user's, or else those of the testbed, which are compiled the first time.
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

    /// The same with more time, to find out how things stand and to clear up.
    pub(super) fn with_more_time(&self, time: Duration) -> Self {
        Self { deadline: self.deadline.max(Instant::now() + time), ..self.clone() }
    }

    /// Whether the time is over.
    pub(super) fn out_of_time(&self) -> bool {
        self.deadline <= Instant::now()
    }

    /// Asks twice a second until it holds.
    pub(super) fn await_that(
        &self,
        what: &str,
        holds: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        self.await_within(what, STEP_TIMEOUT, holds)
    }

    /// As [`Self::await_that`], for what takes longer, or must not take as long.
    pub(super) fn await_within(
        &self,
        what: &str,
        timeout: Duration,
        holds: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        await_that(what, self.at_most(timeout), holds)
    }

    /// Runs a program to its end: what it printed.
    pub(super) fn run(&self, command: &mut Command) -> anyhow::Result<String> {
        said_within(command, self.at_most(PROGRAM_TIMEOUT))
    }

    fn at_most(&self, timeout: Duration) -> Duration {
        timeout.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Calls kubectl with words that hold no space; what it printed.
    pub(super) fn kubectl(&self, words: &str) -> anyhow::Result<String> {
        self.kubectl_with(&words.split_whitespace().collect::<Vec<_>>())
    }

    pub(super) fn kubectl_with(&self, words: &[&str]) -> anyhow::Result<String> {
        self.run(self.command(&self.kubectl).args(words))
    }

    /// Applies a manifest.
    pub(super) fn apply(&self, namespace: &str, manifest: &str) -> anyhow::Result<String> {
        let mut command = self.command(&self.kubectl);
        command.args(["--namespace", namespace, "apply", "--filename", "-"]);
        said_to(&mut command, manifest)
    }

    /// Calls helm with words that hold no space; what it printed.
    pub(super) fn helm(&self, words: &str) -> anyhow::Result<String> {
        self.run(self.command(&self.helm).args(words.split_whitespace()))
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

    /// Makes a port of a pod reachable on the loopback address, under the same number, until it is dropped.
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
        // It can only have ended before, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end: what it printed. Fails with what it complained about.
pub(super) fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output();
    judge(command, output)
}

/// As [`said`], for a program that might wait for ever: after `patience` it is killed, and its last lines are told.
fn said_within(command: &mut Command, patience: Duration) -> anyhow::Result<String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = Running(child.with_context(|| format!("could not run `{}`", called(command)))?);
    let (stdout, stderr) = (read_all(running.0.stdout.take()), read_all(running.0.stderr.take()));
    let what = format!("the end of `{}`", called(command));
    let ended = await_that(&what, patience, || Ok(running.0.try_wait()?.is_some()));
    // It has ended, or does so now: either ends what is read from it.
    let _ = running.0.kill();
    let status = running.0.wait().with_context(|| what.clone())?;
    let output = Output {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    };
    if let Err(error) = ended {
        let last = [&output.stdout, &output.stderr].map(|said| tail(&String::from_utf8_lossy(said)));
        bail!("{error:#}; the last lines that it said:\n{}", last.join("\n"));
    }
    judge(command, Ok(output))
}

/// Reads to the end beside everything else, so that whoever writes need not wait.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth telling.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

/// As [`said`], with a text on its standard input.
pub(super) fn said_to(command: &mut Command, input: &str) -> anyhow::Result<String> {
    use std::io::Write;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = child.and_then(|mut child| {
        child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()))?;
        child.wait_with_output()
    });
    judge(command, output)
}

/// A command as a user would write it.
fn called(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn judge(command: &Command, output: io::Result<Output>) -> anyhow::Result<String> {
    let called = called(command);
    let output = output.with_context(|| format!("could not run `{called}`"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("`{called}`: {}\n{}", output.status, text(&output.stdout) + &text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

/// Asks twice a second until it holds.
fn await_that(
    what: &str,
    patience: Duration,
    mut holds: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let answer = holds();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if begun.elapsed() > patience {
            return match answer {
                Err(error) => Err(error.context(format!("in vain for {} s: {what}", patience.as_secs()))),
                Ok(_) => bail!("in vain for {} s: {what}", patience.as_secs()),
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
    fn who_does_not_end_is_told_with_its_last_lines() {
        // More than a pipe holds, so that who does not read on holds it up before it says what matters.
        let mut command = Command::new("sh");
        command.args(["-c", "seq 50000; echo progress >&2; exec sleep 60"]);
        let error = said_within(&mut command, Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.starts_with("in vain for 5 s: the end of `sh -c seq 50000;"), "{error}");
        assert!(error.ends_with("\n50000\nprogress"), "{error}");
    }

    #[test]
    fn who_ends_in_time_is_judged_by_its_status() {
        let run = |script: &str| {
            let mut command = Command::new("sh");
            said_within(command.args(["-c", script]), Duration::from_secs(60))
        };
        assert_eq!(run("echo done; echo log >&2").unwrap(), "done");
        let error = run("echo refused >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("exit status: 3\nrefused"), "{error}");
    }
}
