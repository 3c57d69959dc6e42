//! The steps from the objects found to the desired ones. Pure.

use std::fmt;

use serde_json::Value;

use crate::error::NotOwned;
use crate::object::HASH;
use crate::object::{Found, Kind, Object};
use crate::objects::entry_key;

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The object is missing.
    Create(Object),
    /// The document changed.
    Change(Object),
    /// Somebody changed these fields of the object.
    Repair(Object, Vec<Difference>),
    /// The pipeline no longer needs the object.
    Delete(Kind, String),
    /// The object belonged to a deleted pipeline of the same name and has no owner since: this one adopts it.
    Adopt(Object),
    /// An object of that name belongs to somebody else: it is left alone.
    NotOwned(NotOwned),
}

/// A field that differs from the desired object.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    path: String,
    found: Value,
    expected: Value,
    /// The JSON pointer of a surplus value in the object found: applying would leave it.
    surplus: Option<String>,
}

impl Difference {
    /// The value to remove before applying, as a JSON pointer.
    pub(crate) fn surplus(&self) -> Option<&str> {
        self.surplus.as_deref()
    }

    /// Text for a difference that stays.
    pub(crate) fn standing(&self) -> String {
        if self.surplus.is_some() {
            return format!("{} is added", self.path);
        }
        let [found, expected] = self.shown();
        format!("{} is {found}, not {expected}", self.path)
    }

    /// The path, such as `spec.ports[0].port`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// Parts of paths whose values may be secret: more people can read events and conditions than workloads.
const SECRET: [&str; 5] = [".env[", ".args[", ".command[", "annotations", "volumeAttributes"];

impl Difference {
    /// Both values, as text.
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

/// Text for a difference that was repaired.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.surplus.is_some() {
            return write!(f, "{} was added", self.path);
        }
        let [found, expected] = self.shown();
        write!(f, "{} was {found}, is {expected}", self.path)
    }
}

/// The steps from `found` to `desired` for the resource with this uid.
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

/// Whether an object was built from another document.
pub(crate) fn is_outdated(object: &Object, present: &Found) -> bool {
    let annotation = |manifest: &Value| manifest["metadata"]["annotations"][HASH].clone();
    annotation(&object.manifest) != annotation(&present.manifest)
}

/// The differences between a desired object and the one found.
pub(crate) fn differences(object: &Object, present: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare(&object.manifest, &present.manifest, &FieldPath::default(), &mut differences);
    differences
}

/// The path of a value.
#[derive(Default)]
struct FieldPath {
    /// For people.
    path: String,
    /// JSON pointer in the object found.
    pointer: String,
    /// The name of the field; of a list's entry, the list's name.
    field: String,
}

impl FieldPath {
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

    /// Whether the operator owns a list or selector as a whole. Others may add owner references, and labels and annotations anywhere.
    fn is_whole(&self) -> bool {
        !self.path.starts_with("metadata.")
    }
}

/// Collects fields that `found` lacks or has other values of, and entries that others added to lists and selectors, such as a
/// network policy's rule, a port, a variable. Other fields that only `found` has are defaults, or owned by others.
fn compare(expected: &Value, found: &Value, path: &FieldPath, differences: &mut Vec<Difference>) {
    let surplus = |path: FieldPath, found: &Value| Difference {
        path: path.path,
        found: found.clone(),
        expected: Value::Null,
        surplus: Some(path.pointer),
    };
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                compare(value, found.get(name).unwrap_or(&Value::Null), &path.field(name), differences);
            }
            if ["matchLabels", "selector", "nodeSelector"].contains(&path.field.as_str()) && path.is_whole() {
                let added = found.iter().filter(|(name, _)| !expected.contains_key(*name));
                differences.extend(added.map(|(name, value)| surplus(path.field(name), value)));
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            let key = entry_key(&path.field);
            let mut matched = vec![false; found.len()];
            for (i, value) in expected.iter().enumerate() {
                let name = key.and_then(|key| Some((key, value.get(key)?)));
                // Named entries may be at any index.
                let at = match name {
                    Some((key, name)) => found.iter().position(|entry| entry.get(key) == Some(name)),
                    None => (i < found.len()).then_some(i),
                };
                if let Some(at) = at {
                    matched[at] = true;
                }
                let entry = at.and_then(|at| found.get(at)).unwrap_or(&Value::Null);
                compare(value, entry, &path.entry(i, at.unwrap_or(found.len())), differences);
            }
            if path.is_whole() {
                let added = found.iter().enumerate().filter(|(at, _)| !matched[*at]);
                differences.extend(added.map(|(at, value)| surplus(path.entry(at, at), value)));
            }
        }
        // The API server omits empty values.
        (Value::Array(list), Value::Null) if list.is_empty() => {}
        (Value::Object(fields), Value::Null) if fields.is_empty() => {}
        (expected, found) if same(expected, found) => {}
        _ => differences.push(Difference {
            path: path.path.clone(),
            found: found.clone(),
            expected: expected.clone(),
            surplus: None,
        }),
    }
}

/// Whether two scalars are equal, also as quantities: `1` and `1.0`, `0.5` and `500m`.
fn same(expected: &Value, found: &Value) -> bool {
    expected == found || quantity(expected).is_some_and(|amount| quantity(found) == Some(amount))
}

/// A resource quantity, in thousandths.
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
mod tests;
