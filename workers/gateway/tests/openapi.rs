//! The committed OpenAPI document is the one that the code generates, and the gateway accepts what it says.
#![allow(clippy::unwrap_used)]

mod running;

use std::fmt::Write as _;

use running::Running;
use serde_json::Value;

#[test]
fn the_committed_document_is_up_to_date() {
    let generated = serde_json::to_value(weir_gateway::document()).expect("a document");
    let committed: Value = serde_json::from_str(include_str!("../../../schemas/openapi.json")).expect("JSON");
    assert!(
        generated == committed,
        "schemas/openapi.json differs: cargo run -p weir-gateway --example openapi > schemas/openapi.json"
    );
    assert_eq!(generated["openapi"], "3.1.0");
}

/// Texts, and whether they are times as in RFC 3339.
const TIMES: [(&str, bool); 11] = [
    ("2026-01-01T12:00:00Z", true),
    ("2026-01-01T12:00:00.123456789+05:30", true),
    ("2024-02-29T23:59:59Z", true),
    ("0000-01-01T00:00:00+23:59", true),
    ("9999-12-31T23:59:59-23:59", true),
    ("2026-02-29T12:00:00Z", false),
    ("2026-01-01T12:60:00Z", false),
    ("2026-01-01T12:00:00", false),
    ("2026-01-01", false),
    ("12:00:00Z", false),
    ("yesterday", false),
];

/// Whether a schema admits a query parameter's text.
fn admits(schema: &Value, text: &str) -> bool {
    const KNOWN: [&str; 11] = [
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "type",
    ];
    let unknown: Vec<_> =
        schema.as_object().unwrap().keys().filter(|key| !KNOWN.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?} is not understood here");
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|schema| admits(schema, text));
    }
    let at_least =
        |keyword: &str, found: u128| schema[keyword].as_u64().is_none_or(|min| found >= min.into());
    let at_most = |keyword: &str, found: u128| schema[keyword].as_u64().is_none_or(|max| found <= max.into());
    match (schema["type"].as_str().unwrap(), schema["format"].as_str()) {
        ("integer", format) => {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().unwrap_or(u128::MAX);
            let fits = format != Some("int32") || number <= i32::MAX as u128;
            digits && fits && at_least("minimum", number) && at_most("maximum", number)
        }
        ("string", Some("date-time")) => TIMES.contains(&(text, true)),
        ("string", None) => {
            let length = text.chars().count() as u128;
            let listed =
                schema["enum"].as_array().is_none_or(|values| values.iter().any(|value| value == text));
            listed && at_least("minLength", length) && at_most("maxLength", length)
        }
        ("array", None) => text.split(',').all(|item| admits(&schema["items"], item)),
        other => panic!("{other:?} is not understood here"),
    }
}

/// Texts at the edges of what a schema admits, and others.
fn candidates(schema: &Value) -> Vec<String> {
    let mut texts: Vec<String> =
        ["", "x", "0", "1", "-1", "+1", "01", "1.5", "1e2", " 1", "null", "059890363373"]
            .map(str::to_owned)
            .into();
    texts.extend(TIMES.map(|(text, _)| text.to_owned()));
    texts.extend([1 << 31, 1 << 32, 1 << 53, u64::MAX].map(|number: u64| number.to_string()));
    let around = |number: u64| number.saturating_sub(1)..=number + 1;
    for keyword in ["minimum", "maximum"] {
        texts.extend(schema[keyword].as_u64().into_iter().flat_map(around).map(|number| number.to_string()));
    }
    for keyword in ["minLength", "maxLength"] {
        let lengths = schema[keyword].as_u64().into_iter().flat_map(around);
        texts.extend(lengths.flat_map(|length| ["x", "é", "İ"].map(|letter| letter.repeat(length as usize))));
    }
    for value in schema["enum"].as_array().into_iter().flatten().map(|value| value.as_str().unwrap()) {
        texts.extend([
            value.to_owned(),
            value.to_uppercase(),
            format!("{value},{value}"),
            format!("{value},"),
        ]);
    }
    texts.extend(schema["anyOf"].as_array().into_iter().flatten().flat_map(candidates));
    if schema["items"].is_object() {
        texts.extend(candidates(&schema["items"]));
    }
    texts.sort();
    texts.dedup();
    texts
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

#[test]
fn parameters_are_accepted_as_the_document_says() {
    let running = Running::start();
    running.seal(1_700_000_000_000, &[("/a", 5)]);
    let document = serde_json::to_value(weir_gateway::document()).unwrap();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let parameters = || operations["get"]["parameters"].as_array().into_iter().flatten();
        for parameter in parameters() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let others: String = parameters()
                .filter(|other| other["required"] == true && other["name"] != name)
                .map(|other| format!("&{}=%2Fa", other["name"].as_str().unwrap()))
                .collect();
            for text in candidates(schema) {
                let status = running.status(&format!("{path}?{name}={}{others}", encoded(&text)));
                let shown: String = text.chars().take(60).collect();
                assert!(
                    [200, 400, 404].contains(&status),
                    "{path}: {name}=`{shown}` is answered with {status}"
                );
                assert_eq!(
                    status != 400,
                    admits(schema, &text),
                    "{path}: {name}=`{shown}` is answered with {status}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}
