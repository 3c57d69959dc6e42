//! Diagnosis: problems of a pipeline and their remedies. Pure.

use jiff::Timestamp;
use serde_json::Value;

use crate::page::{ago, last_seen, list, number, seconds};

/// Maximum age of reported warnings and restarts, milliseconds.
const MAX_WARNING_AGE_MS: i64 = 3_600_000;
/// Maximum number of reported warnings.
const MAX_WARNINGS: usize = 10;
/// Maximum normal age of the newest window, milliseconds: beyond it something is wrong, or there are no events.
const MAX_WINDOW_AGE_MS: i64 = 300_000;

/// A problem or a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is a problem.
    pub is_wrong: bool,
    /// What was found.
    pub what: String,
    /// The remedy.
    pub remedy: String,
}

fn finding(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { is_wrong: true, what: what.into(), remedy: remedy.into() }
}

/// A note: something that happened since the start, and may be over.
fn note(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { is_wrong: false, ..finding(what, remedy) }
}

/// All findings, causes before their consequences.
pub fn findings(
    resource: &Value,
    pods: &[Value],
    events: &[Value],
    health: &Result<Value, String>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = of_resource(resource);
    findings.extend(pods.iter().flat_map(|pod| of_pod(pod, now)));
    // With 0 gateways none can respond.
    if resource.pointer("/spec/gateway/replicas") != Some(&Value::from(0)) {
        findings.extend(of_health(health));
    }
    findings.extend(of_events(events, now));
    findings
}

/// The findings on a page.
pub fn page(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing is wrong\n".to_owned();
    }
    let lines = findings.iter().map(|Finding { is_wrong, what, remedy }| {
        let mark = if *is_wrong { "-" } else { "- note:" };
        format!("{mark} {what}\n  {remedy}\n")
    });
    lines.collect()
}

/// Whether a time (RFC 3339) is not long ago.
fn is_recent(time: &str, now: Timestamp) -> bool {
    let time = time.parse::<Timestamp>();
    time.is_ok_and(|time| now.as_millisecond() - time.as_millisecond() <= MAX_WARNING_AGE_MS)
}

fn of_resource(resource: &Value) -> Vec<Finding> {
    let (metadata, status) = (&resource["metadata"], &resource["status"]);
    let name = metadata["name"].as_str().unwrap_or_default();
    let mut findings = Vec::new();
    let seen = status["observedGeneration"].as_i64();
    if seen.is_none() {
        findings.push(finding(
            "no operator has reconciled this pipeline",
            "check whether weir-operator runs, and whether this namespace is in its scope (chart value `scope`)",
        ));
    } else if seen < metadata["generation"].as_i64() {
        findings.push(finding(
            "the operator has not seen the newest change",
            "wait a moment; if it stays so, see the operator's log",
        ));
    }
    if metadata["annotations"]["weir.dev/paused"] == "true" {
        findings.push(finding("the pipeline is paused", format!("`kubectl weir resume {name}` ends that")));
    }
    if !metadata["deletionTimestamp"].is_null() {
        findings.push(finding(
            "the pipeline is being deleted",
            "it goes once its topics are deleted; the annotation weir.dev/skip-topic-deletion=true leaves them",
        ));
    }
    for condition in list(&status["conditions"]) {
        // Ready repeats the cause, which has its own condition.
        if condition["status"] == "False" && condition["type"] != "Ready" {
            let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            findings
                .push(finding(format!("{} is False ({})", text("type"), text("reason")), text("message")));
        }
    }
    findings
}

