//! Whether other settings begin another generation. Pure: whoever changes settings reads what is recorded and committed, and declares
//! the generation.

use weir_log::generations::{self, Generation, Generations};
use weir_log::identity::AFRESH;

use crate::decisive::{DecisiveSettings, Difference, settings_in};

/// The next generation, which other settings begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// It, and before it the first one where that is not recorded yet.
    pub declared: Vec<Generation>,
    /// Its number.
    pub number: u32,
    /// How the settings differ from those of the generation before.
    pub difference: Difference,
}

/// Whether these settings begin another generation: they differ from those of the newest one. Where none is recorded these are
/// `committed`, which the first one committed beside its offsets; `None` if it has not begun. `now` is in milliseconds.
///
/// # Errors
/// Why the newest one cannot be ended: the settings that an earlier release committed are incomplete, or what is recorded is lost.
pub fn next(
    decisive: &DecisiveSettings,
    generations: &Generations,
    committed: Option<&str>,
    now: i64,
) -> Result<Option<Next>, String> {
    let first = committed.map(|settings| Generation::declared(1, settings, now).after(0));
    let Some(newest) = generations.newest().or(first.as_ref()) else { return Ok(None) };
    let Some(difference) = decisive.difference(&newest.settings) else { return Ok(None) };
    if let Some(by) = generations::ended_by(&newest.settings) {
        return Err(format!(
            "generation {by} has ended generation {}, and is not in the record of generations (NAME.generations), which is lost: {AFRESH}",
            newest.number
        ));
    }
    settings_in(&newest.settings)
        .map_err(|lacks| format!("generation {} cannot be ended: {lacks}", newest.number))?;
    let number = newest.number + 1;
    let next = Generation::declared(number, &decisive.committed(true), now);
    let unrecorded = first.filter(|_| generations.newest().is_none());
    Ok(Some(Next { declared: unrecorded.into_iter().chain([next]).collect(), number, difference }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use weir_manifest::Pipeline;

    use super::*;

    fn with_size(size: &str) -> DecisiveSettings {
        let mut pipeline = Pipeline::demo();
        pipeline.spec.window.size = size.parse().unwrap();
        DecisiveSettings::of(&pipeline, None).unwrap()
    }

    #[test]
    fn other_settings_than_those_of_the_newest_generation_begin_the_next_one() {
        let (first, second) = (with_size("5m"), with_size("1m"));
        let none = Generations::default();
        // Nothing has been counted yet.
        assert_eq!(next(&first, &none, None, 7), Ok(None));
        assert_eq!(next(&first, &none, Some(&first.committed(false)), 7), Ok(None));
        let begun = next(&second, &none, Some(&first.committed(false)), 7).unwrap().unwrap();
        let numbers: Vec<_> = begun.declared.iter().map(|one| (one.number, one.cut, one.declared)).collect();
        assert_eq!((begun.number, numbers), (2, vec![(1, Some(0), 7), (2, None, 7)]));
        assert_eq!((&*begun.difference.before, &*begun.difference.now), ("window.size 5m", "window.size 1m"));
        // Once it is recorded, the record decides, whatever the group of the first one committed.
        let mut recorded = none;
        recorded.extend(begun.declared);
        assert_eq!(next(&second, &recorded, Some(&first.committed(true)), 9), Ok(None));
        let back = next(&first, &recorded, Some(&first.committed(true)), 9).unwrap().unwrap();
        assert_eq!((back.number, back.declared.len(), back.declared[0].number), (3, 1, 3));
    }

    #[test]
    fn a_lost_record_is_named() {
        let ended = generations::settings_of_ended(2);
        let error = next(&with_size("5m"), &Generations::default(), Some(&ended), 7).unwrap_err();
        assert!(
            error.starts_with("generation 2 has ended generation 1, and is not in the record"),
            "{error}"
        );
        assert!(error.ends_with(AFRESH), "{error}");
    }

    #[test]
    fn settings_of_an_early_release_cannot_be_ended() {
        let early = "size 1 ms, slide 1 ms, out-of-orderness 1 ms, session gap 1 ms, trending half-life 1 ms, 6 lanes";
        let error = next(&with_size("5m"), &Generations::default(), Some(early), 7).unwrap_err();
        assert!(error.starts_with("generation 1 cannot be ended: no `ranking of NUMBER`"), "{error}");
    }
}
