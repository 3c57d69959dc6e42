//! The pages' URLs, each stored once and counted by references from windows.

use std::{collections::HashMap, sync::Arc};

/// A page's id in windows. Ids of pages that no window refers to are reused.
pub(super) type PageId = u32;

#[derive(Default)]
pub(super) struct UrlInterner {
    ids: HashMap<Arc<str>, PageId>,
    /// URL and reference count, by id.
    pages: Vec<(Arc<str>, u32)>,
    free: Vec<PageId>,
}

impl UrlInterner {
    /// The page's id; adds a reference.
    pub(super) fn acquire(&mut self, url: &str) -> PageId {
        if let Some(&id) = self.ids.get(url) {
            self.pages[id as usize].1 += 1;
            return id;
        }
        let url: Arc<str> = url.into();
        let id = match self.free.pop() {
            Some(id) => {
                self.pages[id as usize] = (Arc::clone(&url), 1);
                id
            }
            None => {
                self.pages.push((Arc::clone(&url), 1));
                (self.pages.len() - 1) as PageId
            }
        };
        self.ids.insert(url, id);
        id
    }

    /// Drops a reference.
    pub(super) fn release(&mut self, id: PageId) {
        let (url, references) = &mut self.pages[id as usize];
        *references -= 1;
        if *references == 0 {
            self.ids.remove(url);
            *url = "".into();
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

    /// Every URL that a window refers to.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(|url| &**url)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}
