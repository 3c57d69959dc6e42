//! REST: the endpoints' handlers, what they take and how they answer.

pub(crate) mod answer;
pub(crate) mod dead_letters;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod pages;
pub(crate) mod pipelines;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod rankings;
pub(crate) mod series;
pub(crate) mod windows;
