//! Kubernetes objects as the operator builds, finds and compares them: JSON values with their kind.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// The annotation with the hash of the whole object as last applied, so that fields that are no longer built are noticed.
pub const HASH: &str = "weir.dev/hash";

/// The operator's field manager, and its objects' value of the label `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "weir-operator";

/// The kinds of objects that pipelines own, in the order of their creation: what pods need comes before the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// ServiceAccount: the pods' identity.
    ServiceAccount,
    /// ConfigMap: the manifest that the pods read.
    ConfigMap,
    /// NetworkPolicy: allowed connections to the pods.
    NetworkPolicy,
    /// Service: the gateway's address in the cluster.
    Service,
    /// PodDisruptionBudget: pods that may be evicted at a time.
    PodDisruptionBudget,
    /// StatefulSet: the processors.
    StatefulSet,
    /// Deployment: the generator and the gateway.
    Deployment,
    /// Ingress: the gateway's address outside the cluster.
    Ingress,
    /// HTTPRoute: the same in the Gateway API, which a cluster need not have.
    HttpRoute,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::NetworkPolicy,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
        Self::Deployment,
        Self::Ingress,
        Self::HttpRoute,
    ];

    /// Whether every cluster has the kind, so that it can be watched.
    pub const fn is_built_in(self) -> bool {
        !matches!(self, Self::HttpRoute)
    }

    /// Group, version, kind and plural.
    const fn names(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::Ingress => ("networking.k8s.io", "v1", "Ingress", "ingresses"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
        }
    }

    /// The kind's name in a manifest.
    pub const fn as_str(self) -> &'static str {
        self.names().2
    }

    /// `apps/v1`, or `v1`.
    pub fn api_version(self) -> String {
        let (group, version, ..) = self.names();
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
    }

    /// The API resource.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.names();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

/// A desired object: only the fields that the operator sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The manifest.
    pub manifest: Value,
}

/// An object as found in the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its kind.
    pub kind: Kind,
    /// The manifest, with everything that the API server and others wrote into it.
    pub manifest: Value,
}

impl Found {
    /// Its name.
    pub fn name(&self) -> &str {
        self.manifest["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Whether the resource with this uid is its controller.
    pub fn is_owned_by(&self, uid: &str) -> bool {
        let owners = self.manifest["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| {
            owners.iter().any(|owner| owner["uid"] == uid && owner["controller"] == Value::Bool(true))
        })
    }

    /// Whether the operator created it for a pipeline that is gone: it no longer has a controller.
    pub fn is_orphaned(&self) -> bool {
        let metadata = &self.manifest["metadata"];
        let owners = metadata["ownerReferences"].as_array();
        let owned = owners.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true));
        metadata["labels"]["app.kubernetes.io/managed-by"] == MANAGER
            && metadata["annotations"][HASH].is_string()
            && !owned
    }

    /// The field managers, other than the operator, that own one of these fields (such as `spec.ports[0].port`).
    pub fn managers<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let paths: Vec<Vec<&str>> = paths.into_iter().map(|path| segments(path).collect()).collect();
        let entries = self.manifest["metadata"]["managedFields"].as_array();
        let others = entries.into_iter().flatten().filter(|entry| {
            entry["manager"] != MANAGER && paths.iter().any(|path| holds(&entry["fieldsV1"], path))
        });
        let mut names: Vec<String> =
            others.filter_map(|entry| entry["manager"].as_str().map(str::to_owned)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Kind and name of its controller.
    pub fn controller(&self) -> Option<(String, String)> {
        let owners = self.manifest["metadata"]["ownerReferences"].as_array()?;
        let owner = owners.iter().find(|owner| owner["controller"] == Value::Bool(true))?;
        Some((owner["kind"].as_str()?.to_owned(), owner["name"].as_str()?.to_owned()))
    }

    /// The integer at a JSON pointer; 0 if there is none.
    pub fn number(&self, pointer: &str) -> i32 {
        let number = self.manifest.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        i32::try_from(number).unwrap_or(i32::MAX)
    }
}

/// The fields of a path, without list indices.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').map(|field| field.split('[').next().unwrap_or(field))
}

/// Whether a manager owns a field (`fieldsV1`). Any entry of a list matches, because entries are identified by keys there.
fn holds(fields: &Value, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    let Some(fields) = fields.as_object() else { return false };
    if let Some(found) = fields.get(&format!("f:{first}")) {
        // An atomic list has no entries below it.
        return rest.is_empty()
            || found.as_object().is_some_and(serde_json::Map::is_empty)
            || holds(found, rest);
    }
    let mut entries = fields.iter().filter(|(key, _)| key.starts_with("k:") || key.starts_with("v:"));
    entries.any(|(_, entry)| holds(entry, path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn field_managers_are_found_by_path() {
        let manifest = json!({"metadata": {"managedFields": [
            {"manager": "weir-operator", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kubectl-patch", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "vpa", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"a\"}": {"f:resources": {"f:limits": {"f:cpu": {}}}}}}}}}},
            {"manager": "mesh", "fieldsV1": {"f:spec": {"f:ingress": {}}}},
        ]}});
        let found = Found { kind: Kind::Deployment, manifest };
        for (path, managers) in [
            ("spec.replicas", vec!["kubectl-patch"]),
            ("spec.template.spec.containers[0].resources.limits.cpu", vec!["vpa"]),
            ("spec.ingress[1]", vec!["mesh"]),
            ("spec.selector", vec![]),
        ] {
            assert_eq!(found.managers([path]), managers, "{path}");
        }
    }
}
