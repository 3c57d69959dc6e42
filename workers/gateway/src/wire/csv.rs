//! Tables as CSV (RFC 4180) that a spreadsheet opens without running anything.

use std::fmt::{Display, Write as _};

/// A row of a table.
pub trait Row {
    /// Names of the columns.
    const COLUMNS: &'static [&'static str];
    /// One cell after the other.
    fn write(&self, line: &mut Line<'_>);
}

/// The line being written.
pub struct Line<'a> {
    out: &'a mut String,
    first: bool,
}

impl Line<'_> {
    /// A number. It is never taken for a formula, also when negative.
    pub fn number(&mut self, value: impl Display) {
        self.separate();
        // Writing into a string cannot fail.
        let _ = write!(self.out, "{value}");
    }

    /// A number, or nothing.
    pub fn optional(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.number(value),
            None => self.separate(),
        }
    }

    /// Text from outside. What a spreadsheet would take for a formula gets an apostrophe before it.
    pub fn text(&mut self, value: &str) {
        self.separate();
        let formula = value
            .trim_start_matches([' ', '\u{a0}', '\u{feff}'])
            .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
        let quoted = formula || value.contains([',', ';', '"', '\r', '\n', '\t']);
        if quoted {
            self.out.push('"');
        }
        if formula {
            self.out.push('\'');
        }
        for character in value.chars() {
            if character == '"' {
                self.out.push('"');
            }
            self.out.push(character);
        }
        if quoted {
            self.out.push('"');
        }
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
    }
}

/// The whole table, with the columns' names first.
pub fn table<R: Row>(rows: &[R]) -> String {
    let mut out = R::COLUMNS.join(",");
    out.push_str("\r\n");
    for row in rows {
        row.write(&mut Line { out: &mut out, first: true });
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cell(&'static str);

    impl Row for Cell {
        const COLUMNS: &'static [&'static str] = &["number", "none", "text"];
        fn write(&self, line: &mut Line<'_>) {
            line.number(-0.5);
            line.optional(None::<i64>);
            line.text(self.0);
        }
    }

    fn cell(text: &'static str) -> String {
        let table = table(&[Cell(text)]);
        table
            .strip_prefix("number,none,text\r\n-0.5,,")
            .unwrap_or_default()
            .trim_end_matches("\r\n")
            .to_owned()
    }

    #[test]
    fn plain_text_stays_plain() {
        assert_eq!(cell("https://shop.example/a?b=c"), "https://shop.example/a?b=c");
        assert_eq!(cell("/a,\"b\"\n"), "\"/a,\"\"b\"\"\n\"");
    }

    #[test]
    fn nothing_is_a_formula() {
        assert_eq!(cell("=HYPERLINK(\"http://x\",\"y\")"), "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"");
        for start in
            ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", " =1", "\u{a0}=1", "\u{feff}=1", "|cmd", "%1"]
        {
            assert!(cell(start).starts_with("\"'"), "{start:?} became {:?}", cell(start));
        }
    }
}
