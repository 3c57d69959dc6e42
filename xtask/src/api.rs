//! `cargo xtask api`.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, ensure};

use crate::{browser, cargo, succeeds};

/// The program that fuzzes the API, and its version.
const FUZZER: (&str, &str) = ("schemathesis", "4.32.5");
/// What the document cannot say.
const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api.py");
/// Endpoints without an end: server-sent events, and the WebSocket, which is no plain request.
const ENDLESS: [&str; 2] = ["/api/v1/stream", "/api/v1/live"];

/// Fuzzes the API of a demo against its OpenAPI document, with valid and invalid requests. Whether every response was one of the
/// document's.
pub(crate) fn run() -> anyhow::Result<bool> {
    let python = browser::found("python3")
        .context("python3 is not installed; on Debian: apt-get install python3-venv")?;
    ensure!(succeeds(&mut cargo(&["build", "--locked", "-p", "weir"]))?, "weir does not build");
    let (name, version) = FUZZER;
    let tools = weir_broker::cache()?.join(format!("{name}-{version}"));
    let fuzzer = tools.join("bin").join(name);
    if !fuzzer.is_file() {
        println!("installing {name} {version} into {}", tools.display());
        let installed = succeeds(Command::new(python).args(["-m", "venv"]).arg(&tools))?
            && succeeds(Command::new(tools.join("bin/pip")).args([
                "install",
                "--quiet",
                &format!("{name}=={version}"),
            ]))?;
        ensure!(installed, "{name} could not be installed");
    }
    let mut demo = Command::new(weir_broker::target().join("debug/weir"))
        .args(["demo", "--speed", "60", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = demo.stdout.take().context("the demo has no output")?;
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.find("http://").map(|at| line[at..].to_owned()));
    // A full pipe would block the demo.
    thread::spawn(move || lines.for_each(drop));
    let passed = address.context("the demo printed no address").and_then(|address| {
        let document = format!("{address}api/v1/openapi.json");
        let mut command = Command::new(fuzzer);
        // It writes files into its working directory.
        command.current_dir(tools);
        command.env("SCHEMATHESIS_HOOKS", HOOKS).env("PYTHONDONTWRITEBYTECODE", "1");
        command.args(["run", &document, "--checks", "all", "--max-time", "60", "--continue-on-failure"]);
        succeeds(command.args(ENDLESS.iter().flat_map(|path| ["--exclude-path", path])))
    });
    demo.kill()?;
    demo.wait()?;
    passed
}
