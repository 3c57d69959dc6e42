//! What is to be done so that what is there becomes what should be. Pure.

use std::fmt;

use serde_json::Value;

use crate::build::HASH;
use crate::object::{Found, Kind, Object};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The object is missing.
    Create(Object),
    /// The pipeline says something else now.
    Change(Object),
    /// Someone changed what the pipeline says: these fields.
    Repair(Object, Vec<Difference>),
    /// The pipeline needs it no longer.
    Delete(Kind, String),
    /// An object of that name belongs to someone else: it is left alone.
    Foreign(Kind, String),
}

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    path: String,
    found: Value,
    expected: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Value| match value {
            Value::Null => "missing".to_owned(),
            Value::Array(_) | Value::Object(_) => "other".to_owned(),
            value => value.to_string(),
        };
        write!(f, "{} was {}, is {}", self.path, shown(&self.found), shown(&self.expected))
    }
}

/// The steps from `found` to `desired` for the resource with this uid: what is as it should be needs none.
///
/// `found` holds every object of the pipeline's labels, and every object of a desired name.
pub fn plan(desired: Vec<Object>, found: &[Found], uid: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for object in found {
        let wanted = desired.iter().any(|wanted| wanted.kind == object.kind && wanted.name == object.name());
        if !wanted && object.is_owned_by(uid) {
            steps.push(Step::Delete(object.kind, object.name().to_owned()));
        }
    }
    for object in desired {
        let present = found.iter().find(|found| found.kind == object.kind && found.name() == object.name);
        steps.extend(step(object, present, uid));
    }
    steps
}

fn step(object: Object, present: Option<&Found>, uid: &str) -> Option<Step> {
    let Some(present) = present else { return Some(Step::Create(object)) };
    if !present.is_owned_by(uid) {
        return Some(Step::Foreign(object.kind, object.name));
    }
    let annotation = |manifest: &Value| manifest["metadata"]["annotations"][HASH].clone();
    if annotation(&object.manifest) != annotation(&present.manifest) {
        return Some(Step::Change(object));
    }
    let differences = differences(&object, present);
    if differences.is_empty() { None } else { Some(Step::Repair(object, differences)) }
}

/// What of an object is not as it should be.
pub(crate) fn differences(object: &Object, present: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare(&object.manifest, &present.manifest, "", &mut differences);
    differences
}

/// Where `found` lacks or contradicts what `expected` says. What only `found` says is a default, or another's business.
fn compare(expected: &Value, found: &Value, path: &str, differences: &mut Vec<Difference>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(value, found.get(name).unwrap_or(&Value::Null), &path, differences);
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            for (i, value) in expected.iter().enumerate() {
                // Others may have put entries of their own between ours.
                let entry = match value.get("name") {
                    Some(name) => found.iter().find(|entry| entry.get("name") == Some(name)),
                    None => found.get(i),
                };
                compare(value, entry.unwrap_or(&Value::Null), &format!("{path}[{i}]"), differences);
            }
        }
        // The API server leaves out what is empty.
        (Value::Array(list), Value::Null) if list.is_empty() => {}
        (Value::Object(fields), Value::Null) if fields.is_empty() => {}
        (expected, found) if same(expected, found) => {}
        _ => differences.push(Difference {
            path: path.to_owned(),
            found: found.clone(),
            expected: expected.clone(),
        }),
    }
}

/// Whether two plain values mean the same: `1` and `1.0` do, and so do quantities such as `0.5` and `500m`.
fn same(expected: &Value, found: &Value) -> bool {
    expected == found || quantity(expected).is_some_and(|amount| quantity(found) == Some(amount))
}

