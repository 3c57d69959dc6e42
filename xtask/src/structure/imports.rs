//! The imports among the files of a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The files that each file imports from. A file and the files below it are one unit: imports between them are left out.
pub(super) fn of(source: &Path) -> anyhow::Result<BTreeMap<PathBuf, BTreeSet<PathBuf>>> {
    let mut modules = BTreeMap::new();
    collect(source, &mut Vec::new(), &mut modules)?;
    let names: BTreeMap<Vec<String>, Vec<Named>> =
        modules.iter().map(|(module, (_, text))| (module.clone(), paths(text))).collect();
    let mut imports = BTreeMap::new();
    for (module, (file, _)) in &modules {
        let mut imported = BTreeSet::new();
        for path in &names[module] {
            if let Some(target) = target(&names, module, path, 0)
                && !target.starts_with(module)
                && !module.starts_with(&target)
            {
                imported.insert(modules[&target].0.clone());
            }
        }
        imports.insert(file.clone(), imported);
    }
    Ok(imports)
}

/// The modules below a folder, each with its file and the file's text without comments and tests.
fn collect(
    folder: &Path,
    module: &mut Vec<String>,
    modules: &mut BTreeMap<Vec<String>, (PathBuf, String)>,
) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name =
            path.file_stem().and_then(|name| name.to_str()).context("a file's name is no text")?.to_owned();
        if name == "tests" || name == "bin" {
            continue;
        }
        if path.is_dir() {
            module.push(name);
            collect(&path, module, modules)?;
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut module = module.clone();
            if !["mod", "lib", "main"].contains(&name.as_str()) {
                module.push(name);
            }
            let text = code(&fs::read_to_string(&path)?);
            modules.entry(module).and_modify(|(_, all)| all.push_str(&text)).or_insert((path, text));
        }
    }
    Ok(())
}

/// The text up to its tests, without comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// A path as it is written, and whether it is re-exported (`pub use`).
struct Named {
    segments: Vec<String>,
    is_reexported: bool,
}

/// All paths that begin with `crate`, `self` or `super`, and those of `use`.
fn paths(text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) =
        ["crate::", "super::", "self::", "use "].iter().filter_map(|start| rest.find(start)).min()
    {
        let before = rest[..at].chars().next_back();
        let (head, tail) = rest.split_at(at);
        let is_use = tail.starts_with("use ");
        let begins = before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != '$');
        let tail = if is_use { &tail["use ".len()..] } else { tail };
        if !begins {
            rest = tail.get(1..).unwrap_or_default();
            continue;
        }
        let line = head.rsplit('\n').next().unwrap_or_default();
        let is_reexported = is_use && line.trim_start().starts_with("pub");
        let mut trees = Vec::new();
        rest = tree(tail, &mut Vec::new(), &mut trees);
        found.extend(trees.into_iter().map(|segments| Named { segments, is_reexported }));
    }
    found
}

/// Reads one path, or a tree of them; what follows it.
fn tree<'a>(text: &'a str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let depth = before.len();
    let mut rest = text.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let left = tree(rest, before, found).trim_start();
                // Anything but a path ends the group.
                if left.len() == rest.len() {
                    break;
                }
                rest = left.strip_prefix(',').unwrap_or(left).trim_start();
            }
            rest = rest.strip_prefix('}').unwrap_or(rest);
            break;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !name.is_empty() {
            before.push(name.to_owned());
        }
        match after.strip_prefix("::") {
            Some(after) if !name.is_empty() => rest = after,
            _ => {
                found.push(before.clone());
                rest = match after.trim_start().strip_prefix("as ") {
                    Some(alias) => alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
                    None => after,
                };
                break;
            }
        }
    }
    before.truncate(depth);
    rest
}

/// The module whose file defines the path's target. A re-exported name is resolved in the module that it comes from.
fn target(
    names: &BTreeMap<Vec<String>, Vec<Named>>,
    module: &[String],
    path: &Named,
    depth: u32,
) -> Option<Vec<String>> {
    let mut at = module.to_vec();
    let mut segments = path.segments.iter().peekable();
    match segments.peek().map(|first| first.as_str()) {
        Some("crate") => at.clear(),
        Some("self" | "super") => {}
        // A module below, or another crate.
        Some(first) if names.contains_key(&[module, &[first.to_owned()]].concat()) => {}
        _ => return None,
    }
    let mut segments = segments.skip_while(|segment| *segment == "crate" || *segment == "self").peekable();
    while segments.next_if(|segment| *segment == "super").is_some() {
        at.pop();
    }
    while let Some(segment) = segments.peek() {
        at.push((*segment).clone());
        if !names.contains_key(&at) {
            at.pop();
            break;
        }
        segments.next();
    }
    if let Some(name) = segments.next().filter(|_| depth < 8) {
        let reexports = names.get(&at)?.iter().filter(|path| path.is_reexported);
        for from in reexports.filter(|from| from.segments.last() == Some(name)) {
            if let Some(found) = target(names, &at, from, depth + 1) {
                return Some(found);
            }
        }
    }
    names.contains_key(&at).then_some(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn imports_are_followed_to_the_file_that_defines_the_name() {
        let folder = std::env::temp_dir().join(format!("weir-structure-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("lib.rs", "mod a;\nmod b;\npub mod c;\npub use b::{Bee, other as another};\n");
        write("a.rs", "use std::fmt;\nuse crate::{Bee, c::{self, deep::Depth}};\n");
        write(
            "b.rs",
            "// use crate::a::No;\npub struct Bee;\n#[cfg(test)]\nmod tests {\n    use crate::a::Test;\n}\n",
        );
        write("c/mod.rs", "mod deep;\nuse deep::Depth;\n");
        write("c/deep.rs", "use super::C;\nfn f() { crate::a::g(); super::super::b::h() }\n");
        let imports = of(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let names = |file: &str| -> Vec<String> {
            let imported = &imports[&folder.join(file)];
            imported.iter().map(|file| file.strip_prefix(&folder).unwrap().display().to_string()).collect()
        };
        assert_eq!(names("a.rs"), ["b.rs", "c/deep.rs", "c/mod.rs"]);
        assert_eq!(names("b.rs"), [""; 0], "neither comments nor tests");
        assert_eq!(names("c/mod.rs"), [""; 0], "a file and those below it are one unit");
        assert_eq!(names("c/deep.rs"), ["a.rs", "b.rs"]);
    }
}
