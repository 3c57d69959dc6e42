//! Kubernetes' programs and helm, compiled once and kept.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// The release that is compiled, as `go/go.mod` has it.
pub const KUBERNETES: &str = "v1.34.4";

/// The release of helm.
const HELM: &str = "v3.22.0";

/// The sources of the compiled files, beside the version in the folder's name.
const SOURCES: [&str; 4] = [
    include_str!("../go/go.mod"),
    include_str!("../go/control/main.go"),
    include_str!("../go/control/pki.go"),
    include_str!("../go/node/main.go"),
];

const CONTROL: [&str; 6] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "pki"];
const NODE: [&str; 2] = ["kubelet", "kube-proxy"];

/// The folder with Kubernetes' programs.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The control plane's programs; compiles them when they are missing, which takes some eight minutes of one core.
    ///
    /// # Errors
    /// [`Error::NoGo`], [`Error::Build`].
    pub fn control() -> Result<Self, Error> {
        Self::install("control", &CONTROL)
    }

    /// As [`control`](Self::control), and a node's programs beside them.
    ///
    /// # Errors
    /// As there.
    pub fn with_node() -> Result<Self, Error> {
        Self::install("node", &NODE)?;
        Self::control()
    }

    /// helm beside the control plane's programs.
    ///
    /// # Errors
    /// As there.
    pub fn helm(&self) -> Result<PathBuf, Error> {
        self.once("helm", HELM, compile_helm)?;
        Ok(self.path("helm"))
    }

    /// helm alone.
    ///
    /// # Errors
    /// As there.
    pub fn only_helm() -> Result<PathBuf, Error> {
        Self { folder: Self::folder()? }.helm()
    }

    /// A program by its name.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn install(program: &'static str, names: &[&str]) -> Result<Self, Error> {
        let programs = Self { folder: Self::folder()? };
        programs.once(program, &SOURCES.concat(), |folder| {
            compile(program, folder)?;
            for name in names {
                let link = folder.join(name);
                match fs::remove_file(&link) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(programs.in_folder(error));
                    }
                    _ => symlink(program, &link).map_err(|error| programs.in_folder(error))?,
                }
            }
            Ok(())
        })?;
        Ok(programs)
    }

    fn folder() -> Result<PathBuf, Error> {
        Ok(weir_broker::cache()?.join(format!("kubernetes-{}", &KUBERNETES[1..])))
    }

    /// Compiles a program unless it was compiled from these sources.
    fn once(
        &self,
        program: &str,
        sources: &str,
        compile: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let folder = &self.folder;
        fs::create_dir_all(folder).map_err(|error| self.in_folder(error))?;
        // A second process waits here and finds the program compiled.
        let lock = File::create(folder.join("lock")).map_err(|error| self.in_folder(error))?;
        lock.lock().map_err(|error| self.in_folder(error))?;
        let stamp = folder.join(format!("{program}.sources"));
        if fs::read_to_string(&stamp).is_ok_and(|found| found == sources) {
            return Ok(());
        }
        compile(folder)?;
        fs::write(&stamp, sources).map_err(|error| self.in_folder(error))
    }

    fn in_folder(&self, error: std::io::Error) -> Error {
        Error::io(format!("write to {}", self.folder.display()))(error)
    }
}

fn compile(program: &'static str, folder: &Path) -> Result<(), Error> {
    eprintln!("compiling Kubernetes' {program} programs into {}, once; it takes minutes", folder.display());
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    // Unstamped, the API server does not know its version, and clients that request it fail.
    let mut flags = "-s -w".to_owned();
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in [
            ("gitVersion", KUBERNETES),
            ("gitMajor", "1"),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
            ("gitCommit", "module"),
            ("buildDate", "1970-01-01T00:00:00Z"),
        ] {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    go(
        program,
        folder,
        Command::new("go")
            .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o"])
            .arg(folder.join(program))
            .arg(format!("./{program}"))
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go")),
    )
}

/// Compiles helm from its published module, as its documentation describes.
fn compile_helm(folder: &Path) -> Result<(), Error> {
    eprintln!("compiling helm into {}, once; it takes minutes", folder.display());
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    // Unstamped, helm assumes Kubernetes 1.20 when it does not contact a cluster, and refuses the chart.
    let mut flags = format!("-s -w -X helm.sh/helm/v3/internal/version.version={HELM}");
    for package in ["pkg/chartutil", "pkg/lint/rules"] {
        for (name, value) in [("k8sVersionMajor", "1"), ("k8sVersionMinor", minor)] {
            flags.push_str(&format!(" -X helm.sh/helm/v3/{package}.{name}={value}"));
        }
    }
    let module = format!("helm.sh/helm/v3/cmd/helm@{HELM}");
    let mut command = Command::new("go");
    command.args(["install", "-trimpath", "-ldflags", &flags, &module]).current_dir(folder);
    go("helm", folder, command.env("GOBIN", folder))
}

fn go(program: &'static str, folder: &Path, command: &mut Command) -> Result<(), Error> {
    match command.env("CGO_ENABLED", "0").output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NoGo { wanted: folder.display().to_string() })
        }
        Err(error) => Err(Error::io("run go")(error)),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(Error::Build { program, output: weir_broker::tail(&String::from_utf8_lossy(&output.stderr)) })
        }
    }
}
