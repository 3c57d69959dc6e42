//! The settings that determine results besides the log: windows, ranking, privacy and its key, partition counts. They are committed
//! with the offsets, because changing one of them over existing state would mix results of both values.

use std::fmt;

use weir_events::{
    IdPolicy, IpPolicy, MAX_CURRENCY, MAX_EVENT_ID, MAX_EVENT_NAME, MAX_ID, MAX_PAGE_URL, MAX_PROPERTIES,
    MAX_PROPERTIES_BYTES, MAX_SITE_ID, MAX_USER_AGENT, Privacy, PrivacyError, PrivacySettings,
    UserAgentPolicy,
};
use weir_manifest::{Duration, Pii, Pipeline};

use weir_log::identity::{AFRESH, NEW_GENERATION};

use crate::{Definitions, Settings};

/// The settings that state was computed with, as text for comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisiveSettings {
    /// The part that an earlier release committed.
    window: String,
    all: String,
    /// With what decides about events of version 2.
    version_2: String,
    page_limit: usize,
    definitions: Definitions,
}

/// Begins the part that is committed once an event of version 2 was read: before, it decides nothing. A release that does not know these
/// events refuses to continue then, instead of replaying what was counted as unknown.
const SLACK: &str = ", duplicate slack ";
/// Begins the part with the number of pages that may be live.
const LIVE_PAGES: &str = "live pages within ";
/// Begins the part with the version of the definitions.
const DEFINITIONS: &str = ", definitions ";
/// Begins the part that no new generation can change.
const EVENT_PARTITIONS: &str = "event partitions ";

impl DecisiveSettings {
    /// From window settings, a limit of `max_future` milliseconds on future events, and the number of event partitions.
    pub fn new(settings: &Settings, max_future: i64, privacy: &Privacy, inputs: i32) -> Self {
        let Settings {
            size,
            slide,
            out_of_orderness,
            session_gap,
            lanes,
            top,
            trending_half_life,
            warm_up,
            duplicate_slack,
            page_limit,
            definitions,
        } = settings;
        let window = format!(
            "size {size} ms, slide {slide} ms, out-of-orderness {out_of_orderness} ms, session gap {session_gap} ms, trending half-life \
             {trending_half_life} ms, {lanes} lanes"
        );
        let all = format!(
            "{window}, ranking of {top}, warm-up {warm_up}, max future {max_future} ms, {}, page_url within {MAX_PAGE_URL} bytes, \
             user_agent within {MAX_USER_AGENT} bytes, ids within {MAX_ID} bytes, {EVENT_PARTITIONS}{inputs}",
            privacy.parts().join(", "),
        );
        let version_2 = format!(
            "{all}{SLACK}{duplicate_slack} ms, event_id within {MAX_EVENT_ID} bytes, site_id within {MAX_SITE_ID} bytes, event_name within \
             {MAX_EVENT_NAME} bytes, currency within {MAX_CURRENCY} bytes, properties within {MAX_PROPERTIES} entries of {MAX_PROPERTIES_BYTES} bytes"
        );
        Self { window, all, version_2, page_limit: *page_limit, definitions: *definitions }
    }

    /// From the document, with the key that it names.
    ///
    /// # Errors
    /// The document requires hashing, and there is no key.
    pub fn of(pipeline: &Pipeline, key: Option<&[u8]>) -> Result<Self, PrivacyError> {
        let spec = &pipeline.spec;
        let privacy = Privacy::new(privacy_settings(&spec.pii), key)?;
        let max_future = spec.window.max_future.as_millis();
        Ok(Self::new(&settings(pipeline), max_future, &privacy, spec.topics.events.partitions))
    }

    /// The text that is committed; `version_2` once an event of version 2 was read.
    pub fn committed(&self, version_2: bool) -> String {
        self.by_definitions(self.definitions, if version_2 { &self.version_2 } else { &self.all })
    }

