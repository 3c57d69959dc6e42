#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

fn problems(schema: Value, value: Value) -> Vec<String> {
    let mut problems = Vec::new();
    check(&schema, &value, "x", &mut problems);
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn types() {
    for (expected, good, bad) in [
        ("string", json!("a"), json!(1)),
        ("boolean", json!(true), json!("true")),
        ("integer", json!(1), json!(1.5)),
        ("number", json!(1), json!("1")),
        ("array", json!([]), json!({})),
        ("object", json!({}), json!([])),
    ] {
        assert_eq!(problems(json!({ "type": expected }), good), [""; 0], "{expected}");
        assert_eq!(problems(json!({ "type": expected }), bad).len(), 1, "{expected}");
        assert_eq!(problems(json!({ "type": expected }), json!(null)).len(), 1, "{expected}");
        assert_eq!(problems(json!({ "type": [expected, "null"] }), json!(null)), [""; 0], "{expected}");
    }
}

#[test]
fn optional_groups() {
    let schema = json!({"anyOf": [{"type": "object", "additionalProperties": false}, {"type": "null"}]});
    assert_eq!(problems(schema.clone(), json!(null)), [""; 0]);
    assert_eq!(problems(schema.clone(), json!({})), [""; 0]);
    assert_eq!(problems(schema, json!({"a\u{1b}": 1})), ["x.a\\u{1b}: unknown field, allowed here: "]);
}

#[test]
fn ranges() {
    let schema = json!({"type": "integer", "minimum": 1, "maximum": 3});
    for (value, good) in [(0, false), (1, true), (3, true), (4, false)] {
        assert_eq!(problems(schema.clone(), json!(value)).is_empty(), good, "{value}");
    }
    let seed = json!({"type": "integer", "minimum": 0});
    assert_eq!(problems(seed.clone(), json!(u64::MAX)), [""; 0]);
    assert_eq!(problems(seed, json!(-1)), ["x: found -1, allowed: 0 or more"]);
    assert_eq!(
        problems(json!({"type": "number", "maximum": 2}), json!(2.5)),
        ["x: found 2.5, allowed: at most 2"]
    );
}

#[test]
fn maps_check_their_values() {
    let schema = json!({"type": "object", "additionalProperties": {"type": "string"}});
    assert_eq!(problems(schema, json!({"a": "b", "c": 1})), ["x.c: found 1, expected a text"]);
}

#[test]
fn long_strings_are_cut_and_control_characters_escaped() {
    let found = problems(json!({"enum": ["a"]}), json!(format!("\u{1b}[2J{}", "y".repeat(1000))));
    assert!(found[0].len() < 150 && found[0].starts_with("x: found `\\u{1b}[2Jyyy"), "{found:?}");
}
