//! What is to be done so that what is there becomes what should be. Pure.

use std::fmt;

use serde_json::Value;

use crate::error::NotOwned;
use crate::object::HASH;
use crate::object::{Found, Kind, Object};
use crate::objects::entry_key;

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
    /// The object was a pipeline's of the same name that is gone, and is nobody's since: it becomes this one's.
    Adopt(Object),
    /// An object of that name belongs to someone else: it is left alone.
    NotOwned(NotOwned),
}

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    path: String,
    found: Value,
    expected: Value,
    /// Where it stands in what was found, when nothing is expected there: applying would leave it.
    surplus: Option<String>,
}

impl Difference {
    /// What must be taken out before applying, as a JSON pointer.
    pub(crate) fn surplus(&self) -> Option<&str> {
        self.surplus.as_deref()
    }

    /// As it is told of one that is there to stay.
    pub(crate) fn standing(&self) -> String {
        if self.surplus.is_some() {
            return format!("{} is added", self.path);
        }
        let [found, expected] = self.shown();
        format!("{} is {found}, not {expected}", self.path)
    }

    /// Where it is, such as `spec.ports[0].port`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// Parts of paths behind which secrets may be: events and conditions are read by more people than workloads.
const SECRET: [&str; 5] = [".env[", ".args[", ".command[", "annotations", "volumeAttributes"];

impl Difference {
    /// Both values.
    fn shown(&self) -> [String; 2] {
        let secret = SECRET.iter().any(|part| self.path.contains(part));
        let hidden = |value: &Value| !value.is_null() && secret;
        [&self.found, &self.expected]
            .map(|value| if hidden(value) { "(not shown)".to_owned() } else { shown(value) })
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "missing".to_owned(),
        Value::Array(_) | Value::Object(_) => "other".to_owned(),
        value => value.to_string(),
    }
}

/// As it is told of one that was repaired.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.surplus.is_some() {
            return write!(f, "{} was added", self.path);
        }
        let [found, expected] = self.shown();
        write!(f, "{} was {found}, is {expected}", self.path)
    }
}

/// The steps from `found` to `desired` for the resource with this uid: what is as it should be needs none.
///
/// `found` holds every object of the pipeline's labels, and every object of a desired name.
pub fn plan(desired: Vec<Object>, found: &[Found], uid: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for object in found {
        let wanted = desired.iter().any(|wanted| wanted.kind == object.kind && wanted.name == object.name());
        if !wanted && (object.is_owned_by(uid) || object.is_orphaned()) {
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
        let instance = "/metadata/labels/app.kubernetes.io~1instance";
        let same = object.manifest.pointer(instance) == present.manifest.pointer(instance);
        if present.is_orphaned() && same {
            return Some(Step::Adopt(object));
        }
        return Some(Step::NotOwned(NotOwned {
            kind: object.kind,
            name: object.name,
            owner: present.controller(),
        }));
    }
    if is_outdated(&object, present) {
        return Some(Step::Change(object));
    }
    let differences = differences(&object, present);
    if differences.is_empty() { None } else { Some(Step::Repair(object, differences)) }
}

/// Whether an object was made of something else than what is said now.
pub(crate) fn is_outdated(object: &Object, present: &Found) -> bool {
    let annotation = |manifest: &Value| manifest["metadata"]["annotations"][HASH].clone();
    annotation(&object.manifest) != annotation(&present.manifest)
}

/// What of an object is not as it should be.
pub(crate) fn differences(object: &Object, present: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare(&object.manifest, &present.manifest, &Place::default(), &mut differences);
    differences
}

/// Where a value stands.
#[derive(Default)]
struct Place {
    /// For people.
    path: String,
    /// In what was found.
    pointer: String,
    /// The name of the field, of an entry that of its list.
    field: String,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        let escaped = name.replace('~', "~0").replace('/', "~1");
        Self {
            path: format!("{}{dot}{name}", self.path),
            pointer: format!("{}/{escaped}", self.pointer),
            field: name.to_owned(),
        }
    }

    /// The `i`th entry as expected, which is the `j`th of those found.
    fn entry(&self, i: usize, j: usize) -> Self {
        Self {
            path: format!("{}[{i}]", self.path),
            pointer: format!("{}/{j}", self.pointer),
            field: self.field.clone(),
        }
    }

    /// Whether a list, or a selector, is the operator's as a whole. Others may add owners of their own, and labels and annotations anywhere.
    fn is_whole(&self) -> bool {
        !self.path.starts_with("metadata.")
    }
}

