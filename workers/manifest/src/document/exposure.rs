//! How the gateway is reached from outside the cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// The gateway's Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayService {
    /// From where it can be reached.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// For whoever provides load balancers, names and the like.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl GatewayService {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// From where a Service can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// From within the cluster.
    #[default]
    ClusterIP,
    /// By a port of every node.
    NodePort,
    /// By an address of its own.
    LoadBalancer,
}

impl ServiceType {
    /// As Kubernetes has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// An Ingress of the gateway. There is no login: whoever reaches it can read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ingress {
    /// The name under which it is asked for.
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub host: String,
    /// Whose it is. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub class_name: Option<String>,
    /// A secret of type kubernetes.io/tls with the host's certificate. Absent: no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub tls_secret_name: Option<String>,
    /// For the controller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An HTTPRoute of the gateway (Gateway API). There is no login: whoever reaches it can read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRoute {
    /// The Gateways that it belongs to.
    #[schemars(length(min = 1, max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// The names under which it is asked for. None: all of the Gateway's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(regex(pattern = pattern::OBJECT_NAME)))]
    pub hostnames: Vec<String>,
    /// For the controller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A Gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// Its name.
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub name: String,
    /// Where it is. Absent: in the pipeline's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub namespace: Option<String>,
    /// One of its listeners. Absent: all that allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = pattern::OBJECT_NAME))]
    pub section_name: Option<String>,
}
