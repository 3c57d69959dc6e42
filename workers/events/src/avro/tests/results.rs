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
    )
        .prop_map(|([window_start, window_end], pages, warming_up, trending, site)| TopPages {
            window_start,
            window_end,
            pages,
            warming_up,
            trending,
            site,
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

#[test]
fn a_boolean_is_one_bit() {
    let mut bytes = [&encode_top_pages(&TopPages {
        window_start: 0,
        window_end: 0,
        pages: Vec::new(),
        warming_up: true,
        trending: Vec::new(),
        site: SiteTotals::default(),
    })[..]]
    .concat();
    assert_eq!(bytes[HEADER + 3], 1);
    bytes[HEADER + 3] = 2;
    let error = DecodeError::Body { field: "warming_up", at: 4, fault: Fault::Boolean };
    assert_eq!(decode_top_pages(&bytes), Err(error));
}

#[test]
fn results_are_not_taken_for_each_other() {
    let bytes = encoded(&bytes::EVENT);
    assert_eq!(decode_page_analytics(&bytes), Err(DecodeError::UnknownFingerprint(0x148a_e33f_4122_a241)));
    assert_eq!(decode_top_pages(&bytes), Err(DecodeError::UnknownFingerprint(0x148a_e33f_4122_a241)));
}
