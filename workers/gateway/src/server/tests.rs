//! What becomes of panics.
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
async fn a_publisher_that_panics_ends_the_server_with_its_words() {
    let panicked = server().serve_with(async { panic!("planted") }, pending()).await.unwrap_err();
    assert_eq!((panicked.part.as_str(), panicked.message.as_str()), ("the publisher", "planted"));
}

async fn planted() {
    panic!("planted")
}

async fn planted_elsewhere() -> Result<Response, RequestError> {
    compute(|| panic!("planted")).await
}

#[tokio::test]
async fn a_handler_that_panics_costs_one_answer() {
    let mut server = server();
    let address = server.address().unwrap();
    server.router =
        server.router.route("/panics", get(planted)).route("/panics-elsewhere", get(planted_elsewhere));
    let ask = |path: &'static str| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let asked = async {
        for path in ["/panics", "/panics-elsewhere"] {
            let answer = ask(path).await;
            let is_problem = answer.contains("application/problem+json") && answer.contains("this is a bug");
            assert!(answer.starts_with("HTTP/1.1 500 ") && is_problem, "{path}: {answer}");
        }
        assert!(ask("/healthz").await.starts_with("HTTP/1.1 200 "));
    };
    server.serve(asked).await.unwrap();
}
