//! What a client can subscribe to.

use std::collections::HashMap;

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The whole site, provisional.
    Site,
    /// The most viewed pages, provisional.
    Top,
    /// Where the stream stands.
    Health,
    /// Each window as it is sealed.
    Windows,
    /// One page: provisional, and in the newest sealed window.
    Page(String),
}

impl Topic {
    /// Its name in messages; that of a page goes with its URL.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Top => "top",
            Self::Health => "health",
            Self::Windows => "windows",
            Self::Page(_) => "page",
        }
    }

    /// The topic of a name, but for pages.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Site, Self::Top, Self::Health, Self::Windows].into_iter().find(|topic| topic.name() == name)
    }
}

/// How many clients subscribe to each page. All other topics are always rendered.
#[derive(Debug, Default)]
pub struct Subscriptions {
    pages: HashMap<String, usize>,
}

impl Subscriptions {
    /// One client more.
    pub fn add(&mut self, topic: &Topic) {
        if let Topic::Page(url) = topic {
            *self.pages.entry(url.clone()).or_default() += 1;
        }
    }

    /// One client less.
    pub fn remove(&mut self, topic: &Topic) {
        if let Topic::Page(url) = topic
            && let Some(count) = self.pages.get_mut(url)
        {
            *count -= 1;
            if *count == 0 {
                self.pages.remove(url);
            }
        }
    }

    /// The pages with a subscriber.
    pub fn pages(&self) -> Vec<String> {
        self.pages.keys().cloned().collect()
    }
}
