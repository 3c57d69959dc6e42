//! The pure engine: sliding windows, visits, ranking and trends.
//!
//! No Kafka, no clock, no threads, no randomness: the same log gives the same bytes. Stage 1 ([`Partition`]) does all work that
//! needs a visitor's whole history, per input partition, and emits a [`Block`] of sums per window. Stage 2 ([`Merge`]) only adds
//! blocks up, ranks pages and compares them with their baselines.
//!
//! ```
//! use weir_analytics::{Partition, Settings, Verdict};
//! use weir_events::{ClickstreamEvent, EventType};
//!
//! // Five minutes every ten seconds.
//! let mut partition = Partition::new(0, Settings::default());
//! let view = ClickstreamEvent {
//!     user_id: "u1", session_id: "s1", event_type: EventType::View, page_url: "/", product_id: None, timestamp: 1_000_005_000,
//!     user_agent: "", ip_address: "", referrer: None, session_duration: None,
//!     ..ClickstreamEvent::EMPTY
//! };
//! assert_eq!(partition.read(&view), Verdict::Counted);
//! partition.advance_watermark(1_000_010_000);
//! let block = partition.take_blocks().pop().expect("the window that ends at 1_000_010_000");
//! assert_eq!((block.end, block.pages[0].views, block.pages[0].bounces), (1_000_010_000, 1, 1));
//! ```

mod block;
pub mod decisive;
mod event;
mod feature;
pub mod generation;
mod identity;
mod intern;
mod live;
mod merge;
mod pages;
mod partition;
mod ranking;
mod section;
mod settings;
mod snapshot;
mod timing_wheel;
mod trends;

pub use block::{Block, BlockError, MAX_RECORD_BYTES, Part, Row, Sums};
pub use decisive::DecisiveSettings;
pub use intern::Interner;
pub use live::{Live, LiveError, LiveRow};
pub use merge::{Merge, Piece, WindowResult};
pub use partition::{MAX_VISIT_SECONDS, Partition, Verdict};
pub use section::{Section, SectionError, SectionId};
pub use settings::{Definitions, Settings};
pub use snapshot::SnapshotError;
