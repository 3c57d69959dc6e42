//! Which generation the pipeline is in: internal topics and groups carry its number.

use std::time::Duration;

use weir_kafka::{MemberOptions, TopicInspector};
use weir_log::{Error, Generations};

use super::{attempts::Attempts, progress::renew, stop::Stop};
use crate::store::{PipelineState, Source};

/// Time between two reads.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Polls until `stop`. The topic is there from the second generation on.
pub(super) fn watch(state: &PipelineState, brokers: &str, stop: &Stop) {
    let topic = state.manifest().generations_topic();
    let mut options = MemberOptions::new(brokers, "weir-serve", &topic, "");
    options.connection.client_id = "weir-serve".to_owned();
    let (mut inspector, mut attempts) = (None, Attempts::new(&topic, state.max_age()));
    while !stop.is_requested() {
        match poll(&mut inspector, &options) {
            Ok(generations) => {
                state.report(&topic, Source::CaughtUp);
                attempts.succeeded();
                state.set_generations(&generations);
            }
            Err(error) => {
                state.report(&topic, Source::Unavailable(error.to_string()));
                attempts.failed(&error);
                renew(inspector.as_mut(), &mut attempts);
            }
        }
        stop.wait(POLL_INTERVAL);
    }
}

fn poll(inspector: &mut Option<TopicInspector>, options: &MemberOptions) -> Result<Generations, Error> {
    let inspector = match inspector {
        Some(inspector) => inspector,
        None => inspector.insert(TopicInspector::connect(options)?),
    };
    let topic = &options.topic;
    if inspector.topics(&[topic])?.iter().all(Option::is_none) {
        return Ok(Generations::default());
    }
    Generations::collect(topic, |sink| inspector.read(topic, 0, 0, sink).map(drop))
}