fn of_pod(pod: &Value, now: Timestamp) -> Vec<Finding> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let mut findings = Vec::new();
    for condition in list(&pod["status"]["conditions"]) {
        if condition["type"] == "PodScheduled" && condition["status"] == "False" {
            let message = condition["message"].as_str().unwrap_or("no reason was given");
            findings.push(finding(format!("pod {name} has no node"), message));
        }
    }
    for container in list(&pod["status"]["containerStatuses"]) {
        let waiting = &container["state"]["waiting"];
        let reason = waiting["reason"].as_str().unwrap_or_default();
        if !matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
            let message = waiting["message"].as_str().unwrap_or("see the pod's events");
            findings.push(finding(format!("pod {name} waits: {reason}"), message));
        }
        let last = &container["lastState"]["terminated"];
        let finished = last["finishedAt"].as_str().filter(|finished| is_recent(finished, now));
        if let Some(finished) = finished {
            let restarts = number(&container["restartCount"]);
            let code = number(&last["exitCode"]);
            let container = container["name"].as_str().unwrap_or_default();
            let message = last["message"].as_str().map(|message| format!(": {}", message.trim()));
            findings.push(finding(
                format!(
                    "pod {name} was restarted {restarts} times, last {} ago with exit code {code}{}",
                    ago(finished, now),
                    message.unwrap_or_default()
                ),
                format!("`kubectl logs {name} --container {container} --previous` has its last log lines"),
            ));
        }
    }
    findings
}

fn of_health(health: &Result<Value, String>) -> Vec<Finding> {
    let health = match health {
        Ok(health) => health,
        Err(why) => {
            return vec![finding(
                why,
                "see the gateway's pods; this command needs the right to `get` `services/proxy`",
            )];
        }
    };
    let mut findings = Vec::new();
    if let Some(why) = health["reason"].as_str() {
        findings.push(finding(
            format!("the gateway is not ready: {why}"),
            "right after a start wait a moment; else see Kafka",
        ));
    }
    for warning in list(&health["warnings"]).iter().filter_map(Value::as_str) {
        findings.push(finding(
            format!("the gateway works without some data: {warning}"),
            "see Kafka and its topics",
        ));
    }
    let age = health["window_age_ms"].as_i64().filter(|age| *age > MAX_WINDOW_AGE_MS);
    if let Some(age) = age {
        let what = format!("the newest window ended {} ago", seconds(age));
        findings.push(match number(&health["lag"]) {
            0 => note(what, "no events wait: see whether anything is sent to the events topic"),
            _ => finding(what, "events wait: see the processors' logs"),
        });
    }
    let figures = [
        (
            "late",
            "events missed all of their windows",
            "see the senders' clocks and queues; a longer window.outOfOrderness waits for them",
        ),
        (
            "partly_late",
            "events missed some of their windows, which are incomplete",
            "a longer window.outOfOrderness waits for them",
        ),
        ("dead_letters", "records are no valid event", "`kubectl weir dead-letters` says why"),
        (
            "misplaced",
            "records are in another partition than their visitor's",
            "key every event by user_id, and partition by murmur2",
        ),
    ];
    for (figure, what, remedy) in figures {
        let count = number(&health[figure]);
        if count > 0 {
            findings.push(note(format!("{count} {what}"), remedy));
        }
    }
    let counted: i64 =
        list(&health["partitions"]).iter().map(|partition| number(&partition["counted"])).sum();
    let duplicates = number(&health["duplicates"]);
    if duplicates > counted / 20 {
        findings.push(note(
            format!("{duplicates} events were sent again, and counted once"),
            "see whether a sender gives all of its events the same event_id, or repeats what was acknowledged",
        ));
    }
    if let Some(end) = health["results_lost_up_to"].as_i64() {
        findings.push(note(
            format!("results up to the window that ends at {end} were lost with a topic that was recreated"),
            "they cannot be restored; later results are complete",
        ));
    }
    findings
}

