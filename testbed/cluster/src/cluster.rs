//! The control plane as a whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use weir_broker::free_ports;

use crate::process::Process;
use crate::{Error, Programs};

/// The programs that run beside etcd and the API server, and the addresses.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The controllers too: owners' garbage collection, StatefulSets, Deployments, endpoints.
    pub controllers: bool,
    /// The scheduler too.
    pub scheduler: bool,
    /// An address of this machine that nodes reach; absent: loopback alone.
    pub address: Option<String>,
    /// The port of the API server; absent: a free one.
    pub port: Option<u16>,
}

/// A running control plane. Its data is removed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: clients before the servers that they call.
    others: Vec<Process>,
    api: Process,
    _etcd: Process,
    programs: Programs,
    folder: tempfile::TempDir,
    url: String,
}

impl Cluster {
    /// etcd and an API server on loopback.
    ///
    /// # Errors
    /// [`Error`], with a remedy.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&Settings::default())
    }

    /// As [`start`](Self::start), with more.
    ///
    /// # Errors
    /// [`Error`], with a remedy.
    pub fn start_with(settings: &Settings) -> Result<Self, Error> {
        let programs = Programs::control()?;
        let folder = tempfile::Builder::new().prefix("weir-cluster-").tempdir();
        let folder = folder.map_err(Error::io("make a temporary folder"))?;
        let dir = folder.path();
        let free = free_ports(3);
        let api_port = settings.port.unwrap_or(free[2]);
        let host = settings.address.as_deref().unwrap_or("127.0.0.1");
        let url = format!("https://{host}:{api_port}");
        keys(&programs, dir, host)?;
        write(&dir.join("audit.yaml"), AUDIT)?;
        for (file, name) in [("admin", "admin"), ("controllers", "controllers"), ("scheduler", "scheduler")] {
            write(&dir.join(format!("{file}.kubeconfig")), &kubeconfig(dir, &url, name))?;
        }
        let etcd_url = format!("http://127.0.0.1:{}", free[0]);
        let etcd = Process::new(
            &programs.path("etcd"),
            dir,
            etcd_arguments(dir, &etcd_url, &format!("http://127.0.0.1:{}", free[1])),
            Some(dir),
        );
        etcd.start(|| std::net::TcpStream::connect(etcd_url.trim_start_matches("http://")).is_ok())?;
        let api = Process::new(
            &programs.path("kube-apiserver"),
            dir,
            api_arguments(dir, &etcd_url, settings.address.as_deref(), api_port),
            None,
        );
        let mut cluster = Self { others: Vec::new(), api, _etcd: etcd, programs, folder, url };
        cluster.start_api()?;
        for (wanted, program, name) in [
            (settings.controllers, "kube-controller-manager", "controllers"),
            (settings.scheduler, "kube-scheduler", "scheduler"),
        ] {
            if wanted {
                cluster.start_controllers(program, name)?;
            }
        }
        Ok(cluster)
    }

    /// The API server's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A kubeconfig with all rights.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.kubeconfig")
    }

    /// The log of requests that change something, one JSON object per line, with the user and the outcome.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// The folder that is removed with the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the API server; etcd keeps the data.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn stop_api(&self) -> Result<(), Error> {
        self.api.stop()
    }

    /// Starts the API server (again), on the port that it had.
    ///
    /// # Errors
    /// [`Error::Part`] with the end of its log.
    pub fn start_api(&self) -> Result<(), Error> {
        self.api.start(|| self.kubectl(&["get", "--raw", "/readyz"]).is_ok())
    }

    /// Calls kubectl with rights to everything; its output.
    ///
    /// # Errors
    /// [`Error::Command`] with its output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.kubectl_as(&self.kubeconfig(), arguments)
    }

    /// As [`kubectl`](Self::kubectl), with another kubeconfig.
    ///
    /// # Errors
    /// As there.
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(self.programs.path("kubectl"));
        command.args(arguments).env("KUBECONFIG", kubeconfig).env("HOME", self.folder.path());
        run(&mut command)
    }

    /// Calls helm with rights to everything; its output.
    ///
    /// # Errors
    /// [`Error::Command`] with its output; the first time also the errors of compiling it.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(self.programs.helm()?);
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env("HOME", self.folder.path());
        run(&mut command)
    }

    /// Applies a manifest, which may hold several objects; kubectl's output.
    ///
    /// # Errors
    /// [`Error::Command`] with the API server's refusal.
    pub fn apply(&self, manifest: &str) -> Result<String, Error> {
        let file = tempfile::NamedTempFile::new_in(self.folder.path())
            .map_err(Error::io("make a temporary file"))?;
        write(file.path(), manifest)?;
        self.kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            &file.path().display().to_string(),
        ])
    }

    /// A kubeconfig of a service account, which must exist.
    ///
    /// # Errors
    /// [`Error::Command`] with the API server's refusal.
    pub fn as_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace])?;
        let file = self.folder.path().join(format!("{namespace}-{name}.kubeconfig"));
        let user = format!("token: {}", token.trim());
        write(&file, &kubeconfig_of(self.folder.path(), &self.url, &user))?;
        Ok(file)
    }

    /// A kubeconfig with a new certificate for a component of Kubernetes, by its user and group.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub fn as_part(&self, file: &str, group: &str, user: &str, hosts: &[&str]) -> Result<PathBuf, Error> {
        let dir = self.folder.path();
        let mut arguments = vec![dir.to_string_lossy().into_owned(), file.to_owned(), group.to_owned()];
        arguments.push(user.to_owned());
        arguments.extend(hosts.iter().map(|&host| host.to_owned()));
        run(Command::new(self.programs.path("pki")).args(arguments))?;
        let path = dir.join(format!("{file}.kubeconfig"));
        write(&path, &kubeconfig(dir, &self.url, file))?;
        Ok(path)
    }

    fn start_controllers(&mut self, program: &str, name: &str) -> Result<(), Error> {
        let dir = self.folder.path();
        let config = dir.join(format!("{name}.kubeconfig"));
        let config = config.display();
        let mut arguments = vec![
            format!("--kubeconfig={config}"),
            format!("--authentication-kubeconfig={config}"),
            format!("--authorization-kubeconfig={config}"),
            format!("--cert-dir={}", dir.join(name).display()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", free_ports(1)[0]),
            // There is one of each, and taking a lease costs seconds.
            "--leader-elect=false".to_owned(),
        ];
        if program == "kube-controller-manager" {
            arguments.extend([
                format!("--root-ca-file={}", dir.join("ca.crt").display()),
                format!("--service-account-private-key-file={}", dir.join("sa.key").display()),
                // Each controller under its own role, as in any cluster.
                "--use-service-account-credentials=true".to_owned(),
            ]);
        }
        let process = Process::new(&self.programs.path(program), dir, arguments, None);
        // Pods are refused until the controller has made the namespace's default service account.
        process.start(|| {
            program != "kube-controller-manager"
                || self.kubectl(&["get", "serviceaccount", "default", "--namespace", "default"]).is_ok()
        })?;
        self.others.push(process);
        Ok(())
    }
}

