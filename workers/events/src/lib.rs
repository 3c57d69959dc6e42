//! Records of the stream: schemas, codecs, validation, privacy, partitioning.

mod partition;
mod record;

pub use partition::partition_of;
pub use record::{ClickstreamEvent, EventType, PageAnalytics, SiteTotals, TopPage, TopPages, TrendingPage};
