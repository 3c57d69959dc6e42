//! What runs: processors, the generator, the gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FreeForm, GatewayService, HttpRoute, Ingress};
use crate::Duration;

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
    /// Time in which what has piled up is to be worked off: the shorter, the more processors a backlog brings.
    pub catch_up: Duration,
    /// Events a second that one processor manages. Absent: measured while there is a backlog.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub events_per_processor: Option<i32>,
    /// Time after a change during which no processor is added.
    pub scale_up_cooldown: Duration,
    /// Time after a change, or after the last need for as many, during which none is taken away.
    pub scale_down_cooldown: Duration,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            mode: AutoscalingMode::Disabled,
            min_replicas: 1,
            max_replicas: 6,
            catch_up: Duration::from_secs(120),
            events_per_processor: None,
            scale_up_cooldown: Duration::from_secs(60),
            scale_down_cooldown: Duration::from_secs(600),
        }
    }
}

/// By what the number of processors is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AutoscalingMode {
    /// `replicas` says it, and nobody else changes it.
    Disabled,
    /// The operator writes `replicas` by the backlog that it measures.
    Lag,
    /// The operator only says, in the status and in events, what it would do under Lag.
    LagDryRun,
    /// Another autoscaler (an HPA, KEDA) writes `replicas` through the scale subresource.
    External,
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
    /// Merged into the pods, containers by name.
    #[serde(skip_serializing_if = "FreeForm::is_empty")]
    pub pod_template: FreeForm,
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
            pod_template: FreeForm::default(),
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
    /// Its Service.
    #[serde(skip_serializing_if = "GatewayService::is_default")]
    pub service: GatewayService,
    /// Absent: none is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Absent: none is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRoute>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            replicas: 1,
            pod_template: FreeForm::default(),
            service: GatewayService::default(),
            ingress: None,
            http_route: None,
        }
    }
}
