//! The cluster, and how to reach it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ObjectRef, SecretKeyRef};
use crate::pattern;

/// The Kafka cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kafka {
    /// Brokers to begin with, as `host:port`. A process may be told on its command line instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 260), regex(pattern = pattern::HOST_PORT)))]
    pub bootstrap_servers: Vec<String>,
    /// Encrypt, and check the brokers' certificates. Absent: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Say who we are. Absent: anonymous, or the client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Where schemas are registered. Absent: records carry their schema's fingerprint (Avro single-object encoding).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_registry: Option<SchemaRegistry>,
}

/// Transport security.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tls {
    /// Authority that signed the brokers' certificates (PEM). Absent: the system's authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// Our own certificate: a secret of type kubernetes.io/tls with `tls.crt` and `tls.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_secret_ref: Option<ObjectRef>,
}

/// Authentication by name and password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sasl {
    /// How the password is shown to the broker.
    pub mechanism: SaslMechanism,
    /// A secret with `username` and `password`.
    pub secret_ref: ObjectRef,
}

/// How a password is shown to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// The password itself: only with `tls`.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of it, SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof of it, SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// The name that Kafka clients know it by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A schema registry with Confluent's API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SchemaRegistry {
    /// Base address, `http://` or `https://`.
    #[schemars(regex(pattern = pattern::HTTP_URL))]
    pub url: String,
}
