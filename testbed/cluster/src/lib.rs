//! A real Kubernetes control plane on the loopback address, compiled from Go modules.
//!
//! An operator relies on the API server's admission, server-side apply, watches, leases and access control, and no stand-in
//! behaves the same: so tests use a real one. There are no nodes: objects are stored, defaulted, validated and watched, and with
//! [`Settings::controllers`] also garbage-collected and turned into pods that stay pending.
//!
//! The first start compiles it, which takes minutes; the programs are kept in the user's cache. No process outlives the one that
//! started it: each runs under a small shell script that waits on a pipe from it.
//!
//! ```no_run
//! let cluster = weir_cluster::Cluster::start()?;
//! println!("{}", cluster.kubectl(&["get", "namespaces"])?);
//! # Ok::<(), weir_cluster::Error>(())
//! ```

mod cluster;
mod error;
mod process;
mod programs;

pub use cluster::{Cluster, Settings};
pub use error::Error;
pub use programs::{KUBERNETES, Programs};
