//! Differences between values as JSON merge patches (RFC 7396).

use serde_json::{Map, Value};

/// The patch from `old` to `new`; `None` if they are equal. RFC 7396 cannot set a field to null, only remove it, so
/// readers must treat a missing field as null.
pub(super) fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (name, value) in new {
        let changed = match old.get(name) {
            Some(before) => difference(before, value),
            None => Some(value.clone()),
        };
        patch.extend(changed.map(|changed| (name.clone(), changed)));
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    patch.extend(gone.map(|name| (name.clone(), Value::Null)));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// RFC 7396, section 2.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (name, value) in patch {
            let target = target.as_object_mut().unwrap();
            if value.is_null() {
                target.remove(name);
            } else {
                apply(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let number = (0..3i64).prop_map(Value::from);
        let leaf = prop_oneof![number, prop::collection::vec(0..3i64, 0..3).prop_map(|list| json!(list))];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map))
        })
    }

    proptest! {
        #[test]
        fn a_patch_turns_the_old_value_into_the_new(old in values(), new in values()) {
            match difference(&old, &new) {
                None => prop_assert_eq!(old, new),
                Some(patch) => {
                    let mut patched = old;
                    apply(&mut patched, &patch);
                    prop_assert_eq!(patched, new);
                }
            }
        }
    }

    #[test]
    fn a_patch_holds_only_changes() {
        let old = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": 4});
        let new = json!({"a": 1, "b": {"c": 2, "d": 5}});
        assert_eq!(difference(&old, &new), Some(json!({"b": {"d": 5}, "e": null})));
        assert_eq!(difference(&new, &new), None);
    }
}
