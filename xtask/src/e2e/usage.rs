//! The resource usage of a pod, measured by its kubelet.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::tools::Tools;

/// A container's usage over some time.
pub(super) struct Used {
    pub(super) millicores: f64,
    /// Bytes of its working set.
    pub(super) memory: f64,
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MB, {:.2} thousandths of a core", self.memory / 1e6, self.millicores)
    }
}

/// One measurement.
pub(super) struct Usage {
    /// Seconds of one core since it began.
    cpu: f64,
    /// When the CPU was measured, in milliseconds.
    at: f64,
    /// Bytes of its working set.
    pub(super) memory: f64,
}

impl Usage {
    /// A container's usage over at least a minute.
    pub(super) fn over_a_minute(
        tools: &Tools,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> anyhow::Result<Used> {
        let (first, begun) = (Self::measure(tools, namespace, pod, container)?, Instant::now());
        let mut used = None;
        tools.await_that("a minute passes, and the kubelet measures again", || {
            if begun.elapsed() >= Duration::from_secs(60) {
                used = Self::measure(tools, namespace, pod, container)?.since(&first);
            }
            Ok(used.is_some())
        })?;
        used.context("the kubelet measures no usage")
    }

    /// Measures a container of a pod.
    pub(super) fn measure(
        tools: &Tools,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> anyhow::Result<Self> {
        let node = tools
            .kubectl(&format!("--namespace {namespace} get {pod} --output jsonpath={{.spec.nodeName}}"))?;
        let metrics = tools.kubectl(&format!("get --raw /api/v1/nodes/{node}/proxy/metrics/resource"))?;
        let name = pod.trim_start_matches("pod/");
        let labels = format!("{{container=\"{container}\",namespace=\"{namespace}\",pod=\"{name}\"}} ");
        let find = |metric: &str| -> Option<(f64, f64)> {
            let line = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(&labels))?;
            let (value, at) = line.split_once(' ')?;
            Some((value.parse().ok()?, at.parse().ok()?))
        };
        let (cpu, at) =
            find("container_cpu_usage_seconds_total").context("the kubelet knows no CPU usage yet")?;
        let (memory, _) =
            find("container_memory_working_set_bytes").context("the kubelet knows no memory usage")?;
        Ok(Self { cpu, at, memory })
    }

    /// The usage since an earlier measurement; `None` if the kubelet has not measured again since.
    pub(super) fn since(&self, earlier: &Self) -> Option<Used> {
        let seconds = (self.at - earlier.at) / 1_000.0;
        let used = || Used { millicores: (self.cpu - earlier.cpu) / seconds * 1_000.0, memory: self.memory };
        (seconds > 0.0).then(used)
    }
}