/// Every completed request that changes something, without those of the API server itself.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: None, users: ['system:apiserver']}
- {level: Metadata}
";

/// The authority's keys, and a certificate for each part and for the administrator.
fn keys(programs: &Programs, dir: &Path, host: &str) -> Result<(), Error> {
    let pki = |arguments: &[&str]| run(Command::new(programs.path("pki")).arg(dir).args(arguments));
    pki(&[])?;
    let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1"];
    let mut server = vec!["apiserver", "", "kube-apiserver", "localhost", "127.0.0.1", host];
    server.extend(service);
    pki(&server)?;
    pki(&["admin", "system:masters", "admin"])?;
    pki(&["kubelet-client", "system:masters", "kube-apiserver-kubelet-client"])?;
    pki(&["controllers", "", "system:kube-controller-manager"])?;
    pki(&["scheduler", "", "system:kube-scheduler"])?;
    Ok(())
}

fn etcd_arguments(dir: &Path, client: &str, peer: &str) -> Vec<String> {
    vec![
        "--name=test".to_owned(),
        format!("--data-dir={}", dir.join("etcd").display()),
        // The data need not survive a power cut.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=test={peer}"),
    ]
}

fn api_arguments(dir: &Path, etcd: &str, address: Option<&str>, port: u16) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={port}"),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        format!("--cert-dir={}", file("certs")),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        "--authorization-mode=Node,RBAC".to_owned(),
        // The second is on in OpenShift: to set an owner reference, a user must be allowed to delete the owner.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
        format!("--kubelet-client-key={}", file("kubelet-client.key")),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", file("audit.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
    ];
    match address {
        Some(address) => {
            arguments.extend(["--bind-address=0.0.0.0".to_owned(), format!("--advertise-address={address}")]);
        }
        // The Service `kubernetes` may not point at loopback, and without nodes it is not used.
        None => arguments
            .extend(["--bind-address=127.0.0.1".to_owned(), "--endpoint-reconciler-type=none".to_owned()]),
    }
    arguments
}

fn kubeconfig(dir: &Path, url: &str, name: &str) -> String {
    let (certificate, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    let user = format!("client-certificate: {}, client-key: {}", certificate.display(), key.display());
    kubeconfig_of(dir, url, &user)
}

fn kubeconfig_of(dir: &Path, url: &str, user: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: '{url}', certificate-authority: {}}}}}]
users: [{{name: test, user: {{{user}}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
current-context: test
",
        dir.join("ca.crt").display()
    )
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}

fn run(command: &mut Command) -> Result<String, Error> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let called = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let output = command.output().map_err(Error::io(format!("run {called}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Error::Command { command: called, output: text(&output.stdout) + &text(&output.stderr) })
}
