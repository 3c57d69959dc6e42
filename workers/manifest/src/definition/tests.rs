#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};

use super::*;

fn schema() -> (Value, Value) {
    let definition = serde_json::to_value(definition()).unwrap();
    let version = definition["spec"]["versions"][0].clone();
    (definition, version)
}

#[test]
fn it_is_structural() {
    let (definition, version) = schema();
    assert_eq!(definition["metadata"]["name"], "clickstreampipelines.weir.dev");
    assert_eq!(definition["spec"]["scope"], "Namespaced");
    assert_eq!(definition["spec"]["names"]["shortNames"][0], "csp");
    assert_eq!(version["name"], "v1alpha1");
    let scale = &version["subresources"]["scale"];
    assert_eq!(scale["specReplicasPath"], ".spec.processor.replicas");
    assert_eq!(scale["statusReplicasPath"], ".status.processor.replicas");
    assert_eq!(scale["labelSelectorPath"], ".status.processor.selector");
    let columns: Vec<_> = version["additionalPrinterColumns"].as_array().unwrap().iter().collect();
    let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Ready", "State", "Replicas", "Partitions", "Age", "Message"]);
    let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let processor = &spec["properties"]["processor"]["properties"];
    assert_eq!(processor["podTemplate"]["x-kubernetes-preserve-unknown-fields"], true);
    assert_eq!(spec["properties"]["state"]["enum"], json!(["Running", "Suspended"]));
    // Kubernetes refuses the first two in a definition.
    let text = version.to_string();
    for word in ["\"additionalProperties\":false", "$ref", "nullable"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[test]
fn every_rule_has_its_place() {
    let (_, version) = schema();
    let text = version.to_string();
    for rule in RULES {
        assert!(text.contains(rule.message), "{}: {}", rule.at, rule.message);
    }
    assert_eq!(text.matches("must be at most 36500d").count(), text.matches(r#""minLength":1"#).count());
    assert!(!text.contains("ms(self"), "{text}");
}

#[test]
fn days_are_written_out() {
    assert_eq!(
        expanded("ms(self.a) > 5"),
        "(self.a.contains('d') ? int(self.a.split('d')[0]) * 86400000 + duration(self.a.split('d')[1] + '0s').getMilliseconds() : duration(self.a).getMilliseconds()) > 5"
    );
}

use super::rules::expanded;
