//! Measures the time of an event from its producer to a subscriber of the gateway.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::TcpStream,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tungstenite::{Error as SocketError, Message, WebSocket, client};
use weir_events::{ClickstreamEvent, EventType, encode_event, partition_of};
use weir_kafka::{Connection, Producer, ProducerOptions};

use crate::{Audit, Delays};

/// Time between two marked events; no multiple of the time between two live values, so that all phases occur.
const PROBE_INTERVAL: Duration = Duration::from_millis(170);
/// Pages that are marked in turn: as many as a subscriber may watch.
const PROBE_PAGES: u64 = 20;
/// Maximum time to probe: marks are identified by a page's views, and after five minutes the first leave the window.
const MAX_PROBE_TIME: Duration = Duration::from_secs(240);

impl Audit {
    /// Sends views of pages of its own, and waits for each at `gateway` (HOST:PORT). Returns the milliseconds from before the
    /// send to the message that counts it.
    ///
    /// # Errors
    /// Kafka or the gateway cannot be reached, or marked events do not arrive.
    pub fn probe(&self, brokers: &str, gateway: &str, time: Duration) -> anyhow::Result<Delays> {
        ensure!(time <= MAX_PROBE_TIME, "expected at most {MAX_PROBE_TIME:?} to probe");
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let spec = &self.pipeline.spec.topics.events;
        let producer = Producer::connect(&ProducerOptions {
            connection: Connection::new(brokers, "weir-probe"),
            compression: spec.compression,
            linger: Duration::ZERO,
        })?;
        let pages: Vec<String> = (0..PROBE_PAGES).map(|page| format!("/probe/{run}/{page}")).collect();
        let mut socket = subscribe(gateway, &pages)?;
        // The marks of each page that were not counted yet: the page's views with the mark, and when it was sent.
        let mut sent: BTreeMap<&str, Vec<(u64, Instant)>> = BTreeMap::new();
        let (begun, mut number, mut delays) = (Instant::now(), 0_u64, Vec::new());
        let left = |sent: &BTreeMap<_, Vec<_>>| sent.values().map(Vec::len).sum::<usize>();
        while begun.elapsed() < time || left(&sent) > 0 && begun.elapsed() < time + Duration::from_secs(10) {
            if begun.elapsed() < time && begun.elapsed() >= PROBE_INTERVAL * number as u32 {
                let page = &pages[(number % PROBE_PAGES) as usize];
                sent.entry(page).or_default().push((number / PROBE_PAGES + 1, Instant::now()));
                send(&producer, &spec.name, spec.partitions, &format!("probe-{run}-{number}"), page)?;
                number += 1;
            }
            let Some(message) = read(&mut socket)? else { continue };
            let views = message["value"]["now"]["view_count"].as_u64().unwrap_or(0);
            let marks = message["page"].as_str().and_then(|page| sent.get_mut(page));
            let marks = marks.into_iter().flat_map(|marks| marks.extract_if(.., |(view, _)| *view <= views));
            delays.extend(marks.map(|(_, at)| at.elapsed().as_millis() as i64));
        }
        let left = left(&sent);
        ensure!(left == 0, "{left} of {number} marked events never arrived");
        Ok(Delays::new(delays))
    }
}

fn subscribe(gateway: &str, pages: &[String]) -> anyhow::Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(gateway).with_context(|| format!("no gateway at {gateway}"))?;
    stream.set_nodelay(true)?;
    let options = stream.try_clone()?;
    let (mut socket, _) = client(format!("ws://{gateway}/api/v1/live"), stream)
        .map_err(|error| anyhow::anyhow!("no live values at {gateway}: {error}"))?;
    options.set_read_timeout(Some(Duration::from_millis(5)))?;
    socket.send(Message::text(json!({"type": "subscribe", "pages": pages}).to_string()))?;
    Ok(socket)
}

/// The next message, if one arrives within the read timeout.
fn read(socket: &mut WebSocket<TcpStream>) -> anyhow::Result<Option<Value>> {
    match socket.read() {
        Ok(Message::Text(text)) => Ok(Some(serde_json::from_str(&text)?)),
        Ok(Message::Close(why)) => anyhow::bail!("the gateway closed the connection: {why:?}"),
        Ok(_) => Ok(None),
        Err(SocketError::Io(error))
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn send(producer: &Producer, topic: &str, partitions: i32, user: &str, page: &str) -> anyhow::Result<()> {
    let mut value = Vec::new();
    encode_event(
        &ClickstreamEvent {
            user_id: user,
            session_id: user,
            event_type: EventType::View,
            page_url: page,
            product_id: None,
            timestamp: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64,
            user_agent: "weir-probe",
            ip_address: "127.0.0.1",
            referrer: None,
            session_duration: None,
            ..ClickstreamEvent::EMPTY
        },
        &mut value,
    );
    producer.send(topic, partition_of(user.as_bytes(), partitions), user.as_bytes(), &value)?;
    Ok(())
}
