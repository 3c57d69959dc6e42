//! Fuzzes decoders: any bytes give a value or an error that says something, without a panic and without memory that only a length
//! in the bytes has asked for.
//!
//! A target is an ordinary test, which replays its corpus and then tries some thousand mutations, always the same ones; so CI runs it
//! like any other. `cargo xtask fuzz` runs the same tests for longer, with mutations of its own. What is kept in memory besides the
//! corpus are inputs with an outcome that none had before them: another error, or another size. A finding is made as small as
//! possible; a long run adds it to the corpus.
//!
//! ```
//! use weir_fuzz::Target;
//!
//! Target::new("doc-digits").seeds([b"12".to_vec()]).run(|bytes| {
//!     let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
//!     text.parse::<u64>().map(|_| ()).map_err(|error| error.to_string())
//! });
//! ```

mod corpus;
mod memory;
mod mutate;
mod random;
mod target;

pub use target::Target;
