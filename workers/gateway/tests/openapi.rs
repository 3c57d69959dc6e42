//! The committed OpenAPI document is that of the code.

#[test]
fn the_document_is_the_codes() {
    let made = serde_json::to_value(weir_gateway::document()).expect("a document");
    let kept: serde_json::Value =
        serde_json::from_str(include_str!("../../../schemas/openapi.json")).expect("JSON");
    assert!(
        made == kept,
        "schemas/openapi.json differs: cargo run -p weir-gateway --example openapi > schemas/openapi.json"
    );
    assert_eq!(made["openapi"], "3.1.0");
}
