//! Records of the stream: schemas, codecs, validation, privacy, partitioning.
//!
//! Everything here is a pure function of bytes and settings: no Kafka, no clock. A record passes through it like this:
//!
//! ```
//! use weir_events::{Decoder, Privacy, PrivacySettings, Scratch, validate};
//! # use weir_events::{ClickstreamEvent, EventType, encode_event};
//! # let mut bytes = Vec::new();
//! # encode_event(&ClickstreamEvent {
//! #     user_id: "u", session_id: "s", event_type: EventType::View, page_url: "/", timestamp: 1,
//! #     ..ClickstreamEvent::EMPTY
//! # }, &mut bytes);
//! # let record_timestamp = 1;
//! let decoder = Decoder::new();
//! let privacy = Privacy::new(PrivacySettings::default(), None)?;
//! let mut scratch = Scratch::default();
//!
//! let event = decoder.decode(&bytes)?;
//! validate(&event, record_timestamp, 300_000)?;
//! let event = privacy.apply(event, &mut scratch);
//! assert_eq!(event.page_url, "/");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod avro;
mod partition;
mod privacy;
mod properties;
mod reason;
mod record;
pub mod schema;
mod validation;

pub use avro::{
    DecodeError, Decoder, Fault, SchemaError, decode_page_analytics, decode_top_pages, encode_event,
    encode_page_analytics, encode_top_pages, is_version_2,
};
pub use partition::partition_of;
pub use privacy::{IdPolicy, IpPolicy, Privacy, PrivacyError, PrivacySettings, Scratch, UserAgentPolicy};
pub use properties::Properties;
pub use reason::{Invalid, Reason};
pub use record::{ClickstreamEvent, EventType, PageAnalytics, SiteTotals, TopPage, TopPages, TrendingPage};
pub use validation::{
    MAX_CURRENCY, MAX_EVENT_ID, MAX_EVENT_NAME, MAX_ID, MAX_PAGE_URL, MAX_PROPERTIES, MAX_PROPERTIES_BYTES,
    MAX_SITE_ID, MAX_USER_AGENT, looks_like, unit_hint, validate,
};
