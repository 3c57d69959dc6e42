//! Fields that `podTemplate` may not set, because the right to create pipelines does not include the right to create pods. Pure.
//!
//! Refused are another service account than the pods' own, which has no rights, and what Pod Security's baseline profile refuses:
//! the node's namespaces, files, ports and capabilities. Allowed volumes are those of the restricted profile.

use serde_json::Value;
use weir_manifest::{Pipeline, Problem};

/// Volume sources that reach neither the node nor others' storage.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Capabilities that a container may add: the defaults of container runtimes.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Sysctls that affect only the pod itself.
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];

const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// All refused fields of the pipeline's pod templates.
pub fn refused_fields(pipeline: &Pipeline) -> Vec<Problem> {
    let spec = &pipeline.spec;
    let templates = [
        ("processor", &spec.processor.pod_template),
        ("generator", &spec.generator.pod_template),
        ("gateway", &spec.gateway.pod_template),
    ];
    let mut refused = Refused { problems: Vec::new() };
    for (component, template) in templates {
        let template = Value::Object(template.0.clone());
        refused.template(&format!("spec.{component}.podTemplate"), &template);
    }
    refused.problems
}

struct Refused {
    problems: Vec<Problem>,
}

impl Refused {
    fn add(&mut self, path: String, why: &str) {
        let message = format!(
            "{why}: leave it out, or have the operator installed with podTemplates.allowPrivileged=true"
        );
        self.problems.push(Problem { path, message });
    }

    fn template(&mut self, path: &str, template: &Value) {
        for (name, value) in fields(&template["metadata"]["annotations"]) {
            let profile = value.as_str().unwrap_or_default();
            let confined = profile == "runtime/default" || profile.starts_with("localhost/");
            if name.starts_with("container.apparmor.security.beta.kubernetes.io/") && !confined {
                self.add(
                    format!("{path}.metadata.annotations[{name}]"),
                    "containers keep their AppArmor profile",
                );
            }
        }
        let (path, spec) = (format!("{path}.spec"), &template["spec"]);
        // Also null, which would replace the pods' own service account by the namespace's default one.
        for name in ["serviceAccountName", "serviceAccount"] {
            if spec.get(name).is_some() {
                self.add(format!("{path}.{name}"), "pods have a service account of their own");
            }
        }
        if spec.get("automountServiceAccountToken").is_some_and(|value| *value != Value::Bool(false)) {
            self.add(format!("{path}.automountServiceAccountToken"), "pods have no token of the API server");
        }
        for name in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
            if is_set(&spec[name]) {
                self.add(format!("{path}.{name}"), "pods do not share what is the node's");
            }
        }
        for (i, volume) in entries(&spec["volumes"]) {
            self.volume(&format!("{path}.volumes[{i}]"), volume);
        }
        self.security_context(&format!("{path}.securityContext"), &spec["securityContext"]);
        for kind in ["containers", "initContainers", "ephemeralContainers"] {
            for (i, container) in entries(&spec[kind]) {
                self.container(&format!("{path}.{kind}[{i}]"), container);
            }
        }
    }

    fn volume(&mut self, path: &str, volume: &Value) {
        for (source, value) in fields(volume) {
            if source != "name" && !value.is_null() && !VOLUMES.contains(&source.as_str()) {
                self.add(
                    format!("{path}.{source}"),
                    "pods mount neither the node's files nor others' storage",
                );
            }
        }
        for (i, source) in entries(&volume["projected"]["sources"]) {
            for name in ["serviceAccountToken", "podCertificate"] {
                if !source[name].is_null() {
                    self.add(
                        format!("{path}.projected.sources[{i}].{name}"),
                        "pods cannot prove to others who they are",
                    );
                }
            }
        }
    }

    /// Checks the security context of a pod or of a container: fields that one of them does not have are absent.
    fn security_context(&mut self, path: &str, context: &Value) {
        if is_set(&context["privileged"]) {
            self.add(format!("{path}.privileged"), "containers are not the node's root");
        }
        for (i, capability) in entries(&context["capabilities"]["add"]) {
            if !capability.as_str().is_some_and(|name| CAPABILITIES.contains(&name)) {
                self.add(
                    format!("{path}.capabilities.add[{i}]"),
                    "containers have no capabilities over the node",
                );
            }
        }
        for (i, sysctl) in entries(&context["sysctls"]) {
            if !sysctl["name"].as_str().is_some_and(|name| SYSCTLS.contains(&name)) {
                self.add(
                    format!("{path}.sysctls[{i}].name"),
                    "pods set only what no other pod sees of the kernel",
                );
            }
        }
        let unless = |value: &Value, allowed: &[&str]| {
            !value.is_null() && !value.as_str().is_some_and(|value| allowed.contains(&value))
        };
        for (field, value, allowed) in [
            ("procMount", &context["procMount"], &["Default"][..]),
            ("seccompProfile.type", &context["seccompProfile"]["type"], &["RuntimeDefault", "Localhost"]),
            ("appArmorProfile.type", &context["appArmorProfile"]["type"], &["RuntimeDefault", "Localhost"]),
            ("seLinuxOptions.type", &context["seLinuxOptions"]["type"], &SELINUX_TYPES),
            ("seLinuxOptions.user", &context["seLinuxOptions"]["user"], &[""]),
            ("seLinuxOptions.role", &context["seLinuxOptions"]["role"], &[""]),
        ] {
            if unless(value, allowed) {
                self.add(format!("{path}.{field}"), "containers stay confined");
            }
        }
        if is_set(&context["windowsOptions"]["hostProcess"]) {
            self.add(format!("{path}.windowsOptions.hostProcess"), "pods do not share what is the node's");
        }
    }

    fn container(&mut self, path: &str, container: &Value) {
        self.security_context(&format!("{path}.securityContext"), &container["securityContext"]);
        for (i, port) in entries(&container["ports"]) {
            if !port["hostPort"].is_null() && port["hostPort"] != 0 {
                self.add(format!("{path}.ports[{i}].hostPort"), "pods do not share what is the node's");
            }
        }
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"];
        let hooks = ["postStart", "preStop"];
        let handlers = probes.iter().map(|name| (format!("{path}.{name}"), &container[*name]));
        let hooks =
            hooks.iter().map(|name| (format!("{path}.lifecycle.{name}"), &container["lifecycle"][*name]));
        for (path, handler) in handlers.chain(hooks) {
            for action in ["httpGet", "tcpSocket"] {
                if handler[action]["host"].as_str().is_some_and(|host| !host.is_empty()) {
                    self.add(format!("{path}.{action}.host"), "the node calls nobody but the pod itself");
                }
            }
        }
    }
}

