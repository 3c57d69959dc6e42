//! A real Kubernetes control plane on the loopback address, compiled from Go modules.
//!
//! What an operator relies on (admission, server-side apply, watches, leases, access control) is the API server's to decide,
//! and no stand-in decides alike: hence the real thing. There are no nodes: objects are kept, defaulted, checked and watched, and
//! with [`Settings::controllers`] also garbage-collected and turned into pods that stay pending.
//!
//! The first start compiles it, which takes minutes; what was compiled is kept in the user's cache. No process outlives the
//! one that started it: each runs under a small shell script that waits on a pipe from it.
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
