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

/// Round trip through a Kubernetes type: unknown fields are dropped, so a difference shows them.
fn assert_known_fields<T: DeserializeOwned + Serialize>(manifest: &Value) {
    let typed: T = serde_json::from_value(manifest.clone()).unwrap();
    assert_eq!(&serde_json::to_value(typed).unwrap(), manifest);
}

#[test]
fn objects_of_the_development_example_equal_the_reviewed_file() {
    let input = of(include_str!("../../../examples/development.yaml"));
    let manifests: Vec<_> =
        build(&input).iter().map(|object| serde_saphyr::to_string(&object.manifest).unwrap()).collect();
    let built = manifests.join("---\n");
    let reviewed = include_str!("development.yaml");
    // WEIR_REVIEW=1 writes the built objects, to be reviewed as a diff of the file.
    if std::env::var_os("WEIR_REVIEW").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/objects/development.yaml"), &built).unwrap();
    }
    assert_eq!(built, reviewed, "run the test again with WEIR_REVIEW=1 and review the diff");
}

#[test]
fn kubernetes_types_have_every_field() {
    for input in [
        input("{gateway: {replicas: 2}}"),
        of(include_str!("../../../examples/production.yaml")),
        input("{kafka: {tls: {clientCertSecretRef: {name: client}}}}"),
        input(
            "{imagePullSecrets: [{name: registry}], gateway: {service: {type: NodePort, annotations: {a: b}},
             ingress: {host: shop.example, className: nginx, tlsSecretName: tls}}}",
        ),
    ] {
        for object in build(&input) {
            match object.kind {
                Kind::ServiceAccount => assert_known_fields::<ServiceAccount>(&object.manifest),
                Kind::ConfigMap => assert_known_fields::<ConfigMap>(&object.manifest),
                Kind::NetworkPolicy => assert_known_fields::<NetworkPolicy>(&object.manifest),
                Kind::Service => assert_known_fields::<Service>(&object.manifest),
                Kind::PodDisruptionBudget => assert_known_fields::<PodDisruptionBudget>(&object.manifest),
                Kind::StatefulSet => assert_known_fields::<StatefulSet>(&object.manifest),
                Kind::Deployment => assert_known_fields::<Deployment>(&object.manifest),
                Kind::Ingress => assert_known_fields::<Ingress>(&object.manifest),
                // Not a built-in kind.
                Kind::HttpRoute => {}
            }
        }
    }
}

