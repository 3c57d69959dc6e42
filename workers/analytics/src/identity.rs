//! Identities: two ids as one hash.

use siphasher::sip128::SipHasher13;
use weir_events::{MAX_EVENT_ID, MAX_ID};

/// Part of the identities' definition, and so of snapshots: never changes.
const KEY: [u64; 2] = [0x7765_6972_2065_7665, 0x6e74_2069_6473_2031];

/// Of an event: its user and its id, hashed. Of a visitor: the user alone; no event has an empty id.
pub(crate) type Identity = u128;

/// Bytes of a user and an event id that are hashed from the stack. No valid event has more.
const INLINE: usize = 8 + MAX_ID + MAX_EVENT_ID;

/// The identity of a user's event.
pub(crate) fn identity(user_id: &str, event_id: &str) -> Identity {
    let hasher = SipHasher13::new_with_keys(KEY[0], KEY[1]);
    // The length keeps the two apart.
    let parts = [&(user_id.len() as u64).to_le_bytes()[..], user_id.as_bytes(), event_id.as_bytes()];
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    if length > INLINE {
        return hasher.hash(&parts.concat()).as_u128();
    }
    let mut buffer = [0; INLINE];
    let mut end = 0;
    for part in parts {
        buffer[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    hasher.hash(&buffer[..end]).as_u128()
}

/// The identity of a user.
pub(crate) fn visitor(user_id: &str) -> Identity {
    identity(user_id, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Snapshots have them: they never change.
    #[test]
    fn identities_are_these() {
        let hex = |id: Identity| id.to_le_bytes().map(|b| format!("{b:02x}")).concat();
        assert_eq!(hex(identity("user-1", "event-1")), "6bb25cb98e9d01025aed72344ef2689f");
        assert_ne!(identity("ab", "c"), identity("a", "bc"));
        assert_ne!(identity("a", "c"), identity("b", "c"));
    }
}
