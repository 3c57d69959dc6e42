//! Merges one manifest over another, as `podTemplate` over the pods'.

use serde_json::{Map, Value};

/// Lists whose entries are identified by a field, and that field; all other lists are replaced as a whole.
const NAMED: [(&str, &str); 7] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("ports", "name"),
    ("imagePullSecrets", "name"),
    ("volumeMounts", "mountPath"),
];

/// The field that identifies the entries of a list, if there is one.
pub(crate) fn entry_key(list: &str) -> Option<&'static str> {
    NAMED.iter().find(|(name, _)| *name == list).map(|(_, key)| *key)
}

/// Merges `over` into `base`: fields one by one, named entries by name, everything else replaced; null removes a field.
pub(super) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            over.iter().for_each(|(name, value)| field(base, name, value))
        }
        (base, over) => *base = over.clone(),
    }
}

fn field(base: &mut Map<String, Value>, name: &str, over: &Value) {
    if over.is_null() {
        base.remove(name);
        return;
    }
    match (base.get_mut(name), over, entry_key(name)) {
        (Some(Value::Array(entries)), Value::Array(over), Some(key)) => {
            for entry in over {
                match entries.iter_mut().find(|found| !found[key].is_null() && found[key] == entry[key]) {
                    Some(found) => merge(found, entry),
                    None => entries.push(entry.clone()),
                }
            }
        }
        (Some(found), over, _) => merge(found, over),
        (None, over, _) => {
            base.insert(name.to_owned(), over.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_found_by_name() {
        let mut base = json!({"spec": {
            "containers": [{"name": "a", "image": "1", "args": ["x", "y"], "env": [{"name": "A", "value": "1"}]}],
            "tolerations": [{"key": "k"}],
            "hostNetwork": false,
        }});
        let over = json!({"metadata": {"labels": {"team": "web"}}, "spec": {
            "containers": [
                {"name": "a", "args": ["z"], "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]},
                {"name": "sidecar", "image": "2"},
            ],
            "tolerations": [{"key": "other"}],
            "hostNetwork": null,
        }});
        merge(&mut base, &over);
        assert_eq!(
            base,
            json!({"metadata": {"labels": {"team": "web"}}, "spec": {
                "containers": [
                    {"name": "a", "image": "1", "args": ["z"], "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]},
                    {"name": "sidecar", "image": "2"},
                ],
                "tolerations": [{"key": "other"}],
            }})
        );
    }
}
