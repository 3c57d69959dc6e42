//! What a crowd of subscribers costs: `cargo run --release -p weir-gateway --example crowd -- GATEWAY CLIENTS SECONDS`.
//!
//! Each watches the site, the ranking, the stream's health and one page. Says how many messages each got: the least, the mean,
//! the most.

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
    let told: Vec<(u64, u64)> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    let messages = told.iter().map(|(messages, _)| *messages);
    let (least, most) = (messages.clone().min().unwrap_or(0), messages.clone().max().unwrap_or(0));
    let mean = messages.sum::<u64>() as f64 / told.len() as f64;
    let bytes = told.iter().map(|(_, bytes)| bytes).sum::<u64>() as f64 / 1e6;
    println!("messages per client: {least} least, {mean:.0} mean, {most} most; {bytes:.1} MB together");
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
    // Also the one that could not: the others wait for it.
    all_there.wait();
    let (mut socket, begun) = (opened?, Instant::now());
    let (mut messages, mut bytes) = (0, 0);
    while begun.elapsed() < time {
        let message = socket.read().map_err(|error| error.to_string())?;
        if let Message::Close(reason) = message {
            return Err(format!("let go: {reason:?}"));
        }
        messages += 1;
        bytes += message.len() as u64;
    }
    Ok((messages, bytes))
}
