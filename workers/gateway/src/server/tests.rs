//! Panics of the publisher and of handlers, heads that never end, and any query string.
#![allow(clippy::unwrap_used)]

use std::future::pending;

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir_manifest::Pipeline;

use super::*;
use crate::{
    ClientLimits,
    api::answer::compute,
    store::{PipelineState, StateLimits},
};

fn server() -> Server {
    let state = PipelineState::new(Pipeline::demo(), StateLimits::default(), &[]).unwrap();
    let gateway = Gateway::new(Arc::new(state), [], ClientLimits::default());
    let options = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), next_free: false, origins: Vec::new() };
    Server::bind(gateway, &options).unwrap()
}

#[tokio::test]
async fn a_panic_of_the_publisher_ends_the_server_and_is_reported() {
    let panicked = server().serve_with(async { panic!("planted") }, pending()).await.unwrap_err();
    assert_eq!((panicked.part.as_str(), panicked.message.as_str()), ("the publisher", "planted"));
}

async fn panic_in_handler() {
    panic!("planted")
}

async fn panic_in_computation() -> Result<Response, RequestError> {
    compute(|| panic!("planted")).await
}

#[tokio::test]
async fn a_panic_of_a_handler_costs_one_response() {
    let mut server = server();
    let address = server.address().unwrap();
    server.router = server
        .router
        .route("/panics", get(panic_in_handler))
        .route("/panics-in-computation", get(panic_in_computation));
    let request = |path: &'static str| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let requests = async {
        for path in ["/panics", "/panics-in-computation"] {
            let answer = request(path).await;
            let is_problem = answer.contains("application/problem+json") && answer.contains("this is a bug");
            assert!(answer.starts_with("HTTP/1.1 500 ") && is_problem, "{path}: {answer}");
        }
        assert!(request("/healthz").await.starts_with("HTTP/1.1 200 "));
    };
    server.serve(requests).await.unwrap();
}

/// A byte now and then keeps a connection only for as long as a head may take.
#[tokio::test]
async fn a_slow_head_costs_one_connection_for_a_while() {
    const DRIPS: usize = 3_000;
    let mut server = server();
    server.request_head_timeout = Duration::from_millis(100);
    let address = server.address().unwrap();
    let requests = async {
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ").await.unwrap();
        let mut byte = [0];
        let mut dripped = 0;
        while dripped < DRIPS && slow.write_all(b"x").await.is_ok() {
            // Others are served meanwhile.
            let mut other = TcpStream::connect(address).await.unwrap();
            other
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            other.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            if time::timeout(Duration::from_millis(10), slow.read(&mut byte)).await.is_ok() {
                break;
            }
            dripped += 1;
        }
        assert!(dripped < DRIPS, "it is still open after {DRIPS} bytes");
    };
    server.serve(requests).await.unwrap();
}

/// Any bytes behind an endpoint's `?`: it answers, or says what is wrong with them.
#[test]
fn fuzz_query() {
    const PATHS: [&str; 12] = [
        "pages",
        "windows",
        "site",
        "top",
        "trending",
        "series",
        "now",
        "events",
        "dead-letters",
        "health",
        "pipelines",
        "stream",
    ];
    let state = PipelineState::new(Pipeline::demo(), StateLimits::default(), &[]).unwrap();
    let router = routes::router(Gateway::new(Arc::new(state), [], ClientLimits::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seeds = [
        "pages?q=caf%C3%A9&sort=view_count&order=asc&limit=10&offset=20&format=csv",
        "windows?from=1700000000000&to=2023-11-14T22:13:20Z&limit=10",
        "series?page=/a&from=1&to=2&limit=3",
        "top?window=1700000000000&format=json",
        "now?limit=5",
        "events?after=7&limit=3",
        "dead-letters?limit=1&format=csv",
        "stream?topics=site,windows&page=/a&after=1700000000000",
        "pipelines",
    ];
    let seeds = seeds.map(|text| text.as_bytes().to_vec());
    weir_fuzz::Target::new("query").seeds(seeds).executions(4_000).run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (path, query) = text.split_once('?').unwrap_or(("", &text));
        let path = PATHS.iter().find(|known| **known == path).unwrap_or(&PATHS[bytes.len() % PATHS.len()]);
        let uri = format!("/api/v1/{path}?{query}")
            .parse::<axum::http::Uri>()
            .map_err(|error| error.to_string())?;
        let request = Request::builder().uri(uri).body(axum::body::Body::empty()).unwrap();
        runtime.block_on(async {
            let answer = router.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            assert!([200, 400, 404].contains(&status), "{status}");
            // The body of a stream does not end.
            if status == 200 {
                return Ok(());
            }
            let body = axum::body::to_bytes(answer.into_body(), 64 << 10).await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            Err(problem["detail"].as_str().unwrap().to_owned())
        })
    });
}
