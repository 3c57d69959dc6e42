//! Removes or hashes personal data: the first step after validation, before any counting.
//!
//! What is removed here appears in no result, log, metric label, dead letter or state topic. Events stay in the
//! partition of their raw `user_id`: hashing changes the names under which visitors are counted, never the partition.
//!
//! Hashes are keyed BLAKE3, 128 bits, in lower-case hexadecimal. One secret gives one name per visitor, so visitors stay
//! distinct; without the secret a name cannot be found by trying likely ids. With a new secret every visitor gets a new
//! name.

mod family;

use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::ClickstreamEvent;

/// Separates the key from every other use of the same secret. Part of the hashes' definition: never changes.
const KEY_CONTEXT: &str = "weir 2026-11-21 pseudonyms of visitors";

/// Derives the key's public fingerprint.
const FINGERPRINT_CONTEXT: &str = "weir 2026-11-29 fingerprint of the key of pseudonyms";

/// Hexadecimal digits of 128 bits.
const DIGITS: usize = 32;

/// Treatment of `user_id` and `session_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IdPolicy {
    /// Kept.
    #[default]
    Keep,
    /// Replaced by a keyed hash.
    Hash,
}

/// Treatment of `ip_address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IpPolicy {
    /// Kept.
    #[default]
    Keep,
    /// Reduced to its network, /24 for IPv4 and /48 for IPv6; anything that is not an address is emptied.
    Truncate,
    /// Replaced by a keyed hash; an empty one stays empty.
    Hash,
    /// Emptied.
    Drop,
}

/// Treatment of `user_agent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UserAgentPolicy {
    /// Kept.
    #[default]
    Keep,
    /// Replaced by the browser's family, such as `Firefox`; an empty one stays empty.
    Family,
    /// Emptied.
    Drop,
}

/// The policies of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrivacySettings {
    /// Of `user_id` and `session_id`.
    pub user_id: IdPolicy,
    /// Of `ip_address`.
    pub ip_address: IpPolicy,
    /// Of `user_agent`.
    pub user_agent: UserAgentPolicy,
}

impl PrivacySettings {
    /// Whether a secret is needed.
    pub fn hashes(self) -> bool {
        self.user_id == IdPolicy::Hash || self.ip_address == IpPolicy::Hash
    }
}

/// Why settings cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrivacyError {
    /// A hash is asked for without a secret, or with an empty one, which anyone could try ids against.
    #[error("pii asks for hashes but there is no key or an empty one, name one in pii.hashKeySecretRef")]
    NoKey,
}

/// Applies a pipeline's policies to its events.
///
/// ```
/// use weir_events::{IpPolicy, Privacy, PrivacySettings, Scratch};
/// # use weir_events::{ClickstreamEvent, EventType};
/// # let event = ClickstreamEvent {
/// #     user_id: "u", session_id: "s", event_type: EventType::View, page_url: "/", product_id: None, timestamp: 1,
/// #     user_agent: "", ip_address: "192.0.2.99", referrer: None, session_duration: None,
/// #     ..ClickstreamEvent::EMPTY
/// # };
/// let settings = PrivacySettings { ip_address: IpPolicy::Truncate, ..Default::default() };
/// let privacy = Privacy::new(settings, None)?;
/// let mut scratch = Scratch::default();
/// assert_eq!(privacy.apply(event, &mut scratch).ip_address, "192.0.2.0");
/// # Ok::<(), weir_events::PrivacyError>(())
/// ```
#[derive(Clone)]
pub struct Privacy {
    settings: PrivacySettings,
    key: [u8; blake3::KEY_LEN],
}

/// Buffers for replaced fields, reused from event to event.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    user_id: String,
    session_id: String,
    ip_address: String,
}

impl Privacy {
    /// Applies `settings`, with a secret of any length if they require hashes.
    ///
    /// # Errors
    /// [`PrivacyError::NoKey`] if they require hashes and there is no secret.
    pub fn new(settings: PrivacySettings, secret: Option<&[u8]>) -> Result<Self, PrivacyError> {
        let secret = secret.unwrap_or_default();
        if settings.hashes() && secret.is_empty() {
            return Err(PrivacyError::NoKey);
        }
        Ok(Self { settings, key: blake3::derive_key(KEY_CONTEXT, secret) })
    }

    /// Whether events pass unchanged.
    pub fn keeps_everything(&self) -> bool {
        self.settings == PrivacySettings::default()
    }

    /// The policies and, if they need a key, a short fingerprint of it: two runs with equal parts count visitors under the same
    /// names. The fingerprint allows finding the key only by trying all likely ones.
    pub fn parts(&self) -> Vec<String> {
        let PrivacySettings { user_id, ip_address, user_agent } = self.settings;
        let mut parts = vec![
            format!("user_id {user_id:?}"),
            format!("ip_address {ip_address:?}"),
            format!("user_agent {user_agent:?}"),
        ];
        if self.settings.hashes() {
            let fingerprint = blake3::derive_key(FINGERPRINT_CONTEXT, &self.key);
            parts.push(format!("pii key {}", &blake3::Hash::from(fingerprint).to_hex()[..8]));
        }
        parts
    }

    /// Applies the policies to an event. Allocates nothing once `scratch` has held an event.
    #[inline]
    pub fn apply<'a>(&self, event: ClickstreamEvent<'a>, scratch: &'a mut Scratch) -> ClickstreamEvent<'a> {
        if self.keeps_everything() { event } else { self.reduce(event, scratch) }
    }

    fn reduce<'a>(&self, mut event: ClickstreamEvent<'a>, scratch: &'a mut Scratch) -> ClickstreamEvent<'a> {
        if self.settings.user_id == IdPolicy::Hash {
            event.user_id = self.hash(event.user_id, &mut scratch.user_id);
            event.session_id = self.hash(event.session_id, &mut scratch.session_id);
        }
        event.ip_address = match self.settings.ip_address {
            IpPolicy::Keep => event.ip_address,
            IpPolicy::Truncate => network(event.ip_address, &mut scratch.ip_address),
            IpPolicy::Hash if event.ip_address.is_empty() => "",
            IpPolicy::Hash => self.hash(event.ip_address, &mut scratch.ip_address),
            IpPolicy::Drop => "",
        };
        // Clients put anything there, ids and addresses too.
        event.properties = None;
        event.user_agent = match self.settings.user_agent {
            UserAgentPolicy::Keep => event.user_agent,
            UserAgentPolicy::Family => family::of(event.user_agent),
            UserAgentPolicy::Drop => "",
        };
        event
    }

    fn hash<'a>(&self, value: &str, out: &'a mut String) -> &'a str {
        out.clear();
        out.push_str(&blake3::keyed_hash(&self.key, value.as_bytes()).to_hex()[..DIGITS]);
        out
    }
}

impl fmt::Debug for Privacy {
    /// Omits the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Privacy").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The network of an address. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is treated as IPv4.
fn network<'a>(address: &str, out: &'a mut String) -> &'a str {
    out.clear();
    // Writing into a string cannot fail.
    let _ = match address.parse().map(|address: IpAddr| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => write!(out, "{}", Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
        Ok(IpAddr::V6(v6)) => write!(out, "{}", Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80)),
        Err(_) => Ok(()),
    };
    out
}

#[cfg(test)]
mod tests;
