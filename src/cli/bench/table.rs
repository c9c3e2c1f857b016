//! The table of a benchmark: a line a cell, the best of each figure marked.

use crate::bench::result::{Asked, BenchResult, Cell, Measured, Spread};
use crate::cli::bench::compare::MIB;
use crate::cli::report::{Style, count, plural};
use crate::search::snippet::printable;

/// What marks the best of a column.
const BEST: &str = "*";
/// What stands where nothing is known.
const NOTHING: &str = "-";

/// Which figure of a column is the best.
#[derive(Clone, Copy, PartialEq)]
enum Best {
    Most,
    Least,
    /// None is marked.
    Neither,
}

struct Column {
    head: &'static str,
    best: Best,
    value: fn(&Measured) -> Option<f64>,
    show: fn(f64) -> String,
}

const COLUMNS: [Column; 12] = [
    Column { head: "cold ms", best: Best::Least, value: |m| known(&m.cold_start_ms), show: |v| format!("{v:.0}") },
    Column { head: "first ms", best: Best::Least, value: |m| known(&m.first_query_ms), show: |v| format!("{v:.1}") },
    Column { head: "p50 ms", best: Best::Least, value: |m| Some(m.query.p50_ms), show: |v| format!("{v:.2}") },
    Column { head: "p95 ms", best: Best::Least, value: |m| Some(m.query.p95_ms), show: |v| format!("{v:.2}") },
    Column { head: "texts/s", best: Best::Most, value: |m| known(&m.texts_per_second), show: |v| format!("{v:.1}") },
    Column { head: "tokens/s", best: Best::Most, value: |m| known(&m.tokens_per_second), show: |v| count(v as u64) },
    Column { head: "cpu s", best: Best::Least, value: |m| known(&m.cpu_seconds), show: |v| format!("{v:.1}") },
    Column { head: "peak MiB", best: Best::Least, value: |m| known(&m.peak_memory_bytes), show: |v| format!("{:.0}", v / MIB) },
    Column { head: "GFLOP/s", best: Best::Most, value: |m| m.flops_per_second(), show: |v| format!("{:.0}", v / 1e9) },
    Column { head: "of peak", best: Best::Most, value: |m| m.share_of_peak, show: |v| format!("{:.0} %", 100.0 * v) },
    Column { head: "cosine", best: Best::Neither, value: |m| m.parity.map(|parity| parity.worst_cosine), show: |v| format!("{v:.5}") },
    Column { head: "nDCG@10", best: Best::Most, value: |m| m.quality.map(|quality| quality.ndcg10), show: |v| format!("{:.2}", 100.0 * v) },
];

fn known(spread: &Spread) -> Option<f64> {
    spread.is_known().then_some(spread.median)
}

pub(super) fn text(result: &BenchResult, style: &Style) -> String {
    let mut out = head(result, style);
    let names = names(result);
    let values: Vec<[Option<f64>; COLUMNS.len()]> =
        result.cells.iter().map(|cell| std::array::from_fn(|at| cell.measured.as_ref().and_then(COLUMNS[at].value))).collect();
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(|&at| values.iter().any(|row| row[at].is_some())).collect();
    let bests: Vec<Option<f64>> =
        COLUMNS.iter().enumerate().map(|(at, column)| best(column.best, values.iter().map(|row| row[at]))).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("cell".len());
    let widths: Vec<usize> = shown
        .iter()
        .map(|&at| {
            let longest = values.iter().filter_map(|row| row[at]).map(|value| (COLUMNS[at].show)(value).len()).max().unwrap_or(0);
            longest.max(COLUMNS[at].head.len()) + 1
        })
        .collect();
    if !shown.is_empty() {
        let heads: String =
            shown.iter().zip(&widths).map(|(&at, &width)| format!(" {:>width$}", format!("{} ", COLUMNS[at].head))).collect();
        out += &format!("{}\n", style.dim(format!("{:<width$}{heads}", "cell").trim_end()));
    }
    for ((cell, name), values) in result.cells.iter().zip(&names).zip(&values) {
        if let Some(reason) = &cell.failed {
            out += &format!("{name:<width$}  {}\n", style.bad(&format!("failed: {}", printable(reason))));
            continue;
        }
        let mut line = format!("{name:<width$}");
        for (&at, &width) in shown.iter().zip(&widths) {
            let is_best = values[at].is_some() && values[at] == bests[at];
            let text = values[at].map_or(NOTHING.into(), COLUMNS[at].show) + if is_best { BEST } else { " " };
            let padded = format!(" {text:>width$}");
            line += &if is_best { style.good(&padded) } else { padded };
        }
        out += &format!("{}\n", line.trim_end());
    }
    out + &foot(result, style)
}