fn of_events(events: &[Value], now: Timestamp) -> Vec<Finding> {
    let warnings = events.iter().rev().filter(|event| event["type"] == "Warning");
    let warnings = warnings.filter(|event| last_seen(event).is_some_and(|seen| is_recent(seen, now)));
    let warning = |event: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let about = &event["involvedObject"];
        finding(
            format!(
                "{} ago: {} {}: {}",
                ago(last_seen(event).unwrap_or_default(), now),
                text(&about["kind"]),
                text(&about["name"]),
                text(&event["reason"])
            ),
            text(&event["message"]),
        )
    };
    warnings.take(MAX_WARNINGS).map(warning).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn healthy() -> (Value, Value) {
        let resource = json!({
            "metadata": {"name": "shop", "generation": 2},
            "status": {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let health = json!({
            "reason": null, "lag": 0, "window_age_ms": 12_000, "warnings": [], "late": 0, "duplicates": 5,
            "partitions": [{"counted": 60}, {"counted": 40}],
        });
        (resource, health)
    }

    #[test]
    fn a_running_pipeline_has_no_findings() {
        let (resource, health) = healthy();
        let pod = json!({"metadata": {"name": "shop-0"}, "status": {"containerStatuses": [{"state": {"running": {}}}]}});
        let old =
            json!({"type": "Warning", "lastTimestamp": "2025-12-31T22:00:00Z", "reason": "KafkaUnreachable"});
        let found = findings(&resource, &[pod], &[old], &Ok(health), now());
        assert_eq!(page(&found), "nothing is wrong\n");
    }

    #[test]
    fn every_problem_is_reported() {
        let (mut resource, mut health) = healthy();
        resource["metadata"]["generation"] = json!(3);
        resource["metadata"]["annotations"] = json!({"weir.dev/paused": "true"});
        resource["status"]["conditions"] = json!([
            {"type": "Ready", "status": "False", "reason": "TopicsSynced"},
            {"type": "TopicsSynced", "status": "False", "reason": "TopicClaimed", "message": "shop.results belongs to another"},
        ]);
        let pod = json!({"metadata": {"name": "shop-0"}, "status": {
            "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}],
            "containerStatuses": [{
                "name": "processor",
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"finishedAt": "2025-12-31T23:59:00Z", "exitCode": 1, "message": "topic shop.events was deleted\n"}},
            }],
        }});
        let event = json!({"type": "Warning", "lastTimestamp": "2025-12-31T23:30:00Z", "reason": "KafkaUnreachable",
            "message": "no broker", "involvedObject": {"kind": "ClickstreamPipeline", "name": "shop"}});
        (health["reason"], health["window_age_ms"], health["lag"]) =
            (json!("results cannot be read"), json!(400_000), json!(5));
        health["warnings"] = json!(["shop.live cannot be read: no such topic"]);
        health["misplaced"] = json!(9);
        health["duplicates"] = json!(6);
        health["results_lost_up_to"] = json!(10_000);
        let found = findings(&resource, std::slice::from_ref(&pod), &[event], &Ok(health), now());
        assert_eq!(
            page(&found),
            "- the operator has not seen the newest change
  wait a moment; if it stays so, see the operator's log
- the pipeline is paused
  `kubectl weir resume shop` ends that
- TopicsSynced is False (TopicClaimed)
  shop.results belongs to another
- pod shop-0 has no node
  0/3 nodes are available
- pod shop-0 waits: CrashLoopBackOff
  back-off 40s
- pod shop-0 was restarted 4 times, last 1m ago with exit code 1: topic shop.events was deleted
  `kubectl logs shop-0 --container processor --previous` has its last log lines
- the gateway is not ready: results cannot be read
  right after a start wait a moment; else see Kafka
- the gateway works without some data: shop.live cannot be read: no such topic
  see Kafka and its topics
- the newest window ended 6m 40s ago
  events wait: see the processors' logs
- note: 9 records are in another partition than their visitor's
  key every event by user_id, and partition by murmur2
- note: 6 events were sent again, and counted once
  see whether a sender gives all of its events the same event_id, or repeats what was acknowledged
- note: results up to the window that ends at 10000 were lost with a topic that was recreated
  they cannot be restored; later results are complete
- 30m ago: ClickstreamPipeline shop: KafkaUnreachable
  no broker
"
        );
        let alone =
            json!({"metadata": {"name": "shop", "generation": 1}, "spec": {"gateway": {"replicas": 0}}});
        let found = findings(&alone, &[], &[], &Err("no service".to_owned()), now());
        assert_eq!(found.len(), 1, "no gateway is wanted: {found:?}");
        assert_eq!(found[0].what, "no operator has reconciled this pipeline");
    }
}
