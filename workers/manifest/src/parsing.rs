//! Parses, validates and writes documents.

use serde_json::Value;
use serde_saphyr::UserMessageFormatter;

use crate::{
    API_VERSION, FIRST_GENERATION, KIND, Metadata, Pipeline, PipelineSpec, Problem, SpecError, rules, schema,
    shape,
};

impl Pipeline {
    /// Reads one YAML (or JSON) document, fills in the defaults and validates it.
    ///
    /// # Errors
    /// [`SpecError`], with every mistake that was found.
    pub fn from_yaml(text: &str) -> Result<Self, SpecError> {
        // As in YAML 1.2 and Kubernetes: `on` and `yes` are strings.
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| SpecError::Yaml(error.render_with_formatter(&UserMessageFormatter)))?;
        Self::from_value(value)
    }

    /// As [`from_yaml`](Self::from_yaml), for a parsed document.
    ///
    /// # Errors
    /// [`SpecError`], with every mistake that was found.
    pub fn from_value(value: Value) -> Result<Self, SpecError> {
        kind_of(&value)?;
        let mut problems = Vec::new();
        shape::check(schema::document(), &value, "", &mut problems);
        if !problems.is_empty() {
            problems.sort_by(|a, b| a.path.cmp(&b.path));
            return Err(SpecError::Invalid(problems));
        }
        let pipeline: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            SpecError::Invalid(vec![Problem::new(error.path().to_string(), error.inner().to_string())])
        })?;
        let problems = rules::check(&pipeline);
        if problems.is_empty() { Ok(pipeline) } else { Err(SpecError::Invalid(problems)) }
    }

    /// Validates a document that was created or changed by a program.
    ///
    /// # Errors
    /// [`SpecError`], with every mistake that was found.
    pub fn validate(&self) -> Result<(), SpecError> {
        let value = serde_json::to_value(self).map_err(|error| SpecError::Yaml(error.to_string()))?;
        Self::from_value(value).map(drop)
    }

    /// A pipeline from a name and a spec. Not validated.
    pub fn new(name: &str, spec: PipelineSpec) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata { name: name.to_owned(), ..Metadata::default() },
            spec,
            generation: FIRST_GENERATION,
        }
    }

    /// The pipeline that is used without a document: `shop`, with all defaults.
    pub fn demo() -> Self {
        Self::new("shop", PipelineSpec::default())
    }

    /// The whole document with all defaults; [`from_yaml`](Self::from_yaml) reads it back unchanged.
    ///
    /// # Errors
    /// [`SpecError::Yaml`] if a free-form field cannot be written as YAML.
    pub fn to_yaml(&self) -> Result<String, SpecError> {
        serde_saphyr::to_string(self).map_err(|error| SpecError::Yaml(error.to_string()))
    }
}

/// Checks the kind first: a document of another kind gets only this error.
fn kind_of(value: &Value) -> Result<(), SpecError> {
    let fields = value.as_object().ok_or_else(|| {
        let message = format!("found no fields, expected those of a {KIND} ({API_VERSION})");
        SpecError::Kind(Problem::new("the pipeline document", message))
    })?;
    for (path, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let found = match fields.get(path) {
            Some(Value::String(found)) if found == expected => continue,
            Some(found) => format!("found {}", shape::shown(found)),
            None => "missing".to_owned(),
        };
        return Err(SpecError::Kind(Problem::new(path, format!("{found}, expected {expected}"))));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
