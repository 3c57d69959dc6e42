//! The chart's README, from the comments of its values.

use std::fs;

use anyhow::Context;

use crate::root;

/// The README as it should be.
pub(crate) fn readme() -> anyhow::Result<String> {
    let path = root().join("charts/weir/values.yaml");
    let values = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!(
        "<!-- Generated from values.yaml by `cargo xtask crds`. -->\n\
         # The chart weir\n\n\
         Installs the operator of ClickstreamPipelines, with their definition, and what is needed to try one out: \
         [docs/kubernetes.md](../../docs/kubernetes.md) leads through it.\n\n    \
         helm install weir charts/weir --namespace weir --create-namespace --set kafka.mode=single\n\n\
         | value | default | |\n|---|---|---|\n{}",
        rows(&values).into_iter().map(|row| row + "\n").collect::<String>()
    ))
}

/// A row for each value, and for each group with a comment. The comments above and after a value describe it.
fn rows(values: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut comments: Vec<&str> = Vec::new();
    // The enclosing groups, each with its indentation.
    let mut groups: Vec<(usize, &str)> = Vec::new();
    for line in values.lines() {
        let text = line.trim();
        if let Some(comment) = text.strip_prefix("# ") {
            comments.push(comment);
            continue;
        }
        let Some((key, value)) = text.split_once(':') else {
            comments.clear();
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        groups.retain(|(outer, _)| *outer < indent);
        let (value, remark) = value.split_once(" # ").unwrap_or((value, ""));
        comments.extend((!remark.is_empty()).then_some(remark));
        let path = groups.iter().map(|(_, group)| *group).chain([key]).collect::<Vec<_>>().join(".");
        let (value, description) = (value.trim(), comments.join(" ").replace('|', "\\|"));
        if !value.is_empty() {
            rows.push(format!("| `{path}` | `{value}` | {description} |"));
        } else {
            groups.push((indent, key));
            if !description.is_empty() {
                rows.push(format!("| `{path}` | | {description} |"));
            }
        }
        comments.clear();
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_path_and_description() {
        let values = "# Whose.\nscope: namespace\n\n# The image,\n# and more.\nimage:\n  tag: \"\" # empty: the newest\n  nested:\n    a: {b: c}\nlast: 1 # of all\n";
        let expected = [
            "| `scope` | `namespace` | Whose. |",
            "| `image` | | The image, and more. |",
            "| `image.tag` | `\"\"` | empty: the newest |",
            "| `image.nested.a` | `{b: c}` |  |",
            "| `last` | `1` | of all |",
        ];
        assert_eq!(rows(values), expected);
    }
}
