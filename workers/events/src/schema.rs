//! The schemas of all records in topics, and the headers of their encodings.
//!
//! The fingerprints are constants so that encoding needs no setup; tests derive them from the schemas.

/// Schema of the input events, as JSON.
pub const CLICKSTREAM_EVENT: &str = include_str!("../../../schemas/clickstream-event.avsc");
/// Its first version, without what the other has after `session_duration`. Read for ever.
pub const CLICKSTREAM_EVENT_1: &str = include_str!("../../../schemas/clickstream-event-v1.avsc");
/// Schema of one page's numbers, as JSON.
pub const PAGE_ANALYTICS: &str = include_str!("../../../schemas/page-analytics.avsc");
/// Schema of one window's ranking, as JSON.
pub const TOP_PAGES: &str = include_str!("../../../schemas/top-pages.avsc");

/// First two bytes of Avro's single-object encoding.
pub(crate) const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];
/// First byte of Confluent's frame.
pub(crate) const CONFLUENT: u8 = 0;

/// The fingerprints of one schema, as the eight bytes in a value's header.
///
/// There are two because implementations disagree on the canonical form of a logical type: by the letter of the
/// specification, and for apache-avro and Python's avro, a `timestamp-millis` is `{"type":"long"}`; for Java's avro and
/// fastavro it is `"long"`. The first is written, both are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprints {
    pub(crate) written: [u8; 8],
    pub(crate) java: [u8; 8],
}

impl Fingerprints {
    #[inline]
    pub(crate) fn contain(self, found: u64) -> bool {
        found == u64::from_be_bytes(self.written) || found == u64::from_be_bytes(self.java)
    }
}

pub(crate) const CLICKSTREAM_EVENT_FINGERPRINTS: Fingerprints = Fingerprints {
    written: 0x3a45_ffd9_dbf2_a13b_u64.to_be_bytes(),
    java: 0x0d63_9db2_fd6c_8a44_u64.to_be_bytes(),
};
/// The first version.
pub(crate) const CLICKSTREAM_EVENT_FINGERPRINTS_1: Fingerprints = Fingerprints {
    written: 0x148a_e33f_4122_a241_u64.to_be_bytes(),
    java: 0x63b2_3475_4707_e1df_u64.to_be_bytes(),
};
pub(crate) const PAGE_ANALYTICS_FINGERPRINTS: Fingerprints = Fingerprints {
    written: 0xfc2f_28a3_32e2_5dc4_u64.to_be_bytes(),
    java: 0x5043_2382_481b_1c39_u64.to_be_bytes(),
};
pub(crate) const TOP_PAGES_FINGERPRINTS: Fingerprints = Fingerprints {
    written: 0xb573_124c_5c52_bcdd_u64.to_be_bytes(),
    java: 0x228f_df68_0526_3d5a_u64.to_be_bytes(),
};
/// The first version, without `page_count`.
pub(crate) const TOP_PAGES_FINGERPRINTS_1: Fingerprints = Fingerprints {
    written: 0x0c3a_3646_b781_935c_u64.to_be_bytes(),
    java: 0x9815_f1b5_cf79_476c_u64.to_be_bytes(),
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::avro::fingerprints;

    /// If this fails, the wire format has changed: existing topics must stay readable.
    #[test]
    fn fingerprints_are_those_of_the_canonical_forms() {
        for (json, constant) in [
            (CLICKSTREAM_EVENT, CLICKSTREAM_EVENT_FINGERPRINTS),
            (CLICKSTREAM_EVENT_1, CLICKSTREAM_EVENT_FINGERPRINTS_1),
            (PAGE_ANALYTICS, PAGE_ANALYTICS_FINGERPRINTS),
            (TOP_PAGES, TOP_PAGES_FINGERPRINTS),
        ] {
            let schema = apache_avro::Schema::parse_str(json).unwrap();
            assert_eq!(fingerprints(&schema).unwrap(), constant, "{}", schema.canonical_form());
        }
    }

    /// Values from Java's `SchemaNormalization` (avro 1.12.0), fastavro and Python's avro; those of rankings from fastavro
    /// 1.13.1 and a computation by the letter of the specification.
    #[test]
    fn other_implementations_compute_the_same_fingerprints() {
        let hex = |bytes: [u8; 8]| bytes.map(|b| format!("{b:02x}")).concat();
        let of = |both: Fingerprints| (hex(both.written), hex(both.java));
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of(CLICKSTREAM_EVENT_FINGERPRINTS_1), pair("148ae33f4122a241", "63b234754707e1df"));
        assert_eq!(of(CLICKSTREAM_EVENT_FINGERPRINTS), pair("3a45ffd9dbf2a13b", "0d639db2fd6c8a44"));
        assert_eq!(of(PAGE_ANALYTICS_FINGERPRINTS), pair("fc2f28a332e25dc4", "50432382481b1c39"));
        assert_eq!(of(TOP_PAGES_FINGERPRINTS), pair("b573124c5c52bcdd", "228fdf6805263d5a"));
    }
}
