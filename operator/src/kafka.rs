//! Kafka as the operator reaches it: for a moment now and then, on threads that may wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_kafka::admin::{Admin, AdminError};
use weir_kafka::{Options, TopicInspector};
use weir_manifest::SaslMechanism;

use crate::Error;
use crate::autoscale::Sample;

/// For everything that is asked of Kafka in one pass, other pipelines' turns included. Each single answer is waited for a part of it.
const PATIENCE: Duration = Duration::from_secs(90);

/// Threads that wait for one cluster at a time. Where it does not answer, pipelines of others have the rest.
const TURNS: usize = 2;

/// What is shared by all that ask one cluster.
struct Cluster {
    turns: Arc<Semaphore>,
    /// When it did not answer last.
    away: Mutex<Option<(Instant, AdminError)>>,
}

/// The cluster at these addresses.
fn cluster(bootstrap: &str) -> Arc<Cluster> {
    static CLUSTERS: Mutex<BTreeMap<String, Arc<Cluster>>> = Mutex::new(BTreeMap::new());
    let mut clusters = CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Those that nobody asks now are forgotten, unless it matters that they were away.
    clusters.retain(|name, cluster| name == bootstrap || Arc::strong_count(cluster) > 1);
    let new = || Arc::new(Cluster { turns: Arc::new(Semaphore::new(TURNS)), away: Mutex::new(None) });
    Arc::clone(clusters.entry(bootstrap.to_owned()).or_insert_with(new))
}

impl Cluster {
    /// Waits for a turn. What others found out meanwhile need not be found out again.
    async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, AdminError> {
        let since = Instant::now();
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        match &*self.away() {
            Some((at, error)) if *at > since => Err(error.clone()),
            _ => Ok(turn),
        }
    }

    fn note<T>(&self, result: &Result<T, AdminError>) {
        *self.away() = match result {
            Err(error @ AdminError::Unreachable { .. }) => Some((Instant::now(), error.clone())),
            _ => None,
        };
    }

    fn away(&self) -> MutexGuard<'_, Option<(Instant, AdminError)>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a cluster is, and what it wants to know of who comes: for one pass.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    bootstrap: String,
    /// When the pass has asked for long enough.
    until: Instant,
    tls: bool,
    extra: Vec<(String, String)>,
}

