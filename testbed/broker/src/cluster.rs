//! A cluster: brokers that know each other, and the folder they keep their data in.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::{Broker, State};
use crate::error::Error;
use crate::settings::{Ports, Proxied, properties};
use crate::{Distribution, ports};

/// Names an existing cluster for [`Kafka::shared`]: `HOST:PORT,...`.
pub const EXISTING: &str = "WEIR_TEST_KAFKA";

/// Maximum attempts with other ports when another process took one first.
const MAX_ATTEMPTS: usize = 5;

/// A running cluster in KRaft mode, each broker also a controller. It ends, and its data is removed, when it is dropped or when
/// this process ends, however it ends.
#[derive(Debug)]
pub struct Kafka {
    // Dropped in this order: first the brokers, then their data.
    brokers: Vec<Broker>,
    bootstrap: String,
    proxied: Vec<Proxied>,
    distribution: Distribution,
    data: TempDir,
}

impl Kafka {
    /// Starts a cluster on free ports of the loopback address and waits until every broker serves: three to nine seconds,
    /// more where Kafka's packages must be fetched first. Three brokers keep three replicas and need two of them.
    ///
    /// # Errors
    /// What [`Distribution::install`] reports; [`Error::Died`] or [`Error::NotReady`] with the end of a broker's log.
    pub fn start(brokers: usize) -> Result<Self, Error> {
        Self::start_with(brokers, false, &[])
    }

    /// As [`Kafka::start`], with a second listener per broker for clients that connect through a proxy: see [`Kafka::proxied`].
    /// The caller provides the proxy.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_proxied(brokers: usize) -> Result<Self, Error> {
        Self::start_with(brokers, true, &[])
    }

    /// As [`Kafka::start_proxied`], with one broker per folder, which keeps its log there: such as on disks that can be full.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_proxied_in(folders: &[PathBuf]) -> Result<Self, Error> {
        Self::start_with(folders.len(), true, folders)
    }

    fn start_with(brokers: usize, proxied: bool, folders: &[PathBuf]) -> Result<Self, Error> {
        let mut attempts = 1;
        loop {
            let mut clients = ports::free(if proxied { 4 } else { 2 } * brokers);
            let controllers = clients.split_off(brokers);
            let (controllers, others) = controllers.split_at(brokers);
            let proxied =
                others.chunks_exact(2).map(|pair| Proxied { broker: pair[0], proxy: pair[1] }).collect();
            match Self::start_at(&Ports { clients, controllers: controllers.to_vec(), proxied }, folders) {
                Err(Error::PortTaken { .. }) if attempts < MAX_ATTEMPTS => attempts += 1,
                started => return started,
            }
        }
    }

    /// As [`Kafka::start`], with the ports from `first` on for clients; the controllers' ports are free ones.
    ///
    /// # Errors
    /// As [`Kafka::start`], and [`Error::PortTaken`].
    pub fn start_on(brokers: usize, first: u16) -> Result<Self, Error> {
        let clients = (first..).take(brokers).collect();
        Self::start_at(&Ports { clients, controllers: ports::free(brokers), proxied: Vec::new() }, &[])
    }

    /// The bootstrap servers of one cluster for all tests of a process: that of `WEIR_TEST_KAFKA` if set, else a broker
    /// that the first caller starts and that ends with the process. Callers must use distinct names of topics and groups, and
    /// must not stop it.
    ///
    /// # Panics
    /// When there is no Kafka, with the reason: a test cannot go on.
    pub fn shared() -> &'static str {
        static SHARED: OnceLock<(String, Option<Kafka>)> = OnceLock::new();
        let (bootstrap, _) = SHARED.get_or_init(|| match std::env::var(EXISTING) {
            Ok(existing) if !existing.is_empty() => (existing, None),
            _ => match Self::start(1) {
                Ok(kafka) => (kafka.bootstrap.clone(), Some(kafka)),
                Err(error) => panic!("{error}"),
            },
        });
        bootstrap
    }

    /// Every broker's address, separated by commas, as clients' `bootstrap.servers` takes them.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The listeners for clients behind a proxy, by broker; empty unless it was started with them.
    #[must_use]
    pub fn proxied(&self) -> &[Proxied] {
        &self.proxied
    }

    /// The broker with this index, from 0, which is also its node id.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn broker(&self, index: usize) -> &Broker {
        &self.brokers[index]
    }

    /// All brokers, by index.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The packages that it runs from, for Kafka's own tools.
    #[must_use]
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// Blocks until a broker ends by itself.
    ///
    /// # Errors
    /// Always: [`Error::Died`], or [`Error::Io`].
    pub fn watch(&self) -> Result<std::convert::Infallible, Error> {
        loop {
            for broker in &self.brokers {
                if !broker.runs()? {
                    return Err(Error::Died { broker: broker.index, log: broker.log() });
                }
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn start_at(ports: &Ports, folders: &[PathBuf]) -> Result<Self, Error> {
        let distribution = Distribution::install()?;
        let data = tempfile::Builder::new()
            .prefix("weir-kafka-")
            .tempdir()
            .map_err(Error::io("make a temporary folder"))?;
        let (brokers, proxied) = (Vec::new(), ports.proxied.clone());
        let mut kafka = Self { brokers, bootstrap: String::new(), proxied, distribution, data };
        let folder = kafka.data.path().to_owned();
        for (index, port) in ports.clients.iter().enumerate() {
            let settings = folder.join(format!("broker-{index}.properties"));
            let log = match folders.get(index) {
                None => folder.join(format!("broker-{index}")),
                // By port, as another attempt may have left something there.
                Some(folder) => folder.join(port.to_string()),
            };
            let text = properties(index, ports, &log);
            fs::write(&settings, text).map_err(Error::io("write a broker's properties"))?;
            kafka.brokers.push(Broker {
                index,
                address: format!("127.0.0.1:{port}"),
                distribution: kafka.distribution.clone(),
                heap_mib: if ports.clients.len() == 1 { 512 } else { 384 },
                settings,
                cluster: folder.clone(),
                state: Mutex::new(State::default()),
            });
        }
        let addresses: Vec<&str> = kafka.brokers.iter().map(Broker::address).collect();
        kafka.bootstrap = addresses.join(",");
        for broker in &kafka.brokers {
            let settings = broker.settings.to_string_lossy();
            // Any cluster id will do: clusters are distinguished by their ports.
            kafka.distribution.tool(
                "kafka.tools.StorageTool",
                &["format", "-t", "AAAAAAAAQAAAAAAAAAAAAA", "-c", &settings],
            )?;
        }
        for broker in &kafka.brokers {
            broker.launch()?;
        }
        for broker in &kafka.brokers {
            broker.await_ready()?;
        }
        Ok(kafka)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
