//! Other operators whose scope includes a pipeline: which ones this operator asked, and which ones asked it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Context;

impl Context {
    /// Time since another operator was asked whether it keeps the pipeline.
    pub(crate) fn asked(&self, pipeline: &(String, String)) -> Option<Duration> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(pipeline).map(Instant::elapsed)
    }

    /// Records that another operator is asked now.
    pub(crate) fn ask(&self, pipeline: &(String, String)) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(pipeline.clone(), Instant::now());
    }

    /// The other operator that asked for a pipeline within that time.
    pub(crate) fn contender(&self, pipeline: &(String, String), within: Duration) -> Option<String> {
        let contenders = self.contenders.lock().unwrap_or_else(PoisonError::into_inner);
        contenders.get(pipeline).filter(|(_, at)| at.elapsed() < within).map(|(operator, _)| operator.clone())
    }

    /// Records that another operator asked for a pipeline.
    pub(crate) fn contested(&self, pipeline: &(String, String), operator: &str) {
        let mut contenders = self.contenders.lock().unwrap_or_else(PoisonError::into_inner);
        contenders.insert(pipeline.clone(), (operator.to_owned(), Instant::now()));
    }
}
