//! [`Gateway`]: the state that all handlers share.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use axum::extract::FromRef;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    store::PipelineState,
    wire::{frame::Frame, topic::Subscriptions},
};

/// Pipelines by name, and the clients that they are shown to. Clones share everything.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) limits: ClientLimits,
    /// Distinguishes this process from earlier ones and from other replicas.
    pub(crate) instance: String,
    /// By name.
    pub(crate) pipelines: BTreeMap<String, Arc<ServedPipeline>>,
    /// The pipeline of requests that name none.
    pub(crate) default: Arc<ServedPipeline>,
    /// Cancelled once this process ends.
    pub(crate) stopping: CancellationToken,
    /// One per subscriber, up to the maximum.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) clients: AtomicUsize,
    pub(crate) evicted: AtomicU64,
}

/// A pipeline, and the frames for its subscribers.
pub(crate) struct ServedPipeline {
    pub(crate) state: Arc<PipelineState>,
    pub(crate) frame: watch::Sender<Arc<Frame>>,
    pub(crate) subscriptions: Mutex<Subscriptions>,
}

impl ServedPipeline {
    fn new(state: Arc<PipelineState>) -> Arc<Self> {
        Arc::new(Self { state, frame: watch::Sender::default(), subscriptions: Mutex::default() })
    }
}

/// Limits of subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Clients at a time.
    pub max_clients: usize,
    /// How long a client of the WebSocket may take nothing before it is disconnected.
    pub write_timeout: Duration,
}

impl Default for ClientLimits {
    /// 2,000 clients, 10 seconds.
    fn default() -> Self {
        Self { max_clients: 2_000, write_timeout: Duration::from_secs(10) }
    }
}

impl Gateway {
    /// A gateway for these pipelines; `default` is the one of requests that name none.
    pub fn new(
        default: Arc<PipelineState>,
        others: impl IntoIterator<Item = Arc<PipelineState>>,
        limits: ClientLimits,
    ) -> Self {
        let default = ServedPipeline::new(default);
        let all = others.into_iter().map(ServedPipeline::new).chain([Arc::clone(&default)]);
        let pipelines = all.map(|pipeline| (pipeline.state.name().to_owned(), pipeline)).collect();
        Self {
            shared: Arc::new(Shared {
                limits,
                instance: format!("{:016x}", RandomState::new().hash_one(0)),
                pipelines,
                default,
                stopping: CancellationToken::new(),
                permits: Arc::new(Semaphore::new(limits.max_clients)),
                clients: AtomicUsize::new(0),
                evicted: AtomicU64::new(0),
            }),
        }
    }

    /// The pipelines, by name.
    pub(crate) fn pipelines(&self) -> impl Iterator<Item = &Arc<ServedPipeline>> {
        self.shared.pipelines.values()
    }
}

/// The pipeline of requests that name none.
impl FromRef<Gateway> for Arc<ServedPipeline> {
    fn from_ref(gateway: &Gateway) -> Self {
        Arc::clone(&gateway.shared.default)
    }
}

/// Its state.
impl FromRef<Gateway> for Arc<PipelineState> {
    fn from_ref(gateway: &Gateway) -> Self {
        Arc::clone(&gateway.shared.default.state)
    }
}
