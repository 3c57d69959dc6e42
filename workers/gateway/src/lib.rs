//! A pipeline's results over HTTP: REST under `/api/v1`, live messages over a WebSocket or as server-sent events, and the dashboard.
//!
//! A gateway keeps the sealed windows of the last day in memory, within a stated bound, and reads them from the topics again when
//! it starts: any number of them may run, each is whole. It only reads, so nothing it does touches the processing.
//!
//! Whoever has the records gives them to [`Gateway::take`]; HTTP runs where [`Gateway::serve`] is called.

mod api;
mod csv;
mod dashboard;
mod live;
mod origin;
mod problem;
mod store;

use std::{
    io,
    net::TcpListener,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::sync::broadcast;
use weir_analytics::Live;
use weir_events::{decode_page_analytics, decode_top_pages};
use weir_spec::Pipeline;

use live::News;
pub use store::{Limits, Store};

/// Messages that a slow subscriber may be behind before it misses some.
const BEHIND: usize = 64;
/// Time between two looks at the stop flag.
const LOOK: Duration = Duration::from_millis(100);

/// What the handlers share.
type Shared = Gateway;

/// The gateway of one pipeline.
#[derive(Clone)]
pub struct Gateway {
    pipeline: Arc<Pipeline>,
    topics: Arc<[String; 3]>,
    store: Arc<Mutex<Store>>,
    news: broadcast::Sender<News>,
    number: Arc<AtomicU64>,
    /// Whether the open window changed since it was last told.
    moved: Arc<AtomicBool>,
    ready: Arc<AtomicBool>,
}

impl Gateway {
    /// A gateway that has seen nothing yet.
    pub fn new(pipeline: &Pipeline, limits: Limits) -> Self {
        let topics = [
            pipeline.results_topic().to_owned(),
            pipeline.top_pages_topic().to_owned(),
            pipeline.live_topic(),
        ];
        Self {
            pipeline: Arc::new(pipeline.clone()),
            topics: Arc::new(topics),
            store: Arc::new(Mutex::new(Store::new(limits))),
            news: broadcast::channel(BEHIND).0,
            number: Arc::new(AtomicU64::new(0)),
            moved: Arc::new(AtomicBool::new(false)),
            ready: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The topics whose records it wants: results, rankings, live values.
    pub fn topics(&self) -> [&str; 3] {
        [&self.topics[0], &self.topics[1], &self.topics[2]]
    }

    /// Takes a record of one of its topics. What it cannot read it passes over, and says so.
    pub fn take(&self, topic: &str, value: &[u8]) {
        let taken = if topic == self.topics[2] {
            Live::decode(value).map_err(|error| error.to_string()).map(|live| {
                self.store().live(live);
                self.moved.store(true, Ordering::Relaxed);
            })
        } else if topic == self.topics[1] {
            decode_top_pages(value).map_err(|error| error.to_string()).map(|top| self.store().top(top))
        } else {
            decode_page_analytics(value).map_err(|error| error.to_string()).map(|row| self.store().row(&row))
        };
        if let Err(error) = taken {
            tracing::warn!(topic, error, "not a record of this version");
        }
    }

    /// Tells subscribers what is new: windows that were sealed, and what the open one shows.
    pub fn tell(&self) {
        let mut store = self.store();
        let mut news = Vec::new();
        for end in store.take_news() {
            news.extend(store.ranking(end).map(|top| (api::sealed(top), None)));
        }
        if self.moved.swap(false, Ordering::Relaxed) {
            news.extend(store.open().map(|open| (api::provisional(&open, None), Some(Arc::new(open)))));
        }
        drop(store);
        // Who reads old windows at the start has nobody to tell.
        for (mut message, open) in news.into_iter().filter(|_| self.news.receiver_count() > 0) {
            let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
            message["sequence"] = number.into();
            // Nobody is left to hear it: fine.
            let _ = self.news.send(News { number, text: message.to_string().into(), open });
        }
    }

    /// Says that everything that was in the topics at the start has been taken.
    pub fn caught_up(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Answers requests until `stop`.
    ///
    /// # Errors
    /// The listener is of no use.
    pub fn serve(&self, listener: TcpListener, stop: &AtomicBool) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let stopped = async {
                while !stop.load(Ordering::SeqCst) {
                    tokio::time::sleep(LOOK).await;
                }
            };
            // Sockets stay open for ever: they are not waited for.
            tokio::select! {
                served = axum::serve(listener, self.router()) => served,
                () = stopped => Ok(()),
            }
        })
    }

    fn router(&self) -> Router {
        Router::new()
            .nest(
                "/api/v1",
                api::routes().route("/live", get(live::socket)).route("/events", get(live::events)),
            )
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .merge(dashboard::routes())
            .with_state(self.clone())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }
}

async fn readyz(State(gateway): State<Gateway>) -> (StatusCode, &'static str) {
    if gateway.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "still reading the topics\n")
    }
}
