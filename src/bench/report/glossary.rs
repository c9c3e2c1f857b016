//! What the figures of a report mean, for readers who were not there.

use super::view::View;

/// Writes a result's cells anew: what a report ends with.
pub(super) const REPEAT: &str = "patina bench recipe RESULT.json";

/// Terms and their meaning; only those that the report has, and so none where nothing was measured.
pub(super) fn glossary(view: &View<'_>) -> Vec<(&'static str, String)> {
    if view.measured().next().is_none() {
        return Vec::new();
    }
    let any = |has: fn(&crate::bench::result::Measured) -> bool| view.measured().any(|(_, measured)| has(measured));
    let tokens = view.measured().map(|(_, measured)| measured.query.tokens).min().zip(view.measured().map(|(_, m)| m.query.tokens).max());
    let query = match tokens {
        Some((least, most)) if least == most => format!(" A query has {least} tokens (median)."),
        Some((least, most)) => format!(" A query has {least} to {most} tokens (medians of the cells)."),
        None => String::new(),
    };
    let peaks = view.result.peak.flops_per_second.iter();
    let peaks: Vec<String> = peaks
        .map(|peak| {
            let without = peak.without_tiles.map(|rate| format!(" ({:.0} without tiles)", rate / 1e9)).unwrap_or_default();
            format!("{:.0} GFLOP/s{without} with {}", peak.flops_per_second / 1e9, super::numbers::many(peak.threads, "thread"))
        })
        .collect();
    let peak =
        if peaks.is_empty() { String::new() } else { format!(" Here: {}, {}.", super::numbers::listed(&peaks), view.result.peak.method) };
    let unless = match view.result.peak.flops_per_second.iter().any(|peak| peak.without_tiles.is_some()) {
        true => ", unless the weights are bf16: those need half of the tiles' products",
        false => "",
    };
    let terms = [
        (
            true,
            "Figures and ranges",
            format!(
                "The median of {}, which take turns among the cells after a warm-up, and beside it the smallest and the greatest.",
                super::numbers::many(view.result.rounds, "round"),
            ),
        ),
        (
            true,
            "Ratio to reference",
            "Texts a second over those of the reference of the same model in the same round and on the same mix of lengths: the median, and the \
            range over rounds. If the range holds 1, the two are within noise."
                .to_owned(),
        ),
        (
            true,
            "Texts and tokens a second",
            "In bulk, from the first text to the last vector; tokens are counted with special tokens and \
            without padding."
                .to_owned(),
        ),
        (
            any(|m| m.flops_per_second().is_some()),
            "Rate",
            "Operations in bulk that the model needs, attention included and padding not, in billions a second; a multiplication and an addition are two."
                .to_owned(),
        ),
        (true, "p50, p95, p99", format!("Times of single queries in a process that is warm; so many of a hundred are faster.{query}")),
        (
            true,
            "First query, cold start",
            "The first query after the model is loaded; from the start of the process to its first vector.".to_owned(),
        ),
        (true, "CPU", "Processor seconds of the bulk part, all threads together.".to_owned()),
        (true, "Peak memory", "The most that the process had resident, files it maps included; 1 MiB is 1,048,576 bytes.".to_owned()),
        (
            any(|m| m.share_of_peak.is_some()),
            "Share of peak",
            format!(
                "Operations a second that the model needs, attention included and padding not, over what this machine reaches in multiplying \
             matrices of single precision. More than 100 is an error of measurement{unless}.{peak}"
            ),
        ),
        (
            any(|m| m.parity.is_some()),
            "Parity",
            "The cosine of each text's vector with the reference's vector, the smallest, and beside it the median.".to_owned(),
        ),
        (
            any(|m| m.quality.is_some()),
            "nDCG@10",
            "The ranking of documents on the labelled set, with the 95 % bootstrap interval over questions. The change is \
            against the reference, question by question; if its interval holds 0, it is within noise."
                .to_owned(),
        ),
    ];
    terms.into_iter().filter(|(shown, ..)| *shown).map(|(_, term, meaning)| (term, meaning)).collect()
}
