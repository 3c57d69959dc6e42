//! The rules of `crate::rules` once more, for the API server (CEL), and those that compare with the object before.
//!
//! `ms(FIELD)` stands for the milliseconds of a duration: CEL knows durations, but no days.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

/// A rule of the definition.
pub(super) struct Rule {
    /// The field whose `self` it is.
    pub(super) at: &'static str,
    /// The field below it that is to blame.
    pub(super) field: Option<&'static str>,
    /// What must hold.
    pub(super) rule: &'static str,
    /// What is said where it does not.
    pub(super) message: &'static str,
}

const fn rule(at: &'static str, field: &'static str, rule: &'static str, message: &'static str) -> Rule {
    Rule { at, field: Some(field), rule, message }
}

/// Kafka's own tool changes it without anything here.
const COPIES: &str = "is fixed: Kafka gives a topic its copies when it is made; move them with kafka-reassign-partitions and leave this as it \
                      is, or make a new pipeline with new topics";

pub(super) const RULES: &[Rule] = &[
    // A file may leave it to the command line; pods have none.
    rule(
        "spec",
        ".kafka.bootstrapServers",
        "has(self.kafka.bootstrapServers) && self.kafka.bootstrapServers.size() > 0",
        "must name a broker",
    ),
    rule(
        "spec.window",
        ".slide",
        "ms(self.slide) >= 100",
        "must be at least 100ms: each slide costs a transaction",
    ),
    rule(
        "spec.window",
        ".size",
        "ms(self.size) > 0",
        "must be more than 0s: a window without length holds no event",
    ),
    rule(
        "spec.window",
        ".size",
        "ms(self.slide) == 0 || ms(self.size) % ms(self.slide) == 0",
        "must be a multiple of slide: windows are made of whole slides",
    ),
    rule(
        "spec.window",
        ".size",
        "ms(self.slide) == 0 || ms(self.size) / ms(self.slide) <= 8640",
        "must be at most 8640 slides: each slide of a window is kept apart",
    ),
    rule(
        "spec.window",
        ".outOfOrderness",
        "ms(self.outOfOrderness) <= 86400000",
        "must be at most 1d: results wait that long, and the windows of that time are kept in memory",
    ),
    rule(
        "spec.window",
        ".maxFuture",
        "ms(self.maxFuture) <= 86400000",
        "must be at most 1d: one event that far ahead of the clock makes all events before it late",
    ),
    rule(
        "spec.window",
        ".duplicateSlack",
        "!has(self.duplicateSlack) || ms(self.duplicateSlack) <= 3600000",
        "must be at most 1h: the ids of all events of that time are kept in memory",
    ),
    rule(
        "spec.window",
        ".sessionGap",
        "ms(self.sessionGap) > 0",
        "must be more than 0s: without it every event is a visit",
    ),
    rule(
        "spec.window",
        ".idleTimeout",
        "ms(self.idleTimeout) > 0",
        "must be more than 0s: without it every pause seals windows too early",
    ),
    rule(
        "spec.ranking",
        ".trendingHalfLife",
        "ms(self.trendingHalfLife) >= 1000",
        "must be at least 1s: a shorter memory knows no usual level",
    ),
    rule(
        "spec.topics.events",
        ".retention",
        "ms(self.retention) >= 60000",
        "must be at least 1m: what is deleted sooner nobody has read",
    ),
    rule(
        "spec.topics.results",
        ".retention",
        "ms(self.retention) >= 60000",
        "must be at least 1m: what is deleted sooner nobody has read",
    ),
    rule(
        "spec.topics.topPages",
        ".retention",
        "!has(self.retention) || ms(self.retention) >= 60000",
        "must be at least 1m: what is deleted sooner nobody has read",
    ),
    rule(
        "spec",
        ".topics.events.retention",
        "self.topics.events.management == 'External' || ms(self.topics.events.retention) >= ms(self.window.size) + ms(self.window.sessionGap)",
        "must cover window.size + window.sessionGap: a restart reads the events of every open window and visit again",
    ),
    rule(
        "spec.topics",
        ".results.name",
        "self.results.name.replace('.', '_') != self.events.name.replace('.', '_')",
        "must not be the name of topics.events; Kafka takes . and _ for the same",
    ),
    rule(
        "spec.topics",
        ".topPages.name",
        "!(self.topPages.name.replace('.', '_') in [self.events.name.replace('.', '_'), self.results.name.replace('.', '_')])",
        "must not be the name of topics.events or topics.results; Kafka takes . and _ for the same",
    ),
    Rule {
        at: "",
        field: Some(".spec.topics"),
        rule: "[self.spec.topics.events.name, self.spec.topics.results.name, self.spec.topics.topPages.name].all(topic, \
               !topic.matches('^' + self.metadata.name + '[._](generations|(blocks|state|live|dead-letters)([._][0-9]+)?)$'))",
        message: "must not name an internal topic (NAME.generations, or NAME.blocks, .state, .live, .dead-letters with a generation's \
                  number or without); Kafka takes . and _ for the same",
    },
    rule(
        "spec.topics",
        ".events.name",
        "self.events.name == oldSelf.events.name",
        "is fixed: make a pipeline of another name for another topic",
    ),
    rule(
        "spec.topics",
        ".events.partitions",
        "self.events.partitions == oldSelf.events.partitions",
        "is fixed: visitors are placed by it, and state with them; make a new pipeline with a new topic and cut over",
    ),
    rule(
        "spec.topics",
        ".results.name",
        "self.results.name == oldSelf.results.name",
        "is fixed: make a pipeline of another name for another topic",
    ),
    rule(
        "spec.topics",
        ".results.partitions",
        "self.results.partitions == oldSelf.results.partitions",
        "is fixed: windows are placed by it, and progress with them; make a new pipeline with a new topic and cut over",
    ),
    rule(
        "spec.topics",
        ".topPages.name",
        "self.topPages.name == oldSelf.topPages.name",
        "is fixed: make a pipeline of another name for another topic",
    ),
    rule("spec.topics", ".events.replicas", "self.events.replicas == oldSelf.events.replicas", COPIES),
    rule("spec.topics", ".results.replicas", "self.results.replicas == oldSelf.results.replicas", COPIES),
    rule(
        "spec.topics",
        ".topPages.replicas",
        "(has(self.topPages.replicas) ? self.topPages.replicas : self.results.replicas) == \
         (has(oldSelf.topPages.replicas) ? oldSelf.topPages.replicas : oldSelf.results.replicas)",
        COPIES,
    ),
    // As long as `crate::rules::unsupported` says so.
    rule(
        "spec.kafka",
        ".tls",
        "!has(self.tls)",
        "is not supported by this version (connections are not encrypted): leave it out",
    ),
    rule(
        "spec.kafka",
        ".sasl",
        "!has(self.sasl)",
        "is not supported by this version (clients have no names): leave it out",
    ),
    rule(
        "spec.kafka",
        ".schemaRegistry",
        "!has(self.schemaRegistry)",
        "is not supported by this version (schemas are known by their fingerprints): leave it out",
    ),
    rule(
        "spec.processor.autoscaling",
        ".minReplicas",
        "self.minReplicas <= self.maxReplicas",
        "must be at most maxReplicas",
    ),
    rule(
        "spec.processor.autoscaling",
        ".catchUp",
        "ms(self.catchUp) >= 1000",
        "must be at least 1s: nothing is worked off in no time",
    ),
    // The schema says so too, but the API server rounds its minimum where the value is a whole number.
    rule("spec.generator", ".eventsPerSecond", "self.eventsPerSecond >= 0.1", "must be at least 0.1"),
    rule(
        "spec.pii",
        ".hashKeySecretRef",
        "has(self.hashKeySecretRef) || (self.userId != 'Hash' && self.ipAddress != 'Hash')",
        "must name a secret's key where userId or ipAddress is Hash: a hash without a key is undone by trying all values",
    ),
];

/// The limit of every duration.
pub(super) fn longest_duration() -> ValidationRule {
    ValidationRule {
        message: Some("must be at most 36500d".to_owned()),
        rule: expanded("ms(self) <= 3153600000000"),
        ..ValidationRule::default()
    }
}

/// The rule with every `ms(FIELD)` written out.
pub(super) fn expanded(rule: &str) -> String {
    let mut written = String::new();
    let mut rest = rule;
    while let Some((before, after)) = rest.split_once("ms(") {
        let (field, after) = after.split_once(')').unwrap_or((after, ""));
        written.push_str(before);
        written.push_str(&milliseconds(field));
        rest = after;
    }
    written + rest
}

fn milliseconds(field: &str) -> String {
    format!(
        "({field}.contains('d') ? int({field}.split('d')[0]) * 86400000 + duration({field}.split('d')[1] + '0s')\
         .getMilliseconds() : duration({field}).getMilliseconds())"
    )
}
