//! Free ports.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that systems take outgoing connections' ports from (Linux: from 32768), so that a broker that is down
/// for a while finds its port still free when it comes back; and below Kubernetes' node ports.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// `count` ports of the loopback address that were free just now. Different processes begin at different ports, so that
/// they seldom choose the same.
#[must_use]
pub fn free(count: usize) -> Vec<u16> {
    let begin = (std::process::id() % u32::from(COUNT)) as u16;
    std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        FIRST + (begin.wrapping_mul(37) % COUNT + step) % COUNT
    })
    .take(usize::from(COUNT))
    .filter(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    .take(count)
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_taken_port_is_not_offered() {
        let taken = free(1)[0];
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
        // Once round the whole range, and a little further.
        let offered: BTreeSet<u16> = (0..=COUNT / 1_000).flat_map(|_| free(1_000)).collect();
        assert!(offered.len() > usize::from(COUNT) / 2, "{}", offered.len());
        assert!(!offered.contains(&taken), "{taken} is listened on");
    }
}
