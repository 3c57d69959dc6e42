//! How long an event takes from its producer to a subscriber of the gateway.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use weir_events::{ClickstreamEvent, EventType, encode_event, partition_of};
use weir_stream::kafka::{Producer, ProducerOptions};

use crate::{Audit, Delays};

/// Time between two marked events; no multiple of the time between two live values, so that all phases are met.
const EVERY: Duration = Duration::from_millis(170);

impl Audit<'_> {
    /// Sends views of pages that nobody else views, and waits for each at `gateway` (HOST:PORT): milliseconds from before the
    /// sending to the message with the page.
    ///
    /// # Errors
    /// Kafka or the gateway cannot be reached, or marked events do not arrive.
    pub fn probe(&self, brokers: &str, gateway: &str, time: Duration) -> anyhow::Result<Delays> {
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let mark = format!("/probe/{run}/");
        let mut socket = TcpStream::connect(gateway).with_context(|| format!("no gateway at {gateway}"))?;
        write!(socket, "GET /api/v1/events?search={mark} HTTP/1.1\r\nhost: {gateway}\r\n\r\n")?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let mut lines = BufReader::new(socket);
        let spec = &self.pipeline.spec.topics.events;
        let producer = Producer::connect(&ProducerOptions {
            bootstrap: brokers.to_owned(),
            client_id: "weir-probe".to_owned(),
            compression: spec.compression,
            linger: Duration::ZERO,
            extra: Vec::new(),
        })?;
        let (begun, mut sent, mut delays) = (Instant::now(), HashMap::new(), Vec::new());
        let (mut line, mut number) = (Vec::new(), 0);
        while begun.elapsed() < time || (!sent.is_empty() && begun.elapsed() < time + Duration::from_secs(10))
        {
            // Only so many pages are told, and among those with one view the first by name: let those be the newest.
            if begun.elapsed() < time && begun.elapsed() >= EVERY * number {
                let (user, page) =
                    (format!("probe-{run}-{number}"), format!("{mark}{:06}", 999_999 - number));
                sent.insert(page.clone(), Instant::now());
                send(&producer, self.pipeline.events_topic(), spec.partitions, &user, &page)?;
                number += 1;
            }
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => anyhow::bail!("the gateway closed the stream"),
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line);
                    sent.retain(|page, at| {
                        let seen = text.contains(&format!("\"{page}\""));
                        if seen {
                            delays.push(at.elapsed().as_millis() as i64);
                        }
                        !seen
                    });
                    line.clear();
                }
                // What came of the line so far stays.
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(sent.is_empty(), "{} of {number} marked events never arrived", sent.len());
        Ok(Delays::new(delays))
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
        },
        &mut value,
    );
    producer.send(topic, partition_of(user.as_bytes(), partitions), user.as_bytes(), &value)?;
    Ok(())
}
