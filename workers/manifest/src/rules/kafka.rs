//! Rules about the connection to the cluster.

use crate::{PipelineSpec, Problem, SaslMechanism};

pub(super) fn brokers_are_distinct(spec: &PipelineSpec) -> Vec<Problem> {
    let servers = &spec.kafka.bootstrap_servers;
    let repeated = servers.iter().enumerate().filter(|(i, server)| servers[..*i].contains(server));
    repeated
        .map(|(i, server)| {
            let path = format!("spec.kafka.bootstrapServers[{i}]");
            Problem::new(path, format!("found `{server}` a second time, expected each broker once"))
        })
        .collect()
}

pub(super) fn password_in_the_clear(spec: &PipelineSpec) -> Option<Problem> {
    let plain = spec.kafka.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == SaslMechanism::Plain);
    (plain && spec.kafka.tls.is_none()).then(|| {
        let message =
            "PLAIN without spec.kafka.tls sends the password in the clear; set tls, or use SCRAM-SHA-512";
        Problem::new("spec.kafka.sasl.mechanism", message)
    })
}
