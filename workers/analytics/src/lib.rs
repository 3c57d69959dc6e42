//! The pure engine: sliding windows, visits, ranking and trends.

mod block;
mod settings;

pub use block::{Block, BlockError, Row};
pub use settings::Settings;
