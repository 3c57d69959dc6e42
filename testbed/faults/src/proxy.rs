//! A proxy between the processors and the brokers that knows Kafka's requests: it can hold a single one back, and deliver it after
//! its sender has given it up; delay what passes; or let nothing pass.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use weir_broker::Proxied;

/// Kafka's keys of requests.
const ADD_PARTITIONS: i16 = 24;
const ADD_OFFSETS: i16 = 25;
const END_TXN: i16 = 26;

/// Maximum time that a request is held for what it waits for.
const MAX_HELD: Duration = Duration::from_secs(120);
/// Longer frames are no requests of Kafka's.
const MAX_FRAME: usize = 64 << 20;

/// Proxies for all brokers of a cluster, which share their rules.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    link: Link,
    /// By client id.
    delayed: BTreeMap<String, Delayed>,
    /// Open connections, by number.
    connections: BTreeMap<u64, [TcpStream; 2]>,
    opened: u64,
}

/// What passes between processors and brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Link {
    /// Everything, at once.
    #[default]
    Whole,
    /// Everything, later: both ways, each.
    Slow(Duration),
    /// Nothing: connections stay open.
    Silent,
    /// Requests but no responses.
    OneWay,
    /// No connection.
    Refused,
}

/// The fate of one client's commit request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delayed {
    /// The next one is held back.
    Armed,
    /// It is held; its sender will send it again.
    Held,
    /// The later transaction of its sender has begun to write.
    Overtaken,
    /// It is delivered between the outputs and the offsets of that transaction, which waits.
    Due,
    /// The broker has answered it with this code.
    Answered(i16),
}

