//! `cargo xtask crds`: what is generated from the types of workers/manifest, and from the chart.

use anyhow::{Context, ensure};

use crate::generated::{DEFINITION, generate};
use crate::{cargo, chart, olm, root};

/// Writes the definition of the custom resource, for kubectl and for the chart, the chart's README, and the bundle that is made from
/// the chart. With `check`, whether they are as they would be written.
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
    Ok(same & olm::run(&olm::Options::of_repository(check))?)
}

fn plain(definition: &str) -> String {
    format!("# Generated from workers/manifest by `cargo xtask crds`.\n{definition}")
}

/// The definition as a template of the chart: it goes with an upgrade, which what helm finds in a folder `crds` does not, and
/// it stays when the chart is removed, because with it every pipeline would go.
fn template(definition: &str) -> anyhow::Result<String> {
    ensure!(!definition.contains("{{"), "the definition holds what helm takes for an instruction");
    let named = "metadata:\n  name: clickstreampipelines.weir.dev\n";
    ensure!(definition.contains(named), "the definition has another name than {named:?}");
    let kept = format!("{named}  annotations:\n    helm.sh/resource-policy: keep\n");
    Ok(format!(
        "{{{{- /* Generated from workers/manifest by `cargo xtask crds`. */ -}}}}\n{{{{- if .Values.crds.install }}}}\n{}{{{{- end }}}}\n",
        definition.replacen(named, &kept, 1)
    ))
}
