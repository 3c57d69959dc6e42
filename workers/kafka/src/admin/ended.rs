//! Deletes what ended generations leave behind.

use std::collections::BTreeMap;

use weir_manifest::Pipeline;

use super::{Admin, AdminError, Owner};

/// An ended generation of which topics were deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedGeneration {
    /// Its number.
    pub number: u32,
    /// The topics.
    pub topics: Vec<String>,
}

impl Admin {
    /// Deletes the internal topics and groups of generations that have ended. `is_ours` gets the name, id and recorded owner of a topic;
    /// others stay.
    ///
    /// # Errors
    /// [`AdminError::GroupRefused`] if processors of such a generation still run; [`AdminError::Refused`]; [`AdminError::Unreachable`].
    pub fn delete_ended(
        &self,
        pipeline: &Pipeline,
        ended: &[u32],
        is_ours: impl Fn(&str, &str, Option<&Owner>) -> bool,
    ) -> Result<Vec<EndedGeneration>, AdminError> {
        let ended: Vec<_> = ended.iter().map(|&number| pipeline.in_generation(number)).collect();
        let topics = |ended: &Pipeline| ended.topics_of_generation().into_iter().map(|spec| spec.name);
        let all: Vec<String> = ended.iter().flat_map(topics).collect();
        let ids = self.ids(&all.iter().map(String::as_str).collect::<Vec<_>>())?;
        let owners = match self.owners(&ids) {
            // Without the right to read them, the caller knows what is its own.
            Err(AdminError::Refused { .. }) => BTreeMap::new(),
            owners => owners?,
        };
        let mut deleted = Vec::new();
        for ended in &ended {
            let is_ours =
                |topic: &String| ids.get(topic).is_some_and(|id| is_ours(topic, id, owners.get(topic)));
            let topics: Vec<String> = topics(ended).filter(is_ours).collect();
            if topics.is_empty() {
                continue;
            }
            self.delete_groups(&[&*ended.windows_group(), &*ended.results_group()])?;
            self.delete_topics_and_wait(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
            deleted.push(EndedGeneration { number: ended.generation, topics });
        }
        Ok(deleted)
    }
}