impl Proxy {
    /// Starts the proxies.
    pub(crate) fn start(listeners: &[Proxied]) -> io::Result<Self> {
        let proxy = Self(Arc::default());
        for &Proxied { broker, proxy: port } in listeners {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            let shared = Arc::clone(&proxy.0);
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.connect(client, broker));
                }
            });
        }
        Ok(proxy)
    }

    /// Holds the next commit of this client back until a later transaction of it has written its outputs.
    pub(crate) fn delay_commit(&self, client: &str) {
        self.0.lock().delayed.insert(client.to_owned(), Delayed::Armed);
    }

    pub(crate) fn delayed(&self, client: &str) -> Option<Delayed> {
        self.0.lock().delayed.get(client).copied()
    }

    /// Lets everything of this client pass.
    pub(crate) fn release(&self, client: &str) {
        self.0.lock().delayed.remove(client);
        self.0.changed.notify_all();
    }

    /// Changes what passes; connections are closed where none is to be.
    pub(crate) fn set_link(&self, link: Link) {
        let mut state = self.0.lock();
        state.link = link;
        if link == Link::Refused {
            for stream in state.connections.values().flatten() {
                // It may be closed already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection. Its errors end it, as those of any connection.
    fn connect(self: Arc<Self>, client: TcpStream, broker: u16) {
        if self.lock().link == Link::Refused {
            return;
        }
        let Ok(upstream) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)) else { return };
        let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
        let (Ok(a), Ok(b), Ok(c), Ok(d)) =
            (client.try_clone(), upstream.try_clone(), client.try_clone(), upstream.try_clone())
        else {
            return;
        };
        let number = {
            let mut state = self.lock();
            state.opened += 1;
            let number = state.opened;
            state.connections.insert(number, [a, b]);
            number
        };
        let awaited = Arc::new(Mutex::new(None));
        let responses = thread::spawn({
            let (shared, awaited) = (Arc::clone(&self), Arc::clone(&awaited));
            move || shared.pass_responses(d, c, &awaited)
        });
        self.pass_requests(client, upstream, &awaited);
        let _ = responses.join();
        self.lock().connections.remove(&number);
    }

    fn pass_requests(
        &self,
        mut client: TcpStream,
        mut upstream: TcpStream,
        awaited: &Mutex<Option<Awaited>>,
    ) {
        while let Ok(frame) = read_frame(&mut client) {
            let Some(request) = Request::parse(&frame) else { break };
            if request.key == END_TXN && self.holds(request.client) {
                *awaited.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Awaited { correlation: request.correlation, client: request.client.to_owned() });
            } else if let ADD_PARTITIONS | ADD_OFFSETS = request.key {
                self.overtake(&request);
            }
            self.wait_for_link(false);
            if upstream.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = upstream.shutdown(Shutdown::Write);
    }

    /// Whether this commit was to be held back; returns when it is due.
    fn holds(&self, client: &str) -> bool {
        let mut state = self.lock();
        let Some(delayed @ Delayed::Armed) = state.delayed.get_mut(client) else { return false };
        *delayed = Delayed::Held;
        self.changed.notify_all();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, MAX_HELD, |state| {
                matches!(state.delayed.get(client), Some(Delayed::Held | Delayed::Overtaken))
            })
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = state.delayed.get(client) == Some(&Delayed::Due);
        if !is_due {
            // Its sender had no later transaction: it passes like any other.
            state.delayed.remove(client);
        }
        is_due
    }

    /// A request of a later transaction: its outputs are noted, and its offsets wait for what was held.
    fn overtake(&self, request: &Request<'_>) {
        let mut state = self.lock();
        match (request.key, state.delayed.get_mut(request.client)) {
            (ADD_PARTITIONS, Some(delayed @ Delayed::Held)) => *delayed = Delayed::Overtaken,
            (ADD_OFFSETS, Some(delayed @ Delayed::Overtaken)) => {
                *delayed = Delayed::Due;
                self.changed.notify_all();
                drop(self.changed.wait_timeout_while(state, MAX_HELD, |state| {
                    matches!(state.delayed.get(request.client), Some(Delayed::Due | Delayed::Answered(_)))
                }));
            }
            _ => {}
        }
    }

    fn pass_responses(
        &self,
        mut upstream: TcpStream,
        mut client: TcpStream,
        awaited: &Mutex<Option<Awaited>>,
    ) {
        while let Ok(frame) = read_frame(&mut upstream) {
            let mut awaited = awaited.lock().unwrap_or_else(PoisonError::into_inner);
            // Length, correlation id, throttle time, error.
            if let (Some(of), Some(&[high, low])) =
                (&*awaited, frame.get(12..14).and_then(<[u8]>::first_chunk))
                && frame.get(4..8) == Some(&of.correlation)
            {
                let answered = Delayed::Answered(i16::from_be_bytes([high, low]));
                if let Some(delayed) = self.lock().delayed.get_mut(&of.client) {
                    *delayed = answered;
                }
                *awaited = None;
            }
            drop(awaited);
            self.wait_for_link(true);
            // The client may have gone: what it sent is answered all the same.
            let _ = client.write_all(&frame);
        }
        let _ = client.shutdown(Shutdown::Both);
    }

    /// Waits until something may pass.
    fn wait_for_link(&self, is_response: bool) {
        let mut state = self.lock();
        if let Link::Slow(delay) = state.link {
            drop(state);
            return thread::sleep(delay);
        }
        while state.link == Link::Silent || state.link == Link::OneWay && is_response {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The response that is waited for.
struct Awaited {
    correlation: [u8; 4],
    client: String,
}

/// The head of a request.
struct Request<'a> {
    key: i16,
    correlation: [u8; 4],
    client: &'a str,
}

impl<'a> Request<'a> {
    /// Of a frame with its length: key, version, correlation id, client id.
    fn parse(frame: &'a [u8]) -> Option<Self> {
        let key = i16::from_be_bytes(*frame.get(4..6)?.first_chunk()?);
        let correlation = *frame.get(8..12)?.first_chunk()?;
        let length = i16::from_be_bytes(*frame.get(12..14)?.first_chunk()?);
        let client = frame.get(14..)?.get(..usize::try_from(length).unwrap_or(0))?;
        Some(Self { key, correlation, client: std::str::from_utf8(client).ok()? })
    }
}

/// A frame with its length.
fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let bytes = u32::from_be_bytes(length) as usize;
    if bytes > MAX_FRAME {
        return Err(io::Error::other("no frame of Kafka's"));
    }
    let mut frame = vec![0; 4 + bytes];
    frame[..4].copy_from_slice(&length);
    stream.read_exact(&mut frame[4..])?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_request_is_read() {
        let frame = [0, 0, 0, 12, 0, 26, 0, 1, 0, 0, 0, 7, 0, 2, b'p', b'0'];
        let request =
            Request::parse(&frame).map(|request| (request.key, request.correlation, request.client));
        assert_eq!(request, Some((END_TXN, [0, 0, 0, 7], "p0")));
        assert!(Request::parse(&frame[..15]).is_none());
    }
}
