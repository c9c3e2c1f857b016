//! How a projection's verdict reads.

use crate::cli::projections::Outcome;
use crate::cli::report::{Style, count};
use crate::metrics::Interval;
use crate::train::{Comparison, Figures};

/// The verdict with its table: each system on the same held-out questions.
pub(super) fn text(outcome: &Outcome, style: &Style) -> String {
    let state = match (outcome.published, outcome.gate) {
        (true, true) => style.good("published"),
        (true, false) => "published without the gate".to_owned(),
        (false, _) => style.bad("not published"),
    };
    let mut out = format!("projection {} ({}): {state}\n  {}\n", style.bold(&outcome.name), outcome.architecture, outcome.reason);
    let Some(verdict) = &outcome.verdict else { return out };
    if let Some(grounds) = grounds(outcome) {
        out += &format!("  {grounds}\n");
    }
    let Some(projection) = &verdict.projection else { return out };
    out += &format!(
        "  {}\n",
        style.dim("                     dim   nDCG@10   MRR@10  recall@10   projection's gain in nDCG@10 (95 % interval)")
    );
    out += &row("projection", verdict.output_dim, projection, "");
    let rows: [(&str, usize, &Option<Comparison>); 6] = [
        ("raw vectors", verdict.input_dim, &verdict.raw),
        ("PCA of its size", verdict.output_dim, &verdict.pca),
        ("first numbers", verdict.output_dim, &verdict.cut),
        ("random", verdict.output_dim, &verdict.random),
        ("table lookup", 0, &verdict.table),
        ("BM25", 0, &verdict.lexical),
    ];
    for (name, dimensions, comparison) in rows {
        if let Some(Comparison { figures, gain }) = comparison {
            out += &row(name, dimensions, figures, &gain_text(&gain.ndcg));
        }
    }
    if let Some(hybrid) = &verdict.hybrid {
        out += &row("hybrid without it", 0, &hybrid.without, "");
        out += &row("hybrid with it", 0, &hybrid.with, &format!("{} against without", gain_text(&hybrid.gain.ndcg)));
    }
    out
}

/// What a projection was trained and judged on; nothing if there was too little.
pub(super) fn grounds(outcome: &Outcome) -> Option<String> {
    let (verdict, pairs, groups) = (outcome.verdict.as_ref()?, outcome.pairs?, outcome.groups?);
    let number = |n: usize| count(n as u64);
    let judged = format!("{} questions of {} groups that it had not seen", number(verdict.queries), number(verdict.groups));
    Some(match outcome.folds {
        None => format!("trained on {} pairs of {} groups; judged by {judged}", number(pairs[0]), number(groups[0])),
        Some(folds) => {
            let (pairs, groups): (usize, usize) = (pairs.iter().sum(), groups.iter().sum());
            format!(
                "{} pairs of {} groups in {folds} parts, each held out once from a training of its own; judged by {judged}",
                number(pairs),
                number(groups)
            )
        }
    })
}

fn row(name: &str, dimensions: usize, figures: &Figures, gain: &str) -> String {
    let dimensions = if dimensions == 0 { String::new() } else { dimensions.to_string() };
    let line = format!(
        "  {name:<18}{dimensions:>6}   {:>7.4}  {:>7.4}    {:>7.4}   {gain}",
        figures.ndcg.mean, figures.mrr.mean, figures.recall.mean
    );
    format!("{}\n", line.trim_end())
}

fn gain_text(gain: &Interval) -> String {
    format!("{:+.4} ({:+.4} to {:+.4})", gain.mean, gain.low, gain.high)
}
