//! A gateway on a port of its own, and records to feed it.
#![allow(dead_code, reason = "not every test needs every part")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use weir_events::{
    PageAnalytics, SiteTotals, TopPage, TopPages, TrendingPage, encode_page_analytics, encode_top_pages,
};
use weir_gateway::{
    ClientLimits, Gateway, Server, ServerOptions,
    ingest::Batch,
    store::{PipelineState, StateLimits},
};
use weir_manifest::{Pipeline, Role};

/// Maximum wait for a condition or a response.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Running {
    pub state: Arc<PipelineState>,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start() -> Self {
        Self::start_with(ClientLimits::default())
    }

    pub fn start_with(limits: ClientLimits) -> Self {
        Self::serve(state(Pipeline::demo(), &[], StateLimits::default()), [], limits)
    }

    /// One of several pipelines, of which the first is the default.
    pub fn start_pipelines(pipelines: Vec<Pipeline>) -> Self {
        let mut states = pipelines.into_iter().map(|pipeline| state(pipeline, &[], StateLimits::default()));
        let default = states.next().unwrap();
        Self::serve(default, states, ClientLimits::default())
    }

    /// One that is not ready before these topics are read, nor once that is longer ago than this.
    pub fn start_needing(topics: &[&str], max_age: Duration) -> Self {
        let limits = StateLimits { max_age, ..StateLimits::default() };
        Self::serve(state(Pipeline::demo(), topics, limits), [], ClientLimits::default())
    }

    fn serve(
        state: Arc<PipelineState>,
        others: impl IntoIterator<Item = Arc<PipelineState>>,
        limits: ClientLimits,
    ) -> Self {
        let gateway = Gateway::new(Arc::clone(&state), others, limits);
        let options = ServerOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            next_free: false,
            origins: vec!["https://board.example".to_owned()],
        };
        let (stop, stopped) = oneshot::channel();
        let (address_sender, address_receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(gateway, &options).unwrap();
                address_sender.send(server.address().unwrap()).unwrap();
                server.serve(async { drop(stopped.await) }).await.unwrap();
            });
        });
        let address = address_receiver.recv().unwrap();
        Self { state, address, stop: Some(stop), thread: Some(thread) }
    }

    /// Stops the gateway and waits until it has ended.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// A window whose pages have these URLs and views.
    pub fn seal(&self, end: i64, pages: &[(&str, i64)]) {
        self.seal_at(1, end, pages);
    }

    /// The same with its ranking at an offset of its topic.
    pub fn seal_at(&self, offset: i64, end: i64, pages: &[(&str, i64)]) {
        let mut batch = Batch::default();
        for row in rows(end, pages) {
            batch.record(Role::Results, 1, &encode_page_analytics(&row));
        }
        batch.record(Role::TopPages, offset, &encode_top_pages(&top(end, pages)));
        batch.apply_to(&self.state);
    }

    /// GETs a path.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[])
    }

    /// The status of a path, whose body may never end.
    pub fn status(&self, path: &str) -> u16 {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address).as_bytes())
            .unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all((head + "\r\n").as_bytes()).unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

fn state(pipeline: Pipeline, needed: &[&str], limits: StateLimits) -> Arc<PipelineState> {
    Arc::new(PipelineState::new(pipeline, limits, needed).unwrap())
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }
}

pub fn rows(end: i64, pages: &[(&str, i64)]) -> Vec<PageAnalytics> {
    let row = |(url, views): &(&str, i64)| PageAnalytics {
        page_url: (*url).to_owned(),
        window_start: end - 300_000,
        window_end: end,
        view_count: *views,
        unique_users: 3,
        click_count: 1,
        conversion_count: 0,
        engagement_rate: 1.0 / *views as f64,
        bounce_rate: 0.25,
        avg_session_duration: 12.5,
    };
    pages.iter().map(row).collect()
}

pub fn top(end: i64, pages: &[(&str, i64)]) -> TopPages {
    let entry = |((url, views), rank): (&(&str, i64), i32)| TopPage {
        rank,
        page_url: (*url).to_owned(),
        view_count: *views,
        unique_users: 3,
        previous_rank: None,
    };
    TopPages {
        window_start: end - 300_000,
        window_end: end,
        pages: pages.iter().zip(1..).map(entry).collect(),
        warming_up: false,
        trending: pages
            .iter()
            .take(1)
            .map(|(url, views)| TrendingPage {
                page_url: (*url).to_owned(),
                view_count: *views,
                expected: 1.5,
                score: 4.25,
                unique_users: 3,
            })
            .collect(),
        site: SiteTotals {
            view_count: pages.iter().map(|(_, views)| views).sum(),
            click_count: pages.len() as i64,
            conversion_count: 0,
            unique_users: 5,
            visits: 8,
            bounces: 2,
        },
        page_count: None,
    }
}

/// Waits until the condition holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
