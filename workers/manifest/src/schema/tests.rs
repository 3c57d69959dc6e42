#![allow(clippy::unwrap_used)]
use super::*;
use crate::pattern;

fn every(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Object(fields) => fields.values().for_each(|v| every(v, visit)),
        Value::Array(items) => items.iter().for_each(|v| every(v, visit)),
        _ => {}
    }
}

#[test]
fn every_pattern_has_its_function_and_no_look_around() {
    let mut patterns = std::collections::BTreeSet::new();
    every(&json_schema(), &mut |v| {
        if let Some(p) = v.get("pattern").and_then(Value::as_str) {
            assert!(pattern::expectation(p).is_some(), "{p}");
            // Kubernetes matches with RE2, whose syntax this engine accepts too.
            regex::Regex::new(p).unwrap();
            patterns.insert(p.to_owned());
        }
    });
    assert_eq!(patterns.len(), 8);
}

#[test]
fn has_no_references_and_closes_every_object_except_free_form_ones() {
    let mut closed = 0;
    every(&json_schema(), &mut |v| {
        assert!(v.get("$ref").is_none(), "{v}");
        if v.get("properties").is_some_and(Value::is_object) && v.get("type").is_some() {
            assert_eq!(v["additionalProperties"], Value::Bool(false), "{v}");
            closed += 1;
        }
    });
    assert!(closed > 15, "{closed}");
    let processor = &json_schema()["properties"]["spec"]["properties"]["processor"]["properties"];
    assert_eq!(processor["podTemplate"]["x-kubernetes-preserve-unknown-fields"], Value::Bool(true));
    assert_eq!(processor["podTemplate"]["type"], "object");
}

#[test]
fn contains_the_defaults() {
    let window = &json_schema()["properties"]["spec"]["properties"]["window"]["properties"];
    assert_eq!(window["size"]["default"], "5m");
    assert_eq!(window["maxFuture"]["default"], "5m");
}
