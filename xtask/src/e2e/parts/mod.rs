//! The parts, each with an installation of its own.

mod basics;
mod edits;
mod examples;
mod faults;
mod fleet;
mod scaling;
mod upgrade;

use clap::ValueEnum;

use super::fixture::{Fixture, ONE_BROKER};

/// A part that can be run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// An example, scaling, another image, lost pods and nodes, upgrade, suspension, deletion
    Basics,
    /// Every pipeline in examples/, applied as it is written
    Examples,
    /// Processors follow load: a HorizontalPodAutoscaler (needs metrics-server), and mode Lag
    Scaling,
    /// Every field of the document, changed under load
    Edits,
    /// Drains without Kafka (needs a default StorageClass), lost topics, a second operator, a lost key, deleted namespaces
    Faults,
    /// 50 pipelines at once
    Fleet,
    /// From an earlier release (--before) to this one, back, and to this one again, under load
    Upgrade,
}

impl Part {
    /// The parts that any cluster has room for. The others need more nodes or components, and are requested by name.
    pub(super) const ANYWHERE: [Self; 2] = [Self::Basics, Self::Edits];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Basics => "basics",
            Self::Examples => "examples",
            Self::Scaling => "scaling",
            Self::Edits => "edits",
            Self::Faults => "faults",
            Self::Fleet => "fleet",
            Self::Upgrade => "upgrade",
        }
    }

    pub(super) fn run(self, fixture: &Fixture<'_>) -> anyhow::Result<()> {
        let installed = || fixture.install(ONE_BROKER);
        match self {
            Self::Basics => installed().and_then(|()| basics::run(fixture)),
            Self::Scaling => installed().and_then(|()| scaling::run(fixture)),
            Self::Edits => installed().and_then(|()| edits::run(fixture)),
            Self::Fleet => installed().and_then(|()| fleet::run(fixture)),
            // With Kafkas of their own.
            Self::Examples => examples::run(fixture),
            Self::Faults => faults::run(fixture),
            Self::Upgrade => upgrade::run(fixture),
        }
    }
}
