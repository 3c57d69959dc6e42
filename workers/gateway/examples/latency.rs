//! How long an event takes from its producer to a subscriber:
//! `cargo run --release -p weir-gateway --example latency -- BROKERS GATEWAY SECONDS`, beside a running pipeline.
//!
//! Marked events are views of pages that nobody else views; each is waited for on a WebSocket that watches these pages.

use std::{
    collections::HashMap,
    error::Error,
    io::ErrorKind,
    net::TcpStream,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tungstenite::{Error as SocketError, Message, client};
use weir_events::{ClickstreamEvent, EventType, encode_event, partition_of};
use weir_spec::Pipeline;
use weir_stream::kafka::{Producer, ProducerOptions};

/// Pages watched on a connection.
const PAGES: u32 = 20;
/// Time between two events; no multiple of the time between two live values, so that all phases are met.
const EVERY: Duration = Duration::from_millis(170);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, gateway, seconds] = &arguments[..] else { return Err("BROKERS GATEWAY SECONDS".into()) };
    let time = Duration::from_secs(seconds.parse()?);
    let pipeline = Pipeline::demo();
    let producer = Producer::connect(&ProducerOptions {
        bootstrap: brokers.clone(),
        client_id: "weir-latency".to_owned(),
        compression: pipeline.spec.topics.events.compression,
        linger: Duration::ZERO,
        extra: Vec::new(),
    })?;
    let stream = TcpStream::connect(gateway)?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = client(format!("ws://{gateway}/api/v1/live"), stream.try_clone()?)?;
    stream.set_read_timeout(Some(Duration::from_millis(5)))?;
    let run = millis()?;
    let pages: Vec<String> = (0..PAGES).map(|page| format!("/latency/{run}/{page}")).collect();
    socket.send(Message::text(json!({"type": "subscribe", "pages": pages}).to_string()))?;

    let (begun, mut number) = (Instant::now(), 0_u32);
    // When the view was sent that makes a page's count so many.
    let mut sent: HashMap<(String, u64), Instant> = HashMap::new();
    let mut delays = Vec::new();
    while begun.elapsed() < time || (!sent.is_empty() && begun.elapsed() < time + Duration::from_secs(10)) {
        if begun.elapsed() < time && begun.elapsed() >= EVERY * number {
            let page = &pages[(number % PAGES) as usize];
            sent.insert((page.clone(), u64::from(number / PAGES) + 1), Instant::now());
            send(&producer, &pipeline, &format!("latency-{run}-{number}"), page)?;
            number += 1;
        }
        match socket.read() {
            Ok(Message::Text(text)) => {
                let message: Value = serde_json::from_str(&text)?;
                let count = message["value"]["now"]["view_count"].as_u64();
                if let (Some(page), Some(count)) = (message["page"].as_str(), count) {
                    delays.extend(sent.remove(&(page.to_owned(), count)).map(|at| at.elapsed()));
                }
            }
            Ok(_) => {}
            Err(SocketError::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    delays.sort();
    println!("{} of {number} events seen", delays.len());
    if let Some(last) = delays.len().checked_sub(1) {
        let at = |share: f64| delays[(last as f64 * share) as usize];
        println!("p50 {:.0?}  p95 {:.0?}  p99 {:.0?}  max {:.0?}", at(0.5), at(0.95), at(0.99), at(1.0));
    }
    Ok(())
}

fn millis() -> Result<i64, Box<dyn Error>> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64)
}

fn send(producer: &Producer, pipeline: &Pipeline, user: &str, page: &str) -> Result<(), Box<dyn Error>> {
    let mut value = Vec::new();
    let event = ClickstreamEvent {
        user_id: user,
        session_id: user,
        event_type: EventType::View,
        page_url: page,
        product_id: None,
        timestamp: millis()?,
        user_agent: "weir-latency",
        ip_address: "127.0.0.1",
        referrer: None,
        session_duration: None,
    };
    encode_event(&event, &mut value);
    let partition = partition_of(user.as_bytes(), pipeline.spec.topics.events.partitions);
    producer.send(pipeline.events_topic(), partition, user.as_bytes(), &value)?;
    Ok(())
}
