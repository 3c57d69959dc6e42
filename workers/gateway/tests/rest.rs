//! REST over a real connection.
#![allow(clippy::unwrap_used)]

mod running;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;
use weir_analytics::DecisiveSettings;
use weir_gateway::store::{Source, dead_letters::DeadLetter, progress::ProgressView};
use weir_log::generations::{Generation, Generations};
use weir_manifest::{Pipeline, PipelineSpec};

use running::Running;

const END: i64 = 1_700_000_000_000;
const MARKUP: &str = "/<script>alert(1)</script>\"'&";
const FORMULA: &str = "/a,=HYPERLINK(\"http://evil.example\")";

fn filled() -> Running {
    let running = Running::start();
    running.seal(END, &[("/a", 5), ("/b", 7)]);
    running.seal(END + 10_000, &[("/a", 6), ("/B/shoe", 9), (MARKUP, 2), (FORMULA, 1)]);
    running
}

#[test]
fn endpoints_report_that_no_window_is_sealed() {
    let running = Running::start();
    for path in ["pages", "top", "trending", "site"] {
        let answer = running.get(&format!("/api/v1/{path}"));
        assert_eq!((answer.status, answer.json()["title"].clone()), (404, json!("No such window")), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(running.get("/api/v1/windows").json(), json!({"windows": []}));
    assert_eq!(running.get("/api/v1/now").json()["site"], json!(null), "no values, not values of zero");
    assert_eq!(running.get("/api/v1/health").json()["watermark"], json!(null));
    assert_eq!(running.get("/readyz").status, 200);
}

#[test]
fn every_pipeline_is_listed_and_the_first_is_the_one_that_answers() {
    let mut other = Pipeline::demo();
    other.metadata.name = "another".to_owned();
    let running = Running::start_pipelines(vec![Pipeline::demo(), other]);
    let listed = running.get("/api/v1/pipelines").json();
    let names: Vec<_> =
        listed["pipelines"].as_array().unwrap().iter().map(|listed| &listed["name"]).collect();
    assert_eq!(names, ["another", "shop"]);
    running.seal(END, &[("/a", 5)]);
    assert_eq!(running.get("/api/v1/dead-letters").json()["topic"], "shop.dead-letters");
    assert_eq!(running.get("/api/v1/windows").json()["windows"][0]["window_end"], END);
}

#[test]
fn pages_are_searched_ordered_and_leafed_through() {
    let running = filled();
    let urls = |query: &str| -> Vec<String> {
        let answer = running.get(&format!("/api/v1/pages?{query}")).json();
        answer["pages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["page_url"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(urls(""), ["/B/shoe", "/a", MARKUP, FORMULA]);
    assert_eq!(urls("q=SHOE"), ["/B/shoe"]);
    assert_eq!(urls("sort=page_url"), [MARKUP, "/B/shoe", "/a", FORMULA]);
    assert_eq!(urls("sort=engagement_rate&order=asc&limit=1&offset=1"), ["/a"]);
    assert_eq!(urls(&format!("window={END}")), ["/b", "/a"]);
    assert_eq!(urls("window=2023-11-14T22:13:20Z"), ["/b", "/a"]);
    assert_eq!(running.get("/api/v1/pages?offset=1000000").json()["total"], 4);
}

#[test]
fn a_series_distinguishes_zero_from_missing() {
    let running = filled();
    let series = running.get("/api/v1/series?page=/b").json();
    let points = series["points"].as_array().unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!((&points[0]["view_count"], &points[0]["bounce_rate"]), (&json!(7), &json!(0.25)));
    assert_eq!((&points[1]["view_count"], &points[1]["bounce_rate"]), (&json!(0), &json!(null)));
    assert_eq!(running.get("/api/v1/series?page=/unknown").status, 404);
}

#[test]
fn errors_are_problem_documents() {
    let running = filled();
    for (path, status) in [
        ("/api/v1/pages?limit=0", 400),
        ("/api/v1/pages?limit=1001", 400),
        ("/api/v1/pages?limit=x", 400),
        ("/api/v1/pages?offset=1000001", 400),
        ("/api/v1/windows?limit=1001", 400),
        ("/api/v1/now?limit=1001", 400),
        ("/api/v1/series?page=/a&limit=10001", 400),
        ("/api/v1/events?limit=201", 400),
        ("/api/v1/events?after=-1", 400),
        ("/api/v1/dead-letters?limit=201", 400),
        ("/api/v1/pages?unknown=1", 400),
        ("/api/v1/pages?window=yesterday", 400),
        ("/api/v1/pages?window=1", 404),
        ("/api/v1/pages?window=1700000000", 400),
        ("/api/v1/windows?from=2&to=1", 400),
        ("/api/v1/series?page=/a&from=2&to=1", 400),
        ("/api/v1/stream?after=1700000000", 400),
        ("/api/v1/series", 400),
        ("/api/v1/series?page=", 400),
        ("/api/v1/pipelines?x", 400),
        ("/api/v1/stream?topics=secrets", 400),
        ("/api/v1/live", 400),
        ("/nowhere", 404),
    ] {
        let answer = running.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!(answer.json()["status"], status, "{path}");
    }
    let long = |bytes| "x".repeat(bytes);
    for (path, max, fits) in [("series?page", 2_048, 404), ("pages?q", 256, 200)] {
        assert_eq!(running.get(&format!("/api/v1/{path}={}", long(max))).status, fits, "{path}");
        assert_eq!(running.get(&format!("/api/v1/{path}={}", long(max + 1))).status, 400, "{path}");
    }
    assert_eq!(running.request("POST", "/api/v1/pages", &[]).status, 405);
}

#[test]
fn a_problem_states_what_was_found_and_expected() {
    let running = filled();
    for (path, detail) in [
        ("pages?limit=x", "limit is `x`, expected a whole number from 1 to 1000"),
        ("series?page=/a&limit=-1", "limit is `-1`, expected a whole number from 1 to 10000"),
        ("events?limit=201", "limit is `201`, expected a whole number from 1 to 200"),
        ("pages?offset=-1", "offset is `-1`, expected a whole number from 0 to 1000000"),
        ("pages?q=%ff&sort=x", "q is `%ff`, expected UTF-8, percent-encoded: an é is %C3%A9"),
        ("pages?q=%e9%", "q is `%e9%`, expected UTF-8, percent-encoded: an é is %C3%A9"),
        ("pages?order=up", "order is `up`, expected `asc` or `desc`"),
        ("top?format=xml", "format is `xml`, expected `json` or `csv`"),
        ("series", "missing parameter `page`"),
        ("top?window=1&window=2", "more than one parameter `window`"),
        ("pipelines?x=1", "unknown parameter `x`, expected none here"),
        ("site?windov=1", "unknown parameter `windov`, expected `window` or `format`"),
        (
            "site?window=1700000000",
            "window is `1700000000`, expected milliseconds since the epoch, or RFC 3339 as in 2026-01-01T12:00:00Z; it looks like seconds",
        ),
        (
            "site?window=yesterday",
            "window is `yesterday`, expected milliseconds since the epoch, or RFC 3339 as in 2026-01-01T12:00:00Z",
        ),
        (
            "windows?from=2&to=1",
            "from is 2 and to is 1, which is before it: expected from to be at or before to",
        ),
        ("events?after=x", "after is `x`, expected a whole number from 0 to 9007199254740991"),
    ] {
        let answer = running.get(&format!("/api/v1/{path}"));
        assert_eq!((answer.status, answer.json()["detail"].clone()), (400, json!(detail)), "{path}");
    }
}

#[test]
fn dead_letters_have_reason_and_position() {
    let running = Running::start();
    let letter = |number: i64| {
        let offset = (number * 7).to_string();
        let headers = [
            ("reason", "late"),
            ("detail", "=gone"),
            ("topic", "clicks"),
            ("partition", "3"),
            ("offset", &offset),
        ];
        DeadLetter::new(number, 1_000 + number, headers)
    };
    let nothing = running.get("/api/v1/dead-letters").json();
    assert_eq!(nothing, json!({"topic": "shop.dead-letters", "read_at": null, "dead_letters": []}));
    running.state.add_dead_letters((0..3).map(letter));
    let newest = json!({"number": 2, "timestamp": 1_002, "reason": "late", "detail": "=gone", "topic": "clicks", "partition": 3, "offset": 14});
    assert_eq!(running.get("/api/v1/dead-letters?limit=1").json()["dead_letters"], json!([newest]));
    let all = running.get("/api/v1/dead-letters").json();
    assert_eq!((all["dead_letters"].as_array().unwrap().len(), &all["dead_letters"][2]), (3, &newest));
    assert!(all["read_at"].as_i64() > Some(END), "{all}");
    let table = running.get("/api/v1/dead-letters?limit=1&format=csv");
    assert!(table.body.ends_with("2,1002,late,\"'=gone\",clicks,3,14\r\n"), "{}", table.body);
}

#[test]
fn a_path_resolves_to_the_one_page_that_has_it() {
    let running = Running::start();
    let shop = "https://shop.example/cart";
    running.seal(END, &[(shop, 5), ("https://a.example/b", 1), ("https://c.example/b", 1)]);
    let series = running.get("/api/v1/series?page=/cart").json();
    assert_eq!((&series["page_url"], &series["points"][0]["view_count"]), (&json!(shop), &json!(5)));
    for (page, detail) in [
        (
            "/b",
            "2 pages have the path `/b`: expected the URL of one of them: https://a.example/b, https://c.example/b",
        ),
        ("/d", "no window held here has an event of the page `/d`; /api/v1/pages?q= searches"),
    ] {
        let answer = running.get(&format!("/api/v1/series?page={page}"));
        assert_eq!((answer.status, answer.json()["detail"].clone()), (404, json!(detail)));
    }
}

#[test]
fn windows_that_begin_before_the_first_event_are_marked() {
    let running = Running::start();
    running.seal_at(0, END, &[("/a", 5)]);
    running.seal_at(5, END + 290_000, &[("/a", 5)]);
    let windows = running.get("/api/v1/windows").json();
    let marks =
        |n: usize| (windows["windows"][n]["filling"].clone(), windows["windows"][n]["covered_ms"].clone());
    // The first window ends with the slice of the first event.
    assert_eq!((marks(0), marks(1)), ((json!(true), json!(10_000)), (json!(false), json!(300_000))));
    let series = running.get("/api/v1/series?page=/a").json();
    assert_eq!(
        (&series["points"][0]["filling"], &series["points"][1]["filling"]),
        (&json!(true), &json!(false))
    );
    for path in ["pages", "top"] {
        assert_eq!(running.get(&format!("/api/v1/{path}?window={END}")).json()["filling"], true, "{path}");
    }
}

#[test]
fn only_needed_sources_decide_readiness() {
    let max_age = Duration::from_secs(3_600);
    let running = Running::start_needing(&["results"], max_age);
    let ready = || running.get("/readyz");
    let answer = ready();
    assert_eq!((answer.status, answer.json()["title"].clone()), (503, json!("Not Ready")));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    running.state.report("results", Source::Unavailable("broker away".to_owned()));
    assert_eq!(ready().json()["detail"], "results cannot be read: broker away");
    running.state.report("results", Source::CaughtUp);
    running.state.report("live", Source::Unavailable("no such topic".to_owned()));
    assert_eq!(ready().status, 200);
    let health = running.get("/api/v1/health").json();
    assert_eq!(health["warnings"], json!(["live cannot be read: no such topic"]));
    running.state.report("results", Source::Unavailable("broker away".to_owned()));
    assert_eq!(ready().status, 200, "it was read within the last hour");
}

#[test]
fn a_source_read_too_long_ago_makes_the_gateway_unready() {
    let running = Running::start_needing(&["results"], Duration::ZERO);
    running.state.report("results", Source::CaughtUp);
    running.state.report("live", Source::CaughtUp);
    let detail = |why: &str| format!("results was last read to its end more than 0ns ago: {why}");
    let ready = || running.get("/readyz").json()["detail"].clone();
    assert_eq!(ready(), detail("brokers answer, but the end is not reached"));
    running.state.report("results", Source::Unavailable("broker away".to_owned()));
    assert_eq!(ready(), detail("broker away"));
    let warnings = running.get("/api/v1/health").json()["warnings"].clone();
    assert_eq!(warnings.as_array().unwrap().len(), 1, "{warnings}");
}

#[test]
fn metrics_and_health_report_the_age_of_the_newest_window() {
    let running = Running::start_needing(&["results"], Duration::from_secs(3_600));
    let metrics = running.get("/metrics").body;
    assert!(metrics.contains("weir_gateway_ready 0\n") && !metrics.contains("age_seconds"), "{metrics}");
    assert!(running.get("/api/v1/health").json()["window_age_ms"].is_null());
    running.state.report("results", Source::CaughtUp);
    running.seal(END, &[("/a", 5)]);
    let metrics = running.get("/metrics").body;
    assert!(metrics.contains("weir_gateway_ready 1\n"), "{metrics}");
    assert!(metrics.contains("weir_gateway_read_age_seconds{source=\"results\"} "), "{metrics}");
    let age = metrics.lines().find_map(|line| line.strip_prefix("weir_gateway_newest_window_age_seconds "));
    let health = running.get("/api/v1/health").json();
    let since = health["at"].as_i64().unwrap() - END;
    assert_eq!(health["window_age_ms"], since);
    assert!((0.0..=since as f64 / 1_000.0).contains(&age.unwrap().parse().unwrap()), "{metrics}");
}

#[test]
fn health_reports_partly_late_misplaced_and_sealed_ahead() {
    let running = Running::start();
    let not_whole = serde_json::from_value(json!([[END, END + 10_000]])).unwrap();
    let view = ProgressView {
        partly_late: 3,
        not_whole,
        misplaced: 5,
        other_pages: 7,
        ended: true,
        ..ProgressView::default()
    };
    let ahead = i64::MAX / 2;
    running.state.set_progress(vec![
        view.clone(),
        ProgressView { partition: 1, watermark: Some(ahead), ..view.clone() },
    ]);
    let health = running.get("/api/v1/health").json();
    assert_eq!(
        (&health["partly_late"], &health["misplaced"], &health["other_pages"], &health["ended"]),
        (&json!(6), &json!(10), &json!(14), &json!(true))
    );
    assert_eq!(
        (&health["partitions"][1]["partly_late"], &health["partitions"][1]["other_pages"]),
        (&json!(3), &json!(7))
    );
    assert_eq!(health["partitions"][1]["not_whole"], json!([{"first": END, "last": END + 10_000}]));
    let one = ProgressView { watermark: Some(ahead), ..view };
    running.state.set_progress(vec![one]);
    running.state.set_lost_up_to(Some(END));
    assert_eq!(running.get("/api/v1/health").json()["results_lost_up_to"], END);
    let lag = running.get("/api/v1/health").json()["watermark_lag_ms"].as_i64().unwrap();
    assert!(lag < 0, "negative ahead of the clock: {lag}");
}

#[test]
fn health_warns_of_a_generation_that_answers_differently() {
    let running = Running::start();
    let begin = |change: fn(&mut PipelineSpec)| {
        let mut document = running.state.manifest().clone();
        change(&mut document.spec);
        let settings = DecisiveSettings::of(&document, None).unwrap().committed(true);
        let second = Generation::declared(2, &settings, 0).after(0);
        running.state.set_generations(&Generations::of([second]));
        let health = running.get("/api/v1/health").json();
        assert_eq!(health["generation"], 2);
        health["warnings"].to_string()
    };
    let changes: [fn(&mut PipelineSpec); 2] =
        [|spec| spec.limits.pages = 7, |spec| spec.window.duplicate_slack = "2m".parse().unwrap()];
    for warnings in changes.map(begin) {
        assert!(!warnings.contains("generation"), "{warnings}");
    }
    let warnings = begin(|spec| spec.window.size = "1m".parse().unwrap());
    assert!(warnings.contains("generation 2 of the pipeline has windows of 60 s every 10 s"), "{warnings}");
}

#[test]
fn an_endless_head_is_refused() {
    let running = filled();
    let mut stream = TcpStream::connect(running.address).unwrap();
    // The server may refuse the head before all of it is written, and then reset the connection.
    let _ = stream.write_all(format!("GET /{} HTTP/1.1\r\n", "x".repeat(400_000)).as_bytes());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[test]
fn a_fresh_copy_is_not_sent_again() {
    let running = filled();
    let first = running.get("/api/v1/top");
    let tag = first.header("etag").unwrap().to_owned();
    let again = |tag: &str| running.request("GET", "/api/v1/top", &[("if-none-match", tag)]);
    assert_eq!((again(&tag).status, again(&tag).body), (304, String::new()));
    assert_eq!(again(&format!("\"other\", W/{tag}")).status, 304);
    assert_eq!(again("*").status, 304);
    assert_eq!(again("\"other\"").status, 200);
    running.seal(END + 20_000, &[("/a", 1)]);
    assert_eq!(again(&tag).status, 200);
    assert_eq!(running.request("HEAD", "/api/v1/top", &[]).body, "");
}

#[test]
fn tables_hold_no_formula() {
    let running = filled();
    let by_name = running.get("/api/v1/pages?format=csv&sort=view_count&order=asc");
    assert_eq!(by_name.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<_> = by_name.body.lines().collect();
    assert!(lines[0].starts_with("page_url,view_count,unique_users"));
    let end = END + 10_000;
    let window = format!(",{},{end}", end - 300_000);
    assert_eq!(
        lines[1],
        format!("\"/a,=HYPERLINK(\"\"http://evil.example\"\")\",1,3,1,0,1,0.25,12.5{window}")
    );
    let by_accept = running.request("GET", "/api/v1/top", &[("accept", "text/csv")]);
    let head = "rank,page_url,view_count,unique_users,previous_rank,window_start,window_end";
    assert!(by_accept.body.starts_with(&format!("{head}\r\n1,/a,6,3,{window}\r\n")));
    let refused = running.request("GET", "/api/v1/top", &[("accept", "text/csv;q=0")]);
    assert_eq!(refused.header("content-type"), Some("application/json"));
    let plain = running.request("GET", "/app.js", &[("accept-encoding", "gzip;q=0")]);
    assert_eq!(plain.header("content-encoding"), None);
    let either = running.request("GET", "/api/v1/top", &[("accept", "application/json, text/csv")]);
    assert_eq!(either.header("content-type"), Some("application/json"), "the first named wins");
}

#[test]
fn text_from_events_is_never_markup() {
    let running = filled();
    for path in ["/api/v1/pages", "/api/v1/pages?format=csv", "/api/v1/top", "/nowhere%3Cscript%3E", "/"] {
        let answer = running.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let html = answer.header("content-type").is_some_and(|kind| kind.contains("html"));
        assert!(!(html && answer.body.contains("alert(1)")), "{path}");
    }
}

#[test]
fn requests_from_other_origins_are_refused() {
    let running = filled();
    let from = |origin| running.request("GET", "/api/v1/top", &[("origin", origin)]).status;
    assert_eq!(from("https://evil.example"), 403);
    assert_eq!(from("https://board.example"), 200);
    assert_eq!(from(&format!("http://{}", running.address)), 200);
    assert_eq!(running.request("GET", "/api/v1/top", &[("host", "evil.example")]).status, 403);
}

#[test]
fn a_record_of_another_version_is_counted_and_left_out() {
    let running = filled();
    let mut batch = weir_gateway::ingest::Batch::default();
    batch.record(weir_manifest::Role::Results, 0, b"something else");
    batch.apply_to(&running.state);
    assert_eq!(running.get("/api/v1/health").json()["held"]["unreadable"], 1);
    assert_eq!(running.get("/api/v1/pages").json()["total"], 4);
}
