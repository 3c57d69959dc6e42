//! `/api/v1`: sealed windows, pages, the ranking, trends, the site, the open window.

use axum::{
    Json, Router,
    extract::{FromRequestParts, Query, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_analytics::Live;
use weir_events::{PageAnalytics, TopPages};

use crate::{Shared, csv, problem::Problem, store::Store};

/// Most windows, or pages, in one answer.
const MOST: usize = 10_000;
/// Most pages of the open window in one message: it goes to everybody four times a second.
const MOST_LIVE: usize = 50;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/pipeline", get(pipeline))
        .route("/health", get(health))
        .route("/windows", get(windows))
        .route("/top", get(top))
        .route("/trending", get(trending))
        .route("/site", get(site))
        .route("/pages", get(pages))
        .route("/page", get(page))
        .route("/open", get(open))
        .fallback(|| async { Problem::not_found("there is nothing here; docs/api.md lists what is") })
}

/// Parameters; each answer says which it takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    window: Option<String>,
    from: Option<String>,
    to: Option<String>,
    url: Option<String>,
    pub(crate) search: Option<String>,
    sort: Option<String>,
    limit: Option<String>,
    offset: Option<String>,
    format: Option<String>,
}

type Answer = Result<Response, Problem>;

async fn pipeline(State(shared): State<Shared>) -> Json<Value> {
    let pipeline = &shared.pipeline;
    let window = &pipeline.spec.window;
    Json(json!({
        "name": pipeline.metadata.name,
        "window_size_ms": window.size.as_millis(),
        "window_slide_ms": window.slide.as_millis(),
        "out_of_orderness_ms": window.out_of_orderness.as_millis(),
        "input_partitions": pipeline.spec.topics.events.partitions,
    }))
}

async fn health(State(shared): State<Shared>) -> Json<Value> {
    let store = shared.store();
    let open = store.open();
    let (windows, rows) = store.held();
    let newest = store.newest();
    Json(json!({
        "newest_window_end": newest,
        "newest_event": open.as_ref().map(|open| open.as_of),
        "seal_delay_ms": newest.zip(open.as_ref()).map(|(sealed, open)| open.as_of - sealed),
        "windows_held": windows,
        "rows_held": rows,
    }))
}

async fn windows(State(shared): State<Shared>, asked: Asked, headers: HeaderMap) -> Answer {
    let store = shared.store();
    let (from, to) = asked.range(&store)?;
    let windows: Vec<Value> = store
        .rankings(from, to)
        .take(MOST)
        .map(|top| json!({"window_start": top.window_start, "window_end": top.window_end, "pages_ranked": top.pages.len()}))
        .collect();
    Ok(fresh(&store, &headers, &json!({"windows": windows})))
}

async fn top(State(shared): State<Shared>, asked: Asked, headers: HeaderMap) -> Answer {
    let store = shared.store();
    let top = asked.ranking(&store)?;
    let pages = store.pages(top.window_end);
    let rows: Vec<Value> = top
        .pages
        .iter()
        .map(|page| {
            let row = pages.iter().find(|row| row.page_url == page.page_url);
            json!({"rank": page.rank, "previous_rank": page.previous_rank, "page": row})
        })
        .collect();
    Ok(fresh(&store, &headers, &bounds(top, json!({"pages": rows}))))
}

async fn trending(State(shared): State<Shared>, asked: Asked, headers: HeaderMap) -> Answer {
    let store = shared.store();
    let top = asked.ranking(&store)?;
    Ok(fresh(&store, &headers, &bounds(top, json!({"warming_up": top.warming_up, "pages": top.trending}))))
}

async fn site(State(shared): State<Shared>, asked: Asked, headers: HeaderMap) -> Answer {
    let store = shared.store();
    let (from, to) = asked.range(&store)?;
    let windows: Vec<Value> =
        store.rankings(from, to).take(MOST).map(|top| bounds(top, json!({"site": top.site}))).collect();
    Ok(fresh(&store, &headers, &json!({"windows": windows})))
}

async fn pages(State(shared): State<Shared>, asked: Asked, headers: HeaderMap) -> Answer {
    let store = shared.store();
    let top = asked.ranking(&store)?;
    let mut rows = store.pages(top.window_end);
    if let Some(search) = &asked.search {
        let search = search.to_lowercase();
        rows.retain(|row| row.page_url.to_lowercase().contains(&search));
    }
    sort(&mut rows, asked.sort.as_deref().unwrap_or("-view_count"))?;
    let total = rows.len();
    let offset = asked.number("offset", asked.offset.as_deref(), 0, usize::MAX)?;
    let limit = asked.number("limit", asked.limit.as_deref(), 100, MOST)?;
    let rows: Vec<PageAnalytics> = rows.into_iter().skip(offset).take(limit).collect();
    if asked.is_csv()? {
        return Ok(table(&rows));
    }
    Ok(fresh(&store, &headers, &bounds(top, json!({"total": total, "offset": offset, "pages": rows}))))
}

