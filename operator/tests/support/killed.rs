//! An operator that is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use kube::config::Kubeconfig;

use super::{Operator, cluster};

/// Runs an operator whose process ends right after its `n`th write to the API server; `false` if it `rests` before.
pub fn dies_after(ns: &str, n: usize, rests: impl Fn() -> bool) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let died = runtime.block_on(async {
        let config = Kubeconfig::read_from(cluster().kubeconfig()).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
        config.default_namespace = ns.to_owned();
        let inner = Client::try_from(config).unwrap();
        let (writes, dead) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let last = Arc::clone(&dead);
        let client = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
            let (inner, writes, dead) = (inner.clone(), Arc::clone(&writes), Arc::clone(&last));
            async move {
                let counts = request.method() != "GET" && !request.uri().path().contains("/leases");
                let answer = inner.send(request).await;
                if counts && writes.fetch_add(1, Ordering::SeqCst) + 1 >= n {
                    dead.notify_one();
                    std::future::pending::<()>().await;
                }
                answer
            }
        });
        let options = Operator::options(ns);
        let serve =
            weir_operator::serve(Client::new(client, ns), options, "test".to_owned(), std::future::pending());
        let rested = async {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
            while !tokio::task::block_in_place(&rests) && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            biased;
            () = dead.notified() => true,
            ended = serve => panic!("the operator ended: {ended:?}"),
            () = rested => false,
        }
    });
    runtime.shutdown_background();
    died
}