/// Whether a boolean field is set; values of other types count as set.
fn is_set(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

fn entries(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn fields(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::tests::input;

    fn refused(template: &str) -> Vec<String> {
        let pipeline = input(&format!("{{processor: {{podTemplate: {template}}}}}")).pipeline;
        let problems = refused_fields(&pipeline);
        assert!(problems.iter().all(|problem| problem.message.contains("podTemplates.allowPrivileged=true")));
        let paths = problems.into_iter().map(|problem| problem.path);
        paths.map(|path| path.replacen("spec.processor.podTemplate.", "", 1)).collect()
    }

    #[test]
    fn fields_that_grant_privileges_are_refused_by_path() {
        for (template, path) in [
            ("{spec: {serviceAccountName: weir-operator}}", "spec.serviceAccountName"),
            ("{spec: {serviceAccountName: null}}", "spec.serviceAccountName"),
            ("{spec: {serviceAccount: weir-operator}}", "spec.serviceAccount"),
            ("{spec: {automountServiceAccountToken: true}}", "spec.automountServiceAccountToken"),
            ("{spec: {automountServiceAccountToken: null}}", "spec.automountServiceAccountToken"),
            ("{spec: {hostNetwork: true}}", "spec.hostNetwork"),
            ("{spec: {hostPID: true}}", "spec.hostPID"),
            ("{spec: {hostIPC: true}}", "spec.hostIPC"),
            ("{spec: {hostUsers: true}}", "spec.hostUsers"),
            (
                "{spec: {volumes: [{name: a, emptyDir: {}}, {name: b, hostPath: {path: /}}]}}",
                "spec.volumes[1].hostPath",
            ),
            (
                "{spec: {volumes: [{name: pipeline, configMap: null, nfs: {server: a, path: /}}]}}",
                "spec.volumes[0].nfs",
            ),
            (
                "{spec: {volumes: [{name: a, projected: {sources: [{secret: {name: a}}, {serviceAccountToken: {path: t}}]}}]}}",
                "spec.volumes[0].projected.sources[1].serviceAccountToken",
            ),
            (
                "{spec: {volumes: [{name: a, projected: {sources: [{podCertificate: {signerName: a/b}}]}}]}}",
                "spec.volumes[0].projected.sources[0].podCertificate",
            ),
            (
                "{spec: {securityContext: {seccompProfile: {type: Unconfined}}}}",
                "spec.securityContext.seccompProfile.type",
            ),
            (
                "{spec: {securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}}}",
                "spec.securityContext.sysctls[0].name",
            ),
            (
                "{spec: {securityContext: {windowsOptions: {hostProcess: true}}}}",
                "spec.securityContext.windowsOptions.hostProcess",
            ),
            (
                "{spec: {containers: [{name: processor, securityContext: {privileged: true}}]}}",
                "spec.containers[0].securityContext.privileged",
            ),
            (
                "{spec: {initContainers: [{name: a, securityContext: {capabilities: {add: [CHOWN, SYS_ADMIN]}}}]}}",
                "spec.initContainers[0].securityContext.capabilities.add[1]",
            ),
            (
                "{spec: {containers: [{name: a, securityContext: {procMount: Unmasked}}]}}",
                "spec.containers[0].securityContext.procMount",
            ),
            (
                "{spec: {containers: [{name: a, securityContext: {appArmorProfile: {type: Unconfined}}}]}}",
                "spec.containers[0].securityContext.appArmorProfile.type",
            ),
            (
                "{spec: {containers: [{name: a, securityContext: {seLinuxOptions: {type: spc_t}}}]}}",
                "spec.containers[0].securityContext.seLinuxOptions.type",
            ),
            (
                "{spec: {containers: [{name: a, ports: [{containerPort: 1, hostPort: 1}]}]}}",
                "spec.containers[0].ports[0].hostPort",
            ),
            (
                "{spec: {containers: [{name: a, livenessProbe: {httpGet: {host: 169.254.169.254, port: 80}}}]}}",
                "spec.containers[0].livenessProbe.httpGet.host",
            ),
            (
                "{spec: {containers: [{name: a, lifecycle: {preStop: {tcpSocket: {host: db, port: 80}}}}]}}",
                "spec.containers[0].lifecycle.preStop.tcpSocket.host",
            ),
            (
                "{metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/a: unconfined}}}",
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]",
            ),
        ] {
            assert_eq!(refused(template), [path], "{template}");
        }
        for component in ["gateway", "generator"] {
            let other =
                input(&format!("{{{component}: {{podTemplate: {{spec: {{hostPID: true}}}}}}}}")).pipeline;
            assert_eq!(refused_fields(&other)[0].path, format!("spec.{component}.podTemplate.spec.hostPID"));
        }
    }

    #[test]
    fn fields_that_stay_within_the_pod_are_allowed() {
        for template in [
            "{}",
            "{metadata: {annotations: {a: b}, labels: {team: web}}}",
            "{spec: {automountServiceAccountToken: false, hostNetwork: false, hostPID: null, hostUsers: false}}",
            "{spec: {nodeSelector: {a: b}, tolerations: [{operator: Exists}], priorityClassName: high}}",
            "{spec: {volumes: [{name: a, secret: {secretName: a}}, {name: b, ephemeral: {volumeClaimTemplate: {}}}]}}",
            "{spec: {volumes: [{name: a, projected: {sources: [{configMap: {name: a}}, {downwardAPI: {}}]}}]}}",
            "{spec: {securityContext: {runAsUser: 1, sysctls: [{name: net.ipv4.tcp_keepalive_time, value: '60'}]}}}",
            "{spec: {containers: [{name: a, image: b, ports: [{containerPort: 80}], livenessProbe: {httpGet: {port: 80}},
                securityContext: {privileged: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]},
                seccompProfile: {type: RuntimeDefault}, seLinuxOptions: {level: 's0:c1'}}}]}}",
        ] {
            assert_eq!(refused(template), Vec::<String>::new(), "{template}");
        }
    }
}
