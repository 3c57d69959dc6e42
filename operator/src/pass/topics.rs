//! The topics.

use weir_spec::{Pipeline, TopicStatus};
use weir_stream::kafka::admin::Change;

use crate::Error;
use crate::conditions::{Aspect, News, Truth, Verdict};
use crate::kafka::Connection;

/// How the topics are.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) verdicts: [Verdict; 2],
    pub(super) status: Vec<TopicStatus>,
    pub(super) news: Vec<News>,
    pub(super) error: Option<Error>,
}

/// Makes the topics as they should be, unless something speaks against it: then none is touched.
pub(super) async fn sync(connection: &Connection, pipeline: &Pipeline, before: &[TopicStatus]) -> Topics {
    let specs = pipeline.topics();
    let wanted = specs.clone();
    match connection.administer(move |admin| admin.ensure_topics(&wanted)).await {
        Ok(outcomes) => {
            let old = |name: &str| before.iter().find(|topic| topic.name == name);
            let created = outcomes
                .iter()
                .filter(|topic| topic.change == Change::Created)
                .map(|topic| topic.name.clone());
            let created: Vec<String> = created.collect();
            let status = specs.iter().map(|spec| TopicStatus {
                name: spec.name.clone(),
                topic_id: None,
                partitions: spec.partitions,
                created: created.contains(&spec.name) || old(&spec.name).is_some_and(|topic| topic.created),
            });
            let mut news = Vec::new();
            if !created.is_empty() {
                news.push(told("TopicsCreated", created.join(", ")));
            }
            for outcome in &outcomes {
                if let Change::Updated(names) = &outcome.change {
                    let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    news.push(told("TopicRepaired", format!("{}: {names}", outcome.name)));
                }
            }
            Topics {
                verdicts: [reachable(), synced(specs.len())],
                status: status.collect(),
                news,
                error: None,
            }
        }
        Err(error) => {
            let verdicts = if error.is_unreachable() {
                let unknown = Verdict::new(
                    Aspect::TopicsSynced,
                    Truth::Unknown,
                    error.reason(),
                    "Kafka does not answer",
                );
                [Verdict::of(Aspect::KafkaReachable, &error), unknown]
            } else {
                [reachable(), Verdict::of(Aspect::TopicsSynced, &error)]
            };
            Topics { verdicts, status: before.to_vec(), news: Vec::new(), error: Some(error) }
        }
    }
}

fn told(reason: &str, note: String) -> News {
    News { warning: false, reason: reason.to_owned(), action: "SyncTopics", note }
}

fn reachable() -> Verdict {
    Verdict::new(Aspect::KafkaReachable, Truth::Yes, "Answered", "Kafka answers")
}

fn synced(count: usize) -> Verdict {
    Verdict::new(Aspect::TopicsSynced, Truth::Yes, "Synced", format!("{count} topics are as they should be"))
}
