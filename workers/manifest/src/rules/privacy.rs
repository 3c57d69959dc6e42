//! Rules about privacy.

use crate::{DeadLetterPayload, IdPolicy, IpPolicy, PipelineSpec, Problem};

pub(super) fn hashing_has_a_key(spec: &PipelineSpec) -> Vec<Problem> {
    let pii = &spec.pii;
    let hashed = [("userId", pii.user_id == IdPolicy::Hash), ("ipAddress", pii.ip_address == IpPolicy::Hash)];
    let hashed: Vec<_> = hashed.into_iter().filter(|(_, hash)| *hash).map(|(field, _)| field).collect();
    if hashed.is_empty() || pii.hash_key_secret_ref.is_some() {
        return Vec::new();
    }
    let message = format!(
        "missing, must name a secret's key because {} is Hash: a hash without a key is undone by trying all values",
        hashed.join(" and ")
    );
    vec![Problem::new("spec.pii.hashKeySecretRef", message)]
}

pub(super) fn dead_letters_keep_what_is_hidden(spec: &PipelineSpec) -> Option<Problem> {
    let kept = spec.dead_letters.payload == Some(DeadLetterPayload::Keep);
    (kept && spec.pii.hides()).then(|| {
        let message = "Keep writes the original bytes, and in them what spec.pii hides elsewhere";
        Problem::new("spec.deadLetters.payload", message)
    })
}
