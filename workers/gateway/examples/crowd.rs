//! Load test with many subscribers: `cargo run --release -p weir-gateway --example crowd -- GATEWAY CLIENTS SECONDS`.
//!
//! Each subscribes to the site, the ranking, the pipeline's health and one page. Prints the messages per client: minimum, mean,
//! maximum.

use std::{
    error::Error,
    net::TcpStream,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tungstenite::{Message, client};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [gateway, clients, seconds] = &arguments[..] else { return Err("GATEWAY CLIENTS SECONDS".into()) };
    let (clients, time): (usize, _) = (clients.parse()?, Duration::from_secs(seconds.parse()?));
    let all_there = Arc::new(Barrier::new(clients));
    let threads = (0..clients).map(|number| {
        let (gateway, all_there) = (gateway.clone(), Arc::clone(&all_there));
        let run = move || {
            watch(&gateway, number, &all_there, time).unwrap_or_else(|error| {
                eprintln!("client {number}: {error}");
                (0, 0)
            })
        };
        thread::Builder::new().stack_size(128 << 10).spawn(run)
    });
    let threads = threads.collect::<Result<Vec<_>, _>>()?;
    let counts: Vec<(u64, u64)> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    let messages = counts.iter().map(|(messages, _)| *messages);
    let (min, max) = (messages.clone().min().unwrap_or(0), messages.clone().max().unwrap_or(0));
    let mean = messages.sum::<u64>() as f64 / counts.len() as f64;
    let bytes = counts.iter().map(|(_, bytes)| bytes).sum::<u64>() as f64 / 1e6;
    println!("messages per client: {min} minimum, {mean:.0} mean, {max} maximum; {bytes:.1} MB in total");
    Ok(())
}

fn watch(gateway: &str, number: usize, all_there: &Barrier, time: Duration) -> Result<(u64, u64), String> {
    let opened = (|| {
        let stream = TcpStream::connect(gateway).map_err(|error| error.to_string())?;
        let (mut socket, _) =
            client(format!("ws://{gateway}/api/v1/live"), stream).map_err(|error| error.to_string())?;
        let page = format!("https://shop.example/{}", ["", "cart", "search"][number % 3]);
        let wanted =
            json!({"type": "subscribe", "topics": ["site", "top", "health", "windows"], "pages": [page]});
        socket.send(Message::text(wanted.to_string())).map_err(|error| error.to_string())?;
        Ok::<_, String>(socket)
    })();
    // Also after a failure: the other clients wait at the barrier.
    all_there.wait();
    let (mut socket, begun) = (opened?, Instant::now());
    let (mut messages, mut bytes) = (0, 0);
    while begun.elapsed() < time {
        let message = socket.read().map_err(|error| error.to_string())?;
        if let Message::Close(reason) = message {
            return Err(format!("disconnected: {reason:?}"));
        }
        messages += 1;
        bytes += message.len() as u64;
    }
    Ok((messages, bytes))
}
