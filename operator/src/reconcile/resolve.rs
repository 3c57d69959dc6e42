//! Resolves references of the document: reads the Secrets that it names.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use weir_manifest::{Pii, Pipeline, SecretKeyRef};

use crate::Error;
use crate::error::api;
use crate::kafka::Connection;

/// The contents of the Secrets.
pub(super) struct Resolved {
    /// The connection to Kafka.
    pub(super) connection: Connection,
    /// The pseudonym key.
    pub(super) pii_key: Option<Vec<u8>>,
    /// A hash of each Secret's contents, by name.
    pub(super) hashes: BTreeMap<String, String>,
}

/// Reads the Secrets that the document names.
pub(super) async fn resolve(client: &Client, pipeline: &Pipeline) -> Result<Resolved, Error> {
    let mut secrets = Secrets::new(client, pipeline);
    let connection = secrets.connection(pipeline).await?;
    let pii = &pipeline.spec.pii;
    let mut pii_key = None;
    if let Some(SecretKeyRef { name, key }) = &pii.hash_key_secret_ref {
        let field = "spec.pii.hashKeySecretRef";
        let bytes = secrets.entry(name, key, field).await?;
        if pii.hashes() {
            let unfit = |wrong| Error::SecretKeyUnfit { name: name.clone(), key: key.clone(), wrong, field };
            Pii::check_key(&bytes).map_err(unfit)?;
            pii_key = Some(bytes);
        }
    }
    let hashes = secrets.read.iter().map(|(name, entries)| (name.clone(), hash(entries))).collect();
    Ok(Resolved { connection, pii_key, hashes })
}

/// The connection to Kafka: all that deleting topics needs, independent of the other Secrets.
pub(super) async fn connection(client: &Client, pipeline: &Pipeline) -> Result<Connection, Error> {
    Secrets::new(client, pipeline).connection(pipeline).await
}

/// The Secrets of one pipeline, each read once.
struct Secrets {
    api: Api<Secret>,
    namespace: String,
    read: BTreeMap<String, BTreeMap<String, ByteString>>,
}

impl Secrets {
    fn new(client: &Client, pipeline: &Pipeline) -> Self {
        let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
        Self {
            api: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            read: BTreeMap::new(),
        }
    }

    async fn connection(&mut self, pipeline: &Pipeline) -> Result<Connection, Error> {
        let kafka = &pipeline.spec.kafka;
        let mut connection = Connection::new(&kafka.bootstrap_servers.join(","));
        if let Some(tls) = &kafka.tls {
            let ca = match &tls.ca_secret_ref {
                Some(SecretKeyRef { name, key }) => {
                    Some(self.text(name, key, "spec.kafka.tls.caSecretRef").await?)
                }
                None => None,
            };
            let own = match &tls.client_cert_secret_ref {
                Some(reference) => {
                    let field = "spec.kafka.tls.clientCertSecretRef";
                    let certificate = self.text(&reference.name, "tls.crt", field).await?;
                    Some((certificate, self.text(&reference.name, "tls.key", field).await?))
                }
                None => None,
            };
            connection.encrypt(ca.as_deref(), own.as_ref().map(|(a, b)| (a.as_str(), b.as_str())));
        }
        if let Some(sasl) = &kafka.sasl {
            let (name, field) = (&sasl.secret_ref.name, "spec.kafka.sasl.secretRef");
            let username = self.text(name, "username", field).await?;
            let password = self.text(name, "password", field).await?;
            connection.authenticate(sasl.mechanism, &username, &password);
        }
        Ok(connection)
    }

    async fn text(&mut self, name: &str, key: &str, field: &'static str) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.entry(name, key, field).await?).into_owned())
    }

    async fn entry(&mut self, name: &str, key: &str, field: &'static str) -> Result<Vec<u8>, Error> {
        if !self.read.contains_key(name) {
            let found = self.api.get_opt(name).await.map_err(api(format!("read secret {name}")))?;
            let missing =
                || Error::SecretMissing { name: name.to_owned(), namespace: self.namespace.clone(), field };
            self.read.insert(name.to_owned(), found.ok_or_else(missing)?.data.unwrap_or_default());
        }
        let entries = &self.read[name];
        let missing = || Error::SecretKeyMissing {
            name: name.to_owned(),
            key: key.to_owned(),
            found: entries.keys().cloned().collect::<Vec<_>>().join(", "),
            field,
        };
        let ByteString(bytes) = entries.get(key).ok_or_else(missing)?;
        Ok(bytes.clone())
    }
}

fn hash(entries: &BTreeMap<String, ByteString>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (key, ByteString(bytes)) in entries {
        for part in [key.as_bytes(), bytes] {
            // With its length, so that different Secrets never concatenate to the same bytes.
            hasher.update(&part.len().to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}
