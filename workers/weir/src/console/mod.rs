//! Terminal output: a sealed window's ranking and trends, or the provisional values of the open one.
//!
//! Rendering is pure: records in, text out. Records come from several topics in any order; the [`Assembler`] joins those of one
//! window, the [`Screen`] keeps the display up to date.

mod assembler;
mod format;
mod page;
mod screen;
mod table;
mod view;

use weir_events::{PageAnalytics, TopPages};

pub use assembler::Assembler;
pub(crate) use screen::LEAVE as RESTORE;
pub use screen::Screen;
pub use view::{render_live, render_sealed};

/// Colours and width of the output.
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
