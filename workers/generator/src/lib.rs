//! Simulated visitors of a web shop: a deterministic, endless stream of clickstream records.
//!
//! The generator knows neither Kafka nor a clock. It returns deliveries: key, value, partition, and the time at which a
//! paced producer is to send them. The same [`GeneratorOptions`] give the same bytes in the same order on every machine, so a
//! test can name a stream by its seed.
//!
//! - **Pace.** Event `i` happens exactly when the integrated rate reaches `i`, at any rate. At each tick the visitor whose
//!   next action is most overdue acts; if nobody is due, a new visit begins.
//! - **Visits** plan their length when they begin: bounces (exactly one VIEW, 45 %), short ones (45 %), engaged ones of
//!   15 to 45 minutes (10 %). When the stream begins, the visits that keep the rate are under way already: their first
//!   event here need not be a view, and their session duration says that they are older than the stream.
//! - **Journeys** are a Markov chain over landing, category, product, cart and search pages with log-normal think times
//!   of 7 s on average. A visitor's inclinations are corrected by the stream's deficits, so 70 / 20 / 7 / 3 %
//!   VIEW / CLICK / ADD_TO_CART / PURCHASE hold in any 100,000 events; 0.6 points of the views are SEARCH. No visitor
//!   clicks on a page before viewing it, adds to the cart off a product page or buys from an empty cart.
//! - **Disorder.** Most events arrive within 50 ms, 5 % later, none late; anything beyond that is a configured fault.
//!
//! ```
//! use weir_generator::{Generator, GeneratorOptions, Profile};
//!
//! let options = GeneratorOptions { events_per_second: 1_000.0, profile: Profile::Constant, ..GeneratorOptions::default() };
//! let mut generator = Generator::new(options)?;
//! for _ in 0..1_000 {
//!     let delivery = generator.next();
//!     assert!(delivery.timestamp <= delivery.due);
//!     assert!(delivery.value.starts_with(&[0xc3, 0x01])); // Avro single-object encoding
//! }
//! # Ok::<(), weir_generator::OptionsError>(())
//! ```

mod crowd;
mod fault;
mod generator;
mod mix;
mod names;
mod network;
mod options;
mod pace;
mod people;
mod random;
mod shop;
mod visit;

pub use fault::{Defect, Fault};
pub use generator::{Arrival, Delivery, Generator};
pub use options::{Burst, Faults, GeneratorOptions, OptionsError};
pub use pace::Profile;
