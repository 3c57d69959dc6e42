//! How a generation takes over from those before it. What is to be done next follows from what is recorded and committed alone: so any
//! number of processes may do it at once, and begin again at any point.

use weir_log::{Committed, Generation, Generations};

use crate::ending;

/// The number of a pipeline's first generation, before which nothing was told.
const FIRST: u32 = 1;

/// What a process of a generation has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// To end a generation before its own, and to record the cut; then to read again what is recorded.
    End(End),
    /// To run its own stages, with this cut; `None` in the first generation.
    Begin(Option<i64>),
}

/// The end of a generation: first stage 1 ([`ending::Ending`]) until there is a cut, then, if it drains, stage 2 until that has emitted what is
/// complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    ends: Generation,
    begins: Generation,
    /// The end up to which windows were told by the generations before the one that ends.
    told: i64,
}

/// What a process of generation `number` has to do next.
///
/// # Errors
/// The number of a generation that is not recorded any more.
pub fn next(generations: &Generations, number: u32) -> Result<Next, u32> {
    let mut told = 0;
    for begins in FIRST + 1..=number {
        let recorded = |number| generations.get(number).ok_or(number);
        let begins = recorded(begins)?;
        let Some(cut) = begins.cut else {
            let ends = recorded(begins.number - 1)?.clone();
            return Ok(Next::End(End { ends, begins: begins.clone(), told }));
        };
        told = cut;
    }
    Ok(Next::Begin((number > FIRST).then_some(told)))
}

impl End {
    /// The generation that ends.
    pub fn generation(&self) -> &Generation {
        &self.ends
    }

    /// The number of the one that begins then.
    pub fn by(&self) -> u32 {
        self.begins.number
    }

    /// The cut in which the generation that ends began, for its stages; `None` in the first.
    pub fn cut_before(&self) -> Option<i64> {
        Some(self.told).filter(|_| self.ends.number > FIRST)
    }

    /// The end up to which the generation has told windows, by the commits of its stage 1; `None` while not all partitions are ended.
    pub fn cut(&self, committed: &[Option<Committed>]) -> Option<i64> {
        let sealed = ending::ended_at(committed, self.by())?;
        Some(sealed.map_or(self.told, |sealed| sealed.max(self.told)))
    }

    /// Whether its stage 2 may still have windows to emit.
    pub fn drains(&self, cut: i64) -> bool {
        cut > self.told
    }

    /// Whether that is done, by the commits of its stage 2.
    pub fn is_drained(&self, committed: &[Option<Committed>]) -> bool {
        ending::is_drained(committed, self.by())
    }

    /// What is to be recorded then.
    pub fn begun(&self, cut: i64) -> Generation {
        self.begins.clone().after(cut)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use weir_log::{PartitionProgress, Record};

    fn recorded(cuts: &[Option<i64>]) -> Generations {
        let values: Vec<String> = (1..)
            .zip(cuts)
            .map(|(number, &cut)| {
                let declared = Generation::declared(number, "settings", 0);
                serde_json::to_string(&cut.map_or(declared.clone(), |cut| declared.after(cut))).unwrap()
            })
            .collect();
        let read = |sink: &mut dyn FnMut(Record<'_>)| {
            for value in &values {
                let value = Some(value.as_bytes());
                sink(Record { partition: 0, offset: 0, timestamp: 0, key: None, value });
            }
            Ok(())
        };
        Generations::collect("generations", read).unwrap()
    }

    fn sealed(up_to: Option<i64>, by: Option<u32>) -> Option<Committed> {
        let progress = PartitionProgress { sealed: up_to, ended_by: by, ..PartitionProgress::default() };
        Some(Committed { offset: 0, metadata: serde_json::to_string(&progress).unwrap() })
    }

    #[test]
    fn generations_end_in_order_and_each_begins_where_those_before_ended() {
        assert_eq!(next(&recorded(&[]), 1), Ok(Next::Begin(None)));
        assert_eq!(next(&recorded(&[Some(0), Some(50), Some(70)]), 3), Ok(Next::Begin(Some(70))));
        assert_eq!(next(&recorded(&[Some(0), Some(50), None]), 2), Ok(Next::Begin(Some(50))));
        assert_eq!(next(&recorded(&[]), 2), Err(2));
        let ended = |cuts: &[Option<i64>], number| match next(&recorded(cuts), number).unwrap() {
            Next::End(end) => (end.generation().number, end.by(), end.cut_before(), end.told),
            begin @ Next::Begin(_) => panic!("{begin:?}"),
        };
        // Two were declared in a row: the first one of them ends, too, before the second begins.
        assert_eq!(ended(&[Some(0), None, None], 3), (1, 2, None, 0));
        assert_eq!(ended(&[Some(0), Some(50), None], 3), (2, 3, Some(50), 50));
    }

    #[test]
    fn the_cut_is_what_every_partition_has_sealed_and_never_before_the_last_one() {
        let Next::End(end) = next(&recorded(&[Some(0), Some(50), None]), 3).unwrap() else { panic!() };
        assert_eq!(end.cut(&[sealed(Some(90), Some(3)), sealed(Some(80), None)]), None);
        assert_eq!(end.cut(&[sealed(Some(90), Some(3)), None]), None);
        assert_eq!(end.cut(&[sealed(Some(90), Some(3)), sealed(Some(80), Some(3))]), Some(80));
        assert_eq!(end.cut(&[sealed(Some(90), Some(3)), sealed(None, Some(3))]), Some(50));
        assert_eq!(end.cut(&[sealed(Some(90), Some(3)), sealed(Some(40), Some(3))]), Some(50));
        assert!(end.drains(80) && !end.drains(50));
        assert_eq!(end.begun(80).cut, Some(80));
    }
}
