//! The operator's requests to Kafka: short-lived clients on blocking threads, with a time limit per pass.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use weir_kafka::admin::{Admin, AdminError};
use weir_kafka::{MemberOptions, TopicInspector};
use weir_log::{Generation, Generations, ToldAfter};
use weir_manifest::SaslMechanism;

use crate::Error;
use crate::autoscale::Sample;

/// Timeout of all requests to Kafka in one pass, including the wait for other pipelines' requests. A single request's timeout is
/// shorter.
const PASS_TIMEOUT: Duration = Duration::from_secs(90);

/// A request that was given up sooner than this after its start does not count against Kafka: most of its time went by in the queue.
const MIN_OUTAGE_TIME: Duration = Duration::from_secs(30);

/// Maximum blocking threads per Kafka cluster: one that does not answer leaves the rest to others.
const THREADS_PER_CLUSTER: usize = 2;

/// State shared by all requests to one cluster.
struct Cluster {
    turns: Arc<Semaphore>,
    /// The last request that was not answered.
    outage: Mutex<Option<(Instant, AdminError)>>,
}

/// The cluster at these addresses.
fn cluster(bootstrap: &str) -> Arc<Cluster> {
    static CLUSTERS: Mutex<BTreeMap<String, Arc<Cluster>>> = Mutex::new(BTreeMap::new());
    let mut clusters = CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Clusters without running requests are dropped.
    clusters.retain(|name, cluster| name == bootstrap || Arc::strong_count(cluster) > 1);
    let new = || {
        Arc::new(Cluster { turns: Arc::new(Semaphore::new(THREADS_PER_CLUSTER)), outage: Mutex::new(None) })
    };
    Arc::clone(clusters.entry(bootstrap.to_owned()).or_insert_with(new))
}

impl Cluster {
    /// Waits for a turn. If another request found the cluster unreachable meanwhile, that error is returned.
    async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, AdminError> {
        let since = Instant::now();
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        match &*self.outage() {
            Some((at, error)) if *at > since => Err(error.clone()),
            _ => Ok(turn),
        }
    }

    fn note<T>(&self, result: &Result<T, AdminError>) {
        *self.outage() = match result {
            Err(error @ AdminError::Unreachable { .. }) => Some((Instant::now(), error.clone())),
            _ => None,
        };
    }

    fn outage(&self) -> MutexGuard<'_, Option<(Instant, AdminError)>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Address and credentials of a cluster, for one pass.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    bootstrap: String,
    /// The pass's deadline for requests to Kafka.
    until: Instant,
    tls: bool,
    extra: Vec<(String, String)>,
}

