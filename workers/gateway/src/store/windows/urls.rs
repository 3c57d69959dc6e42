//! The pages' URLs, each kept once however many windows mention it.

use std::{collections::HashMap, sync::Arc};

/// A page as windows name it. Numbers of pages that no window mentions are given to others.
pub(super) type PageId = u32;

#[derive(Default)]
pub(super) struct UrlInterner {
    ids: HashMap<Arc<str>, PageId>,
    /// URL and number of windows that mention it, by number.
    pages: Vec<(Arc<str>, u32)>,
    free: Vec<PageId>,
}

impl UrlInterner {
    /// The number of a page, which is now mentioned once more.
    pub(super) fn acquire(&mut self, url: &str) -> PageId {
        if let Some(&id) = self.ids.get(url) {
            self.pages[id as usize].1 += 1;
            return id;
        }
        let name: Arc<str> = url.into();
        let id = match self.free.pop() {
            Some(id) => {
                self.pages[id as usize] = (Arc::clone(&name), 1);
                id
            }
            None => {
                self.pages.push((Arc::clone(&name), 1));
                (self.pages.len() - 1) as PageId
            }
        };
        self.ids.insert(name, id);
        id
    }

    /// A window no longer mentions the page.
    pub(super) fn release(&mut self, id: PageId) {
        let (name, mentions) = &mut self.pages[id as usize];
        *mentions -= 1;
        if *mentions == 0 {
            self.ids.remove(name);
            *name = "".into();
            self.free.push(id);
        }
    }

    pub(super) fn find(&self, url: &str) -> Option<PageId> {
        self.ids.get(url).copied()
    }

    pub(super) fn url(&self, id: PageId) -> &str {
        &self.pages[id as usize].0
    }

    pub(super) fn shared(&self, id: PageId) -> Arc<str> {
        Arc::clone(&self.pages[id as usize].0)
    }

    /// Every URL that a window mentions.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(|url| &**url)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}
