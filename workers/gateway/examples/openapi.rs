//! Prints the OpenAPI document: `cargo run -p weir-gateway --example openapi > schemas/openapi.json`.

fn main() -> Result<(), serde_json::Error> {
    println!("{}", serde_json::to_string_pretty(&weir_gateway::document())?);
    Ok(())
}
