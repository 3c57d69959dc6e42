//! Topics that clients can subscribe to.

use std::collections::HashMap;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The whole site, provisional.
    Site,
    /// The most viewed pages, provisional.
    Top,
    /// The pipeline's progress.
    Health,
    /// Each window as it is sealed.
    Windows,
    /// One page: provisional, and in the newest sealed window.
    Page(String),
}

impl Topic {
    /// The topics that have a name alone.
    pub const NAMED: [Self; 4] = [Self::Site, Self::Top, Self::Health, Self::Windows];

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

    /// The topic with this name; page topics have none.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|topic| topic.name() == name)
    }
}

/// How many clients subscribe to each page. All other topics are always rendered.
#[derive(Debug, Default)]
pub struct Subscriptions {
    pages: HashMap<String, usize>,
}

impl Subscriptions {
    /// Adds a subscriber.
    pub fn add(&mut self, topic: &Topic) {
        if let Topic::Page(url) = topic {
            *self.pages.entry(url.clone()).or_default() += 1;
        }
    }

    /// Removes a subscriber.
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
