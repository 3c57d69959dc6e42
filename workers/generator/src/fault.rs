//! Faults of a delivery, and the resulting bytes.

use weir_events::ClickstreamEvent;

use crate::options::Faults;
use crate::random::Random;

/// The fault of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Delivered after all of its windows are closed.
    Late,
    /// The second delivery of the same bytes; the first one has no fault.
    Duplicate,
    /// A value that consumers reject.
    Malformed(Defect),
}

/// The defect of a malformed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// The end is missing, from one byte to all but one.
    Truncated,
    /// The first byte is that of no known framing.
    WrongMagic,
    /// An empty value.
    Empty,
    /// The fingerprint is that of no known schema.
    UnknownFingerprint,
    /// Well-formed, with an empty `user_id`.
    EmptyUserId,
    /// Well-formed, with a `page_url` that is neither an http(s) URL nor an absolute path.
    BadUrl,
    /// Well-formed, with a `timestamp` of 0.
    ZeroTimestamp,
    /// Well-formed, with a `timestamp` one year ahead.
    FarFuture,
}

impl Defect {
    /// Every defect; each has the same share of the malformed deliveries.
    pub const ALL: [Defect; 8] = [
        Defect::Truncated,
        Defect::WrongMagic,
        Defect::Empty,
        Defect::UnknownFingerprint,
        Defect::EmptyUserId,
        Defect::BadUrl,
        Defect::ZeroTimestamp,
        Defect::FarFuture,
    ];

    /// Applies a defect of the event's fields.
    pub(crate) fn spoil_event(self, event: &mut ClickstreamEvent<'_>) {
        match self {
            Self::EmptyUserId => event.user_id = "",
            Self::BadUrl => event.page_url = "javascript:void(0)",
            Self::ZeroTimestamp => event.timestamp = 0,
            Self::FarFuture => event.timestamp += 365 * 86_400_000,
            Self::Truncated | Self::WrongMagic | Self::Empty | Self::UnknownFingerprint => {}
        }
    }

    /// Applies a defect of the bytes.
    pub(crate) fn spoil_bytes(self, value: &mut Vec<u8>, random: &mut Random) {
        match self {
            Self::Truncated => value.truncate(1 + random.below(value.len() as u32 - 1) as usize),
            Self::WrongMagic => value[0] = 0x7f,
            Self::Empty => value.clear(),
            Self::UnknownFingerprint => value[2..10].iter_mut().for_each(|byte| *byte = !*byte),
            Self::EmptyUserId | Self::BadUrl | Self::ZeroTimestamp | Self::FarFuture => {}
        }
    }
}

impl Faults {
    /// Draws the fault of the next event, if any.
    pub(crate) fn draw(&self, random: &mut Random) -> Option<Fault> {
        let at = random.unit();
        if at < self.late {
            Some(Fault::Late)
        } else if at < self.late + self.duplicates {
            Some(Fault::Duplicate)
        } else if at < self.late + self.duplicates + self.malformed {
            Some(Fault::Malformed(Defect::ALL[random.below(Defect::ALL.len() as u32) as usize]))
        } else {
            None
        }
    }
}
