//! REST, WebSocket and dashboard over a pipeline's results.
//!
//! A gateway reads the pipeline's result topics and keeps the last day of sealed windows and the newest provisional values in
//! memory. It writes nothing anywhere, so processing never waits for it, any number of them can run, and each is whole: after
//! a restart it has read everything again within seconds.

mod api;
mod gateway;
pub mod ingest;
mod push;
mod server;
pub mod store;
mod supervise;
mod sync;
mod wire;

pub use gateway::{ClientLimits, Gateway};
pub use server::{Server, ServerOptions, document};
pub use supervise::Panicked;
