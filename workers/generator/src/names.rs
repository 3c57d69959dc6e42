//! Words of the shop and software of its visitors.

pub(crate) const CATEGORIES: [&str; 24] = [
    "shoes",
    "jackets",
    "backpacks",
    "tents",
    "lamps",
    "watches",
    "bikes",
    "helmets",
    "gloves",
    "socks",
    "stoves",
    "ropes",
    "skis",
    "maps",
    "tools",
    "bottles",
    "blankets",
    "chairs",
    "hats",
    "knives",
    "boats",
    "radios",
    "books",
    "gifts",
];

pub(crate) const QUALITIES: [&str; 20] = [
    "alpine", "coastal", "nordic", "urban", "classic", "light", "sturdy", "quiet", "early", "wild",
    "northern", "summer", "winter", "river", "forest", "desert", "polar", "amber", "silver", "granite",
];

pub(crate) const THINGS: [&str; 20] = [
    "trail-shoe",
    "rain-jacket",
    "daypack",
    "tent",
    "headlamp",
    "watch",
    "gravel-bike",
    "helmet",
    "glove",
    "wool-sock",
    "stove",
    "rope",
    "ski",
    "compass",
    "multitool",
    "bottle",
    "blanket",
    "camp-chair",
    "hat",
    "kayak",
];

/// Software and its share of the visitors.
pub(crate) const AGENTS: [(&str, f64); 12] = [
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        20.0,
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        9.0,
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
        7.0,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
        8.0,
    ),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0", 4.0),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", 2.0),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        21.0,
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        3.0,
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
        18.0,
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
        5.0,
    ),
    ("Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0", 1.5),
    ("Mozilla/5.0 (compatible; ExampleBot/2.1; +https://bot.example/about)", 1.5),
];
