//! What a gateway keeps in memory of a pipeline.

pub mod dead_letters;
pub mod live;
pub mod sample;
pub mod windows;
