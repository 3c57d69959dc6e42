//! The support bundle: a tar file with the state, logs and events of a pipeline, without secrets.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    cluster::{Cluster, OWNED},
    page::{last_seen, list},
};

/// Prefixes of annotations whose values are shown: those of others may contain secrets.
const SHOWN_ANNOTATIONS: [&str; 4] = [
    "weir.dev/",
    "kubectl.kubernetes.io/restartedAt",
    "kubectl.kubernetes.io/default-container",
    "deployment.kubernetes.io/",
];
/// The placeholder of a redacted value.
const LEFT_OUT: &str = "left out";
const TAR_BLOCK_BYTES: usize = 512;

/// The file's bytes. Objects and logs that cannot be read are replaced by the error.
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

/// An object as text, without values that may be secret and without redundant fields.
fn shown(mut object: Value) -> String {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    redact(&mut object);
    let text = serde_json::to_string_pretty(&object).unwrap_or_default();
    text + "\n"
}

/// Redacts the values of environment variables (and headers of probes), command lines and annotations of others: a podTemplate may
/// have secrets in each of them, under any name.
fn redact(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(redact),
        Value::Object(fields) => {
            let named = fields.contains_key("name");
            for (field, value) in fields.iter_mut() {
                match (field.as_str(), &mut *value) {
                    ("value", Value::String(text)) if named => *text = LEFT_OUT.to_owned(),
                    ("args" | "command", Value::Array(words)) => words.fill(LEFT_OUT.into()),
                    ("annotations", Value::Object(annotations)) => {
                        let others = annotations.iter_mut().filter(|(name, _)| {
                            !SHOWN_ANNOTATIONS.iter().any(|shown| name.starts_with(shown))
                        });
                        others.for_each(|(_, value)| *value = LEFT_OUT.into());
                    }
                    _ => redact(value),
                }
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

    /// Adds a file. Names that are too long for ustar are truncated.
    fn add(&mut self, name: &str, text: &str) {
        // The folder's name stands in the prefix, the rest in the name: 155 and 100 bytes.
        let fits = |text: &str, most: usize| text.bytes().take(most).collect::<Vec<u8>>();
        let mut header = [0_u8; TAR_BLOCK_BYTES];
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
        self.bytes.resize(self.bytes.len().next_multiple_of(TAR_BLOCK_BYTES), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * TAR_BLOCK_BYTES, 0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_redacted() {
        let container = json!({
            "name": "processor",
            "image": "weir:1",
            "args": ["process", "--sasl", "hunter2"],
            "command": ["sh", "-c", "hunter2"],
            "env": [
                {"name": "WEIR_KAFKA_PASSWORD", "value": "hunter2"},
                {"name": "DSN", "value": "https://hunter2@sentry.example"},
                {"name": "WEIR_PII_KEY", "valueFrom": {"secretKeyRef": {"name": "shop-pii", "key": "key"}}},
            ],
            "livenessProbe": {"exec": {"command": ["curl", "hunter2"]}, "httpGet": {"httpHeaders": [{"name": "Authorization", "value": "hunter2"}]}},
        });
        let shown = shown(json!({
            "metadata": {"managedFields": ["x"], "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "hunter2",
                "vendor.example/token": "hunter2",
                "weir.dev/hash": "kept-hash",
            }},
            "spec": {
                "processor": {"podTemplate": {
                    "metadata": {"annotations": {"vendor.example/inject": "hunter2", "kubectl.kubernetes.io/restartedAt": "kept-time"}},
                    "spec": {"containers": [container], "tolerations": [{"key": "kept-key", "value": "kept-value"}]},
                }},
                "gateway": {"service": {"annotations": {"vendor.example/pool": "hunter2"}}},
            },
            "status": {"conditions": [{"type": "Ready", "message": "kept-message"}]},
        }));
        assert!(!shown.contains("hunter2") && !shown.contains("managedFields"), "{shown}");
        for kept in [
            "weir:1",
            "WEIR_KAFKA_PASSWORD",
            "shop-pii",
            "vendor.example/token",
            "kept-hash",
            "kept-time",
            "kept-key",
            "kept-value",
            "kept-message",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
    }
}
