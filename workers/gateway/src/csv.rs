//! Pages as CSV (RFC 4180) that a spreadsheet may open: no text is ever a formula.

use weir_events::PageAnalytics;

const HEADER: &str = "page_url,window_start,window_end,view_count,unique_users,click_count,conversion_count,engagement_rate,\
                      bounce_rate,avg_session_duration\r\n";

/// A line for each row, under a header.
pub(crate) fn pages(rows: &[PageAnalytics]) -> String {
    let mut text = String::from(HEADER);
    for row in rows {
        text.push_str(&format!(
            "{},{},{},{},{},{},{},{},{},{}\r\n",
            field(&row.page_url),
            row.window_start,
            row.window_end,
            row.view_count,
            row.unique_users,
            row.click_count,
            row.conversion_count,
            row.engagement_rate,
            row.bounce_rate,
            row.avg_session_duration
        ));
    }
    text
}

/// In quotes; what a spreadsheet would compute gets an apostrophe before it.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_field_or_becomes_a_formula() {
        assert_eq!(field("/a,b"), "\"/a,b\"");
        assert_eq!(field("/say \"hi\"\r\n"), "\"/say \"\"hi\"\"\r\n\"");
        for formula in ["=1+1", "+1", "-1", "@sum", "\tx"] {
            assert_eq!(field(formula), format!("\"'{formula}\""));
        }
    }
}