/// An amount of a resource, in thousandths.
fn quantity(value: &Value) -> Option<i128> {
    const UNITS: [(&str, i128); 13] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("", 1),
    ];
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (number, thousandths) = match text.strip_suffix('m') {
        Some(number) => (number, 1),
        None => {
            let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
            (text.strip_suffix(unit)?, factor * 1_000)
        }
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 9 || !(whole.to_owned() + part).bytes().all(|b| b.is_ascii_digit()) || number.is_empty() {
        return None;
    }
    let digits: i128 = format!("{whole}{part}").parse().ok()?;
    Some(digits.checked_mul(thousandths)? / 10_i128.pow(u32::try_from(part.len()).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const UID: &str = "u1";

    fn owned(kind: Kind, name: &str, uid: &str, hash: &str, spec: Value) -> Value {
        json!({
            "apiVersion": kind.api_version(),
            "kind": kind.as_str(),
            "metadata": {
                "name": name,
                "annotations": {HASH: hash},
                "ownerReferences": [{"uid": uid, "controller": true}],
            },
            "spec": spec,
        })
    }

    fn desired(spec: Value) -> Object {
        let kind = Kind::StatefulSet;
        Object { kind, name: "shop".to_owned(), manifest: owned(kind, "shop", UID, "h", spec) }
    }

    fn found(uid: &str, hash: &str, spec: Value) -> Found {
        Found { kind: Kind::StatefulSet, manifest: owned(Kind::StatefulSet, "shop", uid, hash, spec) }
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        let spec = json!({
            "replicas": 2,
            "template": {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}}]}},
            "tolerations": [],
        });
        let with_defaults = json!({
            "replicas": 2,
            "revisionHistoryLimit": 10,
            "template": {"spec": {"containers": [
                {"name": "injected"},
                {"name": "a", "image": "x", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}},
            ]}},
        });
        assert_eq!(plan(vec![desired(spec)], &[found(UID, "h", with_defaults)], UID), []);
    }

    #[test]
    fn what_someone_changed_is_repaired_and_told() {
        let steps = plan(
            vec![desired(json!({"replicas": 2, "a": {"b": "x"}}))],
            &[found(UID, "h", json!({"replicas": 5}))],
            UID,
        );
        let [Step::Repair(_, differences)] = &steps[..] else { panic!("{steps:?}") };
        let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["spec.a was missing, is other", "spec.replicas was 5, is 2"]);
    }

    #[test]
    fn a_new_wish_is_a_change_and_a_missing_object_is_created() {
        let object = desired(json!({"replicas": 2}));
        let steps = plan(vec![object.clone()], &[found(UID, "older", json!({"replicas": 2}))], UID);
        assert_eq!(steps, [Step::Change(object.clone())]);
        assert_eq!(plan(vec![object.clone()], &[], UID), [Step::Create(object)]);
    }

    #[test]
    fn only_its_own_are_deleted_or_changed() {
        let own = found(UID, "h", json!({}));
        let foreign = found("u2", "h", json!({}));
        assert_eq!(plan(vec![], &[own], UID), [Step::Delete(Kind::StatefulSet, "shop".to_owned())]);
        assert_eq!(plan(vec![], std::slice::from_ref(&foreign), UID), []);
        // Another of the same name is not wanted instead of it.
        let budget = Found { kind: Kind::PodDisruptionBudget, manifest: found(UID, "h", json!({})).manifest };
        let steps = plan(vec![desired(json!({}))], &[found(UID, "h", json!({})), budget], UID);
        assert_eq!(steps, [Step::Delete(Kind::PodDisruptionBudget, "shop".to_owned())]);
        let steps = plan(vec![desired(json!({"replicas": 2}))], &[foreign], UID);
        assert_eq!(steps, [Step::Foreign(Kind::StatefulSet, "shop".to_owned())]);
    }

    #[test]
    fn quantities_are_compared_by_amount() {
        for (a, b) in
            [("1", "1000m"), ("0.1", "100m"), ("1Gi", "1024Mi"), ("1k", "1000"), ("1.5Gi", "1536Mi")]
        {
            assert!(same(&json!(a), &json!(b)), "{a} {b}");
        }
        assert!(same(&json!(1), &json!("1")) && !same(&json!("1"), &json!("1m")));
        assert!(!same(&json!("a"), &json!("b")) && !same(&json!(""), &json!(null)));
    }
}
