//! A real Kafka for tests: one or three brokers on the loopback address, from Maven packages.
//!
//! A pipeline relies on Kafka's transactions, fencing, rebalances and replicas, and no stand-in has them all: so tests use a real
//! Kafka, which starts in seconds, and can be stopped, killed, paused and restarted.
//!
//! No broker outlives the process that started it: each is [`SupervisedProcess`] by a small shell script that waits on a pipe from this
//! process, and kills the broker and removes its data when the pipe closes. That holds for SIGKILL too, and needs neither
//! `unsafe` nor a feature of one system.
//!
//! ```no_run
//! let kafka = weir_broker::Kafka::start(3)?;
//! println!("bootstrap.servers={}", kafka.bootstrap());
//! kafka.broker(1).kill()?;
//! kafka.broker(1).start()?;
//! # Ok::<(), weir_broker::Error>(())
//! ```

mod broker;
mod cluster;
mod distribution;
mod error;
mod folders;
mod ports;
mod settings;
mod supervised;

pub use broker::Broker;
pub use cluster::{EXISTING, Kafka};
pub use distribution::{Distribution, version};
pub use error::Error;
pub use folders::{cache, target};
pub use ports::free as free_ports;
pub use settings::Proxied;
pub use supervised::{SupervisedProcess, tail};
