//! Kubernetes' programs, compiled once and kept.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, tail};

/// The release that is compiled, as `go/go.mod` has it.
pub const KUBERNETES: &str = "v1.34.4";

/// What the compiled files depend on, beside the folder's own name.
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

    /// A program by its name.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn install(program: &'static str, names: &[&str]) -> Result<Self, Error> {
        let folder = weir_testbed::cache()?.join(format!("kubernetes-{}", &KUBERNETES[1..]));
        let in_folder = || format!("write to {}", folder.display());
        fs::create_dir_all(&folder).map_err(Error::io(in_folder()))?;
        // Whoever comes second waits here and finds it done.
        let lock = File::create(folder.join("lock")).map_err(Error::io(in_folder()))?;
        lock.lock().map_err(Error::io(in_folder()))?;
        let stamp = folder.join(format!("{program}.sources"));
        if fs::read_to_string(&stamp).is_ok_and(|sources| sources == SOURCES.concat()) {
            return Ok(Self { folder });
        }
        compile(program, &folder)?;
        for name in names {
            let link = folder.join(name);
            match fs::remove_file(&link) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(in_folder())(error));
                }
                _ => symlink(program, &link).map_err(Error::io(in_folder()))?,
            }
        }
        fs::write(&stamp, SOURCES.concat()).map_err(Error::io(in_folder()))?;
        Ok(Self { folder })
    }
}

fn compile(program: &'static str, folder: &Path) -> Result<(), Error> {
    eprintln!("compiling Kubernetes' {program} programs into {}, once; it takes minutes", folder.display());
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    // Unstamped, the API server does not know its version, and clients that ask for it stumble.
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
    let output = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o"])
        .arg(folder.join(program))
        .arg(format!("./{program}"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go"))
        .env("CGO_ENABLED", "0")
        .output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NoGo { wanted: folder.display().to_string() })
        }
        Err(error) => Err(Error::io("run go")(error)),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Error::Build { program, output: tail(&String::from_utf8_lossy(&output.stderr)) }),
    }
}
