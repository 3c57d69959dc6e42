//! A page's URL on a terminal.

/// Replaces the middle that was cut out.
const GAP: char = '…';

/// `url` in at most `width` (at least 3) characters, cut in the middle, because sites differ at the start and pages at
/// the end.
///
/// A URL is whatever a visitor sent. All but printable ASCII is percent-encoded, as URLs have it anyway: no escape
/// sequence, line end, invisible or right-to-left character reaches the terminal, and every character is one wide.
pub(super) fn shown(url: &str, width: usize) -> String {
    let mut text = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'!'..=b'~' => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    if text.len() <= width {
        return text;
    }
    let kept = width.max(3) - 1;
    let head = kept / 2;
    format!("{}{GAP}{}", &text[..head], &text[text.len() - (kept - head)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_is_shown() {
        for (url, expected) in [
            ("/products/12?q=a%20b#x", "/products/12?q=a%20b#x"),
            ("/\u{1b}[2J\u{1b}]0;title\u{7}", "/%1B[2J%1B]0;title%07"),
            ("/a\r\nb\tc d", "/a%0D%0Ab%09c%20d"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/\u{202e}gpj.exe\u{9b}31m\u{7f}", "/%E2%80%AEgpj.exe%C2%9B31m%7F"),
            ("", ""),
        ] {
            assert_eq!(shown(url, 100), expected);
        }
    }

    #[test]
    fn long_urls_are_cut_in_the_middle() {
        let url = "https://shop.example/catalogue/shoes/products/12345";
        for (width, expected) in [
            (51, url),
            (50, "https://shop.example/cat…ogue/shoes/products/12345"),
            (20, "https://s…ucts/12345"),
            (3, "h…5"),
            (0, "h…5"),
        ] {
            assert_eq!(shown(url, width), expected);
        }
        assert_eq!(shown(&"\u{1b}".repeat(2_048), 11), "%1B%1…1B%1B");
    }
}
