//! `cargo xtask kafka up` and `down`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use weir_broker::{Distribution, EXISTING, Kafka};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start brokers and print their address; Ctrl-C ends them and removes their data
    Up {
        /// 1 or 3; topics get as many replicas
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
        brokers: u16,
        /// The first broker's port; the next broker takes the next port
        #[arg(long, default_value_t = 9092)]
        port: u16,
        /// Run on in the background, until `cargo xtask kafka down`
        #[arg(long)]
        detach: bool,
    },
    /// End the brokers of `up --detach`
    Down,
    /// Print a topic's records with their headers, such as the reasons of dead letters; Ctrl-C ends it
    Read {
        /// Its name
        topic: String,
        /// Where a broker is
        #[arg(long, env = "WEIR_BROKERS", default_value = "127.0.0.1:9092")]
        brokers: String,
        /// End after so many records
        #[arg(long)]
        records: Option<u64>,
    },
}

pub(crate) fn run(action: &Action) -> anyhow::Result<bool> {
    match action {
        &Action::Up { brokers, port, detach: false } => up(brokers, port)?,
        &Action::Up { brokers, port, detach: true } => detach(brokers, port)?,
        Action::Down => down()?,
        Action::Read { topic, brokers, records } => return read(topic, brokers, *records),
    }
    Ok(true)
}

/// Runs Kafka's own consumer for committed records, without their values, which are Avro.
fn read(topic: &str, brokers: &str, records: Option<u64>) -> anyhow::Result<bool> {
    let mut java = Distribution::install()?.java("org.apache.kafka.tools.consumer.ConsoleConsumer", 256);
    java.env("JDK_JAVA_OPTIONS", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
    java.args([
        "--bootstrap-server",
        brokers,
        "--topic",
        topic,
        "--from-beginning",
        "--isolation-level",
        "read_committed",
    ]);
    for property in [
        "print.headers=true",
        "print.offset=true",
        "print.partition=true",
        "print.value=false",
        "headers.separator= | ",
    ] {
        java.args(["--formatter-property", property]);
    }
    if let Some(records) = records {
        java.args(["--max-messages", &records.to_string()]);
    }
    crate::succeeds(&mut java)
}

/// However this process ends, the testbed ends the brokers.
fn up(brokers: u16, port: u16) -> anyhow::Result<()> {
    let kafka = Kafka::start_on(usize::from(brokers), port)?;
    println!("{}", kafka.bootstrap());
    eprintln!("serving; Ctrl-C ends it. Tests use it with {EXISTING}={}", kafka.bootstrap());
    match kafka.watch()? {}
}

fn detach(brokers: u16, port: u16) -> anyhow::Result<()> {
    Distribution::install()?; // here, where its progress is seen
    let pid_file = pid_file()?;
    if let Ok(text) = fs::read_to_string(&pid_file) {
        let (pid, bootstrap) = parse(&text)?;
        ensure!(
            !is_ours(pid),
            "{bootstrap} is up already (process {pid}); end it with `cargo xtask kafka down`"
        );
    }
    let log = pid_file.with_extension("log");
    let mut serving = Command::new(std::env::current_exe()?)
        .args(["kafka", "up", "--brokers", &brokers.to_string(), "--port", &port.to_string()])
        .process_group(0) // so that Ctrl-C here does not end it
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).with_context(|| format!("could not write {}", log.display()))?)
        .spawn()?;
    let mut bootstrap = String::new();
    BufReader::new(serving.stdout.take().context("no standard output")?).read_line(&mut bootstrap)?;
    let bootstrap = bootstrap.trim_end();
    if bootstrap.is_empty() {
        serving.wait()?;
        bail!("{}", fs::read_to_string(&log)?.trim_end().trim_start_matches("error: "));
    }
    let mut file =
        File::create(&pid_file).with_context(|| format!("could not write {}", pid_file.display()))?;
    writeln!(file, "{}\n{bootstrap}", serving.id())?;
    println!("{bootstrap}");
    Ok(())
}

fn down() -> anyhow::Result<()> {
    let pid_file = pid_file()?;
    let Ok(text) = fs::read_to_string(&pid_file) else {
        println!("no Kafka of `cargo xtask kafka up --detach` runs");
        return Ok(());
    };
    let (pid, bootstrap) = parse(&text)?;
    if is_ours(pid) {
        Command::new("sh").args(["-c", "kill \"$0\"", &pid.to_string()]).status()?;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let answers = || bootstrap.split(',').any(|address| TcpStream::connect(address).is_ok());
    while is_ours(pid) || answers() {
        ensure!(Instant::now() < deadline, "{bootstrap} still answers 20 s after process {pid} was ended");
        sleep(Duration::from_millis(50));
    }
    fs::remove_file(&pid_file)?;
    println!("{bootstrap} is down");
    Ok(())
}

/// Whether the process is one of `kafka up`, not another one that reuses its pid. Without /proc: whether it exists.
fn is_ours(pid: u32) -> bool {
    match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => {
            let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
            words.windows(2).any(|pair| pair == [&b"kafka"[..], b"up"])
        }
        Err(_) if fs::exists("/proc/self/cmdline").unwrap_or(false) => false,
        Err(_) => Command::new("sh")
            .args(["-c", "kill -0 \"$0\" 2>/dev/null", &pid.to_string()])
            .status()
            .is_ok_and(|status| status.success()),
    }
}

/// The file about the background process: its pid, then the bootstrap servers.
fn pid_file() -> anyhow::Result<PathBuf> {
    Ok(weir_broker::cache()?.join("kafka-up.pid"))
}

fn parse(text: &str) -> anyhow::Result<(u32, &str)> {
    let (pid, bootstrap) =
        text.trim_end().split_once('\n').context("the pid file of `kafka up` is cut short")?;
    Ok((pid.parse().context("the pid file of `kafka up` names no process")?, bootstrap))
}
