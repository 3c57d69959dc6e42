//! The visitors, and the choice of the next one.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use weir_events::partition_of;

use crate::names::AGENTS;
use crate::random::{Random, Table};

/// One visitor.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) agent: &'static str,
    pub(crate) address: String,
}

/// All visitors; a visitor's partition is `index % partitions`.
pub(crate) fn people(users: u32, partitions: i32, random: &mut Random) -> Vec<Person> {
    let mut agents = Table::default();
    for (i, (_, share)) in AGENTS.iter().enumerate() {
        agents.push(i as u32, *share);
    }
    let mut taken = HashSet::new();
    (0..users)
        .map(|index| {
            let id = loop {
                let id = format!("u-{:012x}", random.bits() >> 16);
                let wanted = (index % partitions as u32) as i32;
                if partition_of(id.as_bytes(), partitions) == wanted && taken.insert(id.clone()) {
                    break id;
                }
            };
            Person { id, agent: AGENTS[agents.draw(random) as usize].0, address: address(random) }
        })
        .collect()
}

/// An unassigned address: documentation (RFC 5737, RFC 3849) or private (RFC 1918).
fn address(random: &mut Random) -> String {
    let bits = random.bits();
    let [a, b, c, d, e, f, ..] = bits.to_le_bytes();
    let host = 1 + d % 254;
    match random.below(100) {
        0..=14 => {
            let tail = [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), u16::from_le_bytes([e, f])];
            Ipv6Addr::new(0x2001, 0xdb8, tail[0], 0, 0, 0, tail[1], tail[2]).to_string()
        }
        15..=44 => {
            let nets = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
            let [x, y, z] = nets[usize::from(a) % nets.len()];
            Ipv4Addr::new(x, y, z, host).to_string()
        }
        45..=54 => Ipv4Addr::new(192, 168, b, host).to_string(),
        _ => Ipv4Addr::new(10, b, c, host).to_string(),
    }
}

/// Open visits, by partition. Partitions are kept equally busy, and no visitor gets a second open visit while another one of the
/// same partition has none.
pub(crate) struct Roster {
    partitions: Vec<Partition>,
    /// For each visitor the index in the list of its level.
    places: Vec<u32>,
    /// For each visitor the number of open visits.
    open: Vec<u32>,
}

#[derive(Default)]
struct Partition {
    open: u32,
    events: u64,
    /// Visitors by the number of their open visits.
    levels: Vec<Vec<u32>>,
}

impl Roster {
    pub(crate) fn new(users: u32, partitions: i32) -> Self {
        // Partitions beyond the number of visitors are empty.
        let inhabited = users.min(partitions as u32) as usize;
        let mut lists: Vec<Partition> = (0..inhabited).map(|_| Partition::default()).collect();
        let mut places = Vec::with_capacity(users as usize);
        for user in 0..users {
            let levels = &mut lists[user as usize % inhabited].levels;
            if levels.is_empty() {
                levels.push(Vec::new());
            }
            places.push(levels[0].len() as u32);
            levels[0].push(user);
        }
        Self { partitions: lists, places, open: vec![0; users as usize] }
    }

    /// Opens a visit of a random visitor and returns the visitor.
    pub(crate) fn open(&mut self, random: &mut Random) -> u32 {
        let least = self.partitions.iter().enumerate().min_by_key(|(_, p)| (p.open, p.events));
        let partition = least.map_or(0, |(i, _)| i);
        let levels = &self.partitions[partition].levels;
        let level = levels.iter().position(|l| !l.is_empty()).unwrap_or(0);
        let user = levels[level][random.below(levels[level].len() as u32) as usize];
        self.partitions[partition].open += 1;
        self.shift(user, level as u32 + 1);
        user
    }

    pub(crate) fn close(&mut self, user: u32) {
        let partition = self.partition(user);
        self.partitions[partition].open -= 1;
        self.shift(user, self.open[user as usize] - 1);
    }

    pub(crate) fn count_event(&mut self, user: u32) {
        let partition = self.partition(user);
        self.partitions[partition].events += 1;
    }

    fn partition(&self, user: u32) -> usize {
        user as usize % self.partitions.len()
    }

    fn shift(&mut self, user: u32, level: u32) {
        let partition = self.partition(user);
        let levels = &mut self.partitions[partition].levels;
        let place = self.places[user as usize] as usize;
        let old = &mut levels[self.open[user as usize] as usize];
        old.swap_remove(place);
        if let Some(moved) = old.get(place) {
            self.places[*moved as usize] = place as u32;
        }
        if levels.len() <= level as usize {
            levels.push(Vec::new());
        }
        self.places[user as usize] = levels[level as usize].len() as u32;
        levels[level as usize].push(user);
        self.open[user as usize] = level;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_are_distinct_and_partitioned_by_index() {
        let people = people(500, 12, &mut Random::new(3));
        assert_eq!(people.iter().map(|p| &p.id).collect::<HashSet<_>>().len(), 500);
        for (i, person) in people.iter().enumerate() {
            assert_eq!(partition_of(person.id.as_bytes(), 12) as usize, i % 12);
            assert!(person.address.parse::<std::net::IpAddr>().is_ok(), "{}", person.address);
        }
        let v6 = people.iter().filter(|p| p.address.contains(':')).count();
        assert!((40..120).contains(&v6), "{v6}");
        assert_eq!(people.iter().map(|p| p.agent).collect::<HashSet<_>>().len(), 12);
    }

    #[test]
    fn no_visitor_gets_a_second_visit_while_another_has_none() {
        let (mut roster, mut random) = (Roster::new(10, 3), Random::new(1));
        let first: HashSet<u32> = (0..9).map(|_| roster.open(&mut random)).collect();
        assert_eq!(first.len(), 9);
        for _ in 0..9 {
            roster.open(&mut random);
        }
        assert!(roster.open.iter().all(|open| (1..=2).contains(open)), "{:?}", roster.open);
        // A single visitor may have several visits.
        let back = 4;
        while roster.open[back as usize] > 0 {
            roster.close(back);
        }
        assert_eq!(roster.open(&mut random), back);
    }

    #[test]
    fn partitions_without_visitors_are_skipped() {
        let (mut roster, mut random) = (Roster::new(2, 24), Random::new(1));
        let users: Vec<u32> = (0..4).map(|_| roster.open(&mut random)).collect();
        assert_eq!(users.iter().filter(|u| **u == 0).count(), 2);
    }
}
