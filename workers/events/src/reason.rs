//! Why a record goes to the dead letters: one list for every stage.

use std::fmt;

/// Why a record is not counted. The codes are part of the dead letters' format and label metrics: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not the Avro of its schema.
    Malformed,
    /// Avro with an unknown schema.
    UnknownSchema,
    /// Empty `user_id`.
    EmptyUserId,
    /// Empty `session_id`.
    EmptySessionId,
    /// Empty `page_url`.
    EmptyPageUrl,
    /// A page that is neither an absolute http(s) URL nor an absolute path.
    BadPageUrl,
    /// A time at or before the epoch.
    NonPositiveTimestamp,
    /// A time too far ahead of the record's own.
    FutureTimestamp,
    /// More than [`MAX_PAGE_URL`](crate::MAX_PAGE_URL) bytes.
    PageUrlTooLong,
    /// More than [`MAX_USER_AGENT`](crate::MAX_USER_AGENT) bytes.
    UserAgentTooLong,
    /// A user, session or product of more than [`MAX_ID`](crate::MAX_ID) bytes.
    IdTooLong,
    /// An event id of more than [`MAX_EVENT_ID`](crate::MAX_EVENT_ID) bytes.
    EventIdTooLong,
    /// A site of more than [`MAX_SITE_ID`](crate::MAX_SITE_ID) bytes.
    SiteIdTooLong,
    /// An event's name of more than [`MAX_EVENT_NAME`](crate::MAX_EVENT_NAME) bytes.
    EventNameTooLong,
    /// A currency of more than [`MAX_CURRENCY`](crate::MAX_CURRENCY) bytes.
    CurrencyTooLong,
    /// More than [`MAX_PROPERTIES`](crate::MAX_PROPERTIES) properties, or more than
    /// [`MAX_PROPERTIES_BYTES`](crate::MAX_PROPERTIES_BYTES) bytes of them.
    PropertiesTooLarge,
    /// All windows of the event were sealed before it arrived.
    Late,
}

impl Reason {
    /// All reasons, so that metrics exist from the start.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::UnknownSchema,
        Self::EmptyUserId,
        Self::EmptySessionId,
        Self::EmptyPageUrl,
        Self::BadPageUrl,
        Self::NonPositiveTimestamp,
        Self::FutureTimestamp,
        Self::PageUrlTooLong,
        Self::UserAgentTooLong,
        Self::IdTooLong,
        Self::EventIdTooLong,
        Self::SiteIdTooLong,
        Self::EventNameTooLong,
        Self::CurrencyTooLong,
        Self::PropertiesTooLarge,
        Self::Late,
    ];

    /// The stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownSchema => "unknown_schema",
            Self::EmptyUserId => "empty_user_id",
            Self::EmptySessionId => "empty_session_id",
            Self::EmptyPageUrl => "empty_page_url",
            Self::BadPageUrl => "bad_page_url",
            Self::NonPositiveTimestamp => "non_positive_timestamp",
            Self::FutureTimestamp => "future_timestamp",
            Self::PageUrlTooLong => "page_url_too_long",
            Self::UserAgentTooLong => "user_agent_too_long",
            Self::IdTooLong => "id_too_long",
            Self::EventIdTooLong => "event_id_too_long",
            Self::SiteIdTooLong => "site_id_too_long",
            Self::EventNameTooLong => "event_name_too_long",
            Self::CurrencyTooLong => "currency_too_long",
            Self::PropertiesTooLarge => "properties_too_large",
            Self::Late => "late",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that is not counted: the reason, and a readable detail. The detail names fields, lengths and times, never a
/// field's value, because the privacy stage may have to remove that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Invalid {
    /// The reason code.
    pub reason: Reason,
    /// What was found and what is allowed.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_stable() {
        let codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.to_string()).collect();
        assert_eq!(
            codes.join(" "),
            "malformed unknown_schema empty_user_id empty_session_id empty_page_url bad_page_url \
             non_positive_timestamp future_timestamp page_url_too_long user_agent_too_long id_too_long event_id_too_long \
             site_id_too_long event_name_too_long currency_too_long properties_too_large late"
        );
        assert_eq!(Reason::ALL.iter().collect::<BTreeSet<_>>().len(), codes.len());
    }
}
