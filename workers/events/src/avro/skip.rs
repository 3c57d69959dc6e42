//! Skips fields of a later schema that this version does not know.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Name, RecordSchema, UuidSchema};

use super::cursor::Cursor;
use super::error::{DecodeError, Fault, SchemaError};

/// The shape of a value, as far as its length depends on it.
#[derive(Debug, Clone)]
pub(super) enum Skip {
    Number,
    Bytes,
    Fixed(usize),
    Union(Vec<Skip>),
    Record(Vec<Skip>),
    Array(Box<Skip>),
    Map(Box<Skip>),
}

impl Skip {
    /// The shapes of a record's fields.
    pub(super) fn fields(record: &RecordSchema, names: &mut Names) -> Result<Vec<Self>, SchemaError> {
        record.fields.iter().map(|field| Self::of(&field.schema, names)).collect()
    }

    fn of(schema: &Schema, names: &mut Names) -> Result<Self, SchemaError> {
        Ok(match schema {
            Schema::Null => Self::Fixed(0),
            Schema::Boolean => Self::Fixed(1),
            Schema::Float => Self::Fixed(4),
            Schema::Double => Self::Fixed(8),
            Schema::Int
            | Schema::Long
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Self::Number,
            Schema::String | Schema::Bytes | Schema::BigDecimal => Self::Bytes,
            Schema::Array(array) => Self::Array(Box::new(Self::of(&array.items, names)?)),
            Schema::Map(map) => Self::Map(Box::new(Self::of(&map.types, names)?)),
            Schema::Union(union) => Self::Union(
                union.variants().iter().map(|branch| Self::of(branch, names)).collect::<Result<_, _>>()?,
            ),
            Schema::Enum(symbols) => names.define(&symbols.name, Self::Number),
            Schema::Fixed(fixed) => names.define(&fixed.name, Self::Fixed(fixed.size)),
            Schema::Duration(fixed) => names.define(&fixed.name, Self::Fixed(fixed.size)),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Self::Bytes,
                InnerDecimalSchema::Fixed(fixed) => names.define(&fixed.name, Self::Fixed(fixed.size)),
            },
            Schema::Uuid(UuidSchema::Bytes | UuidSchema::String) => Self::Bytes,
            Schema::Uuid(UuidSchema::Fixed(fixed)) => names.define(&fixed.name, Self::Fixed(fixed.size)),
            Schema::Record(record) => {
                let fields = Self::fields(record, names)?;
                names.define(&record.name, Self::Record(fields))
            }
            Schema::Ref { name } => names.get(name)?,
        })
    }

    /// Number of shapes that it is made of.
    fn size(&self) -> usize {
        1 + match self {
            Self::Number | Self::Bytes | Self::Fixed(_) => 0,
            Self::Union(parts) | Self::Record(parts) => parts.iter().map(Self::size).sum(),
            Self::Array(item) | Self::Map(item) => item.size(),
        }
    }

    /// Moves the cursor behind a value.
    pub(super) fn pass(&self, c: &mut Cursor<'_>) -> Result<(), DecodeError> {
        match self {
            Self::Number => c.long().map(drop),
            Self::Bytes => c.bytes().map(drop),
            Self::Fixed(size) => c.take(*size).map(drop),
            Self::Union(branches) => {
                let branch = usize::try_from(c.long()?).ok().and_then(|branch| branches.get(branch));
                branch.ok_or_else(|| c.fault(Fault::Branch))?.pass(c)
            }
            Self::Record(fields) => fields.iter().try_for_each(|field| field.pass(c)),
            Self::Array(item) => c.blocks(|c| item.pass(c)),
            Self::Map(value) => c.blocks(|c| {
                c.bytes()?;
                value.pass(c)
            }),
        }
    }
}

/// Maximum shapes of a schema. A name stands for the whole of its type each time it is used, so that without a limit a schema of thirty
/// types, each with two of the one before it, would fill the memory.
pub(super) const MAX_SHAPES: usize = 10_000;

/// Named types seen so far; Avro defines a name before its use, except in recursive types.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<Name, Skip>,
    /// Shapes that were copied for a name.
    copied: usize,
}

impl Names {
    fn define(&mut self, name: &Name, skip: Skip) -> Skip {
        self.known.insert(name.clone(), skip.clone());
        skip
    }

    fn get(&mut self, name: &Name) -> Result<Skip, SchemaError> {
        let known = self.known.get(name).ok_or_else(|| SchemaError::Recursive { name: name.to_string() })?;
        self.copied += known.size();
        if self.copied > MAX_SHAPES {
            return Err(SchemaError::TooLarge { name: name.to_string(), max: MAX_SHAPES });
        }
        Ok(known.clone())
    }
}
