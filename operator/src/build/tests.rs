#![allow(clippy::unwrap_used)]
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use serde::{Serialize, de::DeserializeOwned};

use super::*;

pub(crate) fn input(spec: &str) -> Input {
    let text = format!(
        "{{apiVersion: weir.dev/v1alpha1, kind: ClickstreamPipeline, metadata: {{name: shop, namespace: web}}, spec: {spec}}}"
    );
    of(&text)
}

fn of(text: &str) -> Input {
    let mut pipeline = Pipeline::from_yaml(text).unwrap();
    pipeline.metadata.namespace = Some("web".to_owned());
    let image = "weir:1".to_owned();
    Input {
        pipeline,
        uid: "0001".to_owned(),
        image,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        secrets: BTreeMap::new(),
    }
}

fn find(objects: &[Object], kind: Kind, name: &str) -> Value {
    let object = objects.iter().find(|object| object.kind == kind && object.name == name);
    object.unwrap_or_else(|| panic!("no {kind:?} {name}")).manifest.clone()
}

/// What a type of Kubernetes does not know it leaves out, and what is left out is missing when it is written again.
fn known_to<T: DeserializeOwned + Serialize>(manifest: &Value) {
    let typed: T = serde_json::from_value(manifest.clone()).unwrap();
    assert_eq!(&serde_json::to_value(typed).unwrap(), manifest);
}

#[test]
fn the_development_example_as_it_was_reviewed() {
    let input = of(include_str!("../../../examples/development.yaml"));
    let manifests: Vec<_> =
        objects(&input).iter().map(|object| serde_saphyr::to_string(&object.manifest).unwrap()).collect();
    let built = manifests.join("---\n");
    let reviewed = include_str!("development.yaml");
    // WEIR_REVIEW=1 writes what is built, to be looked at as a difference of the file.
    if std::env::var_os("WEIR_REVIEW").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/build/development.yaml"), &built).unwrap();
    }
    assert_eq!(built, reviewed, "run the test again with WEIR_REVIEW=1 and look at the difference");
}

#[test]
fn kubernetes_knows_every_field() {
    for input in [
        input("{gateway: {replicas: 2}}"),
        of(include_str!("../../../examples/production.yaml")),
        input("{kafka: {tls: {clientCertSecretRef: {name: client}}}}"),
        input(
            "{imagePullSecrets: [{name: registry}], gateway: {service: {type: NodePort, annotations: {a: b}},
             ingress: {host: shop.example, className: nginx, tlsSecretName: tls}}}",
        ),
    ] {
        for object in objects(&input) {
            match object.kind {
                Kind::ServiceAccount => known_to::<ServiceAccount>(&object.manifest),
                Kind::ConfigMap => known_to::<ConfigMap>(&object.manifest),
                Kind::NetworkPolicy => known_to::<NetworkPolicy>(&object.manifest),
                Kind::Service => known_to::<Service>(&object.manifest),
                Kind::PodDisruptionBudget => known_to::<PodDisruptionBudget>(&object.manifest),
                Kind::StatefulSet => known_to::<StatefulSet>(&object.manifest),
                Kind::Deployment => known_to::<Deployment>(&object.manifest),
                Kind::Ingress => known_to::<Ingress>(&object.manifest),
                // Not one of Kubernetes' own.
                Kind::HttpRoute => {}
            }
        }
    }
}

#[test]
fn what_is_not_wanted_is_not_there() {
    let names = |spec: &str| {
        let objects = objects(&input(spec));
        objects.iter().map(|object| format!("{:?} {}", object.kind, object.name)).collect::<Vec<_>>()
    };
    assert_eq!(
        names("{processor: {replicas: 1}, generator: {enabled: false}, gateway: {replicas: 0}}"),
        ["ServiceAccount shop", "ConfigMap shop", "NetworkPolicy shop", "StatefulSet shop"]
    );
    assert_eq!(
        names("{gateway: {replicas: 2}}"),
        [
            "ServiceAccount shop",
            "ConfigMap shop",
            "NetworkPolicy shop",
            "NetworkPolicy shop-gateway",
            "Service shop-gateway",
            "PodDisruptionBudget shop",
            "PodDisruptionBudget shop-gateway",
            "StatefulSet shop",
            "Deployment shop-generator",
            "Deployment shop-gateway",
        ]
    );
}

