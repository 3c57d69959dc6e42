//! What runs: processors, the generator, the gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FreeForm;

/// The pods that compute the results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Processor {
    /// How many. More than the events topic has partitions cannot help and are not started.
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Requests and limits of each.
    #[serde(skip_serializing_if = "FreeForm::is_empty")]
    pub resources: FreeForm,
    /// Merged into the pods, containers by name.
    #[serde(skip_serializing_if = "FreeForm::is_empty")]
    pub pod_template: FreeForm,
    /// Who decides how many.
    pub autoscaling: Autoscaling,
}

impl Default for Processor {
    fn default() -> Self {
        Self {
            replicas: 2,
            resources: FreeForm::default(),
            pod_template: FreeForm::default(),
            autoscaling: Autoscaling::default(),
        }
    }
}

/// Who decides how many processors there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Autoscaling {
    /// By what, if at all.
    pub mode: AutoscalingMode,
    /// Never fewer.
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// Never more.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self { mode: AutoscalingMode::Disabled, min_replicas: 1, max_replicas: 6 }
    }
}

/// By what the number of processors is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AutoscalingMode {
    /// `replicas` says it; an autoscaler of your own may use the scale subresource.
    Disabled,
    /// A HorizontalPodAutoscaler on CPU.
    Cpu,
}

/// Simulated visitors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Generator {
    /// Whether there are any.
    pub enabled: bool,
    /// Events per second: the mean over a day.
    #[schemars(range(min = 0.1, max = 1_000_000.0))]
    pub events_per_second: f64,
    /// Visitors.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub users: u32,
    /// Pages of the shop.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub pages: u32,
    /// Products of the shop.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub products: u32,
    /// Everything random is drawn from it: the same seed gives the same events.
    pub seed: u64,
    /// How the rate changes over the day.
    pub profile: Profile,
}

impl Default for Generator {
    fn default() -> Self {
        Self {
            enabled: true,
            events_per_second: 100.0,
            users: 1_000,
            pages: 100,
            products: 500,
            seed: 42,
            profile: Profile::Diurnal,
        }
    }
}

/// How the generator's rate changes over the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    /// Not at all.
    Constant,
    /// With a peak in the evening and a low in the morning.
    Diurnal,
}

/// The pods that answer REST and WebSocket and serve the dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gateway {
    /// How many.
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Merged into the pods, containers by name.
    #[serde(skip_serializing_if = "FreeForm::is_empty")]
    pub pod_template: FreeForm,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { replicas: 1, pod_template: FreeForm::default() }
    }
}
