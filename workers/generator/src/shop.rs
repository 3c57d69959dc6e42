//! The shop: its pages and their popularity, the products they show, and the transitions between pages.

use crate::names::{CATEGORIES, QUALITIES, THINGS};
use crate::random::{Random, Table};

/// The kind of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Home,
    Category,
    Product,
    Cart,
    Search,
}

/// Columns as in [`Kind`]. With Zipf popularity within each kind, these rows come close to Zipf over all pages.
const LANDING: [f64; 5] = [0.30, 0.25, 0.45, 0.0, 0.0];
const NEXT: [[f64; 5]; 5] = [
    [0.05, 0.50, 0.43, 0.01, 0.02],
    [0.08, 0.22, 0.68, 0.01, 0.02],
    [0.12, 0.30, 0.56, 0.01, 0.02],
    [0.30, 0.30, 0.40, 0.00, 0.00],
    [0.05, 0.15, 0.80, 0.00, 0.00],
];
/// Additional weight of the cart page with a filled cart.
const FILLED: f64 = 0.25;

/// Pages and products, fixed once built.
pub(crate) struct Shop {
    urls: Vec<String>,
    kinds: Vec<Kind>,
    /// Pages by kind, weighted by the inverse of their rank among all pages.
    popular: [Table; 5],
    /// For each page its index among the product pages.
    places: Vec<u32>,
    product_pages: u32,
    products: Vec<String>,
    search: Option<u32>,
}

impl Shop {
    pub(crate) fn new(pages: u32, products: u32) -> Self {
        let mut shop = Self {
            urls: Vec::new(),
            kinds: Vec::new(),
            popular: Default::default(),
            places: Vec::new(),
            product_pages: 0,
            products: (0..products).map(|i| format!("p-{i:05}")).collect(),
            search: None,
        };
        let mut categories = 0;
        for page in 0..pages {
            let kind = kind(page, pages);
            let path = match kind {
                Kind::Home => String::new(),
                Kind::Cart => "cart".into(),
                Kind::Search => "search".into(),
                Kind::Category => {
                    categories += 1;
                    format!("category/{}", category(categories - 1))
                }
                Kind::Product => format!("product/{}", thing(shop.product_pages)),
            };
            if kind == Kind::Search {
                shop.search = Some(page);
            }
            shop.urls.push(format!("https://shop.example/{path}"));
            shop.kinds.push(kind);
            shop.places.push(shop.product_pages);
            shop.product_pages += u32::from(kind == Kind::Product);
            shop.popular[kind as usize].push(page, 1.0 / f64::from(page + 1));
        }
        shop
    }

    pub(crate) fn pages(&self) -> &[String] {
        &self.urls
    }

    pub(crate) fn kind(&self, page: u32) -> Kind {
        self.kinds[page as usize]
    }

    pub(crate) fn product(&self, product: u32) -> &str {
        &self.products[product as usize]
    }

    pub(crate) fn products(&self) -> u32 {
        self.products.len() as u32
    }

    /// The page that shows what a search found, if the shop has one.
    pub(crate) fn search(&self) -> Option<u32> {
        self.search
    }

    /// The first page of a visit.
    pub(crate) fn landing(&self, random: &mut Random) -> u32 {
        self.draw(LANDING, random)
    }

    /// The page after `page`: usually another one, after a bounded number of draws.
    pub(crate) fn next(&self, page: u32, filled_cart: bool, random: &mut Random) -> u32 {
        let mut row = NEXT[self.kind(page) as usize];
        if filled_cart && self.kind(page) != Kind::Cart {
            row[Kind::Cart as usize] += FILLED;
        }
        let mut next = page;
        for _ in 0..4 {
            next = self.draw(row, random);
            if next != page {
                break;
            }
        }
        next
    }

    /// One of the products that a product page shows.
    pub(crate) fn shown(&self, page: u32, random: &mut Random) -> u32 {
        let products = self.products();
        let place = self.places[page as usize];
        if place >= products {
            return place % products;
        }
        let variants = (products - place).div_ceil(self.product_pages);
        place + random.below(variants) * self.product_pages
    }

    fn draw(&self, mut row: [f64; 5], random: &mut Random) -> u32 {
        for (weight, table) in row.iter_mut().zip(&self.popular) {
            if table.is_empty() {
                *weight = 0.0;
            }
        }
        // Every shop has a product page and every row leads there, so the weights are not all 0.
        self.popular[random.weighted(&row)].draw(random)
    }
}

/// Ranks are given out so that each kind's share of Zipf's popularity is about its share of the journeys.
fn kind(page: u32, pages: u32) -> Kind {
    match page {
        // Every shop needs a product page.
        _ if pages <= 2 && page + 1 == pages => Kind::Product,
        0 => Kind::Home,
        3 => Kind::Cart,
        8 => Kind::Search,
        _ if page % 5 == 1 => Kind::Category,
        _ => Kind::Product,
    }
}

fn category(i: usize) -> String {
    numbered(CATEGORIES[i % CATEGORIES.len()], i / CATEGORIES.len())
}

fn thing(i: u32) -> String {
    let (q, t) = (QUALITIES.len(), THINGS.len());
    let i = i as usize;
    // Consecutive pages get different words in both places; each pair of words comes once in q * t pages.
    numbered(&format!("{}-{}", QUALITIES[i % q], THINGS[(i / q + i) % t]), i / (q * t))
}

fn numbered(name: &str, round: usize) -> String {
    if round == 0 { name.to_owned() } else { format!("{name}-{}", round + 1) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pages_are_distinct_and_stable() {
        let shop = Shop::new(3_000, 500);
        assert_eq!(shop.pages().iter().collect::<HashSet<_>>().len(), 3_000);
        assert_eq!(shop.pages()[..100], Shop::new(100, 7).pages()[..]);
        assert_eq!(
            shop.pages()[..4].join(" ").replace("https://shop.example", ""),
            "/ /category/shoes /product/alpine-trail-shoe /cart"
        );
    }

    #[test]
    fn every_product_is_shown_somewhere_and_only_there() {
        let (shop, mut random) = (Shop::new(20, 33), Random::new(1));
        let mut shown = HashSet::new();
        for page in (0..20).filter(|p| shop.kind(*p) == Kind::Product) {
            let here: HashSet<u32> = (0..200).map(|_| shop.shown(page, &mut random)).collect();
            assert!(here.iter().all(|p| shown.insert(*p)), "page {page} shares a product: {here:?}");
        }
        assert_eq!(shown.len(), 33);
    }

    #[test]
    fn the_smallest_shops_sell_something() {
        for (pages, products) in [(1, 1), (2, 1), (3, 1), (5, 1)] {
            let (shop, mut random) = (Shop::new(pages, products), Random::new(1));
            let landing = shop.landing(&mut random);
            let bought = (0..100).scan(landing, |page, _| {
                *page = shop.next(*page, true, &mut random);
                Some(*page)
            });
            let bought: Vec<u32> = bought.filter(|p| shop.kind(*p) == Kind::Product).collect();
            assert!(!bought.is_empty(), "{pages} pages");
            assert!(bought.iter().all(|p| shop.product(shop.shown(*p, &mut random)) == "p-00000"));
        }
    }
}
