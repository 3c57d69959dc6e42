//! Errors of decoding and of schemas.

use crate::{Invalid, Reason};

/// Why bytes are not a record. Never contains field values, only positions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the value is empty, expected an avro record")]
    Empty,
    /// Neither of the two framings; carries only the first byte.
    #[error(
        "the value begins with {0:02x}, expected c3 01 (single-object encoding) or 00 (confluent's frame)"
    )]
    Framing(u8),
    /// The value ends within its header.
    #[error("the value has {0} bytes, too few for its header")]
    Header(usize),
    /// Single-object encoding of an unregistered schema; the fingerprint in the byte order of the value.
    #[error(
        "schema fingerprint {0:016x} is not known, expected that of schemas/clickstream-event.avsc: write events with that schema"
    )]
    UnknownFingerprint(u64),
    /// Confluent's frame with an unregistered id.
    #[error(
        "schema id {0} is not known, because this version asks no schema registry: write events as c3 01 (single-object encoding) with schemas/clickstream-event.avsc"
    )]
    UnknownId(u32),
    /// The body contradicts the schema.
    #[error("field {field} at byte {at}: {fault}")]
    Body {
        /// The field that could not be read.
        field: &'static str,
        /// Position of the fault in the body, bytes.
        at: usize,
        /// The fault.
        fault: Fault,
    },
    /// Bytes are left over after the record.
    #[error("{0} bytes follow the record, expected none")]
    Trailing(usize),
}

/// A fault in a field's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The input ends within the field.
    #[error("the value ends here")]
    Truncated,
    /// A number with too many bytes for its type, or out of its range.
    #[error("a number out of its type's range")]
    Number,
    /// A length below zero.
    #[error("a negative length")]
    Length,
    /// A branch that the union does not have.
    #[error("a branch that the union does not have")]
    Branch,
    /// A symbol that the enum does not have.
    #[error("a symbol that the enum does not have")]
    Symbol,
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean that is neither 0 nor 1")]
    Boolean,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
}

/// Why a writer's schema cannot be read as ours.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not an Avro schema.
    #[error("not an avro schema: {0}")]
    Parse(#[source] Box<apache_avro::Error>),
    /// Avro's rules of resolution forbid it.
    #[error("schema {name} cannot be read as analytics.events.ClickstreamEvent: {source}")]
    Incompatible {
        /// The writer schema's full name.
        name: String,
        /// What apache-avro found.
        source: Box<apache_avro::error::CompatibilityError>,
    },
    /// Valid for Avro, but our fields are not first and unchanged.
    #[error("schema {name} has {found} where {expected} is expected: fields may only be added at the end")]
    Layout {
        /// The writer schema's full name.
        name: String,
        /// The field found there.
        found: String,
        /// The field of ours that belongs there.
        expected: String,
    },
    /// A recursive type, which no event needs and which would make decoding unbounded.
    #[error("type {name} contains itself: spell it out without recursion")]
    Recursive {
        /// The type that contains itself.
        name: String,
    },
    /// Its types, each used many times, would be too large in memory.
    #[error(
        "the schema has more than {max} types once {name} stands for the whole of its type, expected fewer: use it less often"
    )]
    TooLarge {
        /// The type that is one too many.
        name: String,
        /// The maximum.
        max: usize,
    },
    /// The schema is not of a record.
    #[error("the schema is not a record, expected analytics.events.ClickstreamEvent")]
    NotARecord,
}

impl DecodeError {
    #[cold]
    pub(super) fn framing(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Empty,
            [0xC3, 0x01, ..] | [0, ..] => Self::Header(bytes.len()),
            [first, ..] => Self::Framing(*first),
        }
    }

    /// The reason under which the bytes go to the dead letters.
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownFingerprint(_) | Self::UnknownId(_) => Reason::UnknownSchema,
            _ => Reason::Malformed,
        }
    }
}

impl From<DecodeError> for Invalid {
    fn from(error: DecodeError) -> Self {
        Self { reason: error.reason(), detail: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_cannot_be_read_have_a_reason() {
        let invalid = Invalid::from(DecodeError::UnknownId(7));
        assert_eq!(
            invalid.to_string(),
            "unknown_schema: schema id 7 is not known, because this version asks no schema registry: write events as c3 01 (single-object encoding) with schemas/clickstream-event.avsc"
        );
        assert_eq!(Invalid::from(DecodeError::UnknownFingerprint(7)).reason, Reason::UnknownSchema);
        assert_eq!(Invalid::from(DecodeError::Empty).reason, Reason::Malformed);
        assert_eq!(Invalid::from(DecodeError::Trailing(1)).reason, Reason::Malformed);
    }
}
