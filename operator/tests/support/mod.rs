//! One control plane for the tests of a binary.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use weir_cluster::{Cluster, Settings};

/// An API server with the custom resource's definition, and the controllers.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::start_with(&Settings { controllers: true, ..Settings::default() }).unwrap();
        cluster.apply(&weir_operator::crd().unwrap()).unwrap();
        let name = "customresourcedefinition/clickstreampipelines.weir.dev";
        cluster.kubectl(&["wait", "--for=condition=Established", name, "--timeout=60s"]).unwrap();
        // It serves a new kind a little later than it takes it.
        await_that("kubectl knows the kind", || cluster.kubectl(&["explain", "csp"]).is_ok());
        cluster
    })
}

/// Waits until something holds.
#[track_caller]
pub fn await_that(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A namespace of its own for a test.
pub fn namespace(name: &str) -> String {
    cluster().kubectl(&["create", "namespace", name]).unwrap();
    name.to_owned()
}
