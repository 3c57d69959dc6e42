//! The input of a computation.

/// What a visitor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Saw a page.
    View,
    /// Clicked something on it.
    Click,
    /// Put something into the cart.
    AddToCart,
    /// Bought: a conversion.
    Purchase,
    /// Searched.
    Search,
}

/// One valid event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The user; all events of a user are in one partition.
    pub user: String,
    /// The visit of this user, as the client names it.
    pub session: String,
    /// The kind of action.
    pub kind: Kind,
    /// The page.
    pub page: String,
    /// Event time, milliseconds since the epoch.
    pub timestamp: i64,
    /// Seconds since the visit began, as reported by the client; may be implausible.
    pub session_duration: Option<i32>,
    /// The client's id of this event. With the user it is the event's identity; without it, or where it is empty, the
    /// event has no identity and is never a duplicate.
    pub event_id: Option<String>,
}

impl Event {
    /// The user and the event id.
    pub(crate) fn identity(&self) -> Option<(&str, &str)> {
        let id = self.event_id.as_deref().filter(|id| !id.is_empty())?;
        Some((&self.user, id))
    }
}

/// One entry of a partition's log, in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A valid event.
    Event(Event),
    /// A logged watermark advance of an idle partition: from here on its watermark is at least this (milliseconds).
    AdvanceWatermark(i64),
}

/// The settings. All times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Window size S: a positive multiple of the slide.
    pub size: i64,
    /// Slide L between window ends; positive.
    pub slide: i64,
    /// How far the watermark stays behind the greatest timestamp; not negative.
    pub out_of_orderness: i64,
    /// Maximum gap within a visit; not negative.
    pub session_gap: i64,
    /// Length of the ranking K.
    pub top: usize,
    /// Half-life of the usual level; positive.
    pub trending_half_life: i64,
    /// Aligned windows needed before a page can trend.
    pub warm_up: u32,
    /// How long an identity is held beyond size and out-of-orderness; not negative.
    pub duplicate_slack: i64,
    /// So many pages of a partition may be live; `None`: any number, by the first version of the definitions.
    pub page_limit: Option<usize>,
    /// By the first version of the definitions: a visit has one session id, whoever its users are.
    pub visits_span_users: bool,
}

impl Settings {
    pub(crate) fn check(&self) {
        assert!(
            self.slide > 0
                && self.size > 0
                && self.size % self.slide == 0
                && self.out_of_orderness >= 0
                && self.session_gap >= 0
                && self.trending_half_life > 0
                && self.duplicate_slack >= 0,
            "these settings make no sense: {self:?}"
        );
    }

    /// H: how far a partition's watermark rises while an identity is held.
    pub(crate) fn hold(&self) -> i64 {
        self.size + self.out_of_orderness + self.duplicate_slack
    }
}
