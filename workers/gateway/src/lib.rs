//! REST, WebSocket and dashboard over a pipeline results.

pub mod store;
