//! Faults of the gateway's clients.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::pipeline::TestPipeline;

/// Clients that ask for everything and never read.
const SILENT: usize = 500;
/// Clients that connect, ask for everything, and are gone.
const STORM: usize = 5_000;
const WINDOWS: u32 = 20;
/// What the clients may cost: a client has a task, a connection's buffers, and a reference to a frame that all share.
const MAX_GROWTH_KIB: u64 = 96 << 10;
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A gateway, killed when dropped.
struct Gateway {
    process: Child,
    address: String,
}

/// F22: memory is bounded whatever clients do, and one that comes back gets every window since.
pub(super) fn hostile_clients(pipeline: &mut TestPipeline<'_>) -> anyhow::Result<()> {
    let port = weir_broker::free_ports(1)[0];
    let gateway = Gateway::start(pipeline.processors.weir(), port)?;
    pipeline.wait_until("the gateway has a window", |_| Ok(gateway.last_window().is_ok()))?;
    let (first, before) = (gateway.last_window()?, gateway.memory_kib()?);

    let silent: Vec<TcpStream> =
        (0..SILENT).map(|_| gateway.open(None)).collect::<Result<_, _>>().context("clients")?;
    let mut most = before;
    for _ in 0..WINDOWS {
        pipeline.await_progress("clients that never read")?;
        most = most.max(gateway.memory_kib()?);
        pipeline.outcome.repetitions += 1;
    }
    drop(silent);
    for number in 0..STORM {
        drop(gateway.open(None)?);
        if number % 500 == 0 {
            most = most.max(gateway.memory_kib()?);
        }
    }
    pipeline.await_progress("a storm of clients")?;
    pipeline.wait_until("clients that are gone are forgotten", |_| {
        Ok(gateway.health()?["held"]["clients"] == 0)
    })?;
    most = most.max(gateway.memory_kib()?);
    let growth = most.saturating_sub(before);
    ensure!(growth < MAX_GROWTH_KIB, "the gateway grew from {before} to {most} KiB");

    let slide = pipeline.document.spec.window.slide.as_millis();
    let (mut last, until) = (first, gateway.last_window()?);
    let client = gateway.open(Some(first))?;
    client.set_read_timeout(Some(READ_TIMEOUT))?;
    for line in BufReader::new(client).lines() {
        if let Some(end) = line?.strip_prefix("id: ") {
            let end: i64 = end.parse()?;
            ensure!(end == last + slide, "window {end} came after {last}");
            last = end;
        }
        if last >= until {
            break;
        }
    }
    ensure!(last >= until, "the last window was {last}, {until} was there");
    pipeline.outcome.note =
        format!("{SILENT} never read, {STORM} came and went: {before} KiB, at most {} KiB more", growth);
    Ok(())
}

impl Gateway {
    fn start(mut weir: Command, port: u16) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{port}");
        weir.args(["serve", "--listen", &address]).stderr(Stdio::null());
        Ok(Self { process: weir.spawn()?, address })
    }

    /// Asks for live values, after the window that ends at `after`.
    fn open(&self, after: Option<i64>) -> anyhow::Result<TcpStream> {
        let mut client = TcpStream::connect(&self.address)?;
        let query = after.map(|after| format!("?topics=windows&after={after}")).unwrap_or_default();
        write!(client, "GET /api/v1/stream{query} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        Ok(client)
    }

    fn health(&self) -> anyhow::Result<serde_json::Value> {
        let mut client = TcpStream::connect(&self.address)?;
        write!(client, "GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").context("no body")?.1;
        Ok(serde_json::from_str(body)?)
    }

    /// The end of the newest window.
    fn last_window(&self) -> anyhow::Result<i64> {
        self.health()?["window_end"].as_i64().context("no window")
    }

    fn memory_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(resident.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
