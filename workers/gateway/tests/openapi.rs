//! The committed OpenAPI document is the one that the code generates.

#[test]
fn the_committed_document_is_up_to_date() {
    let generated = serde_json::to_value(weir_gateway::document()).expect("a document");
    let committed: serde_json::Value =
        serde_json::from_str(include_str!("../../../schemas/openapi.json")).expect("JSON");
    assert!(
        generated == committed,
        "schemas/openapi.json differs: cargo run -p weir-gateway --example openapi > schemas/openapi.json"
    );
    assert_eq!(generated["openapi"], "3.1.0");
}
