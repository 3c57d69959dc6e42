//! Ports that nobody listens on.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range of outgoing connections, so that what is stopped finds its port free when it starts again; and apart from
/// the brokers' (`testbed/kafka`).
const FIRST: u16 = 12_000;
const COUNT: u16 = 6_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// `count` ports of the loopback address that were free a moment ago. Different processes begin at different places.
pub(crate) fn free(count: usize) -> Vec<u16> {
    let begin = (std::process::id() % u32::from(COUNT)) as u16;
    std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        FIRST + ((u32::from(begin) * 37 + u32::from(step)) % u32::from(COUNT)) as u16
    })
    .take(usize::from(COUNT))
    .filter(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    .take(count)
    .collect()
}