    fn by_definitions(&self, definitions: Definitions, settings: &str) -> String {
        let limit = format!(", {LIVE_PAGES}{}", self.page_limit);
        match definitions {
            // Texts of the first version do not name it, and know no limit: to state one begins the next generation.
            Definitions::V1 if self.page_limit == Settings::default().page_limit => settings.to_owned(),
            Definitions::V1 => format!("{settings}{limit}"),
            later => format!("{settings}{limit}{DEFINITIONS}{}", later as u32),
        }
    }

    /// How these settings differ from those that were committed; `None` if they match. What was begun by earlier definitions goes on by
    /// them: these are no difference.
    pub fn difference(&self, committed: &str) -> Option<Difference> {
        let definitions = definitions_in(committed).unwrap_or(self.definitions);
        let current = match () {
            () if committed.contains(SLACK) => self.by_definitions(definitions, &self.version_2),
            () if committed.contains(", ranking of ") => self.by_definitions(definitions, &self.all),
            // An earlier release committed the window part only: compare only that.
            () => self.window.clone(),
        };
        if committed == current {
            return None;
        }
        Some(Difference::of_parts(&parts_missing(committed, &current), &parts_missing(&current, committed)))
    }

    /// Why state with other settings cannot be continued, and what to do; `None` if `committed` matches.
    pub fn refusal(&self, committed: &str) -> Option<String> {
        let difference = self.difference(committed)?;
        // The topics already match the document: a changed partition count cannot be reverted.
        let way_out = match difference.repartitioned {
            true => AFRESH.to_owned(),
            false => format!("change it back, or {NEW_GENERATION}"),
        };
        Some(format!("{difference}: what was counted under the one cannot go on under the other: {way_out}"))
    }
}

/// How settings differ from those that state was computed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs as it was, in the document's terms.
    pub before: String,
    /// What differs as the document says it now.
    pub now: String,
    /// Whether visitors have moved between partitions, so that not even a new generation counts them right.
    pub repartitioned: bool,
}

impl Difference {
    /// How the recorded settings of one generation differ from those of the next.
    pub fn between(before: &str, now: &str) -> Self {
        // What was committed before events of version 2 were read does not state what decides about them.
        let version_2 = now
            .split_once(SLACK)
            .map(|(_, rest)| rest.split(&format!(", {LIVE_PAGES}")).next().unwrap_or(rest));
        let now = match version_2 {
            Some(part) if !before.contains(SLACK) => now.replace(&format!("{SLACK}{part}"), ""),
            _ => now.to_owned(),
        };
        Self::of_parts(&parts_missing(before, &now), &parts_missing(&now, before))
    }

    fn of_parts(before: &[&str], now: &[&str]) -> Self {
        let repartitioned = now.iter().any(|part| part.starts_with(EVENT_PARTITIONS));
        Self { before: in_words(before), now: in_words(now), repartitioned }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "was made with {}, and the document now says {}", self.before, self.now)
    }
}

/// The version of the definitions in a committed text.
///
/// # Errors
/// One that this release does not know.
pub fn definitions_in(committed: &str) -> Result<Definitions, String> {
    let Some((_, version)) = committed.split_once(DEFINITIONS) else { return Ok(Definitions::V1) };
    let known = [Definitions::V1, Definitions::V2];
    let found = known.into_iter().find(|&known| version == (known as u32).to_string());
    found.ok_or_else(|| {
        format!(
            "follows the definitions of version {version}, and this release knows them up to version {}: run a later release",
            Definitions::NEWEST as u32
        )
    })
}

