//! Simulated visitors of a web shop
