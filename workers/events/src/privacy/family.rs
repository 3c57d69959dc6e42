//! The family of a browser, from its `User-Agent`.
//!
//! Nearly every browser names others for compatibility: Edge and Opera name `Chrome` and `Safari`, Chrome names `Safari`.
//! So the order of the table matters.

const FAMILIES: [(&str, &[&str]); 7] = [
    ("Edge", &["Edg/", "EdgA/", "EdgiOS/", "Edge/"]),
    ("Opera", &["OPR/", "OPT/", "OPiOS/", "Opera"]),
    ("Samsung Internet", &["SamsungBrowser/"]),
    ("Firefox", &["Firefox/", "FxiOS/"]),
    ("Chrome", &["Chrome/", "CriOS/", "Chromium/"]),
    ("Safari", &["Safari/"]),
    ("Internet Explorer", &["MSIE ", "Trident/"]),
];

/// The family's name, `Bot` for self-declared bots, `Other` for the rest; empty stays empty.
pub(super) fn of(user_agent: &str) -> &'static str {
    if user_agent.is_empty() {
        return "";
    }
    if is_bot(user_agent.as_bytes()) {
        return "Bot";
    }
    FAMILIES
        .iter()
        .find(|(_, tokens)| tokens.iter().any(|token| user_agent.contains(token)))
        .map_or("Other", |(family, _)| family)
}

/// Checked first: many bots include a browser's whole user agent.
fn is_bot(user_agent: &[u8]) -> bool {
    let begins = |at: usize, word: &[u8]| {
        user_agent[at..].get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    (0..user_agent.len()).any(|at| match user_agent[at] | 0x20 {
        // Cubot is a phone brand.
        b'b' => begins(at, b"bot") && !(at >= 2 && begins(at - 2, b"cu")),
        b'c' => begins(at, b"crawl"),
        b's' => begins(at, b"spider") || begins(at, b"slurp"),
        _ => false,
    })
}
