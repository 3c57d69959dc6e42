//! The parts, each from an installation of its own to its end.

mod basics;
mod edits;

use clap::ValueEnum;

use super::fixture::{Fixture, ONE_BROKER};

/// What can be run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// An example, scaling, another image, lost pods and nodes, upgrade, suspension, deletion
    Basics,
    /// Every field of the document, changed under load
    Edits,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Basics => "basics",
            Self::Edits => "edits",
        }
    }

    pub(super) fn play(self, fixture: &Fixture<'_>) -> anyhow::Result<()> {
        fixture.install(ONE_BROKER)?;
        match self {
            Self::Basics => basics::play(fixture),
            Self::Edits => edits::play(fixture),
        }
    }
}
