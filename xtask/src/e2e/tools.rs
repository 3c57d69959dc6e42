//! The programs that a user would call, called.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// kubectl and helm, for one cluster.
pub(super) struct Tools {
    kubectl: PathBuf,
    helm: PathBuf,
    /// Absent: what they find by themselves.
    kubeconfig: Option<PathBuf>,
}

impl Tools {
    /// kubectl and helm of the user's, or else those of the testbed, which are compiled the first time.
    pub(super) fn find(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let own = |program: &str| Command::new(program).arg("version").arg("--client").output().is_ok();
        let kubectl = if own("kubectl") {
            "kubectl".into()
        } else {
            weir_cluster::Programs::control()?.path("kubectl")
        };
        let helm = if own("helm") { "helm".into() } else { weir_cluster::Programs::control()?.helm()? };
        Ok(Self { kubectl, helm, kubeconfig: kubeconfig.map(Path::to_owned) })
    }

    /// Calls kubectl with words that hold no space; what it printed.
    pub(super) fn kubectl(&self, words: &str) -> anyhow::Result<String> {
        self.kubectl_with(&words.split_whitespace().collect::<Vec<_>>())
    }

    pub(super) fn kubectl_with(&self, words: &[&str]) -> anyhow::Result<String> {
        said(self.command(&self.kubectl).args(words))
    }

    /// Applies a manifest.
    pub(super) fn apply(&self, namespace: &str, manifest: &str) -> anyhow::Result<String> {
        let mut command = self.command(&self.kubectl);
        command.args(["--namespace", namespace, "apply", "--filename", "-"]);
        said_to(&mut command, manifest)
    }

    /// Calls helm with words that hold no space; what it printed.
    pub(super) fn helm(&self, words: &str) -> anyhow::Result<String> {
        said(self.command(&self.helm).args(words.split_whitespace()))
    }

    /// Makes a port of a pod reachable on the loopback address, under the same number, until it is dropped.
    pub(super) fn forward(&self, namespace: &str, pod: &str, port: u16) -> anyhow::Result<Forward> {
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
        let forward = Forward(child);
        await_that("port-forward", Duration::from_secs(20), || {
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

/// A port that is forwarded.
pub(super) struct Forward(Child);

impl Drop for Forward {
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

fn judge(command: &Command, output: std::io::Result<std::process::Output>) -> anyhow::Result<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let called = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let output = output.with_context(|| format!("could not run `{called}`"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("`{called}`: {}\n{}", output.status, text(&output.stdout) + &text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

/// Asks twice a second until it holds.
pub(super) fn await_that(
    what: &str,
    patience: Duration,
    holds: impl Fn() -> anyhow::Result<bool>,
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
