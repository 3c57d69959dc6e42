//! From text to a valid document, and back.

use serde_json::Value;
use serde_saphyr::UserMessageFormatter;

use crate::{API_VERSION, KIND, Metadata, Pipeline, PipelineSpec, Problem, SpecError, rules, schema, shape};

impl Pipeline {
    /// Reads one YAML (or JSON) document, fills in the defaults and validates it.
    ///
    /// # Errors
    /// [`SpecError`], with every mistake that was found.
    pub fn from_yaml(text: &str) -> Result<Self, SpecError> {
        // As YAML 1.2 and Kubernetes have it: `on` and `yes` are texts.
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| SpecError::Yaml(error.render_with_formatter(&UserMessageFormatter)))?;
        Self::from_value(value)
    }

    /// As [`from_yaml`](Self::from_yaml), of a document that was parsed already.
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

    /// Validates a document that was made or changed by a program.
    ///
    /// # Errors
    /// [`SpecError`], with every mistake that was found.
    pub fn validate(&self) -> Result<(), SpecError> {
        let value = serde_json::to_value(self).map_err(|error| SpecError::Yaml(error.to_string()))?;
        Self::from_value(value).map(drop)
    }

    /// A pipeline called `name` that is `spec`. Not validated.
    pub fn new(name: &str, spec: PipelineSpec) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata { name: name.to_owned(), ..Metadata::default() },
            spec,
        }
    }

    /// The pipeline that is meant where no document is given: `shop`, with every default.
    pub fn demo() -> Self {
        Self::new("shop", PipelineSpec::default())
    }

    /// The whole document with its defaults written out: what [`from_yaml`](Self::from_yaml) reads back as the same.
    ///
    /// # Errors
    /// [`SpecError::Yaml`] when a free-form field holds what YAML cannot.
    pub fn to_yaml(&self) -> Result<String, SpecError> {
        serde_saphyr::to_string(self).map_err(|error| SpecError::Yaml(error.to_string()))
    }
}

/// Another kind of document would have nothing but mistakes, so this one is told alone.
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