/// The engine's settings in a committed text, with which a generation is ended.
///
/// # Errors
/// What the text lacks.
pub fn settings_in(committed: &str) -> Result<Settings, String> {
    let number = |before: &str, after: &str| {
        let number = committed.split(", ").find_map(|part| part.strip_prefix(before)?.strip_suffix(after));
        number.ok_or_else(|| format!("no `{before}NUMBER{after}` in {committed:?}"))
    };
    let parsed = |before: &str, after: &str| -> Result<i64, String> {
        number(before, after)?
            .parse()
            .map_err(|error| format!("`{before}NUMBER{after}` in {committed:?}: {error}"))
    };
    let small = |before: &str, after: &str| -> Result<u32, String> {
        u32::try_from(parsed(before, after)?).map_err(|error| format!("{before}NUMBER{after}: {error}"))
    };
    Ok(Settings {
        size: parsed("size ", " ms")?,
        slide: parsed("slide ", " ms")?,
        out_of_orderness: parsed("out-of-orderness ", " ms")?,
        session_gap: parsed("session gap ", " ms")?,
        lanes: small("", " lanes")?.cast_signed(),
        top: small("ranking of ", "")? as usize,
        trending_half_life: parsed("trending half-life ", " ms")?,
        warm_up: small("warm-up ", "")?,
        // Decides nothing in stage 2, which is all that a generation needs to end.
        duplicate_slack: parsed("duplicate slack ", " ms").unwrap_or_default(),
        // Decides nothing there either.
        page_limit: parsed(LIVE_PAGES, "").map_or(Settings::default().page_limit, |limit| limit as usize),
        definitions: definitions_in(committed)?,
    })
}

/// The parts of `this` that are not in `that`.
fn parts_missing<'a>(this: &'a str, that: &str) -> Vec<&'a str> {
    let others: Vec<&str> = that.split(", ").collect();
    this.split(", ").filter(|part| !others.contains(part)).collect()
}

/// Parts in the document's terms.
fn in_words(parts: &[&str]) -> String {
    if parts.is_empty() {
        return "nothing of it".to_owned();
    }
    parts.iter().map(|part| in_terms_of_the_document(part)).collect::<Vec<_>>().join(", ")
}

/// A part as the field that decides it, with its value as the document writes it. What no field decides stays.
fn in_terms_of_the_document(part: &str) -> String {
    if let Some(count) = part.strip_suffix(" lanes") {
        return format!("topics.results.partitions {count}");
    }
    let fields = [
        ("size ", "window.size"),
        ("slide ", "window.slide"),
        ("out-of-orderness ", "window.outOfOrderness"),
        ("session gap ", "window.sessionGap"),
        ("max future ", "window.maxFuture"),
        ("duplicate slack ", "window.duplicateSlack"),
        ("trending half-life ", "ranking.trendingHalfLife"),
        ("ranking of ", "ranking.top"),
        ("warm-up ", "ranking.warmUp"),
        (LIVE_PAGES, "limits.pages"),
        (EVENT_PARTITIONS, "topics.events.partitions"),
        ("user_id ", "pii.userId"),
        ("ip_address ", "pii.ipAddress"),
        ("user_agent ", "pii.userAgent"),
    ];
    let found = fields.into_iter().find_map(|(before, field)| Some((part.strip_prefix(before)?, field)));
    let Some((value, field)) = found.filter(|(value, _)| !value.starts_with("within ")) else {
        return part.to_owned();
    };
    let span = value.strip_suffix(" ms").and_then(|millis| millis.parse().ok()).map(Duration::from_millis);
    span.map_or_else(|| format!("{field} {value}"), |span| format!("{field} {span}"))
}

/// The document's window and ranking settings.
pub fn settings(pipeline: &Pipeline) -> Settings {
    let (window, ranking) = (&pipeline.spec.window, &pipeline.spec.ranking);
    Settings {
        size: window.size.as_millis(),
        slide: window.slide.as_millis(),
        out_of_orderness: window.out_of_orderness.as_millis(),
        session_gap: window.session_gap.as_millis(),
        lanes: pipeline.spec.topics.results.partitions,
        top: ranking.top as usize,
        trending_half_life: ranking.trending_half_life.as_millis(),
        warm_up: ranking.warm_up,
        duplicate_slack: window.duplicate_slack.as_millis(),
        page_limit: pipeline.spec.limits.pages as usize,
        definitions: Definitions::NEWEST,
    }
}

