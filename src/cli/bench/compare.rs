//! `patina bench compare`: what changed between two results.

use std::path::{Path, PathBuf};

use crate::bench::compare::{CellComparison, Compared, Comparison, Verdict, compare};
use crate::bench::result::{BenchResult, FORMAT};
use crate::cli::Context;
use crate::cli::report::Style;
use crate::error::{Error, Result};
use crate::fs;
use crate::search::snippet::printable;

/// Bytes of a mebibyte.
pub(super) const MIB: f64 = 1_048_576.0;
/// Bytes of a result that are read.
const LIMIT: u64 = 256 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The result to compare with.
    a: PathBuf,
    /// The result that is compared.
    b: PathBuf,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let comparison = compare(&read(&arguments.a)?, &read(&arguments.b)?);
    if comparison.cells.is_empty() {
        return Err(Error::usage("the two results have no cell in common")
            .at(&arguments.b)
            .hint("cells are the same if model, runtime, precision, threads, token budget and mix are"));
    }
    context.report.result(&comparison, |style| text(&comparison, style))
}

/// Reads a result; nothing of it is believed before.
pub(super) fn read(path: &Path) -> Result<BenchResult> {
    const HINT: &str = "`patina bench --output FILE.json` writes one";
    if !path.exists() {
        return Err(Error::missing("there is no such result").at(path).hint(HINT));
    }
    let bytes = fs::read_limited(path, LIMIT)?;
    let wrong = |e: serde_json::Error| {
        let message = e.to_string();
        // The place is told with the file.
        let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
        Error::corrupt(format!("this is no result of a benchmark: {reason}")).at_line(path, e.line().max(1), e.column().max(1)).hint(HINT)
    };
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    // The format first: one of a later Patina is not blamed for its new fields.
    let head: Head = serde_json::from_slice(&bytes).map_err(wrong)?;
    if head.format != FORMAT {
        return Err(Error::stale(format!("the result has format {}; this Patina reads format {FORMAT}", head.format))
            .at(path)
            .hint("use the Patina that wrote it"));
    }
    serde_json::from_slice(&bytes).map_err(wrong)
}

fn text(comparison: &Comparison, style: &Style) -> String {
    let mut out = String::new();
    for differs in &comparison.differs {
        out += &format!("{} {}: {} / {}\n", style.dim("differs:"), printable(&differs.what), printable(&differs.a), printable(&differs.b));
    }
    for cell in &comparison.cells {
        out += &format!("{}\n", style.bold(&printable(&cell.asked.label())));
        out += &figures(cell, style);
    }
    for (which, cells) in [("first", &comparison.only_a), ("second", &comparison.only_b)] {
        for asked in cells {
            out += &format!("{} {}\n", style.dim(&format!("only in the {which}:")), printable(&asked.label()));
        }
    }
    out + &format!("{}\n", style.dim(&comparison.test))
}

fn figures(cell: &CellComparison, style: &Style) -> String {
    if let Some(failed) = &cell.failed {
        return format!("  {}\n", style.bad(&printable(failed)));
    }
    let mut out = String::new();
    for Compared { figure, a, b, ratio, p, adjusted, verdict } in &cell.figures {
        let p = match (p, adjusted) {
            (Some(p), Some(adjusted)) => format!(", p {p:.4}, of all {adjusted:.4}"),
            (Some(p), None) => format!(", p {p:.4}"),
            (None, _) => String::new(),
        };
        // As in the table of a benchmark; the file has bytes.
        let (name, scale) = match figure.strip_suffix("_bytes") {
            Some(name) => (format!("{name} MiB"), 1.0 / MIB),
            None => (figure.clone(), 1.0),
        };
        let line = format!("  {name:<18} {:>14} -> {:>14}  x{ratio:.3}{p}", number(scale * a), number(scale * b));
        out += &match verdict {
            Verdict::Better => format!("{line}  {}\n", style.good("better")),
            Verdict::Worse => format!("{line}  {}\n", style.bad("worse")),
            Verdict::Same => format!("{}\n", style.dim(&line)),
        };
    }
    out
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}
