//! Errors of the log, classified by how to handle them.

use std::{fmt, ops::Deref};

/// An error, classified by how to handle it. Unknown errors are [`Error::Fatal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Transient: retry the same call later (broker unavailable, coordinator moving, offsets not yet stable).
    #[error("{0}")]
    Retry(Failure),
    /// The open transaction failed or its outcome is unknown: call [`Member::restart`](crate::Member::restart), read what was committed,
    /// go on from there.
    #[error("{0}")]
    Abort(Failure),
    /// Manual action is required: wrong credentials, a missing topic, another process with the same transactional id.
    #[error("{0}")]
    Fatal(Failure),
}

/// A readable message; and for logs the topic, partition and offset, if known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    /// The topic.
    pub topic: Option<String>,
    /// Its partition.
    pub partition: Option<i32>,
    /// The offset in it.
    pub offset: Option<i64>,
}

impl Error {
    /// An [`Error::Retry`].
    pub fn retry(message: impl Into<Failure>) -> Self {
        Self::Retry(message.into())
    }

    /// An [`Error::Abort`].
    pub fn abort(message: impl Into<Failure>) -> Self {
        Self::Abort(message.into())
    }

    /// An [`Error::Fatal`].
    pub fn fatal(message: impl Into<Failure>) -> Self {
        Self::Fatal(message.into())
    }

    /// The failure.
    pub fn failure(&self) -> &Failure {
        let (Self::Retry(failure) | Self::Abort(failure) | Self::Fatal(failure)) = self;
        failure
    }

    /// Adds the topic, partition and, if known, offset.
    #[must_use]
    pub fn at(mut self, topic: &str, partition: i32, offset: Option<i64>) -> Self {
        let (Self::Retry(failure) | Self::Abort(failure) | Self::Fatal(failure)) = &mut self;
        (failure.topic, failure.partition, failure.offset) =
            (Some(topic.to_owned()), Some(partition), offset);
        self
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, topic: None, partition: None, offset: None }
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl Deref for Failure {
    type Target = str;

    fn deref(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
