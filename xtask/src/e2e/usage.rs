//! What a pod uses, as its kubelet measures it.

use anyhow::Context;

use super::tools::Tools;

/// One look.
pub(super) struct Usage {
    /// Seconds of one core since it began.
    cpu: f64,
    /// When the CPU was looked at, in milliseconds.
    at: f64,
    /// Bytes that cannot be taken away from it.
    pub(super) memory: f64,
}

impl Usage {
    /// Looks at a container of a pod.
    pub(super) fn look(tools: &Tools, namespace: &str, pod: &str, container: &str) -> anyhow::Result<Self> {
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

    /// Thousandths of a core since an earlier look; `None` when the kubelet has not looked again since.
    pub(super) fn millicores_since(&self, earlier: &Self) -> Option<f64> {
        let seconds = (self.at - earlier.at) / 1_000.0;
        (seconds > 0.0).then(|| (self.cpu - earlier.cpu) / seconds * 1_000.0)
    }
}
