//! The cluster, and the images in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use weir_broker::target;

use super::tools::{output_of, output_with_input};
use crate::{root, succeeds};

/// Name of the kind cluster, so that no other is touched.
const NAME: &str = "weir-e2e";

/// The kind of cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClusterKind {
    /// A kind cluster, made for it from kind-config.yaml and deleted afterwards
    Kind,
    /// The cluster that kubectl talks to (KUBECONFIG); needs --registry
    Existing,
}

/// The source of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The Dockerfile, as a user would
    Dockerfile,
    /// Cargo's binaries of this machine, which must be like the image's base: much quicker when repeated
    Binaries,
    /// Nothing is compiled: Docker has weir:e2e and weir-operator:e2e, target/release has weir and weir-audit
    Present,
}

/// Images by their names in the cluster.
pub(super) struct Images {
    /// The prefix of names, empty or with a slash at the end.
    pub(super) prefix: String,
}

impl Images {
    /// Two names for the same: pods roll when the name changes.
    pub(super) const TAGS: [&str; 2] = ["e2e", "e2e-next"];
    const PROGRAMS: [&str; 2] = ["weir", "weir-operator"];

    pub(super) fn name(&self, program: &str, tag: &str) -> String {
        format!("{}{program}:{tag}", self.prefix)
    }

    /// Makes the images; returns one line with their sizes.
    pub(super) fn make(&self, source: Source) -> anyhow::Result<String> {
        let mut sizes = Vec::new();
        for program in Self::PROGRAMS {
            let image = self.name(program, Self::TAGS[0]);
            match source {
                Source::Dockerfile => {
                    let mut docker = Command::new("docker");
                    docker.args(["build", "--target", program, "--tag", &image, "."]);
                    ensure!(succeeds(docker.current_dir(root()))?, "the image {image} cannot be built");
                }
                Source::Binaries => pack(program, &image)?,
                Source::Present => {}
            }
            output_of(Command::new("docker").args(["tag", &image, &self.name(program, Self::TAGS[1])]))?;
            let size = output_of(Command::new("docker").args([
                "image",
                "inspect",
                "--format",
                "{{.Size}}",
                &image,
            ]))?;
            sizes.push(format!("{program} {} MB", size.parse::<u64>().context("no size")? / 1_000_000));
        }
        Ok(sizes.join(", "))
    }

    fn all(&self) -> impl Iterator<Item = String> {
        let of = |program| Self::TAGS.map(|tag| self.name(program, tag));
        Self::PROGRAMS.into_iter().flat_map(of)
    }

    /// Pushes them to the registry that their names begin with.
    pub(super) fn push(&self) -> anyhow::Result<()> {
        self.all().try_for_each(|image| output_of(Command::new("docker").args(["push", &image])).map(drop))
    }

    /// Loads them and Kafka's image into the nodes of the kind cluster, so that no node pulls it.
    pub(super) fn load(&self, kafka: &str) -> anyhow::Result<()> {
        if output_of(Command::new("docker").args(["image", "inspect", kafka])).is_err() {
            output_of(Command::new("docker").args(["pull", kafka]))?;
        }
        let mut kind = Command::new("kind");
        kind.args(["load", "docker-image", "--name", NAME]).args(self.all()).arg(kafka);
        output_of(&mut kind).map(drop)
    }
}

/// Packs a compiled program into an image as the Dockerfile does: with the libraries that it links, and nothing else.
fn pack(program: &str, image: &str) -> anyhow::Result<()> {
    let folder = target().join("e2e").join(program);
    let put = |file: &Path, path: &str| {
        let path = folder.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        fs::copy(file, &path).with_context(|| format!("could not copy {}", file.display()))
    };
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let (built, path) = (target().join("release").join(program), format!("usr/local/bin/{program}"));
    put(&built, &path)?;
    output_of(Command::new("strip").arg("--strip-debug").arg(folder.join(&path)))?;
    let libraries = output_of(Command::new("ldd").arg(&built))?;
    for library in libraries.split_whitespace().filter(|word| word.starts_with("/lib")) {
        put(Path::new(library), library)?;
    }
    let dockerfile = format!("FROM scratch\nCOPY . /\nUSER 65532:65532\nENTRYPOINT [\"/{path}\"]\n");
    let mut docker = Command::new("docker");
    docker.args(["build", "--quiet", "--tag", image, "--file", "-"]).arg(&folder);
    output_with_input(&mut docker, &dockerfile).map(drop)
}

/// Makes the kind cluster; returns its kubeconfig.
pub(super) fn up(node_image: Option<&str>) -> anyhow::Result<PathBuf> {
    let kubeconfig = target().join("e2e/kubeconfig");
    let mut kind = Command::new("kind");
    kind.args(["create", "cluster", "--name", NAME, "--wait", "180s", "--kubeconfig"]).arg(&kubeconfig);
    kind.arg("--config").arg(root().join("kind-config.yaml"));
    kind.args(node_image.iter().flat_map(|image| ["--image", image]));
    fs::create_dir_all(target().join("e2e"))?;
    output_of(&mut kind).with_context(|| {
        format!("no cluster; one that is left over goes with `kind delete cluster --name {NAME}`")
    })?;
    Ok(kubeconfig)
}

/// Deletes the kind cluster.
pub(super) fn down() -> anyhow::Result<()> {
    output_of(Command::new("kind").args(["delete", "cluster", "--name", NAME])).map(drop)
}

/// The kind cluster that an earlier run kept.
pub(super) fn kept() -> Option<PathBuf> {
    let clusters = output_of(Command::new("kind").args(["get", "clusters"])).unwrap_or_default();
    clusters.lines().any(|name| name == NAME).then(|| target().join("e2e/kubeconfig"))
}
