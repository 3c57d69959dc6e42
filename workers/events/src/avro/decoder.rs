//! Decodes events of our schema and of later ones.

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::schema::UuidSchema;
use apache_avro::schema_compatibility::SchemaCompatibility;

use super::cursor::Cursor;
use super::error::{DecodeError, Fault, SchemaError};
use super::skip::{Names, Skip};
use crate::schema::{
    CLICKSTREAM_EVENT, CLICKSTREAM_EVENT_1, CLICKSTREAM_EVENT_FINGERPRINTS, CLICKSTREAM_EVENT_FINGERPRINTS_1,
    CONFLUENT, Fingerprints, SINGLE_OBJECT,
};
use crate::{ClickstreamEvent, EventType, Properties};

/// Decodes events of its own schema and of registered writer schemas.
///
/// A schema is read if apache-avro says that it resolves to ours and it begins with the fields of version 1; after these, fields of
/// version 2 are found by name, and what nobody here knows is passed over. Decoding allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    // Searched linearly: a topic has a handful of schemas, for which a hash map is slower.
    fingerprints: Vec<(Fingerprints, Vec<Added>)>,
    ids: Vec<(u32, Vec<Added>)>,
}

/// What a schema has after the fields of version 1.
#[derive(Clone, Copy)]
enum After<'a> {
    Nothing,
    /// Those of version 2, as it is written here.
    Version2,
    Fields(&'a [Added]),
}

/// A field after those of version 1.
#[derive(Debug, Clone)]
enum Added {
    /// One of version 2, and whether it is written as a union with null.
    Known {
        field: Field,
        optional: bool,
    },
    Unknown(Skip),
}

/// Their values.
#[derive(Default)]
struct AddedFields<'a> {
    event_id: Option<&'a str>,
    site_id: Option<&'a str>,
    event_name: Option<&'a str>,
    revenue_micros: Option<i64>,
    currency: Option<&'a str>,
    properties: Option<Properties<'a>>,
}

/// The fields that version 2 added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    EventId,
    SiteId,
    EventName,
    RevenueMicros,
    Currency,
    Properties,
}

impl Decoder {
    /// Knows the fingerprints of both versions of `schemas/clickstream-event.avsc` and no id.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the schema of an id in Confluent's frame; replaces an earlier registration.
    ///
    /// # Errors
    /// [`SchemaError`] if the JSON is not a schema, or the schema cannot be read as ours.
    pub fn register(&mut self, id: u32, writer_schema_json: &str) -> Result<(), SchemaError> {
        let (_, added) = added_fields(writer_schema_json)?;
        self.ids.retain(|(known, _)| *known != id);
        self.ids.push((id, added));
        Ok(())
    }

    /// Registers a schema for single-object encoding, under both of its fingerprints.
    ///
    /// # Errors
    /// [`SchemaError`] if the JSON is not a schema, or the schema cannot be read as ours.
    pub fn register_fingerprint(&mut self, writer_schema_json: &str) -> Result<(), SchemaError> {
        let (schema, added) = added_fields(writer_schema_json)?;
        let both = fingerprints(&schema)?;
        self.fingerprints.retain(|(known, _)| *known != both);
        self.fingerprints.push((both, added));
        Ok(())
    }

    /// Decodes an event from all of `bytes`. Its strings borrow from them.
    ///
    /// # Errors
    /// [`DecodeError`], which distinguishes unknown schemas from bytes that contradict a known one.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<ClickstreamEvent<'a>, DecodeError> {
        let (body, after) = match frame(bytes)? {
            Frame::SingleObject(found, body) if CLICKSTREAM_EVENT_FINGERPRINTS_1.contain(found) => {
                (body, After::Nothing)
            }
            Frame::SingleObject(found, body) if CLICKSTREAM_EVENT_FINGERPRINTS.contain(found) => {
                (body, After::Version2)
            }
            Frame::SingleObject(found, body) => (
                body,
                After::Fields(
                    find(&self.fingerprints, |known| known.contain(found))
                        .ok_or(DecodeError::UnknownFingerprint(found))?,
                ),
            ),
            Frame::Confluent(id, body) => {
                let added = find(&self.ids, |known| *known == id).ok_or(DecodeError::UnknownId(id))?;
                (body, After::Fields(added))
            }
        };
        event(Cursor::new(body), after)
    }
}

