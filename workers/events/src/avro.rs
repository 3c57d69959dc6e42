//! Avro on the wire: single-object encoding out, single-object encoding or Confluent's frame in.
//!
//! `docs/decisions/0001-avro-on-the-hot-path.md` explains why events are not read through a library.

mod cursor;
mod decoder;
mod encode;
mod error;
mod results;
mod skip;
mod write;

pub(crate) use cursor::Cursor;
#[cfg(test)]
pub(crate) use decoder::fingerprints;
pub use decoder::{Decoder, is_version_2};
pub use encode::encode_event;
pub use error::{DecodeError, Fault, SchemaError};
pub use results::{decode_page_analytics, decode_top_pages, encode_page_analytics, encode_top_pages};
pub(crate) use write::{long, string};

#[cfg(test)]
mod tests;
