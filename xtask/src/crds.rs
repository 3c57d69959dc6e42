//! `cargo xtask crds`: the files that are generated from the types of workers/manifest, and from the chart.

use anyhow::{Context, ensure};

use crate::generated::{DEFINITION, generate};
use crate::{cargo, chart, olm, root};

/// Writes the definition of the custom resource, for kubectl and for the chart, the chart's README, and the bundle that is made from
/// the chart. With `check`, whether they are up to date.
pub(crate) fn run(check: bool) -> anyhow::Result<bool> {
    let output = cargo(&["run", "--quiet", "--locked", "--package", "weir-operator", "--", "crd"])
        .output()
        .context("could not run cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let definition = String::from_utf8(output.stdout)?;
    let files = [
        (DEFINITION, plain(&definition)),
        ("charts/weir/templates/crd.yaml", template(&definition)?),
        ("charts/weir/README.md", chart::readme()?),
    ];
    let same = generate(root(), &files, check.then_some("cargo xtask crds"))?;
    Ok(same & olm::run(&olm::OlmOptions::of_repository(check))?)
}

fn plain(definition: &str) -> String {
    format!("# Generated from workers/manifest by `cargo xtask crds`.\n{definition}")
}

/// The definition as a template of the chart: helm upgrades it, unlike the files of a folder `crds`, and keeps it when the chart is
/// removed, because its removal would delete every pipeline.
fn template(definition: &str) -> anyhow::Result<String> {
    ensure!(!definition.contains("{{"), "the definition has `{{{{`, which helm would evaluate");
    let named = "metadata:\n  name: clickstreampipelines.weir.dev\n";
    ensure!(definition.contains(named), "the definition has another name than {named:?}");
    let kept = format!("{named}  annotations:\n    helm.sh/resource-policy: keep\n");
    Ok(format!(
        "{{{{- /* Generated from workers/manifest by `cargo xtask crds`. */ -}}}}\n{{{{- if .Values.crds.install }}}}\n{}{{{{- end }}}}\n",
        definition.replacen(named, &kept, 1)
    ))
}
