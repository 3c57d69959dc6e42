//! A broker's properties: Kafka's defaults wherever a difference would affect stored or committed records, and smaller or
//! quicker values where only waiting times differ.

use std::path::Path;

/// The ports of a cluster, one of each for every broker.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    pub(crate) clients: Vec<u16>,
    pub(crate) controllers: Vec<u16>,
    /// Listeners whose clients are told of other ports, where a proxy listens; empty without a proxy.
    pub(crate) proxied: Vec<Proxied>,
}

/// A broker's listener for clients behind a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxied {
    /// Where the broker listens.
    pub broker: u16,
    /// Where its clients are told to connect: the proxy's port.
    pub proxy: u16,
}

/// The properties of the broker with this index, which keeps its log in `data`.
pub(crate) fn properties(index: usize, ports: &Ports, data: &Path) -> String {
    let brokers = ports.clients.len();
    let in_sync = if brokers >= 3 { 2 } else { 1 };
    let voters: Vec<String> = ports
        .controllers
        .iter()
        .enumerate()
        .map(|(index, port)| format!("{index}@127.0.0.1:{port}"))
        .collect();
    let (client, controller) = (ports.clients[index], ports.controllers[index]);
    let (listener, advertised) = match ports.proxied.get(index) {
        None => (String::new(), String::new()),
        Some(Proxied { broker, proxy }) => {
            (format!(",PROXIED://127.0.0.1:{broker}"), format!(",PROXIED://127.0.0.1:{proxy}"))
        }
    };
    format!(
        "\
process.roles=broker,controller
node.id={index}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}{listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={brokers}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={brokers}
offsets.topic.num.partitions=10
transaction.state.log.replication.factor={brokers}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=10
share.coordinator.state.topic.replication.factor={brokers}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
# Test data carries old event times: by age it would be gone at once.
log.retention.ms=-1
# Shorter waits in tests: until a killed broker is noticed (it cannot come back before), a new group is joined, a member is lost,
# or a transaction has timed out.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
transaction.max.timeout.ms=900000
# An audit reads decisions that later snapshots cover and delete: they stay for as long as a test runs.
log.cleaner.min.compaction.lag.ms=7200000
# Small enough for three of them beside the tests: the cleaner alone would take 128 MiB.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
",
        voters = voters.join(","),
        data = data.display(),
    )
}