/// Where `found` lacks or contradicts what `expected` says, and entries that others added to its lists and selectors: an open door in a
/// policy, a port, a variable. Other fields that only `found` has are defaults, or another's business.
fn compare(expected: &Value, found: &Value, place: &Place, differences: &mut Vec<Difference>) {
    let surplus = |place: Place, found: &Value| Difference {
        path: place.path,
        found: found.clone(),
        expected: Value::Null,
        surplus: Some(place.pointer),
    };
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                compare(value, found.get(name).unwrap_or(&Value::Null), &place.field(name), differences);
            }
            if ["matchLabels", "selector", "nodeSelector"].contains(&place.field.as_str()) && place.is_whole()
            {
                let added = found.iter().filter(|(name, _)| !expected.contains_key(*name));
                differences.extend(added.map(|(name, value)| surplus(place.field(name), value)));
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            let key = entry_key(&place.field);
            let mut matched = vec![false; found.len()];
            for (i, value) in expected.iter().enumerate() {
                let name = key.and_then(|key| Some((key, value.get(key)?)));
                // What has a name may stand anywhere.
                let at = match name {
                    Some((key, name)) => found.iter().position(|entry| entry.get(key) == Some(name)),
                    None => (i < found.len()).then_some(i),
                };
                if let Some(at) = at {
                    matched[at] = true;
                }
                let entry = at.and_then(|at| found.get(at)).unwrap_or(&Value::Null);
                compare(value, entry, &place.entry(i, at.unwrap_or(found.len())), differences);
            }
            if place.is_whole() {
                let added = found.iter().enumerate().filter(|(at, _)| !matched[*at]);
                differences.extend(added.map(|(at, value)| surplus(place.entry(at, at), value)));
            }
        }
        // The API server leaves out what is empty.
        (Value::Array(list), Value::Null) if list.is_empty() => {}
        (Value::Object(fields), Value::Null) if fields.is_empty() => {}
        (expected, found) if same(expected, found) => {}
        _ => differences.push(Difference {
            path: place.path.clone(),
            found: found.clone(),
            expected: expected.clone(),
            surplus: None,
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
                "ownerReferences": [{"uid": uid, "kind": weir_manifest::KIND, "name": "shop", "controller": true}],
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
            "template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}, "spec": {"containers": [
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
    fn values_that_may_be_secret_are_not_told() {
        let containers = |value: &str| {
            json!({"containers": [
                {"name": "a", "env": [{"name": "DSN", "value": value}], "args": [value], "command": [value]},
            ], "metadata": {"annotations": {"a": value}}, "replicas": value})
        };
        let told: Vec<_> =
            differences(&desired(containers("expected")), &found(UID, "h", containers("found")))
                .iter()
                .flat_map(|difference| [difference.to_string(), difference.standing()])
                .collect();
        let (shown, hidden): (Vec<&String>, Vec<_>) = told.iter().partition(|told| told.contains("replicas"));
        assert_eq!((shown.len(), hidden.len()), (2, 8), "{told:?}");
        assert!(shown.iter().all(|told| told.contains("found") && told.contains("expected")), "{told:?}");
        assert!(!hidden.iter().any(|told| told.contains("found") || told.contains("expected")), "{told:?}");
    }

    #[test]
    fn what_someone_added_is_seen_and_taken_out() {
        let expected = json!({
            "ingress": [{"ports": [{"port": "http"}]}],
            "podSelector": {"matchLabels": {"app": "weir"}},
            "containers": [{"name": "a", "env": [{"name": "X", "value": "1"}], "args": ["serve"]}],
        });
        let present = json!({
            "ingress": [{"ports": [{"port": "http"}]}, {}],
            "podSelector": {"matchLabels": {"app": "weir", "none": "such"}},
            "containers": [
                {"name": "injected"},
                {"name": "a", "env": [{"name": "LD_PRELOAD", "value": "x"}, {"name": "X", "value": "1"}], "args": ["serve", "--more"]},
            ],
        });
        let found = Found { kind: Kind::NetworkPolicy, manifest: json!({"spec": present}) };
        let object = Object {
            kind: Kind::NetworkPolicy,
            name: "shop".to_owned(),
            manifest: json!({"spec": expected}),
        };
        let told: Vec<_> = differences(&object, &found)
            .iter()
            .map(|difference| (difference.to_string(), difference.surplus().unwrap_or_default().to_owned()))
            .collect();
        let expected = [
            ("spec.containers[0].args[1] was added", "/spec/containers/1/args/1"),
            ("spec.containers[0].env[0] was added", "/spec/containers/1/env/0"),
            ("spec.containers[0] was added", "/spec/containers/0"),
            ("spec.ingress[1] was added", "/spec/ingress/1"),
            ("spec.podSelector.matchLabels.none was added", "/spec/podSelector/matchLabels/none"),
        ];
        let expected = expected.map(|(told, pointer)| (told.to_owned(), pointer.to_owned()));
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_nobodys_any_more_is_adopted_or_deleted() {
        let labelled = |controller: bool, manager: &str| {
            let mut found = found("u0", "h", json!({}));
            found.manifest["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": manager});
            if !controller {
                found.manifest["metadata"]["ownerReferences"] = json!([]);
            }
            found
        };
        let object = desired(json!({}));
        let orphan = labelled(false, "weir-operator");
        assert_eq!(
            plan(vec![object.clone()], std::slice::from_ref(&orphan), UID),
            [Step::Adopt(object.clone())]
        );
        assert_eq!(plan(vec![], &[orphan], UID), [Step::Delete(Kind::StatefulSet, "shop".to_owned())]);
        for other in [labelled(true, "weir-operator"), labelled(false, "somebody")] {
            assert_eq!(plan(vec![], std::slice::from_ref(&other), UID), []);
            let steps = plan(vec![object.clone()], std::slice::from_ref(&other), UID);
            let owner = other.controller();
            assert_eq!(
                steps,
                [Step::NotOwned(NotOwned { kind: Kind::StatefulSet, name: "shop".to_owned(), owner })]
            );
        }
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
        let not_owned = found("u2", "h", json!({}));
        assert_eq!(plan(vec![], &[own], UID), [Step::Delete(Kind::StatefulSet, "shop".to_owned())]);
        assert_eq!(plan(vec![], std::slice::from_ref(&not_owned), UID), []);
        // Another of the same name is not wanted instead of it.
        let budget = Found { kind: Kind::PodDisruptionBudget, manifest: found(UID, "h", json!({})).manifest };
        let steps = plan(vec![desired(json!({}))], &[found(UID, "h", json!({})), budget], UID);
        assert_eq!(steps, [Step::Delete(Kind::PodDisruptionBudget, "shop".to_owned())]);
        let steps = plan(vec![desired(json!({"replicas": 2}))], &[not_owned], UID);
        let not_owned = NotOwned {
            kind: Kind::StatefulSet,
            name: "shop".to_owned(),
            owner: Some((weir_manifest::KIND.to_owned(), "shop".to_owned())),
        };
        assert_eq!(steps, [Step::NotOwned(not_owned)]);
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