#[test]
fn replicas_follow_the_document_within_the_partitions() {
    for (spec, processors, generators) in [
        ("{processor: {replicas: 4}}", 4, 1),
        ("{processor: {replicas: 9}}", 6, 1),
        ("{state: Suspended, processor: {replicas: 4}}", 0, 0),
    ] {
        let objects = objects(&input(spec));
        assert_eq!(find(&objects, Kind::StatefulSet, "shop")["spec"]["replicas"], processors, "{spec}");
        assert_eq!(
            find(&objects, Kind::Deployment, "shop-generator")["spec"]["replicas"],
            generators,
            "{spec}"
        );
    }
}

fn hashes(spec: &str) -> Hashes {
    Hashes::of(&input(spec))
}

#[test]
fn pods_are_rolled_by_what_they_act_upon_alone() {
    let base = hashes("{}");
    // Neither the number of pods, nor who decides it, nor what becomes of the topics is theirs to know.
    for spec in [
        "{processor: {replicas: 5, autoscaling: {mode: Lag}}}",
        "{state: Suspended}",
        "{deletionPolicy: Delete}",
        "{gateway: {replicas: 3}}",
        "{gateway: {ingress: {host: shop.example}, service: {type: NodePort}}}",
        "{image: 'weir:2', imagePullSecrets: [{name: registry}], generator: {podTemplate: {spec: {}}}}",
    ] {
        assert_eq!(hashes(spec), base, "{spec}");
    }
    let generator = hashes("{generator: {eventsPerSecond: 7}}");
    assert!(generator.generator != base.generator && generator.processor == base.processor);
    let window = hashes("{window: {size: 1m}}");
    assert!(window.generator == base.generator && window.processor != base.processor);
    // The gateway tells what the document says.
    assert!(window.gateway != base.gateway && generator.gateway == base.gateway);
}

#[test]
fn the_contents_of_secrets_count() {
    let spec = "{kafka: {sasl: {mechanism: PLAIN, secretRef: {name: user}}}, pii: {userId: Hash, hashKeySecretRef: {name: pii, key: key}}}";
    let with = |user: &str, pii: &str| {
        let mut input = input(spec);
        input.secrets = [("user", user), ("pii", pii)].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        Hashes::of(&input)
    };
    let base = with("1", "1");
    let rotated = with("2", "1");
    assert!(rotated.processor != base.processor && rotated.generator != base.generator);
    assert_ne!(rotated.gateway, base.gateway);
    // The generator hashes nobody.
    let rotated = with("1", "2");
    assert!(rotated.processor != base.processor && rotated.generator == base.generator);
}

#[test]
fn the_pod_template_is_laid_over_by_name_but_not_over_selectors() {
    let spec = "{processor: {podTemplate: {
        metadata: {labels: {team: web, app.kubernetes.io/component: other}},
        spec: {priorityClassName: high, containers: [{name: processor, image: 'own:2', env: [{name: WEIR_LOG, value: debug}]}]}}}}";
    let set = find(&objects(&input(spec)), Kind::StatefulSet, "shop");
    let template = &set["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "web");
    assert_eq!(template["metadata"]["labels"]["app.kubernetes.io/component"], "processor");
    assert_eq!(template["spec"]["priorityClassName"], "high");
    let containers = template["spec"]["containers"].as_array().unwrap();
    assert_eq!((containers.len(), &containers[0]["image"]), (1, &json!("own:2")));
    let env: Vec<_> = containers[0]["env"].as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    assert!(env.contains(&&json!("WEIR_LOG")) && env.contains(&&json!("WEIR_INSTANCE")));
}

#[test]
fn pods_read_a_valid_document() {
    let map =
        find(&objects(&input("{processor: {replicas: 9}, window: {size: 1m}}")), Kind::ConfigMap, "shop");
    let pipeline = Pipeline::from_yaml(map["data"]["pipeline.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(pipeline.spec.window.size.to_string(), "1m");
    assert!(pipeline.remarks().is_empty());
}

#[test]
fn labels_and_annotations_go_on_to_objects_and_labels_to_pods() {
    let mut input = input("{}");
    input.labels = [("team", "web"), ("app.kubernetes.io/component", "other")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    input.annotations = [("owner".to_owned(), "ops".to_owned())].into();
    for object in objects(&input) {
        let metadata = &object.manifest["metadata"];
        assert_eq!(
            (&metadata["labels"]["team"], &metadata["annotations"]["owner"]),
            (&json!("web"), &json!("ops"))
        );
        assert_ne!(metadata["labels"]["app.kubernetes.io/component"], "other");
        let template = &object.manifest["spec"]["template"];
        if template.is_object() {
            assert_eq!(template["metadata"]["labels"]["team"], "web");
            assert!(template["metadata"]["annotations"].get("owner").is_none());
            // What selects pods stays what it was.
            assert!(object.manifest["spec"]["selector"]["matchLabels"].get("team").is_none());
        }
    }
}