#[test]
fn disabled_components_have_no_objects() {
    let names = |spec: &str| {
        let objects = build(&input(spec));
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
fn replicas_are_bounded_by_the_partitions() {
    for (spec, processors, generators) in [
        ("{processor: {replicas: 4}}", 4, 1),
        ("{processor: {replicas: 9}}", 6, 1),
        ("{state: Suspended, processor: {replicas: 4}}", 0, 0),
    ] {
        let objects = build(&input(spec));
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
fn pods_are_rolled_only_by_fields_that_they_use() {
    let base = hashes("{}");
    // Pods use neither the number of replicas, nor autoscaling, nor the deletion policy.
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
    // The gateway serves the document's settings.
    assert!(window.gateway != base.gateway && generator.gateway == base.gateway);
}

/// Hashes from an earlier release: if they changed, an upgrade of the operator would roll every pod.
#[test]
fn hashes_equal_those_of_earlier_operators() {
    for (spec, [processor, generator, gateway]) in [
        ("{}", ["429118ec2ab256ff", "268bcf08fb151f89", "429118ec2ab256ff"]),
        (
            "{window: {size: 1m}, ranking: {top: 5}}",
            ["224c5ce605b47bdd", "268bcf08fb151f89", "224c5ce605b47bdd"],
        ),
        (
            "{generator: {eventsPerSecond: 7}, kafka: {bootstrapServers: ['a:1']}}",
            ["7fd803affa365904", "aabfdf2f12c79a29", "7fd803affa365904"],
        ),
        (
            "{topics: {events: {name: e, partitions: 12}, results: {name: r, partitions: 4}, topPages: {name: t}}}",
            ["fc3ac4cb1d8429c4", "6caf53ff17dc8fc8", "fc3ac4cb1d8429c4"],
        ),
    ] {
        let hashes = hashes(spec);
        assert_eq!([&hashes.processor, &hashes.generator, &hashes.gateway], [processor, generator, gateway]);
    }
    // The snapshot interval follows the retention; only processors use it.
    let short = hashes("{window: {size: 2h}, topics: {events: {retention: 5h}}}");
    assert_eq!(short.processor, "abcf5648ad4fbd82");
}

#[test]
fn topic_settings_roll_only_pods_that_use_them() {
    let changed = |before: &str, after: &str| {
        let (before, after) = (hashes(before), hashes(after));
        [
            before.processor != after.processor,
            before.generator != after.generator,
            before.gateway != after.gateway,
        ]
    };
    for (before, after, expected) in [
        ("{}", "{topics: {events: {retention: 9h, replicas: 3}}}", [false; 3]),
        ("{}", "{topics: {results: {retention: 9h, replicas: 3, compression: lz4}}}", [false; 3]),
        ("{}", "{topics: {topPages: {retention: 9h, replicas: 3, compression: lz4}}}", [false; 3]),
        ("{}", "{topics: {events: {management: External}}}", [true, false, false]),
        ("{}", "{topics: {events: {compression: lz4}}}", [false, true, false]),
        // Snapshots follow retention where windows are long.
        (
            "{window: {size: 2h}, topics: {events: {retention: 4h}}}",
            "{window: {size: 2h}, topics: {events: {retention: 8h}}}",
            [true, false, false],
        ),
        (
            "{window: {size: 2h}, topics: {events: {retention: 8h}}}",
            "{window: {size: 2h}, topics: {events: {retention: 9h}}}",
            [false; 3],
        ),
    ] {
        assert_eq!(changed(before, after), expected, "{before} {after}");
    }
}

#[test]
fn the_spec_hash_is_the_same_for_every_operator() {
    let of = |spec: &str| {
        let mut input = input(spec);
        input.image = "weir:another".to_owned();
        input.secrets = [("user".to_owned(), "1".to_owned())].into();
        let objects = build(&input);
        [
            (Kind::StatefulSet, "shop"),
            (Kind::Deployment, "shop-generator"),
            (Kind::Deployment, "shop-gateway"),
        ]
        .map(|(kind, name)| find(&objects, kind, name)["metadata"]["annotations"][SPEC_HASH].clone())
    };
    let base = of("{}");
    // From the first release that wrote it: if it changed, an upgrade would roll all pipelines at once.
    assert_eq!(base, ["b8b38d1cb0675f6b"; 3].map(Value::from));
    for spec in [
        "{processor: {replicas: 5, autoscaling: {mode: Lag}}}",
        "{state: Suspended}",
        "{deletionPolicy: Delete, gateway: {replicas: 3, service: {type: NodePort}}}",
        "{topics: {results: {retention: 9h}}}",
    ] {
        assert_eq!(of(spec), base, "{spec}");
    }
    for (spec, changed) in [
        ("{processor: {resources: {limits: {cpu: 1}}}}", [true, false, false]),
        ("{gateway: {podTemplate: {spec: {nodeName: a}}}}", [false, false, true]),
        ("{generator: {eventsPerSecond: 7}}", [false, true, false]),
        ("{window: {size: 1m}}", [true, false, true]),
        ("{image: 'weir:2'}", [true; 3]),
    ] {
        let found = of(spec);
        assert_eq!([0, 1, 2].map(|i| found[i] != base[i]), changed, "{spec}");
    }
}

#[test]
fn contents_of_secrets_change_the_hashes() {
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
    // The generator does not pseudonymize.
    let rotated = with("1", "2");
    assert!(rotated.processor != base.processor && rotated.generator == base.generator);
}

#[test]
fn the_pod_template_is_merged_by_name_but_not_into_selectors() {
    let spec = "{processor: {podTemplate: {
        metadata: {labels: {team: web, app.kubernetes.io/component: other}},
        spec: {priorityClassName: high, containers: [{name: processor, image: 'own:2', env: [{name: WEIR_LOG, value: debug}]}]}}}}";
    let set = find(&build(&input(spec)), Kind::StatefulSet, "shop");
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
fn the_mounted_document_is_valid() {
    let map = find(&build(&input("{processor: {replicas: 9}, window: {size: 1m}}")), Kind::ConfigMap, "shop");
    let pipeline = Pipeline::from_yaml(map["data"]["pipeline.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(pipeline.spec.window.size.to_string(), "1m");
    assert!(pipeline.warnings().is_empty());
}

#[test]
fn objects_inherit_labels_and_annotations_and_pods_labels() {
    let mut input = input("{}");
    input.labels = [("team", "web"), ("app.kubernetes.io/component", "other")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    input.annotations = [("owner".to_owned(), "ops".to_owned())].into();
    for object in build(&input) {
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
            // Selectors do not change.
            assert!(object.manifest["spec"]["selector"]["matchLabels"].get("team").is_none());
        }
    }
}
