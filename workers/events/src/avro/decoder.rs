//! Decodes events of our schema and of later ones.

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::schema_compatibility::SchemaCompatibility;

use super::cursor::Cursor;
use super::error::{DecodeError, Fault, SchemaError};
use super::skip::{Names, Skip};
use crate::schema::{
    CLICKSTREAM_EVENT, CLICKSTREAM_EVENT_FINGERPRINTS, CONFLUENT, Fingerprints, SINGLE_OBJECT,
};
use crate::{ClickstreamEvent, EventType};

/// Decodes events of its own schema and of registered writer schemas.
///
/// A schema is supported if apache-avro can resolve it to ours and it begins with our fields; fields added at the end are
/// skipped. Decoding allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    // Searched linearly: a topic has a handful of schemas, for which a hash map is slower.
    fingerprints: Vec<(Fingerprints, Vec<Skip>)>,
    ids: Vec<(u32, Vec<Skip>)>,
}

impl Decoder {
    /// A decoder that knows the fingerprint of `schemas/clickstream-event.avsc` and no ids.
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
        let (body, added): (_, &[Skip]) = match frame(bytes)? {
            Frame::SingleObject(found, body) if CLICKSTREAM_EVENT_FINGERPRINTS.contain(found) => (body, &[]),
            Frame::SingleObject(found, body) => (
                body,
                find(&self.fingerprints, |known| known.contain(found))
                    .ok_or(DecodeError::UnknownFingerprint(found))?,
            ),
            Frame::Confluent(id, body) => {
                (body, find(&self.ids, |known| *known == id).ok_or(DecodeError::UnknownId(id))?)
            }
        };
        let mut c = Cursor::new(body);
        let event = event(&mut c)?;
        c.field = "(added later)";
        added.iter().try_for_each(|field| field.pass(&mut c))?;
        c.finish()?;
        Ok(event)
    }
}

fn find<K>(known: &[(K, Vec<Skip>)], is: impl Fn(&K) -> bool) -> Option<&[Skip]> {
    known.iter().find(|(key, _)| is(key)).map(|(_, added)| added.as_slice())
}

fn event<'a>(c: &mut Cursor<'a>) -> Result<ClickstreamEvent<'a>, DecodeError> {
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

/// The parsed schema, and the shapes of the fields after ours.
fn added_fields(json: &str) -> Result<(Schema, Vec<Skip>), SchemaError> {
    let ours = parse(CLICKSTREAM_EVENT)?;
    let writer = parse(json)?;
    let (Schema::Record(expected), Schema::Record(record)) = (&ours, &writer) else {
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
    let mut shapes = Skip::fields(record, &mut Names::default())?;
    let added = shapes.split_off(expected.fields.len());
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
