//! Stands in for weir_analytics::Live until it is there.
#![allow(missing_docs)]
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LiveRow {
    pub url: String,
    pub views: u64,
    pub clicks: u64,
    pub carts: u64,
    pub conversions: u64,
    pub users: u64,
}
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Live {
    pub version: u8,
    pub partition: i32,
    pub end: i64,
    pub watermark: Option<i64>,
    pub sealed: Option<i64>,
    pub read: u64,
    pub counted: u64,
    pub late: u64,
    pub dead_letters: u64,
    pub site: LiveRow,
    pub pages: Vec<LiveRow>,
}
impl Live {
    pub fn decode(_: &[u8]) -> Result<Self, ()> {
        Err(())
    }
}
