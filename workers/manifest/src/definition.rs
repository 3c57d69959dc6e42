//! The custom resource's definition (CRD): the schema of the types, and the rules between fields in Kubernetes' own language.

mod rules;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};
use kube::CustomResourceExt;

use self::rules::{RULES, Rule};
use crate::{ClickstreamPipeline, Duration, pattern};

/// The definition of [`ClickstreamPipeline`], as `crds/` has it.
///
/// What it admits, [`Pipeline::validate`](crate::Pipeline::validate) takes, and the other way round, but for what only a comparison
/// with the object before can tell: names, partitions and replicas of topics do not change.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = ClickstreamPipeline::crd();
    for version in &mut definition.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        root.properties.get_or_insert_default().insert("metadata".to_owned(), metadata());
        visit(root, &mut |schema| {
            // A field without a value is left out: rules then need not tell `null` from nothing.
            schema.nullable = None;
            if schema.pattern.as_deref() == Some(Duration::PATTERN) {
                schema.x_kubernetes_validations.get_or_insert_default().push(rules::longest_duration());
            }
        });
        if let Some(servers) = at(root, "spec.kafka.bootstrapServers") {
            servers.x_kubernetes_list_type = Some("set".to_owned());
        }
        for rule in RULES {
            if let Some(schema) = at(root, rule.at) {
                schema.x_kubernetes_validations.get_or_insert_default().push(validation(rule));
            }
        }
    }
    definition
}

/// What Kubernetes lets a definition say about metadata: how it is called.
fn metadata() -> JSONSchemaProps {
    let name = JSONSchemaProps {
        type_: Some("string".to_owned()),
        max_length: Some(52),
        pattern: Some(pattern::NAME.to_owned()),
        ..JSONSchemaProps::default()
    };
    JSONSchemaProps {
        type_: Some("object".to_owned()),
        properties: Some([("name".to_owned(), name)].into()),
        ..JSONSchemaProps::default()
    }
}

fn validation(rule: &Rule) -> ValidationRule {
    ValidationRule {
        field_path: rule.field.map(str::to_owned),
        message: Some(rule.message.to_owned()),
        rule: rules::expanded(rule.rule),
        ..ValidationRule::default()
    }
}

/// The schema of a field by its path; the root's path is empty.
fn at<'a>(schema: &'a mut JSONSchemaProps, path: &str) -> Option<&'a mut JSONSchemaProps> {
    let names = path.split('.').filter(|name| !name.is_empty());
    let mut schema = schema;
    for name in names {
        schema = schema.properties.as_mut()?.get_mut(name)?;
    }
    Some(schema)
}

fn visit(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    schema.properties.iter_mut().flatten().for_each(|(_, field)| visit(field, change));
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        visit(item, change);
    }
}

#[cfg(test)]
mod tests;
