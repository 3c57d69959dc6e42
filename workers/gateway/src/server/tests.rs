//! Panics of the publisher and of handlers.
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
