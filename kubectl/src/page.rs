//! Output as text. Pure.

use jiff::{SpanRound, Timestamp, Unit};
use serde_json::Value;

/// The pipeline's status. `health` is the gateway's response, or why there is none.
pub fn status(resource: &Value, health: &Result<Value, String>, now: Timestamp) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let (metadata, status) = (&resource["metadata"], &resource["status"]);
    let mut page = format!(
        "{}  namespace {}  generation {}, the operator has seen {}\n",
        text(&metadata["name"]),
        text(&metadata["namespace"]),
        text(&metadata["generation"]),
        text(&status["observedGeneration"]),
    );
    let conditions = list(&status["conditions"]).iter().map(|condition| {
        let since = condition["lastTransitionTime"].as_str().unwrap_or_default();
        vec![
            text(&condition["type"]),
            text(&condition["status"]),
            text(&condition["reason"]),
            ago(since, now),
            text(&condition["message"]),
        ]
    });
    page += &table(&["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"], conditions.collect());
    let processor = &status["processor"];
    page += &format!(
        "\nprocessors: {} of {} ready\n",
        number(&processor["readyReplicas"]),
        number(&processor["replicas"])
    );
    if let Some(reason) = status["autoscaling"]["reason"].as_str() {
        page +=
            &format!("autoscaling: {} wanted: {reason}\n", number(&status["autoscaling"]["desiredReplicas"]));
    }
    let topics = list(&status["topics"]).iter().map(|topic| {
        let made = if topic["created"] == Value::Bool(true) { "this pipeline" } else { "others" };
        vec![text(&topic["name"]), text(&topic["partitions"]), made.to_owned(), text(&topic["topicID"])]
    });
    page += &table(&["TOPIC", "PARTITIONS", "MADE BY", "ID"], topics.collect());
    page + &match health {
        Ok(health) => gateway(health),
        Err(why) => format!("\ngateway: {why}\n"),
    }
}

/// Progress of the partitions, from the gateway.
fn gateway(health: &Value) -> String {
    let ready = match health["reason"].as_str() {
        None => "ready".to_owned(),
        Some(why) => format!("not ready: {why}"),
    };
    let age = health["window_age_ms"].as_i64();
    let age =
        age.map_or("no window yet".to_owned(), |age| format!("the newest window ended {} ago", seconds(age)));
    let mut page = format!("\ngateway: {ready}; {age}; {} events wait\n", number(&health["lag"]));
    let partitions = list(&health["partitions"]).iter().map(|partition| {
        let figure = |name: &str| number(&partition[name]).to_string();
        [
            "partition",
            "lag",
            "read",
            "counted",
            "late",
            "partly_late",
            "duplicates",
            "dead_letters",
            "misplaced",
        ]
        .map(figure)
        .to_vec()
    });
    let head = [
        "PARTITION",
        "LAG",
        "READ",
        "COUNTED",
        "LATE",
        "PARTLY LATE",
        "DUPLICATES",
        "DEAD LETTERS",
        "MISPLACED",
    ];
    page += &table(&head, partitions.collect());
    page
}

/// A ranking from the gateway's response.
pub fn top(top: &Value) -> String {
    let end = top["window_end"].as_i64().and_then(|end| Timestamp::from_millisecond(end).ok());
    let end = end.map_or("no window yet".to_owned(), |end| format!("window that ends at {end}"));
    let incomplete = if top["complete"] == Value::Bool(false) { ", not complete yet" } else { "" };
    let rows = list(&top["pages"]).iter().map(|page| {
        let figure = |name: &str| number(&page[name]).to_string();
        let url = printable(page["page_url"].as_str().unwrap_or_default());
        vec![figure("rank"), figure("view_count"), figure("unique_users"), url]
    });
    format!("{end}{incomplete}\n{}", table(&["RANK", "VIEWS", "VISITORS", "PAGE"], rows.collect()))
}