impl std::fmt::Debug for Connection {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

impl Connection {
    /// In plain text, without authentication.
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            until: Instant::now() + PASS_TIMEOUT,
            tls: false,
            extra: Vec::new(),
        }
    }

    /// Over TLS, with a CA certificate and a client certificate and key, all in PEM.
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

    /// With SASL user and password; after [`encrypt`](Self::encrypt).
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

    /// A group's committed offsets in a topic and the topic's end offsets; `None` if they cannot be read now.
    pub async fn sample(&self, group: String, topic: String) -> Option<Sample> {
        let options = self.options(&group, &topic);
        match self.run_blocking(move || Ok(sample(&options))).await {
            Ok(Ok(sample)) => Some(sample),
            Ok(Err(error)) => {
                tracing::info!(%error, "no lag sample");
                None
            }
            Err(_) => None,
        }
    }

    /// A group's commit metadata in a topic, by partition; `None` if this user is not allowed to read it.
    ///
    /// # Errors
    /// [`Error::KafkaSlow`]; [`Error::KafkaBusy`]; [`Error::Offsets`] if it cannot be read now.
    pub async fn committed(&self, group: String, topic: String) -> Result<Option<Vec<(i32, String)>>, Error> {
        let options = self.options(&group, &topic);
        let read = move || Ok(TopicInspector::connect(&options).and_then(|lookup| lookup.committed()));
        let committed = known(self.run_blocking(read).await?, &group)?;
        Ok(committed.map(|committed| {
            (0..).zip(committed).filter_map(|(partition, at)| Some((partition, at?.metadata))).collect()
        }))
    }

    /// The generations that a topic records.
    ///
    /// # Errors
    /// [`Error::KafkaSlow`]; [`Error::KafkaBusy`]; [`Error::GenerationsUnknown`] if they cannot be read.
    pub async fn generations(&self, topic: String) -> Result<Generations, Error> {
        let options = self.options(&topic, &topic);
        let read =
            move || Ok(TopicInspector::connect(&options).and_then(|lookup| lookup.generations(&topic)));
        self.run_blocking(read).await?.map_err(|error| Error::GenerationsUnknown(error.to_string()))
    }

    /// Records generations after those that are `recorded`.
    ///
    /// # Errors
    /// [`Error::KafkaSlow`]; [`Error::KafkaBusy`]; [`Error::GenerationNotRecorded`], also if others were recorded meanwhile.
    pub async fn record_generations(
        &self,
        topic: String,
        recorded: Generations,
        declared: Vec<Generation>,
    ) -> Result<(), Error> {
        let client = self.client();
        let record = move || Ok(weir_kafka::record_generations(&client, &topic, &recorded, &declared));
        self.run_blocking(record).await?.map_err(|error| Error::GenerationNotRecorded(error.to_string()))
    }

    /// The decisive settings that a group has committed in a topic; `None` if it has committed nothing.
    ///
    /// # Errors
    /// As [`committed`](Self::committed).
    pub async fn committed_settings(&self, group: String, topic: String) -> Result<Option<String>, Error> {
        let options = self.options(&group, &topic);
        let read =
            move || Ok(TopicInspector::connect(&options).and_then(|lookup| lookup.committed_settings()));
        known(self.run_blocking(read).await?, &group).map(Option::flatten)
    }

    /// The end up to which windows are not emitted by the generation of a stage 1 group, once those after it follow.
    ///
    /// # Errors
    /// As [`committed`](Self::committed).
    pub async fn told_after(&self, group: String, topic: String) -> Result<Option<i64>, Error> {
        let options = self.options(&group, &topic);
        let read = move || Ok(TopicInspector::connect(&options).and_then(|lookup| lookup.committed()));
        let committed = known(self.run_blocking(read).await?, &group)?;
        Ok(committed.and_then(|committed| ToldAfter::passed(&committed)))
    }

    /// Runs `work` with an admin client on a blocking thread.
    ///
    /// # Errors
    /// Those of `work`; [`Error::KafkaSlow`]; [`Error::KafkaBusy`].
    pub async fn administer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Admin) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, Error> {
        let (connection, cluster) = (self.clone(), cluster(&self.bootstrap));
        self.run_blocking(move || {
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

    fn options(&self, group: &str, topic: &str) -> MemberOptions {
        let mut options = MemberOptions::new(&self.bootstrap, group, topic, "weir-operator");
        options.connection = self.client();
        options
    }

    /// Runs `work` on a blocking thread once one of the cluster's turns is free, until the deadline.
    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, Error> {
        let (cluster, until) = (cluster(&self.bootstrap), self.until);
        let busy = || Error::KafkaBusy { bootstrap: self.bootstrap.clone(), threads: THREADS_PER_CLUSTER };
        if Instant::now() >= until {
            return Err(busy());
        }
        let turn = timeout_at(until, cluster.turn()).await.map_err(|_| busy())??;
        // The thread holds the cluster too, so that it is not dropped while one runs.
        let turn = (turn, Arc::clone(&cluster));
        let begun = Instant::now();
        let thread = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // After the deadline nobody waits for the result, and the next pass may already run the same.
            if Instant::now() >= until { Ok(None) } else { work().map(Some) }
        });
        // A thread that is given up ends by itself: each of its calls has a timeout.
        let done = match timeout_at(until, thread).await {
            Ok(Ok(done)) => done?,
            Ok(Err(ended)) => {
                resume_panic(ended);
                None
            }
            Err(_) => None,
        };
        done.ok_or_else(|| match begun.elapsed() {
            waited if waited < MIN_OUTAGE_TIME => busy(),
            waited => Error::KafkaSlow { bootstrap: self.bootstrap.clone(), waited },
        })
    }
}