/// The fields of version 2, one after the other: a fifth of what it takes to look each one up.
#[inline(never)]
fn version_2<'a>(c: &mut Cursor<'a>) -> Result<AddedFields<'a>, DecodeError> {
    let mut fields = AddedFields::default();
    c.field = Field::EventId.name();
    if c.present()? {
        fields.event_id = Some(c.string()?);
    }
    c.field = Field::SiteId.name();
    if c.present()? {
        fields.site_id = Some(c.string()?);
    }
    c.field = Field::EventName.name();
    if c.present()? {
        fields.event_name = Some(c.string()?);
    }
    c.field = Field::RevenueMicros.name();
    if c.present()? {
        fields.revenue_micros = Some(c.long()?);
    }
    c.field = Field::Currency.name();
    if c.present()? {
        fields.currency = Some(c.string()?);
    }
    c.field = Field::Properties.name();
    if c.present()? {
        fields.properties = Some(Properties::decode(c)?);
    }
    Ok(fields)
}

impl Field {
    const ALL: [Self; 6] =
        [Self::EventId, Self::SiteId, Self::EventName, Self::RevenueMicros, Self::Currency, Self::Properties];

    fn name(self) -> &'static str {
        match self {
            Self::EventId => "event_id",
            Self::SiteId => "site_id",
            Self::EventName => "event_name",
            Self::RevenueMicros => "revenue_micros",
            Self::Currency => "currency",
            Self::Properties => "properties",
        }
    }

    /// The type of a value, without null.
    fn is(self, schema: &Schema) -> bool {
        match self {
            // Both are written alike.
            Self::RevenueMicros => matches!(schema, Schema::Long | Schema::Int),
            Self::Properties => matches!(schema, Schema::Map(map) if matches!(*map.types, Schema::String)),
            _ => matches!(schema, Schema::String | Schema::Uuid(UuidSchema::String)),
        }
    }
}

impl Added {
    #[inline]
    fn read<'a>(&self, c: &mut Cursor<'a>, fields: &mut AddedFields<'a>) -> Result<(), DecodeError> {
        let field = match self {
            Self::Unknown(skip) => {
                c.field = "(added later)";
                return skip.pass(c);
            }
            Self::Known { field, optional } => {
                c.field = field.name();
                if *optional && !c.present()? {
                    return Ok(());
                }
                field
            }
        };
        match field {
            Field::EventId => fields.event_id = Some(c.string()?),
            Field::SiteId => fields.site_id = Some(c.string()?),
            Field::EventName => fields.event_name = Some(c.string()?),
            Field::RevenueMicros => fields.revenue_micros = Some(c.long()?),
            Field::Currency => fields.currency = Some(c.string()?),
            Field::Properties => fields.properties = Some(Properties::decode(c)?),
        }
        Ok(())
    }
}

/// Whether bytes are an event of version 2, in single-object encoding.
pub fn is_version_2(bytes: &[u8]) -> bool {
    matches!(frame(bytes), Ok(Frame::SingleObject(found, _)) if CLICKSTREAM_EVENT_FINGERPRINTS.contain(found))
}

fn find<K>(known: &[(K, Vec<Added>)], is: impl Fn(&K) -> bool) -> Option<&[Added]> {
    known.iter().find(|(key, _)| is(key)).map(|(_, added)| added.as_slice())
}

/// Builds the event at the very end, where it is returned: each copy of it costs as much as a field.
#[inline(always)]
fn event<'a>(mut c: Cursor<'a>, after: After<'_>) -> Result<ClickstreamEvent<'a>, DecodeError> {
    c.field = "user_id";
    let user_id = c.string()?;
    c.field = "session_id";
    let session_id = c.string()?;
    c.field = "event_type";
    let event_type = match c.long()? {
        0 => EventType::View,
        1 => EventType::Click,
        2 => EventType::AddToCart,
        3 => EventType::Purchase,
        4 => EventType::Search,
        _ => return Err(c.fault(Fault::Symbol)),
    };
    c.field = "page_url";
    let page_url = c.string()?;
    c.field = "product_id";
    let product_id = if c.present()? { Some(c.string()?) } else { None };
    c.field = "timestamp";
    let timestamp = c.long()?;
    c.field = "user_agent";
    let user_agent = c.string()?;
    c.field = "ip_address";
    let ip_address = c.string()?;
    c.field = "referrer";
    let referrer = if c.present()? { Some(c.string()?) } else { None };
    c.field = "session_duration";
    let session_duration = if c.present()? { Some(c.int()?) } else { None };
    let fields = match after {
        After::Nothing => AddedFields::default(),
        After::Version2 => version_2(&mut c)?,
        After::Fields(added) => {
            let mut fields = AddedFields::default();
            added.iter().try_for_each(|added| added.read(&mut c, &mut fields))?;
            fields
        }
    };
    c.finish()?;
    Ok(ClickstreamEvent {
        user_id,
        session_id,
        event_type,
        page_url,
        product_id,
        timestamp,
        user_agent,
        ip_address,
        referrer,
        session_duration,
        event_id: fields.event_id,
        site_id: fields.site_id,
        event_name: fields.event_name,
        revenue_micros: fields.revenue_micros,
        currency: fields.currency,
        properties: fields.properties,
    })
}

