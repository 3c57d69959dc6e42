//! The table of the faults, on the terminal and in docs/reliability.md.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::Context;

use crate::{
    cases::{CASES, Case},
    invariants::Outcome,
};

const BEGIN: &str = "<!-- begin: cargo xtask faults -->";
const END: &str = "<!-- end: cargo xtask faults -->";
const HEADER: &str = "\
| fault | what | repetitions | invariants | longest gap | refused | restarts | windows | took | notes |
|---|---|--:|---|--:|--:|--:|--:|--:|---|
";

/// A fault that was run.
pub(crate) struct Row {
    pub(crate) case: &'static Case,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

impl Row {
    fn render(&self) -> String {
        let Self { case, outcome, took } = self;
        let gap = outcome.longest_gap.map_or_else(|| "-".to_owned(), crate::seconds);
        format!(
            "| {} | {} | {} | {} | {gap} | {} | {} | {} | {} | {} |\n",
            case.name,
            case.title,
            outcome.repetitions,
            outcome.invariants(),
            outcome.refused,
            outcome.restarts,
            outcome.windows,
            crate::seconds(*took),
            outcome.note.replace('|', "/").chars().take(200).collect::<String>(),
        )
    }
}

pub(crate) fn render(rows: &[Row]) -> String {
    HEADER.to_owned() + &rows.iter().map(Row::render).collect::<String>()
}

/// Writes the rows into the page. Rows of faults that were not run stay.
pub(crate) fn write(page: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let text = fs::read_to_string(page)?;
    let rows: Vec<String> = rows.iter().map(Row::render).collect();
    fs::write(page, merged(&text, &rows)?)?;
    Ok(())
}

fn merged(page: &str, rows: &[String]) -> anyhow::Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("no {BEGIN}"))?;
    let (table, after) = rest.split_once(END).with_context(|| format!("no {END}"))?;
    let name = |row: &str| Some(row.strip_prefix("| ")?.split_once(" |")?.0.to_owned());
    let lines = table.lines().map(|line| format!("{line}\n"));
    let by_name: BTreeMap<String, String> =
        lines.chain(rows.iter().cloned()).filter_map(|row| Some((name(&row)?, row))).collect();
    let table: String = CASES.iter().filter_map(|case| by_name.get(case.name).cloned()).collect();
    Ok(format!("{before}{BEGIN}\n{HEADER}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rows_replace_those_of_the_same_fault() {
        let page = format!("text\n{BEGIN}\n{HEADER}| F1 | old |\n| F3 | stays |\n{END}\nmore\n");
        let rows = ["| F2 | new |\n".to_owned(), "| F1 | new |\n".to_owned()];
        let expected =
            format!("text\n{BEGIN}\n{HEADER}| F1 | new |\n| F2 | new |\n| F3 | stays |\n{END}\nmore\n");
        assert_eq!(merged(&page, &rows).unwrap(), expected);
        assert!(merged("no marks", &rows).is_err());
    }
}
