//! What is hidden of visitors, before anything is counted or kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKeyRef;

/// What is hidden of visitors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pii {
    /// User and session ids.
    pub user_id: IdPolicy,
    /// Addresses.
    pub ip_address: IpPolicy,
    /// The browsers' names for themselves.
    pub user_agent: UserAgentPolicy,
    /// The key that ids and addresses are hashed with; needed where a policy is Hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_key_secret_ref: Option<SecretKeyRef>,
}

impl Pii {
    /// Whether anything at all is hidden.
    pub fn hides(&self) -> bool {
        self.user_id != IdPolicy::Keep
            || self.ip_address != IpPolicy::Keep
            || self.user_agent != UserAgentPolicy::Keep
    }

    /// Whether a key is needed.
    pub fn hashes(&self) -> bool {
        self.user_id == IdPolicy::Hash || self.ip_address == IpPolicy::Hash
    }

    /// Whether a key is long enough. All of its bytes count, also a newline at its end.
    ///
    /// # Errors
    /// What was found and what is expected.
    pub fn check_key(key: &[u8]) -> Result<(), String> {
        const LEAST: usize = 16;
        if key.len() >= LEAST {
            return Ok(());
        }
        Err(format!(
            "found {} bytes, expected at least {LEAST}, better 32 random ones: a short key is found by trying. \
             `openssl rand -out key 32` makes one",
            key.len()
        ))
    }
}

/// What becomes of user and session ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IdPolicy {
    /// They stay.
    #[default]
    Keep,
    /// A keyed hash takes their place.
    Hash,
}

/// What becomes of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpPolicy {
    /// They stay.
    #[default]
    Keep,
    /// Only the network stays: /24, or /48 of IPv6.
    Truncate,
    /// A keyed hash takes their place.
    Hash,
    /// They are left out.
    Drop,
}

/// What becomes of user agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UserAgentPolicy {
    /// They stay.
    #[default]
    Keep,
    /// Only the family stays, such as Firefox.
    Family,
    /// They are left out.
    Drop,
}

/// What is kept of records that cannot be counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeadLetters {
    /// Their original bytes. Absent: Keep, but Omit where `pii` hides anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<DeadLetterPayload>,
}

/// Whether a dead letter carries the original bytes of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeadLetterPayload {
    /// It does, whatever `pii` says.
    Keep,
    /// Only the reason and the record's place.
    Omit,
}
