//! `weir topics apply`.

use anyhow::Context;
use weir_spec::Pipeline;
use weir_stream::kafka::admin;

/// Creates the pipeline's topics, and says what became of each.
///
/// # Errors
/// The broker cannot be reached, or a topic that exists does not fit; nothing was changed then.
pub fn apply(pipeline: &Pipeline, brokers: &str) -> anyhow::Result<()> {
    let outcomes = admin::ensure_topics(brokers, &pipeline.topics()).context("topics were not applied")?;
    for outcome in outcomes {
        println!("{:<40} {:?}", outcome.name, outcome.change);
    }
    Ok(())
}