pub(super) enum Frame<'a> {
    SingleObject(u64, &'a [u8]),
    Confluent(u32, &'a [u8]),
}

pub(super) fn frame(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    if let Some(rest) = bytes.strip_prefix(&SINGLE_OBJECT)
        && let Some((fingerprint, body)) = rest.split_first_chunk()
    {
        return Ok(Frame::SingleObject(u64::from_be_bytes(*fingerprint), body));
    }
    if let Some(rest) = bytes.strip_prefix(&[CONFLUENT])
        && let Some((id, body)) = rest.split_first_chunk()
    {
        return Ok(Frame::Confluent(u32::from_be_bytes(*id), body));
    }
    Err(DecodeError::framing(bytes))
}

/// The parsed schema, and what it has after the fields of version 1.
fn added_fields(json: &str) -> Result<(Schema, Vec<Added>), SchemaError> {
    let (ours, first) = (parse(CLICKSTREAM_EVENT)?, parse(CLICKSTREAM_EVENT_1)?);
    let writer = parse(json)?;
    let (Schema::Record(expected), Schema::Record(ours_now), Schema::Record(record)) =
        (&first, &ours, &writer)
    else {
        return Err(SchemaError::NotARecord);
    };
    let name = || record.name.to_string();
    SchemaCompatibility::can_read(&writer, &ours)
        .map_err(|source| SchemaError::Incompatible { name: name(), source: Box::new(source) })?;
    for (i, field) in expected.fields.iter().enumerate() {
        let describe = |name: &str, schema: &Schema| format!("{name} {}", java_form(schema));
        let expected = describe(&field.name, &field.schema);
        let found = record.fields.get(i).map_or("no field".to_owned(), |f| describe(&f.name, &f.schema));
        if found != expected {
            return Err(SchemaError::Layout { name: name(), found, expected });
        }
    }
    let shapes = Skip::fields(record, &mut Names::default())?;
    let later = record.fields.iter().zip(shapes).skip(expected.fields.len());
    let added = later.map(|(written, shape)| {
        let known = Field::ALL.into_iter().find(|field| field.name() == written.name);
        let Some(field) = known else { return Ok(Added::Unknown(shape)) };
        let optional = match &written.schema {
            Schema::Union(union) => match union.variants() {
                [Schema::Null, value] if field.is(value) => Some(true),
                _ => None,
            },
            schema => field.is(schema).then_some(false),
        };
        let optional = optional.ok_or_else(|| {
            let describe = |schema: &Schema| format!("{} {}", written.name, java_form(schema));
            let expected = ours_now.fields.iter().find(|field| field.name == written.name);
            let expected = expected.map_or_else(String::new, |field| describe(&field.schema));
            SchemaError::Layout { name: name(), found: describe(&written.schema), expected }
        })?;
        Ok(Added::Known { field, optional })
    });
    let added = added.collect::<Result<_, SchemaError>>()?;
    Ok((writer, added))
}

/// Both fingerprints of a schema. A canonical form is a schema, so apache-avro can compute the fingerprint of the other one too.
pub(crate) fn fingerprints(schema: &Schema) -> Result<Fingerprints, SchemaError> {
    let rabin = |schema: &Schema| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&schema.fingerprint::<Rabin>().bytes);
        bytes
    };
    Ok(Fingerprints { written: rabin(schema), java: rabin(&parse(&java_form(schema))?) })
}

/// Java's canonical form: a logical type is reduced to the name of its primitive type.
fn java_form(schema: &Schema) -> String {
    ["int", "long", "bytes", "string"].iter().fold(schema.canonical_form(), |form, primitive| {
        form.replace(&format!("{{\"type\":\"{primitive}\"}}"), &format!("\"{primitive}\""))
    })
}

fn parse(json: &str) -> Result<Schema, SchemaError> {
    Schema::parse_str(json).map_err(|source| SchemaError::Parse(Box::new(source)))
}
