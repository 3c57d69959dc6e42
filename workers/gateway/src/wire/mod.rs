//! What is sent: values, their differences and frames, rows of tables, CSV.

pub(crate) mod csv;
mod patch;
pub(crate) mod picture;
pub(crate) mod records;
pub(crate) mod topic;
pub(crate) mod values;