/// The document's privacy settings.
pub fn privacy_settings(pii: &Pii) -> PrivacySettings {
    PrivacySettings {
        user_id: match pii.user_id {
            weir_manifest::IdPolicy::Keep => IdPolicy::Keep,
            weir_manifest::IdPolicy::Hash => IdPolicy::Hash,
        },
        ip_address: match pii.ip_address {
            weir_manifest::IpPolicy::Keep => IpPolicy::Keep,
            weir_manifest::IpPolicy::Truncate => IpPolicy::Truncate,
            weir_manifest::IpPolicy::Hash => IpPolicy::Hash,
            weir_manifest::IpPolicy::Drop => IpPolicy::Drop,
        },
        user_agent: match pii.user_agent {
            weir_manifest::UserAgentPolicy::Keep => UserAgentPolicy::Keep,
            weir_manifest::UserAgentPolicy::Family => UserAgentPolicy::Family,
            weir_manifest::UserAgentPolicy::Drop => UserAgentPolicy::Drop,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_engine_and_the_document_have_the_same_defaults() {
        let of_document = settings(&Pipeline::demo());
        assert_eq!(of_document, Settings { lanes: of_document.lanes, ..Settings::default() });
    }

    #[test]
    fn a_refusal_names_the_difference_and_whether_it_can_be_reverted() {
        let of = |change: &dyn Fn(&mut weir_manifest::PipelineSpec)| {
            let mut pipeline = Pipeline::demo();
            change(&mut pipeline.spec);
            DecisiveSettings::of(&pipeline, None).unwrap()
        };
        let demo = of(&|_| {});
        assert_eq!(demo.refusal(&demo.committed(false)), None);
        assert_eq!(demo.refusal(&demo.committed(true)), None);
        assert_eq!(demo.refusal(&demo.window), None);
        let other = of(&|spec| spec.ranking.top = 7).refusal(&demo.committed(false)).unwrap();
        assert!(
            other.starts_with("was made with ranking.top 10, and the document now says ranking.top 7: "),
            "{other}"
        );
        assert!(other.contains("change it back, or begin a new generation"), "{other}");
        let of_release_before =
            of(&|spec| spec.window.size = "10m".parse().unwrap()).refusal(&demo.window).unwrap();
        assert!(
            of_release_before.starts_with(
                "was made with window.size 5m, and the document now says window.size 10m: what was counted"
            ),
            "{of_release_before}"
        );
        assert!(
            of_release_before.contains("change it back, or begin a new generation"),
            "{of_release_before}"
        );
        // Without events of version 2 the slack decides nothing.
        let slack = of(&|spec| spec.window.duplicate_slack = "2m".parse().unwrap());
        assert_eq!(slack.refusal(&demo.committed(false)), None);
        let refusal = slack.refusal(&demo.committed(true)).unwrap();
        let expected =
            "was made with window.duplicateSlack 1m, and the document now says window.duplicateSlack 2m: ";
        assert!(refusal.starts_with(expected), "{refusal}");
        let lanes = of(&|spec| spec.topics.results.partitions = 4).refusal(&demo.committed(false)).unwrap();
        let expected = "was made with topics.results.partitions 3, and the document now says topics.results.partitions 4: ";
        assert!(lanes.starts_with(expected) && !lanes.contains("lanes"), "{lanes}");
        // The topics already have the new count, and visitors have moved.
        let repartitioned =
            of(&|spec| spec.topics.events.partitions = 9).refusal(&demo.committed(false)).unwrap();
        assert!(
            repartitioned.starts_with(
                "was made with topics.events.partitions 6, and the document now says topics.events.partitions 9: "
            ),
            "{repartitioned}"
        );
        assert!(
            repartitioned.contains("begin afresh") && !repartitioned.contains("change it back"),
            "{repartitioned}"
        );
    }

    #[test]
    fn what_was_begun_by_earlier_definitions_goes_on_by_them() {
        let now = DecisiveSettings::of(&Pipeline::demo(), None).unwrap();
        let first = DecisiveSettings { definitions: Definitions::V1, ..now.clone() };
        for version_2 in [false, true] {
            let (newest, earlier) = (now.committed(version_2), first.committed(version_2));
            assert_eq!(newest, format!("{earlier}, live pages within 100000, definitions 2"));
            assert_eq!((now.refusal(&earlier), now.refusal(&newest)), (None, None));
            assert_eq!(definitions_in(&earlier), Ok(Definitions::V1));
            assert_eq!(definitions_in(&newest), Ok(Definitions::V2));
            assert_eq!(settings_in(&earlier).unwrap().definitions, Definitions::V1);
            let later = format!("{earlier}, definitions 3");
            let expected = "follows the definitions of version 3, and this release knows them up to version 2: run a later release";
            assert_eq!(definitions_in(&later), Err(expected.to_owned()));
            let difference = now.refusal(&later).unwrap();
            assert!(difference.starts_with("was made with definitions 3, and the document"), "{difference}");
            // Earlier definitions know no limit.
            let limited = DecisiveSettings { page_limit: 7, ..now.clone() };
            let stated = limited.refusal(&earlier).unwrap();
            assert!(
                stated.starts_with("was made with nothing of it, and the document now says limits.pages 7: "),
                "{stated}"
            );
            let other = limited.refusal(&newest).unwrap();
            assert!(other.starts_with("was made with limits.pages 100000, and"), "{other}");
        }
    }

    #[test]
    fn settings_of_two_generations_are_compared_as_they_are_recorded() {
        let of = |size: &str| {
            let mut pipeline = Pipeline::demo();
            pipeline.spec.window.size = size.parse().unwrap();
            DecisiveSettings::of(&pipeline, None).unwrap()
        };
        let (first, second) = (of("5m"), of("1m"));
        // The first one has read no event of version 2.
        for version_2 in [false, true] {
            let difference = Difference::between(&first.committed(version_2), &second.committed(true));
            assert_eq!((&*difference.before, &*difference.now), ("window.size 5m", "window.size 1m"));
            assert!(!difference.repartitioned);
        }
        let mut pipeline = Pipeline::demo();
        pipeline.spec.window.duplicate_slack = "2m".parse().unwrap();
        let slack = DecisiveSettings::of(&pipeline, None).unwrap();
        let difference = Difference::between(&first.committed(true), &slack.committed(true));
        assert_eq!(difference.now, "window.duplicateSlack 2m");
    }

    #[test]
    fn a_committed_text_has_the_settings_with_which_its_generation_ends() {
        let mut pipeline = Pipeline::demo();
        let spec = &mut pipeline.spec;
        (spec.window.size, spec.window.slide) = ("90s".parse().unwrap(), "15s".parse().unwrap());
        (spec.window.session_gap, spec.window.out_of_orderness) =
            ("7m".parse().unwrap(), "11s".parse().unwrap());
        (spec.ranking.top, spec.ranking.warm_up, spec.topics.results.partitions) = (17, 5, 4);
        spec.ranking.trending_half_life = "3h".parse().unwrap();
        spec.window.duplicate_slack = "2m".parse().unwrap();
        let decisive = DecisiveSettings::of(&pipeline, None).unwrap();
        assert_eq!(settings_in(&decisive.committed(true)), Ok(settings(&pipeline)));
        let without_ids = Settings { duplicate_slack: 0, ..settings(&pipeline) };
        assert_eq!(settings_in(&decisive.committed(false)), Ok(without_ids));
        let damaged = decisive.committed(true).replace("warm-up 5", "warm-up many");
        assert!(settings_in(&damaged).unwrap_err().contains("warm-up NUMBER"), "{damaged}");
        assert!(settings_in(&decisive.window).unwrap_err().starts_with("no `ranking of NUMBER`"));
    }
}
