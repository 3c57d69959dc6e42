//! Live values, pushed to clients.
//!
//! One task renders a frame: for each topic with a subscriber, its whole value and the difference to the value before, each
//! serialised once for all clients. A client holds the newest frame and nothing else, so one that is slow misses frames, costs no memory, and
//! gets whole values when it reads again.

mod publisher;
mod session;
pub(crate) mod socket;
pub(crate) mod sse;

pub use publisher::publish;
