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

/// Named types seen so far; Avro defines a name before its use, except in recursive types.
#[derive(Default)]
pub(super) struct Names(HashMap<Name, Skip>);

impl Names {
    fn define(&mut self, name: &Name, skip: Skip) -> Skip {
        self.0.insert(name.clone(), skip.clone());
        skip
    }

    fn get(&self, name: &Name) -> Result<Skip, SchemaError> {
        self.0.get(name).cloned().ok_or_else(|| SchemaError::Recursive { name: name.to_string() })
    }
}
