//! Results in Avro's single-object encoding. At most a few thousand per window: clarity matters here, not nanoseconds.

use super::cursor::Cursor;
use super::decoder::{Frame, frame};
use super::encode::header;
use super::error::DecodeError;
use super::write::{long, optional, string};
use crate::schema::{
    Fingerprints, PAGE_ANALYTICS_FINGERPRINTS, TOP_PAGES_FINGERPRINTS, TOP_PAGES_FINGERPRINTS_1,
};
use crate::{PageAnalytics, SiteTotals, TopPage, TopPages, TrendingPage};

/// One page's numbers in Avro's single-object encoding.
pub fn encode_page_analytics(page: &PageAnalytics) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.page_url.len() + 80);
    header(PAGE_ANALYTICS_FINGERPRINTS, &mut out);
    string(&page.page_url, &mut out);
    long(page.window_start, &mut out);
    long(page.window_end, &mut out);
    long(page.view_count, &mut out);
    long(i64::from(page.unique_users), &mut out);
    long(page.click_count, &mut out);
    long(page.conversion_count, &mut out);
    for rate in [page.engagement_rate, page.bounce_rate, page.avg_session_duration] {
        out.extend_from_slice(&rate.to_le_bytes());
    }
    out
}

/// Reads what [`encode_page_analytics`] wrote. In Confluent's frame any id is accepted: a result topic has one schema.
///
/// # Errors
/// [`DecodeError`] when the bytes are anything else.
pub fn decode_page_analytics(bytes: &[u8]) -> Result<PageAnalytics, DecodeError> {
    let mut c = Cursor::new(body(bytes, PAGE_ANALYTICS_FINGERPRINTS)?);
    c.field = "page_url";
    let page_url = c.string()?.to_owned();
    c.field = "window_start";
    let window_start = c.long()?;
    c.field = "window_end";
    let window_end = c.long()?;
    c.field = "view_count";
    let view_count = c.long()?;
    c.field = "unique_users";
    let unique_users = c.int()?;
    c.field = "click_count";
    let click_count = c.long()?;
    c.field = "conversion_count";
    let conversion_count = c.long()?;
    c.field = "engagement_rate";
    let engagement_rate = c.double()?;
    c.field = "bounce_rate";
    let bounce_rate = c.double()?;
    c.field = "avg_session_duration";
    let avg_session_duration = c.double()?;
    c.finish()?;
    Ok(PageAnalytics {
        page_url,
        window_start,
        window_end,
        view_count,
        unique_users,
        click_count,
        conversion_count,
        engagement_rate,
        bounce_rate,
        avg_session_duration,
    })
}

/// One window's ranking in Avro's single-object encoding.
pub fn encode_top_pages(top: &TopPages) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    header(TOP_PAGES_FINGERPRINTS, &mut out);
    long(top.window_start, &mut out);
    long(top.window_end, &mut out);
    array(&top.pages, &mut out, |page, out| {
        long(i64::from(page.rank), out);
        string(&page.page_url, out);
        long(page.view_count, out);
        long(i64::from(page.unique_users), out);
        optional(page.previous_rank, out, |rank, out| long(i64::from(rank), out));
    });
    out.push(u8::from(top.warming_up));
    array(&top.trending, &mut out, |page, out| {
        string(&page.page_url, out);
        long(page.view_count, out);
        out.extend_from_slice(&page.expected.to_le_bytes());
        out.extend_from_slice(&page.score.to_le_bytes());
        long(i64::from(page.unique_users), out);
    });
    long(top.site.view_count, &mut out);
    long(top.site.click_count, &mut out);
    long(top.site.conversion_count, &mut out);
    long(i64::from(top.site.unique_users), &mut out);
    long(top.site.visits, &mut out);
    long(top.site.bounces, &mut out);
    optional(top.page_count, &mut out, |count, out| long(i64::from(count), out));
    out
}

/// Reads what [`encode_top_pages`] wrote, with or without `page_count`. In Confluent's frame any id is accepted: it may be the
/// older or the newer version of the topic's schema.
///
/// # Errors
/// [`DecodeError`] when the bytes are anything else.
pub fn decode_top_pages(bytes: &[u8]) -> Result<TopPages, DecodeError> {
    let (body, last_field) = match frame(bytes)? {
        Frame::SingleObject(found, body) if TOP_PAGES_FINGERPRINTS.contain(found) => {
            (body, LastField::PageCount)
        }
        Frame::SingleObject(found, body) if TOP_PAGES_FINGERPRINTS_1.contain(found) => {
            (body, LastField::Site)
        }
        Frame::SingleObject(found, _) => return Err(DecodeError::UnknownFingerprint(found)),
        Frame::Confluent(_, body) => (body, LastField::Either),
    };
    let mut c = Cursor::new(body);
    c.field = "window_start";
    let window_start = c.long()?;
    c.field = "window_end";
    let window_end = c.long()?;
    c.field = "pages";
    let pages = items(&mut c, |c| {
        Ok(TopPage {
            rank: c.int()?,
            page_url: c.string()?.to_owned(),
            view_count: c.long()?,
            unique_users: c.int()?,
            previous_rank: if c.present()? { Some(c.int()?) } else { None },
        })
    })?;
    c.field = "warming_up";
    let warming_up = c.boolean()?;
    c.field = "trending";
    let trending = items(&mut c, |c| {
        Ok(TrendingPage {
            page_url: c.string()?.to_owned(),
            view_count: c.long()?,
            expected: c.double()?,
            score: c.double()?,
            unique_users: c.int()?,
        })
    })?;
    c.field = "site";
    let site = SiteTotals {
        view_count: c.long()?,
        click_count: c.long()?,
        conversion_count: c.long()?,
        unique_users: c.int()?,
        visits: c.long()?,
        bounces: c.long()?,
    };
    c.field = "page_count";
    let has_page_count = match last_field {
        LastField::Site => false,
        LastField::PageCount => true,
        LastField::Either => !c.is_empty(),
    };
    let page_count = if has_page_count && c.present()? { Some(c.int()?) } else { None };
    c.finish()?;
    Ok(TopPages { window_start, window_end, pages, warming_up, trending, site, page_count })
}

/// The last field of a ranking.
enum LastField {
    /// The first version of the schema.
    Site,
    /// The current version.
    PageCount,
    /// Unknown from the frame.
    Either,
}

fn body(bytes: &[u8], fingerprints: Fingerprints) -> Result<&[u8], DecodeError> {
    match frame(bytes)? {
        Frame::SingleObject(found, body) if fingerprints.contain(found) => Ok(body),
        Frame::SingleObject(found, _) => Err(DecodeError::UnknownFingerprint(found)),
        Frame::Confluent(_, body) => Ok(body),
    }
}

/// One block of all items, then the end marker; only the end marker for an empty list.
fn array<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    if !items.is_empty() {
        long(items.len() as i64, out);
        items.iter().for_each(|item| write(item, out));
    }
    out.push(0);
}

fn items<'a, T>(
    c: &mut Cursor<'a>,
    read: impl Fn(&mut Cursor<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut all = Vec::new();
    c.blocks(|c| {
        all.push(read(c)?);
        Ok(())
    })?;
    Ok(all)
}
