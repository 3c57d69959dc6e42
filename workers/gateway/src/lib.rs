//! REST, WebSocket and dashboard over a pipeline's results.
//!
//! A gateway reads the pipeline's result topics and keeps the last day of sealed windows and the newest provisional values in
//! memory. It writes nothing anywhere, so processing never waits for it, any number of them can run, and each is whole: after
//! a restart it has read everything again within seconds.

pub mod api;
mod dashboard;
pub mod dead_letters;
pub mod follow;
mod gateway;
mod intake;
pub mod live;
pub mod push;
mod sample;
mod server;
pub mod store;
mod supervise;

pub use gateway::{Gateway, Limits, Source};
pub use intake::Batch;
pub use live::Standing;
pub use server::{Options, Server};
pub use supervise::Panicked;
