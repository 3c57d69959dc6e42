//! What the terminal shows: a sealed window's ranking and trends, or the provisional values of the open one.
//!
//! Rendering is pure: records in, text out. Records come from two topics in any order; the [`Assembler`] puts those of one
//! window together.

mod assembler;
mod figures;
mod page;
mod table;
mod view;

use weir_events::{PageAnalytics, SiteTotals, TopPages};

pub use assembler::Assembler;
pub use view::{render_live, render_sealed};

/// How to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colours, by ANSI escape sequences. Without, the text holds no control character but line ends.
    pub color: bool,
    /// Characters per line. Narrower than 60 is taken as 60.
    pub width: usize,
}

/// A sealed window: final.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// Its ranking, trends and totals.
    pub top: TopPages,
    /// The numbers of the pages in them, in any order. A page that is missing is shown without its numbers.
    pub rows: Vec<PageAnalytics>,
}

/// What the open window shows right now: provisional.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The newest event time that is in it, milliseconds since the epoch.
    pub as_of: i64,
    /// Its pages, in any order.
    pub pages: Vec<LivePage>,
    /// All pages together.
    pub site: SiteTotals,
}

/// A page in the open window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePage {
    /// The page.
    pub page_url: String,
    /// VIEW events so far.
    pub view_count: i64,
    /// CLICK events so far.
    pub click_count: i64,
    /// PURCHASE events so far.
    pub conversion_count: i64,
    /// Distinct visitors so far.
    pub unique_users: i32,
}
