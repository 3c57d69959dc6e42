//! Leader election by lease.
//!
//! Two leaders would undo each other's writes, so a process that cannot renew its lease in time ends before another may take it.
//! Clocks of different machines are never compared: a lease is taken once it was observed unchanged for its duration.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

/// The lease's name.
const NAME: &str = "weir-operator";

/// Duration of a lease without renewal.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Renewal deadline: the holder ends before another can take over.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between renewals, and between reads of another's lease.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// Why the lease was lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("the lease {NAME} was taken by {0}")]
    Taken(String),
    #[error("the lease {NAME} could not be renewed within {seconds} s: {0}", seconds = RENEW_DEADLINE.as_secs())]
    Unrenewed(String),
}

/// One process's part in the election.
pub(crate) struct Election {
    api: Api<Lease>,
    identity: String,
    /// The lease as this process wrote it last.
    held: Option<Lease>,
}

impl Election {
    /// Takes part under an identity that is unique among the processes.
    pub(crate) fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self { api: Api::namespaced(client, namespace), identity, held: None }
    }

    /// Waits for the lease; errors are retried.
    pub(crate) async fn acquire(&mut self) {
        // The lease's version and the time of its first observation.
        let mut seen: Option<(Option<String>, Instant)> = None;
        loop {
            match self.attempt(&mut seen).await {
                Ok(true) => {
                    tracing::info!(identity = self.identity, "acquired the lease");
                    return;
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "cannot take the lease"),
            }
            tokio::time::sleep(RETRY_PERIOD).await;
        }
    }

    async fn attempt(&mut self, seen: &mut Option<(Option<String>, Instant)>) -> kube::Result<bool> {
        let Some(lease) = self.api.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.spec(0)),
            };
            return self.wrote(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let version = lease.metadata.resource_version.clone();
        if !holder.is_empty() && holder != self.identity {
            let good = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let good = good.map_or(LEASE_DURATION, Duration::from_secs);
            match seen {
                Some((old, since)) if *old == version => {
                    if since.elapsed() < good {
                        return Ok(false);
                    }
                }
                _ => {
                    if seen.is_none() {
                        tracing::info!(holder, "waiting for the lease");
                    }
                    *seen = Some((version, Instant::now()));
                    return Ok(false);
                }
            }
        }
        let changes = spec.lease_transitions.unwrap_or_default().saturating_add(1);
        // With the resource version: of two concurrent attempts one is refused.
        let taken = Lease { spec: Some(self.spec(changes)), ..lease };
        self.wrote(self.api.replace(NAME, &PostParams::default(), &taken).await)
    }

    fn wrote(&mut self, written: kube::Result<Lease>) -> kube::Result<bool> {
        match written {
            Ok(lease) => {
                self.held = Some(lease);
                Ok(true)
            }
            // Another process was first.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renews the lease for as long as that succeeds.
    pub(crate) async fn keep(&mut self) -> Lost {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY_PERIOD).await;
            let attempted =
                tokio::time::timeout(RENEW_DEADLINE.saturating_sub(renewed.elapsed()), self.renew()).await;
            match attempted {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return Lost::Taken(self.holder().await),
                Ok(Err(error)) if renewed.elapsed() < RENEW_DEADLINE => {
                    tracing::warn!(%error, "cannot renew the lease");
                }
                Ok(Err(error)) => return Lost::Unrenewed(error.to_string()),
                Err(_) => return Lost::Unrenewed("the API server does not answer".to_owned()),
            }
        }
    }

    /// Whether this process still holds it.
    async fn renew(&mut self) -> kube::Result<bool> {
        let Some(held) = self.held.clone() else { return Ok(false) };
        let changes = held.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
        let acquired = held.spec.as_ref().and_then(|spec| spec.acquire_time.clone());
        let spec = LeaseSpec { acquire_time: acquired, ..self.spec(changes) };
        let renewed =
            self.api.replace(NAME, &PostParams::default(), &Lease { spec: Some(spec), ..held }).await;
        match renewed {
            Ok(lease) => {
                self.held = Some(lease);
                Ok(true)
            }
            // Another writer changed it, perhaps only its labels.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found = self.api.get(NAME).await?;
                let holder = found.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
                let ours = holder == Some(self.identity.as_str());
                self.held = Some(found);
                Ok(ours)
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn holder(&self) -> String {
        let found = self.api.get_opt(NAME).await.ok().flatten();
        let holder = found.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
        holder.unwrap_or_else(|| "nobody".to_owned())
    }

    /// Whether this process held it last.
    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Releases the lease, so that the next leader need not wait.
    pub(crate) async fn release(&mut self) {
        let Some(held) = self.held.take() else { return };
        let changes = held.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: None,
            acquire_time: None,
            lease_duration_seconds: Some(1),
            ..self.spec(changes)
        };
        let free = Lease { spec: Some(spec), ..held };
        if let Err(error) = self.api.replace(NAME, &PostParams::default(), &free).await {
            tracing::warn!(%error, "could not release the lease; another process takes it when it expires");
        }
    }

    fn spec(&self, changes: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(changes),
            ..LeaseSpec::default()
        }
    }
}
