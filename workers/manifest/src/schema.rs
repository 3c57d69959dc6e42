//! The document's JSON schema.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::Pipeline;

/// The schema of the whole document (JSON Schema 2020-12, nothing referenced): for editors, and for the CRD.
///
/// It has types, ranges, patterns and defaults. Rules over more than one field are checked by
/// [`Pipeline::validate`] only.
pub fn json_schema() -> Value {
    document().clone()
}

pub(crate) fn document() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<Pipeline>().to_value()
    })
}

#[cfg(test)]
mod tests;
