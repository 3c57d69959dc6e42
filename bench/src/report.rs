//! Writes stored results into the documentation.

mod curves;
mod latency;
mod throughput;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::throughput::table;
use crate::machine::Machine;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PAGE: &str = "docs/performance.md";

/// Keeps what was found: for the documentation, or (`quick`) where nothing is kept for long.
pub(crate) fn store<T: Serialize>(found: &T, name: &str, quick: bool) -> anyhow::Result<()> {
    let folder =
        if quick { weir_broker::target().join("bench") } else { Path::new(ROOT).join("bench/results") };
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, serde_json::to_string_pretty(found)? + "\n")
        .with_context(|| format!("{}", file.display()))?;
    Ok(())
}

/// Writes the documentation's tables and pictures from what is stored. With `check`: whether they are as they would be written.
pub(crate) fn write(check: bool) -> anyhow::Result<bool> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    let page = Path::new(ROOT).join(PAGE);
    let mut text = fs::read_to_string(&page)?;
    if let Some(found) = stored("throughput")? {
        text = put(&text, "throughput", &throughput::text(&found))?;
        files.push((picture("throughput"), throughput::picture(&found)));
    }
    if let Some(found) = stored("curves")? {
        text = put(&text, "curves", &curves::text(&found))?;
        files.push((picture("curves"), curves::picture(&found)));
    }
    if let Some(found) = stored("latency")? {
        text = put(&text, "latency", &latency::text(&found))?;
    }
    files.push((page, text));
    let mut same = true;
    for (file, text) in files {
        if fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        same = false;
        let name = file.strip_prefix(ROOT).unwrap_or(&file).display();
        if check {
            println!("{name} is not what bench/results says: run `cargo xtask bench --report`");
        } else {
            fs::write(&file, text)?;
            println!("wrote {name}");
        }
    }
    Ok(same || !check)
}

/// Where it was measured, in a sentence without its end.
fn machine(machine: &Machine) -> String {
    let Machine { date, processor, cores, memory_gib, system, rustc, java, commit, load_average } = machine;
    format!(
        "Measured {date} at {commit} on {cores} cores ({processor}), {memory_gib} GiB, {system}, load average {load_average} before the \
         start; {rustc}, {java}"
    )
}

/// Of an even number the greater of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The median and, where there are several, the least and the greatest.
fn spread(values: &[f64], digits: usize) -> String {
    let (least, most) = values
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(*value), most.max(*value)));
    let median = median(values);
    if values.len() < 2 {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({least:.digits$} - {most:.digits$})")
}

/// A number with commas between thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn stored<T: DeserializeOwned>(name: &str) -> anyhow::Result<Option<T>> {
    let file = Path::new(ROOT).join(format!("bench/results/{name}.json"));
    let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
    serde_json::from_str(&text).with_context(|| format!("{}", file.display())).map(Some)
}

fn picture(name: &str) -> PathBuf {
    Path::new(ROOT).join(format!("docs/pictures/{name}.svg"))
}

/// The page with another text between the markers of this name.
fn put(page: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- measured: {name} -->\n"), "<!-- /measured -->");
    let (before, rest) = page.split_once(&begin).with_context(|| format!("{PAGE} has no line {begin}"))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("{PAGE} has no {end} after {begin}"))?;
    ensure!(!text.contains("<!--"), "a marker in what was measured");
    Ok(format!("{before}{begin}{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = "# A\n<!-- measured: x -->\nold\n<!-- /measured -->\nrest\n<!-- measured: y -->\n<!-- /measured -->\n";
        let put = put(page, "x", "new\n\n").unwrap();
        assert_eq!(put, page.replace("old", "new"));
        assert!(super::put(page, "z", "").is_err());
    }

    #[test]
    fn numbers_are_made_to_be_read() {
        assert_eq!(spread(&[3.0, 1.0, 2.0], 1), "2.0 (1.0 - 3.0)");
        assert_eq!([7, 1_000, 12_345_678].map(thousands), ["7", "1,000", "12,345,678"]);
    }
}
