//! The report as Markdown, for a file that lies beside the code and is read in diffs, too.

use std::fmt::Write;

use super::columns::{Entry, columns};
use super::findings::findings;
use super::glossary::{REPEAT, glossary};
use super::numbers::{MIB, NOTHING, fixed, many, short};
use super::view::{View, failure};
use crate::bench::result::BenchResult;
use crate::search::snippet::printable;

/// A result as Markdown, with the tables of GitHub's kind.
pub fn markdown(result: &BenchResult) -> String {
    let view = View::new(result);
    let mut out = format!("# {}\n\n", plain(&view.title()));
    let _ = writeln!(out, "{}; {}; Patina {}.", plain(&view.machine()), plain(&result.made_at), plain(&result.patina));
    let _ = write!(out, "Texts: {}.", plain(&view.corpus()));
    if let Some(set) = view.quality_set() {
        let _ = write!(out, " Labelled set: {}.", plain(&set));
    }
    let _ = writeln!(out, " {} after the warm-up.", many(result.rounds, "round"));
    if !view.common.is_empty() && view.rows.len() > 1 {
        let _ = writeln!(out, "In common: {}.", plain(&view.common.join("; ")));
    }
    if result.interrupted {
        out += "\n**This run was interrupted:** cells or rounds are missing.\n";
    }
    for warning in &result.warnings {
        let _ = writeln!(out, "\n**Warning:** {}", plain(warning));
    }
    let found = findings(&view);
    if !found.is_empty() {
        out += "\n## Findings\n\n";
        for finding in found {
            let _ = writeln!(out, "- **{}.** {}", finding.about, plain(&finding.text));
        }
    }
    cells(&view, &mut out);
    let terms = glossary(&view);
    if !terms.is_empty() {
        out += "\n## What the figures mean\n\n";
    }
    for (term, meaning) in terms {
        let _ = writeln!(out, "- **{term}.** {}", plain(&meaning));
    }
    let _ = writeln!(out, "\n## Do it again\n\nWith the JSON file of this result:\n\n```\n{REPEAT}\n```");
    pins(&view, &mut out);
    out
}

fn cells(view: &View<'_>, out: &mut String) {
    *out += "\n## Cells\n\n";
    if view.rows.is_empty() {
        *out += "No cell was run.\n";
        return;
    }
    let columns = columns(view);
    let mut heads = vec!["#".to_owned(), "Cell".to_owned()];
    heads.extend(columns.iter().map(|(column, _)| {
        let group = if matches!(column.group, "One query" | "nDCG@10") { format!("{}: ", column.group) } else { String::new() };
        format!("{group}{}{}{}", column.head, if column.unit.is_empty() || column.unit.starts_with('/') { "" } else { " " }, column.unit)
    }));
    row(out, &heads);
    let _ = writeln!(out, "|--:|---|{}", "--:|".repeat(columns.len()));
    for (at, cell) in view.rows.iter().enumerate() {
        let mut fields = vec![cell.number.to_string(), plain(&cell.full_name()) + if cell.doubtful() { " \u{2691}" } else { "" }];
        match cell.cell.measured {
            Some(_) => fields.extend(columns.iter().map(|(_, entries)| Entry::line(entries[at].as_ref()))),
            None if columns.is_empty() => {}
            None => {
                fields.push("failed".to_owned());
                fields.resize(columns.len() + 2, NOTHING.to_owned());
            }
        }
        row(out, &fields);
    }
    let failed = view.rows.iter().filter(|row| row.cell.measured.is_none());
    let flagged = view.measured().flat_map(|(row, measured)| measured.flags.iter().map(move |flag| (row, flag)));
    let notes: Vec<String> = failed
        .map(|row| format!("- Cell {} failed: {}", row.number, plain(failure(row.cell))))
        .chain(flagged.map(|(row, flag)| format!("- Cell {} \u{2691}: {}", row.number, plain(flag))))
        .collect();
    if !notes.is_empty() {
        let _ = writeln!(out, "\n{}", notes.join("\n"));
    }
}

fn pins(view: &View<'_>, out: &mut String) {
    let machine = &view.result.machine;
    *out += "\n## Machine and pins\n\n";
    let _ = writeln!(out, "- Machine: {}", plain(&view.machine()));
    if !machine.instruction_set.is_empty() {
        let _ = writeln!(out, "- Instruction set: {}", plain(&machine.instruction_set.join(", ")));
    }
    let _ = writeln!(out, "- Texts: {}, SHA-256 {}", plain(&view.result.corpus.name), code(&view.result.corpus.sha256));
    if view.measured().next().is_none() {
        return;
    }
    *out += "\n| # | Model | SHA-256 of its files | Runtime | Precision | Threads | Batch tokens | Mix | Device | Dimensions | Model MiB | Tokens | Padding % |\n";
    *out += "|--:|---|---|---|---|--:|--:|---|---|--:|--:|--:|--:|\n";
    for (cell, measured) in view.measured() {
        let asked = &cell.cell.asked;
        let fields = [
            cell.number.to_string(),
            plain(&asked.model),
            code(&measured.model_sha256),
            plain(&format!("{} {}", asked.runtime, measured.runtime_version)),
            plain(&asked.precision),
            asked.threads.to_string(),
            fixed(asked.token_budget as f64, 0),
            plain(&asked.mix),
            plain(&measured.device),
            fixed(measured.dimensions as f64, 0),
            short(measured.model_bytes as f64 / MIB),
            fixed(measured.tokens as f64, 0),
            fixed(100.0 * measured.padding_waste, 1),
        ];
        row(out, &fields);
    }
}

fn row(out: &mut String, fields: &[String]) {
    let _ = writeln!(out, "| {} |", fields.join(" | "));
}

/// Text that Markdown and the HTML in it read as text.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let printable = printable(text);
    let mut before = ' ';
    let mut rest = printable.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Within a word it is no emphasis, and most names have one.
            '_' if before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric()) => out.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// A hash as code; anything but letters and digits is no hash.
fn code(hash: &str) -> String {
    if hash.chars().all(|c| c.is_ascii_alphanumeric()) && !hash.is_empty() { format!("`{hash}`") } else { plain(hash) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(plain("a|b`c*d_e _f_ [x](y) <b> & # ~ \\\nnew"), "a\\|b\\`c\\*d_e \\_f\\_ \\[x\\](y) &lt;b&gt; &amp; \\# \\~ \\\\ new");
        assert_eq!(code("53aa"), "`53aa`");
        assert_eq!(code("`x|"), "\\`x\\|");
    }
}