/// What a group has committed; `None` if this user is not allowed to read it.
fn known<T>(read: Result<T, weir_log::Error>, group: &str) -> Result<Option<T>, Error> {
    match read {
        Ok(committed) => Ok(Some(committed)),
        Err(weir_log::Error::Retry(why) | weir_log::Error::Abort(why)) => {
            Err(Error::Offsets(why.to_string()))
        }
        Err(error) => {
            tracing::warn!(%error, group, "not allowed to read the committed offsets");
            Ok(None)
        }
    }
}

/// A panic of the thread is a defect, not a slow Kafka. A cancelled thread belongs to a process that ends.
fn resume_panic(ended: tokio::task::JoinError) {
    if let Ok(panic) = ended.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

fn sample(options: &MemberOptions) -> Result<Sample, weir_log::Error> {
    let lookup = TopicInspector::connect(options)?;
    // Committed offsets first: events that arrive in between increase the lag, and it never gets negative.
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

    /// Occupies all threads of a cluster until the returned senders are dropped.
    fn occupied(address: &'static str) -> Vec<mpsc::Sender<()>> {
        let occupied = |_| {
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
        };
        (0..THREADS_PER_CLUSTER).map(occupied).collect()
    }

    /// Waits until no request to a cluster runs.
    async fn idle(address: &str) {
        let all = u32::try_from(THREADS_PER_CLUSTER).unwrap();
        drop(cluster(address).turns.acquire_many(all).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn waiting_for_other_requests_is_bounded_and_not_reported_as_an_outage() {
        let address = "127.0.0.1:2";
        let others = occupied(address);
        let mut mine = Connection::new(address);
        mine.until = Instant::now() + Duration::from_millis(300);
        let waited = tokio::time::timeout(PASS_TIMEOUT / 2, mine.administer(|_| Ok(()))).await;
        let error = waited.unwrap().unwrap_err();
        assert!(error.reason() == "WaitingForKafka" && !error.is_unreachable(), "{error}");
        drop(others);
        idle(address).await;
        // After the deadline no further request starts.
        let (begin, begun) = mpsc::channel();
        let again = mine.administer(move |_| begin.send(()).map_err(|_| unreachable!())).await;
        idle(address).await;
        assert!(again.is_err() && begun.try_recv().is_err(), "a request started after its deadline");
        Connection::new(address).administer(|_| Ok(())).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_request_without_an_answer_is_reported_as_an_outage() {
        for (time, reason) in
            [(MIN_OUTAGE_TIME / 2, "WaitingForKafka"), (MIN_OUTAGE_TIME * 2, "KafkaUnreachable")]
        {
            let (end, ended) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let mut mine = Connection::new("127.0.0.1:3");
            mine.until = Instant::now() + time;
            let mut request = std::pin::pin!(mine.administer(move |_| {
                begin.send(()).unwrap();
                let _ = ended.recv();
                Ok(())
            }));
            tokio::select! { biased; _ = &mut request => panic!("it ended"), () = std::future::ready(()) => {} }
            begun.recv().unwrap();
            tokio::time::advance(time).await;
            assert_eq!(request.await.unwrap_err().reason(), reason);
            drop(end);
            idle("127.0.0.1:3").await;
        }
    }

    /// With more passes than the process has threads.
    #[test]
    fn a_request_that_waited_past_its_deadline_does_not_start() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).enable_all().build().unwrap();
        let address = "127.0.0.1:4";
        let (end, ended) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || ended.recv());
        let (begin, begun) = mpsc::channel();
        runtime.block_on(async {
            let mut mine = Connection::new(address);
            mine.until = Instant::now() + Duration::from_millis(100);
            let request = mine.administer(move |_| begin.send(()).map_err(|_| unreachable!()));
            assert!(request.await.is_err());
            drop(end);
            idle(address).await;
        });
        assert!(begun.try_recv().is_err());
    }
}
