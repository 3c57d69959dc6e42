//! Checks a value against the document's schema: unknown fields, wrong types, values out of range.
//!
//! Kubernetes admits documents by the same schema, so its rules are stated once. Unlike deserialization, which stops at the
//! first error, this reports all of them.

use serde_json::{Map, Value};

use crate::{error::Problem, pattern};

/// Appends the problems of `value`, at `path`, to `problems`.
pub(crate) fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    let Some(schema) = schema.as_object() else { return };
    if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
        // Only optional fields have alternatives: their value, or null.
        if let Some(held) = alternatives.iter().find(|s| s["type"] != "null")
            && !value.is_null()
        {
            check(held, value, path, problems);
        }
        return;
    }
    if let Some(names) = variants(schema) {
        if !value.as_str().is_some_and(|v| names.contains(&v)) {
            problems
                .push(Problem::new(path, format!("found {}, allowed: {}", shown(value), names.join(", "))));
        }
        return;
    }
    let Some(expected) = types(schema) else { return };
    if value.is_null() && expected.contains(&"null") {
        return;
    }
    match (expected[0], value) {
        ("object", Value::Object(fields)) => object(schema, fields, path, problems),
        ("array", Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                check(&schema["items"], item, &format!("{path}[{i}]"), problems);
            }
        }
        ("string", Value::String(text)) => string(schema, text, path, problems),
        ("boolean", Value::Bool(_)) => {}
        ("integer", Value::Number(n)) if n.is_i64() || n.is_u64() => range(schema, value, path, problems),
        ("number", Value::Number(_)) => range(schema, value, path, problems),
        (expected, _) => {
            problems.push(Problem::new(path, format!("found {}, expected {}", shown(value), noun(expected))));
        }
    }
}

fn object(schema: &Map<String, Value>, fields: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    let empty = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let others = schema.get("additionalProperties");
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = name.as_str()
            && !fields.contains_key(name)
        {
            problems.push(Problem::new(below(path, name), "missing, must be given"));
        }
    }
    for (name, value) in fields {
        let path = below(path, name);
        match (known.get(name), others) {
            (Some(schema), _) => check(schema, value, &path, problems),
            (None, Some(Value::Bool(false))) => {
                let mut names: Vec<_> = known.keys().map(String::as_str).collect();
                names.sort_unstable();
                problems
                    .push(Problem::new(path, format!("unknown field, allowed here: {}", names.join(", "))));
            }
            (None, Some(schema)) => check(schema, value, &path, problems),
            (None, None) => {}
        }
    }
}

fn string(schema: &Map<String, Value>, text: &str, path: &str, problems: &mut Vec<Problem>) {
    let Some(wanted) = schema.get("pattern").and_then(Value::as_str) else { return };
    if !pattern::matches(wanted, text) {
        let expected = pattern::expectation(wanted).unwrap_or(wanted);
        problems.push(Problem::new(path, format!("found `{}`, expected {expected}", text.escape_debug())));
    }
}

fn range(schema: &Map<String, Value>, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    // Every bound is far below 2^53, so nothing is lost in f64.
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let (Some(found), low, high) = (value.as_f64(), bound("minimum"), bound("maximum")) else { return };
    if low.is_some_and(|low| found < low) || high.is_some_and(|high| found > high) {
        let allowed = match (low, high) {
            (Some(low), Some(high)) => format!("from {low} to {high}"),
            (Some(low), None) => format!("{low} or more"),
            (_, high) => format!("at most {}", high.unwrap_or(f64::INFINITY)),
        };
        problems.push(Problem::new(path, format!("found {value}, allowed: {allowed}")));
    }
}

/// The names of an enum: one list, or one constant per documented variant.
fn variants(schema: &Map<String, Value>) -> Option<Vec<&str>> {
    if let Some(names) = schema.get("enum").and_then(Value::as_array) {
        return Some(names.iter().filter_map(Value::as_str).collect());
    }
    let one_of = schema.get("oneOf")?.as_array()?;
    Some(one_of.iter().filter_map(|s| s["const"].as_str()).collect())
}

fn types(schema: &Map<String, Value>) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::String(name) => Some(vec![name]),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn below(path: &str, name: &str) -> String {
    let name = name.escape_debug();
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// A value as shown in messages: strings up to a limit, collections by name.
pub(crate) fn shown(value: &Value) -> String {
    const LIMIT: usize = 80;
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(b) => format!("`{b}`"),
        Value::Number(n) => n.to_string(),
        Value::String(s) => format!("`{}`", s.chars().take(LIMIT).collect::<String>().escape_debug()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a group of fields".to_owned(),
    }
}

fn noun(expected: &str) -> &str {
    match expected {
        "object" => "a group of fields (leave the whole entry out to have its defaults)",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests;
