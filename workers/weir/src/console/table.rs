//! Columns under their titles, numbers to the right; the last column takes what is left of the line.

use super::{Style, page};

/// How a text is coloured, as the parameter of an ANSI sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Bold,
    Dim,
    Up,
    Down,
    Provisional,
}

impl Paint {
    /// `text` in this colour, if colours are wanted.
    pub(super) fn on(self, text: &str, style: Style) -> String {
        let code = match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Up => "32",
            Self::Down => "31",
            Self::Provisional => "1;33",
        };
        if style.color && !code.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A column of short texts.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Where a line is too narrow, the columns with the greatest value are dropped first; those with 0 never.
    pub(super) dispensable: u8,
}

/// A line of the table: a text for each column, and a URL.
pub(super) struct Row {
    pub(super) cells: Vec<(String, Paint)>,
    pub(super) page: String,
}

/// Minimum width of the URL; columns are dropped to keep it.
const MIN_PAGE_WIDTH: usize = 24;
const GAP: usize = 2;

/// The table, each line ended.
pub(super) fn render(columns: &[Column], rows: &[Row], style: Style) -> String {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            rows.iter().map(|row| length(&row.cells[i].0)).fold(length(column.title), usize::max)
        })
        .collect();
    let kept = fitting(columns, &widths, style.width);
    let taken: usize = kept.iter().map(|&i| widths[i] + GAP).sum();
    let room = style.width.saturating_sub(taken);

    let titles: Vec<_> = kept.iter().map(|&i| right(columns[i].title, widths[i])).collect();
    let mut text = Paint::Dim.on(&format!("{}{}page", titles.join("  "), " ".repeat(GAP)), style);
    text.push('\n');
    for row in rows {
        for &i in &kept {
            let (cell, paint) = &row.cells[i];
            text.push_str(&" ".repeat(widths[i] - length(cell)));
            text.push_str(&paint.on(cell, style));
            text.push_str(&" ".repeat(GAP));
        }
        text.push_str(&page::shown(&row.page, room));
        text.push('\n');
    }
    text
}

/// The columns that leave enough room for the URL, by number.
fn fitting(columns: &[Column], widths: &[usize], width: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    while kept.iter().map(|&i| widths[i] + GAP).sum::<usize>() + MIN_PAGE_WIDTH > width {
        let last = kept.iter().copied().filter(|&i| columns[i].dispensable > 0);
        let Some(next) = last.max_by_key(|&i| columns[i].dispensable) else { break };
        kept.retain(|&i| i != next);
    }
    kept
}

fn right(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}

/// Cells hold no wide and no combining characters, so that characters are columns.
fn length(text: &str) -> usize {
    text.chars().count()
}
