//! REST: the endpoints' handlers, what they take and how they answer.

pub(crate) mod answer;
pub(crate) mod dead_letters;
pub(crate) mod metrics;
pub(crate) mod now;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod windows;