fn head(result: &BenchResult, style: &Style) -> String {
    let corpus = format!("{} ({})", printable(&result.corpus.name), plural(result.corpus.texts, "text"));
    let rounds = plural(result.rounds, "round");
    let mut out = format!("{}\n", style.bold(&format!("{}, {rounds}, {corpus}", plural(result.cells.len(), "cell"))));
    let cpu = result.machine.cpu.as_deref().map_or_else(|| result.machine.arch.clone(), printable);
    let peaks: Vec<String> = result
        .peak
        .flops_per_second
        .iter()
        .map(|peak| {
            let without = peak.without_tiles.map(|rate| format!(" ({:.0} without tiles)", rate / 1e9)).unwrap_or_default();
            format!("{:.0} GFLOP/s{without} on {}", peak.flops_per_second / 1e9, plural(peak.threads, "thread"))
        })
        .collect();
    out += &format!("{}\n", style.dim(&format!("{cpu}; peak {}", peaks.join(", "))));
    if let Some(set) = &result.quality_set {
        let line =
            format!("quality on {}: {} queries, {}", printable(&set.name), count(set.queries as u64), plural(set.documents, "document"));
        out += &format!("{}\n", style.dim(&line));
    }
    out
}

/// What the table cannot show.
fn foot(result: &BenchResult, style: &Style) -> String {
    let mut out = String::new();
    let changes = result.cells.iter().filter_map(|cell| Some((cell, cell.measured.as_ref()?.quality?.change?)));
    for (cell, change) in changes {
        let [mean, low, high] = [change.mean, change.low, change.high].map(|value| 100.0 * value);
        let name = name(result, cell);
        out += &format!(
            "{}\n",
            style.dim(&format!("{name}: nDCG@10 x100 {mean:+.2} against its reference, 95 % interval {low:+.2} to {high:+.2}"))
        );
    }
    for cell in &result.cells {
        for flag in cell.measured.iter().flat_map(|measured| &measured.flags) {
            out += &format!("{}\n", style.bad(&format!("{}: {}", name(result, cell), printable(flag))));
        }
    }
    for warning in &result.warnings {
        out += &format!("{} {}\n", style.bad("warning:"), printable(warning));
    }
    if result.interrupted {
        out += &format!("{} the run was interrupted; these are the rounds that were over\n", style.bad("warning:"));
    }
    out
}

fn best(which: Best, values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    match which {
        // One alone is no winner.
        _ if values.len() < 2 => None,
        Best::Most => values.into_iter().reduce(f64::max),
        Best::Least => values.into_iter().reduce(f64::min),
        Best::Neither => None,
    }
}

fn names(result: &BenchResult) -> Vec<String> {
    result.cells.iter().map(|cell| name(result, cell)).collect()
}

/// Runtime and precision, and of the rest what is not the same in every cell.
fn name(result: &BenchResult, cell: &Cell) -> String {
    let differs = |of: fn(&Asked) -> String| result.cells.iter().any(|other| of(&other.asked) != of(&cell.asked));
    let asked = &cell.asked;
    let mut parts = Vec::new();
    if differs(|asked| asked.model.clone()) {
        parts.push(printable(&asked.model));
    }
    parts.push(printable(&asked.runtime));
    parts.push(printable(&asked.precision));
    if differs(|asked| asked.threads.to_string()) {
        parts.push(plural(asked.threads, "thread"));
    }
    if differs(|asked| asked.token_budget.to_string()) {
        parts.push(format!("budget {}", asked.token_budget));
    }
    if differs(|asked| asked.mix.clone()) {
        parts.push(printable(&asked.mix));
    }
    parts.join(" ")
}
