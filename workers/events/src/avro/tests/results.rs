//! Results, against apache-avro's serde writer.

use super::*;
use crate::schema::{PAGE_ANALYTICS, TOP_PAGES};
use crate::{PageAnalytics, SiteTotals, TopPage, TopPages, TrendingPage};

fn apache_serializes(json: &str, value: &impl serde::Serialize) -> Vec<u8> {
    let schema = Schema::parse_str(json).unwrap();
    GenericDatumWriter::builder(&schema)
        .human_readable(false)
        .build()
        .unwrap()
        .write_ser_to_vec(value)
        .unwrap()
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![prop::num::f64::NORMAL, Just(0.0), Just(f64::INFINITY)]
}

fn page_analytics() -> impl Strategy<Value = PageAnalytics> {
    (".{0,30}", any::<[i64; 5]>(), any::<i32>(), [double(), double(), double()]).prop_map(
        |(
            page_url,
            [window_start, window_end, view_count, click_count, conversion_count],
            unique_users,
            rates,
        )| {
            PageAnalytics {
                page_url,
                window_start,
                window_end,
                view_count,
                unique_users,
                click_count,
                conversion_count,
                engagement_rate: rates[0],
                bounce_rate: rates[1],
                avg_session_duration: rates[2],
            }
        },
    )
}

fn top_pages() -> impl Strategy<Value = TopPages> {
    let page = (".{0,30}", any::<i64>(), any::<[i32; 2]>(), any::<Option<i32>>()).prop_map(
        |(page_url, view_count, [rank, unique_users], previous_rank)| TopPage {
            rank,
            page_url,
            view_count,
            unique_users,
            previous_rank,
        },
    );
    let trend = (".{0,30}", any::<i64>(), double(), double(), any::<i32>()).prop_map(
        |(page_url, view_count, expected, score, unique_users)| TrendingPage {
            page_url,
            view_count,
            expected,
            score,
            unique_users,
        },
    );
    let site = (any::<[i64; 5]>(), any::<i32>()).prop_map(
        |([view_count, click_count, conversion_count, visits, bounces], unique_users)| SiteTotals {
            view_count,
            click_count,
            conversion_count,
            unique_users,
            visits,
            bounces,
        },
    );
    let list = 0..4_usize;
    (
        any::<[i64; 2]>(),
        prop::collection::vec(page, list.clone()),
        any::<bool>(),
        prop::collection::vec(trend, list),
        site,
        any::<Option<i32>>(),
    )
        .prop_map(|([window_start, window_end], pages, warming_up, trending, site, page_count)| {
            TopPages { window_start, window_end, pages, warming_up, trending, site, page_count }
        })
}

proptest! {
    #[test]
    fn page_analytics_are_apache_avros(page in page_analytics()) {
        let bytes = encode_page_analytics(&page);
        prop_assert_eq!(&bytes[HEADER..], apache_serializes(PAGE_ANALYTICS, &page));
        prop_assert_eq!(decode_page_analytics(&bytes), Ok(page.clone()));
        let framed = [&[0, 1, 2, 3, 4][..], &bytes[HEADER..]].concat();
        prop_assert_eq!(decode_page_analytics(&framed), Ok(page));
        for end in 0..bytes.len() {
            prop_assert!(decode_page_analytics(&bytes[..end]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        prop_assert_eq!(decode_page_analytics(&longer), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn top_pages_are_apache_avros(top in top_pages()) {
        let bytes = encode_top_pages(&top);
        prop_assert_eq!(&bytes[HEADER..], apache_serializes(TOP_PAGES, &top));
        prop_assert_eq!(decode_top_pages(&bytes), Ok(top));
        for end in 0..bytes.len() {
            prop_assert!(decode_top_pages(&bytes[..end]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        prop_assert_eq!(decode_top_pages(&longer), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn damaged_results_never_panic(top in top_pages(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encode_top_pages(&top);
        let at = HEADER + at.index(bytes.len() - HEADER);
        bytes[at] = byte;
        let _ = decode_top_pages(&bytes);
    }
}

/// Written by fastavro 1.13.1: with the first schema, and with that which has `page_count`.
const TOP_PAGES_1: &str = "c3010c3a3646b781935c80a0abfef962c0efcffef9620402042f61f002c201020404062fc3a9181800000002042f61\
    f0020000000000c044400000000000802840c2010090033c08ca01ce0178";
const TOP_PAGES_2: &str = "c301b573124c5c52bcdd80a0abfef962c0efcffef9620402042f61f002c201020404062fc3a9181800000002042f61\
    f0020000000000c044400000000000802840c2010090033c08ca01ce01780208";

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The topic holds both versions until retention deletes the old one: both are read, and the current one is written byte for byte.
#[test]
fn rankings_of_both_versions_are_read() {
    let (old, new) = (from_hex(TOP_PAGES_1), from_hex(TOP_PAGES_2));
    let page = |rank, page_url: &str, view_count, unique_users, previous_rank| TopPage {
        rank,
        page_url: page_url.to_owned(),
        view_count,
        unique_users,
        previous_rank,
    };
    let mut top = TopPages {
        window_start: 1_700_000_000_000,
        window_end: 1_700_000_300_000,
        pages: vec![page(1, "/a", 184, 97, Some(2)), page(2, "/é", 12, 12, None)],
        warming_up: false,
        trending: vec![TrendingPage {
            page_url: "/a".to_owned(),
            view_count: 184,
            expected: 41.5,
            score: 12.25,
            unique_users: 97,
        }],
        site: SiteTotals {
            view_count: 200,
            click_count: 30,
            conversion_count: 4,
            unique_users: 101,
            visits: 103,
            bounces: 60,
        },
        page_count: None,
    };
    assert_eq!(decode_top_pages(&old), Ok(top.clone()));
    let frame = |bytes: &[u8]| [&[0, 1, 2, 3, 4][..], &bytes[HEADER..]].concat();
    assert_eq!(decode_top_pages(&frame(&old)), Ok(top.clone()));
    assert_eq!(decode_top_pages(&[&old[..], &[0]].concat()), Err(DecodeError::Trailing(1)));
    top.page_count = Some(4);
    assert_eq!(decode_top_pages(&new), Ok(top.clone()));
    assert_eq!(decode_top_pages(&frame(&new)), Ok(top.clone()));
    assert_eq!(encode_top_pages(&top), new);
}

#[test]
fn a_boolean_is_0_or_1() {
    let mut bytes = [&encode_top_pages(&TopPages {
        window_start: 0,
        window_end: 0,
        pages: Vec::new(),
        warming_up: true,
        trending: Vec::new(),
        site: SiteTotals::default(),
        page_count: None,
    })[..]]
    .concat();
    assert_eq!(bytes[HEADER + 3], 1);
    bytes[HEADER + 3] = 2;
    let error = DecodeError::Body { field: "warming_up", at: 4, fault: Fault::Boolean };
    assert_eq!(decode_top_pages(&bytes), Err(error));
}

#[test]
fn results_and_rankings_are_not_confused() {
    let bytes = encoded(&bytes::EVENT);
    assert_eq!(decode_page_analytics(&bytes), Err(DecodeError::UnknownFingerprint(0x148a_e33f_4122_a241)));
    assert_eq!(decode_top_pages(&bytes), Err(DecodeError::UnknownFingerprint(0x148a_e33f_4122_a241)));
}
