//! The wire format: values, their differences and frames, rows of tables, CSV.

pub(crate) mod csv;
pub(crate) mod frame;
mod patch;
pub(crate) mod records;
pub(crate) mod topic;
pub(crate) mod values;
