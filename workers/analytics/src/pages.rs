//! Sums by page over the window: events, visitors, visits, and what is usual for a page.

mod baseline;
mod seen_pages;
mod totals;
mod visits;
mod window;

pub(crate) use baseline::Baselines;
pub(crate) use seen_pages::SeenPages;
pub(crate) use totals::{Counts, Totals};
pub(crate) use visits::Visit;
pub(crate) use window::Window;
