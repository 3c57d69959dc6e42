//! What is pushed to clients.
//!
//! One task renders a [`Frame`]: for each topic that somebody wants, its whole value and the difference to the value before,
//! each written once for all clients. Every client has a cell that holds the newest frame and nothing else, so one that is
//! slow misses frames, costs no memory, and gets whole values when it comes back for more.

mod publisher;
mod session;
pub(crate) mod socket;
pub(crate) mod sse;

pub use publisher::publish;
