//! The support bundle: a tar file with what somebody else needs to understand what happened, and no secrets.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    cluster::{Cluster, OWNED},
    page::{last_seen, list},
};

/// Words in names of environment variables whose values are left out.
const SECRET_WORDS: [&str; 5] = ["PASSWORD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"];
/// Repeats the whole document as it was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const BLOCK: usize = 512;

/// The file's bytes. What cannot be had is noted in its place.
pub(crate) async fn make(
    cluster: &Cluster,
    name: &str,
    resource: &Value,
    doctor: &str,
    now: Timestamp,
) -> anyhow::Result<Vec<u8>> {
    let health = cluster.gateway(name, "health").await;
    let mut tar = Tar::new(&format!("{name}-support"), now);
    tar.add("doctor.txt", doctor);
    tar.add("status.txt", &crate::page::status(resource, &health, now));
    tar.add("pipeline.json", &shown(resource.clone()));
    match health {
        Ok(health) => tar.add("health.json", &shown(health)),
        Err(why) => tar.add("health.txt", &why),
    }
    let mut lines = String::new();
    for event in cluster.events(name).await? {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let about = &event["involvedObject"];
        let (seen, kind, object) =
            (last_seen(&event).unwrap_or("-"), text(&about["kind"]), text(&about["name"]));
        let (type_, reason, message) =
            (text(&event["type"]), text(&event["reason"]), text(&event["message"]));
        writeln!(lines, "{seen} {type_} {kind} {object} {reason}: {message}")?;
    }
    tar.add("events.txt", &lines);
    for kind in OWNED {
        match cluster.owned(kind, name).await {
            Ok(objects) => {
                for object in objects {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                    if kind.1 == "Pod" {
                        logs(cluster, &name, &object, &mut tar).await;
                    }
                    tar.add(&format!("objects/{}-{name}.json", kind.1), &shown(object));
                }
            }
            Err(error) => tar.add(&format!("objects/{}.txt", kind.1), &format!("{error:#}\n")),
        }
    }
    Ok(tar.end())
}

async fn logs(cluster: &Cluster, name: &str, pod: &Value, tar: &mut Tar) {
    for container in list(&pod["status"]["containerStatuses"]) {
        let of = container["name"].as_str().unwrap_or_default();
        tar.add(&format!("logs/{name}.{of}.log"), &cluster.log(name, of, false).await);
        if container["restartCount"].as_i64().unwrap_or_default() > 0 {
            tar.add(&format!("logs/{name}.{of}.previous.log"), &cluster.log(name, of, true).await);
        }
    }
}

/// An object as text, without what is secret and what only repeats the rest.
fn shown(mut object: Value) -> String {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    redact(&mut object);
    let text = serde_json::to_string_pretty(&object).unwrap_or_default();
    text + "\n"
}

/// Takes values out of everything that looks like an environment variable and has a name that looks secret.
fn redact(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(redact),
        Value::Object(fields) => {
            let is_secret = fields.get("name").and_then(Value::as_str).is_some_and(|name| {
                let name = name.to_uppercase();
                SECRET_WORDS.iter().any(|word| name.contains(word))
            });
            match fields.get_mut("value") {
                Some(value) if is_secret => *value = "left out".into(),
                _ => fields.values_mut().for_each(redact),
            }
        }
        _ => {}
    }
}

/// A tar file (POSIX ustar) of texts in one folder.
struct Tar {
    folder: String,
    seconds: i64,
    bytes: Vec<u8>,
}

impl Tar {
    fn new(folder: &str, now: Timestamp) -> Self {
        Self { folder: folder.to_owned(), seconds: now.as_second(), bytes: Vec::new() }
    }

    /// Adds a file. Names that ustar has no room for lose their end.
    fn add(&mut self, name: &str, text: &str) {
        // The folder's name stands in the prefix, the rest in the name: 155 and 100 bytes.
        let fits = |text: &str, most: usize| text.bytes().take(most).collect::<Vec<u8>>();
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &fits(name, 100));
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", text.len()).as_bytes());
        put(136, format!("{:011o}\0", self.seconds).as_bytes());
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        put(345, &fits(&self.folder, 155));
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let shown = shown(json!({
            "metadata": {"managedFields": ["x"], "annotations": {LAST_APPLIED: "hunter2", "other": "kept"}},
            "spec": {"containers": [{"env": [
                {"name": "WEIR_KAFKA_PASSWORD", "value": "hunter2"},
                {"name": "apiKey", "value": "hunter2"},
                {"name": "WEIR_LOG", "value": "debug"},
                {"name": "WEIR_PII_KEY", "valueFrom": {"secretKeyRef": {"name": "shop-pii", "key": "key"}}},
            ]}]},
        }));
        assert!(!shown.contains("hunter2") && !shown.contains("managedFields"), "{shown}");
        assert!(shown.contains("debug") && shown.contains("kept") && shown.contains("shop-pii"), "{shown}");
    }
}
