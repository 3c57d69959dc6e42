//! Errors of a document.

use std::fmt;

/// Why a document is not a valid pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Not YAML, or more than one document.
    #[error("the pipeline document is not valid YAML: {0}")]
    Yaml(String),
    /// YAML, but another kind of document.
    #[error("{0}")]
    Kind(Problem),
    /// A pipeline with mistakes: all of them, one per line.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

impl SpecError {
    /// The mistakes, each with its field's path; empty for [`SpecError::Yaml`].
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Yaml(_) => &[],
            Self::Kind(problem) => std::slice::from_ref(problem),
            Self::Invalid(problems) => problems,
        }
    }
}

/// One mistake: the field, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `spec.window.slide`.
    pub path: String,
    /// What was found and what is allowed, with the reason.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