/// The newest dead letters from the gateway's response, newest last.
pub fn dead_letters(answer: &Value) -> String {
    let topic = answer["topic"].as_str().unwrap_or_default();
    let rows = list(&answer["dead_letters"]).iter().map(|letter| {
        let written = letter["timestamp"].as_i64().and_then(|at| Timestamp::from_millisecond(at).ok());
        let place =
            |name: &str| letter[name].as_i64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        vec![
            written.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            printable(letter["reason"].as_str().unwrap_or_default()),
            place("partition"),
            place("offset"),
            printable(letter["detail"].as_str().unwrap_or_default()),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if answer["read_at"].is_null() {
        return format!("the gateway has not read {topic} yet: `warnings` of its /api/v1/health say why\n");
    }
    if rows.is_empty() {
        return format!("{topic} has no dead letter\n");
    }
    format!(
        "the newest of {topic}; partition and offset are the record's in the events topic\n{}",
        table(&["WRITTEN", "REASON", "PARTITION", "OFFSET", "DETAIL"], rows)
    )
}

/// Replaces control characters: text from records must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// When an event was last seen (RFC 3339).
pub(crate) fn last_seen(event: &Value) -> Option<&str> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times.into_iter().find_map(Value::as_str)
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// How long ago a time (RFC 3339) was, to the second.
pub(crate) fn ago(time: &str, now: Timestamp) -> String {
    time.parse::<Timestamp>()
        .map_or_else(|_| "-".to_owned(), |time| seconds(now.as_millisecond() - time.as_millisecond()))
}

/// A duration in whole seconds, as `1d 2h 3m 4s`.
pub(crate) fn seconds(millis: i64) -> String {
    let span = jiff::Span::new().seconds(millis / 1_000);
    let rounded = span.round(SpanRound::new().largest(Unit::Day).days_are_24_hours());
    rounded.map_or_else(|_| format!("{} s", millis / 1_000), |span| format!("{span:#}"))
}

/// A table with aligned columns; empty if there are no rows.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let mut text = "\n".to_owned();
    for line in &lines {
        let cells =
            line.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn the_status_page_has_conditions_topics_and_progress() {
        let resource = json!({
            "metadata": {"name": "shop", "namespace": "web", "generation": 3},
            "status": {
                "observedGeneration": 2,
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "Progressing", "message": "processors: 1 of 2 ready", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    {"type": "Valid", "status": "True", "reason": "Valid", "message": "ok", "lastTransitionTime": "2025-12-31T00:00:00Z"},
                ],
                "processor": {"replicas": 2, "readyReplicas": 1},
                "topics": [{"name": "events", "partitions": 6, "created": true, "topicID": "abc"}],
            },
        });
        let health = json!({
            "ready": true, "reason": null, "lag": 7, "window_age_ms": 42_500,
            "partitions": [{"partition": 0, "lag": 7, "read": 100, "counted": 88, "late": 4, "partly_late": 1, "duplicates": 2, "dead_letters": 6, "misplaced": 0}],
        });
        let now = "2026-01-01T01:02:03Z".parse().unwrap();
        assert_eq!(
            status(&resource, &Ok(health), now),
            "shop  namespace web  generation 3, the operator has seen 2

CONDITION  STATUS  REASON       SINCE      MESSAGE
Ready      False   Progressing  1h 2m 3s   processors: 1 of 2 ready
Valid      True    Valid        1d 1h 2m 3s  ok

processors: 1 of 2 ready

TOPIC   PARTITIONS  MADE BY        ID
events  6           this pipeline  abc

gateway: ready; the newest window ended 42s ago; 7 events wait

PARTITION  LAG  READ  COUNTED  LATE  PARTLY LATE  DUPLICATES  DEAD LETTERS  MISPLACED
0          7    100   88       4     1            2           6             0
"
            .replace("SINCE      MESSAGE", "SINCE        MESSAGE")
            .replace("1h 2m 3s   processors", "1h 2m 3s     processors")
        );
        assert!(status(&resource, &Err("no answer".to_owned()), now).ends_with("\ngateway: no answer\n"));
    }

    #[test]
    fn dead_letters_have_reason_and_offset() {
        let answer = json!({"topic": "shop.dead-letters", "read_at": 1, "dead_letters": [
            {"number": 3, "timestamp": 1_700_000_000_000_i64, "reason": "late", "detail": "too\u{1b}late", "topic": "clicks", "partition": 2,
             "offset": null},
        ]});
        assert_eq!(
            dead_letters(&answer),
            "the newest of shop.dead-letters; partition and offset are the record's in the events topic\n\n\
             WRITTEN               REASON  PARTITION  OFFSET  DETAIL\n\
             2023-11-14T22:13:20Z  late    2          -       too?late\n"
        );
        let none = json!({"topic": "shop.dead-letters", "read_at": 1, "dead_letters": []});
        assert_eq!(dead_letters(&none), "shop.dead-letters has no dead letter\n");
        let unread = json!({"topic": "shop.dead-letters", "read_at": null, "dead_letters": []});
        assert!(dead_letters(&unread).contains("has not read shop.dead-letters yet"));
    }

    #[test]
    fn a_ranking_has_no_control_characters() {
        let ranking = json!({"window_end": 1_700_000_000_000_i64, "complete": true, "pages": [
            {"rank": 1, "view_count": 12, "unique_users": 3, "page_url": "/\u{1b}[2J"},
        ]});
        assert_eq!(
            top(&ranking),
            "window that ends at 2023-11-14T22:13:20Z\n\nRANK  VIEWS  VISITORS  PAGE\n1     12     3         /?[2J\n"
        );
    }
}