impl std::fmt::Debug for Connection {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

impl Connection {
    /// In plain text, as nobody in particular.
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            until: Instant::now() + PATIENCE,
            tls: false,
            extra: Vec::new(),
        }
    }

    /// Over TLS, with an authority of its own and our certificate and key, all in PEM.
    pub fn encrypt(&mut self, ca: Option<&str>, own: Option<(&str, &str)>) {
        self.tls = true;
        self.set("security.protocol", "ssl");
        if let Some(ca) = ca {
            self.set("ssl.ca.pem", ca);
        }
        if let Some((certificate, key)) = own {
            self.set("ssl.certificate.pem", certificate);
            self.set("ssl.key.pem", key);
        }
    }

    /// With a name and a password; after [`encrypt`](Self::encrypt).
    pub fn authenticate(&mut self, mechanism: SaslMechanism, username: &str, password: &str) {
        self.set("security.protocol", if self.tls { "sasl_ssl" } else { "sasl_plaintext" });
        self.set("sasl.mechanism", mechanism.as_str());
        self.set("sasl.username", username);
        self.set("sasl.password", password);
    }

    fn set(&mut self, name: &str, value: &str) {
        self.extra.retain(|(other, _)| other != name);
        self.extra.push((name.to_owned(), value.to_owned()));
    }

    /// Where a group stands in a topic, and where the topic ends; `None` when that cannot be told now.
    pub async fn sample(&self, group: String, topic: String) -> Option<Sample> {
        let options = self.options(&group, &topic);
        match self.ask(move || Ok(sample(&options))).await {
            Ok(Ok(sample)) => Some(sample),
            Ok(Err(error)) => {
                tracing::info!(%error, "no sample of the backlog");
                None
            }
            Err(_) => None,
        }
    }

    /// What a group committed beside its offsets in a topic, by partition; `None` where this user may not know.
    ///
    /// # Errors
    /// [`Error::KafkaSlow`]; [`Error::Offsets`] when it cannot be told now.
    pub async fn committed(&self, group: String, topic: String) -> Result<Option<Vec<(i32, String)>>, Error> {
        let options = self.options(&group, &topic);
        let looked = move || Ok(TopicInspector::connect(&options).and_then(|lookup| lookup.committed()));
        match self.ask(looked).await? {
            Ok(committed) => {
                let known =
                    (0..).zip(committed).filter_map(|(partition, at)| Some((partition, at?.metadata)));
                Ok(Some(known.collect()))
            }
            Err(weir_log::Error::Retry(why) | weir_log::Error::Abort(why)) => Err(Error::Offsets(why)),
            Err(error) => {
                tracing::warn!(%error, group, "what was committed may not be known");
                Ok(None)
            }
        }
    }

    /// Does `work` with an administrator's client, on a thread that may wait.
    ///
    /// # Errors
    /// As the work says; [`Error::KafkaSlow`].
    pub async fn administer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Admin) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, Error> {
        let (connection, cluster) = (self.clone(), cluster(&self.bootstrap));
        self.ask(move || {
            let result = Admin::new(&weir_kafka::Connection {
                client_id: "weir-admin".to_owned(),
                ..connection.client()
            })
            .and_then(|admin| work(&admin));
            cluster.note(&result);
            result
        })
        .await
    }

    fn client(&self) -> weir_kafka::Connection {
        weir_kafka::Connection {
            properties: self.extra.clone(),
            ..weir_kafka::Connection::new(&self.bootstrap, "weir-operator")
        }
    }

    fn options(&self, group: &str, topic: &str) -> Options {
        let mut options = Options::new(&self.bootstrap, group, topic, "weir-operator");
        options.connection = self.client();
        options
    }

    /// Does `work` on a thread of its own, when it is its turn, for as long as there is time.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, Error> {
        let (cluster, until) = (cluster(&self.bootstrap), self.until);
        let slow = || Error::KafkaSlow { bootstrap: self.bootstrap.clone(), waited: PATIENCE };
        if Instant::now() >= until {
            return Err(slow());
        }
        let asked = async {
            let turn = cluster.turn().await?;
            // With the cluster, which is known for as long as a thread of it runs.
            let turn = (turn, Arc::clone(&cluster));
            let thread = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                // Nobody waits for what would begin now, and the next pass may be at it.
                if Instant::now() >= until { Ok(None) } else { work().map(Some) }
            });
            // The thread that is given up ends by itself: each of its calls has a bound.
            match thread.await {
                Ok(done) => done,
                Err(ended) => {
                    resume_panic(ended);
                    Ok(None)
                }
            }
        };
        match tokio::time::timeout_at(self.until.into(), asked).await {
            Ok(Ok(Some(done))) => Ok(done),
            Ok(Err(error)) => Err(Error::from(error)),
            Ok(Ok(None)) | Err(_) => Err(slow()),
        }
    }
}

/// A thread that panicked is a defect, not a slow Kafka. One that was cancelled belongs to a process that ends.
fn resume_panic(ended: tokio::task::JoinError) {
    if let Ok(panic) = ended.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

fn sample(options: &Options) -> Result<Sample, weir_log::Error> {
    let lookup = TopicInspector::connect(options)?;
    // The progress first: what comes meanwhile makes the backlog longer, never shorter than none.
    let committed = lookup.committed()?;
    let at = Timestamp::now().as_millisecond();
    let mut sample = Sample { at, committed: 0, end: 0 };
    for (partition, committed) in (0..).zip(&committed) {
        sample.end += lookup.end(partition)?;
        sample.committed += match committed {
            Some(committed) => committed.offset,
            None => lookup.beginning(partition)?,
        };
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn all_that_a_pass_asks_has_one_bound_and_so_has_waiting_for_others() {
        let address = "127.0.0.1:2";
        let others: Vec<mpsc::Sender<()>> = (0..TURNS)
            .map(|_| {
                let (end, ended) = mpsc::channel::<()>();
                let (began, begun) = mpsc::channel::<()>();
                tokio::spawn(async move {
                    let held = move |_: &Admin| {
                        began.send(()).unwrap();
                        let _ = ended.recv();
                        Ok(())
                    };
                    Connection::new(address).administer(held).await
                });
                begun.recv().unwrap();
                end
            })
            .collect();
        let mut mine = Connection::new(address);
        mine.until = Instant::now() + Duration::from_millis(300);
        let waited = tokio::time::timeout(PATIENCE / 2, mine.administer(|_| Ok(()))).await;
        assert_eq!(waited.unwrap().unwrap_err().reason(), "KafkaUnreachable");
        drop(others);
        // Its time is over, whatever it asks next.
        let (begin, begun) = mpsc::channel();
        let again = mine.administer(move |_| begin.send(()).map_err(|_| unreachable!())).await;
        assert!(again.is_err() && begun.try_recv().is_err(), "nothing begins that nobody waits for");
        Connection::new(address).administer(|_| Ok(())).await.unwrap();
    }
}