async fn page(State(shared): State<Shared>, asked: Asked, headers: HeaderMap) -> Answer {
    let store = shared.store();
    let url = asked.url.as_deref().ok_or_else(|| Problem::parameter("url", "", "a page_url"))?;
    let (from, to) = asked.range(&store)?;
    let mut rows = store.page(url, from, to);
    rows.truncate(MOST);
    if rows.is_empty() {
        return Err(Problem::not_found(format!("{url:?} had no event in the windows asked for")));
    }
    if asked.is_csv()? {
        return Ok(table(&rows));
    }
    Ok(fresh(&store, &headers, &json!({"page_url": url, "windows": rows})))
}

async fn open(State(shared): State<Shared>, asked: Asked) -> Answer {
    let open = shared.store().open().ok_or_else(|| Problem::not_found("nothing was published yet"))?;
    Ok(Json(provisional(&open, asked.search.as_deref())).into_response())
}

/// The open window, marked provisional: the most viewed pages, or those whose URL holds a text.
pub(crate) fn provisional(open: &Live, search: Option<&str>) -> Value {
    let search = search.map(str::to_lowercase);
    let found = |url: &str| search.as_ref().is_none_or(|search| url.to_lowercase().contains(search));
    let pages: Vec<_> = open.pages.iter().filter(|page| found(&page.url)).take(MOST_LIVE).collect();
    json!({
        "provisional": true,
        "start": open.start,
        "end": open.end,
        "as_of": open.as_of,
        "site": open.site,
        "pages": pages,
    })
}

/// A sealed window as subscribers get it.
pub(crate) fn sealed(top: &TopPages) -> Value {
    json!({"provisional": false, "window": top})
}

fn bounds(top: &TopPages, mut value: Value) -> Value {
    value["window_start"] = top.window_start.into();
    value["window_end"] = top.window_end.into();
    value
}

fn table(rows: &[PageAnalytics]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"pages.csv\""),
    ];
    (headers, csv::pages(rows)).into_response()
}

/// The value, or that the asker has it already: answers change when a window is sealed, and only then.
fn fresh(store: &Store, headers: &HeaderMap, value: &Value) -> Response {
    let tag = format!("\"{}\"", store.newest().unwrap_or_default());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache".to_owned())], Json(value)).into_response()
}

fn sort(rows: &mut [PageAnalytics], by: &str) -> Result<(), Problem> {
    let (field, descending) = by.strip_prefix('-').map_or((by, false), |field| (field, true));
    let key: fn(&PageAnalytics) -> f64 = match field {
        "page_url" => |_| 0.0,
        "view_count" => |row| row.view_count as f64,
        "unique_users" => |row| f64::from(row.unique_users),
        "click_count" => |row| row.click_count as f64,
        "conversion_count" => |row| row.conversion_count as f64,
        "engagement_rate" => |row| row.engagement_rate,
        "bounce_rate" => |row| row.bounce_rate,
        "avg_session_duration" => |row| row.avg_session_duration,
        _ => {
            return Err(Problem::parameter("sort", by, "a field of a page, with - before it for descending"));
        }
    };
    let by_url = field == "page_url" && descending;
    rows.sort_by(|a, b| {
        let order = key(a).total_cmp(&key(b));
        let order = if descending { order.reverse() } else { order };
        let urls = a.page_url.cmp(&b.page_url);
        order.then(if by_url { urls.reverse() } else { urls })
    });
    Ok(())
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::<Self>::from_request_parts(parts, state).await;
        asked
            .map(|Query(asked)| asked)
            .map_err(|error| Problem { status: StatusCode::BAD_REQUEST, detail: error.body_text() })
    }
}

impl Asked {
    /// The window asked for by its end, or the newest.
    fn ranking<'a>(&self, store: &'a Store) -> Result<&'a TopPages, Problem> {
        let end = match self.window.as_deref() {
            None | Some("latest") => store.newest().ok_or_else(Problem::not_yet)?,
            Some(window) => moment("window", window)?,
        };
        store.ranking(end).ok_or_else(|| Problem::not_found(format!("no sealed window ends at {end}")))
    }

    /// Window ends from and to; the last half hour where nothing is said.
    fn range(&self, store: &Store) -> Result<(i64, i64), Problem> {
        let newest = store.newest().ok_or_else(Problem::not_yet)?;
        let to = self.to.as_deref().map_or(Ok(newest), |to| moment("to", to))?;
        let from = self.from.as_deref().map_or(Ok(newest - 1_800_000), |from| moment("from", from))?;
        if from > to {
            return Err(Problem::parameter("from", &from.to_string(), &format!("at most to, {to}")));
        }
        Ok((from, to))
    }

    fn number(&self, name: &str, given: Option<&str>, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(given) = given else { return Ok(default) };
        let number = given.parse().ok().filter(|number| *number <= most);
        number.ok_or_else(|| Problem::parameter(name, given, &format!("a number of 0 to {most}")))
    }

    fn is_csv(&self) -> Result<bool, Problem> {
        match self.format.as_deref() {
            None | Some("json") => Ok(false),
            Some("csv") => Ok(true),
            Some(other) => Err(Problem::parameter("format", other, "json or csv")),
        }
    }
}

fn moment(name: &str, given: &str) -> Result<i64, Problem> {
    given.parse().map_err(|_| Problem::parameter(name, given, "milliseconds since the epoch"))
}
