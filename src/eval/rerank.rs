//! What a reranker does to the rankings of a retrieval set: the same queries with and without it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::beir::BeirSet;
use super::best::Scored;
use super::retrieval::{Figures, Rankings};
use super::{Figure, SEED, Speed};
use crate::embed::Reranker;
use crate::error::{Error, Result};
use crate::metrics;
use crate::progress::Job;

/// Rankings with a reranker, beside those without that the report has anyway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankReport {
    /// The model as it was asked for.
    pub model: String,
    /// The hash of its files.
    pub identity: String,
    /// The runtime's word in recipes.
    pub runtime: String,
    /// The runtime's version.
    pub runtime_version: String,
    /// What makes its logits into scores.
    pub activation: String,
    /// Where pairs were cut, in tokens.
    pub max_tokens: usize,
    /// The best so many documents of each query were scored.
    pub candidates: usize,
    /// The measures with the reranker.
    pub metrics: Figures,
    /// What it adds to nDCG@10, query by query.
    pub gain: Figure,
    /// How many pairs were scored, and how fast.
    pub speed: Speed,
}

/// A reranker with what reports say of it.
pub struct Named<'a> {
    /// The model as it was asked for.
    pub model: String,
    /// The hash of its files.
    pub identity: String,
    /// What scores.
    pub reranker: &'a mut Reranker,
}

/// Puts the best `candidates` documents of each query in the reranker's order; equal scores and the others stay as they were.
pub fn rerank(set: &BeirSet, before: &Rankings, named: Named<'_>, candidates: usize, job: Job<'_>) -> Result<(RerankReport, Rankings)> {
    let begun = Instant::now();
    let Named { model, identity, reranker } = named;
    let wanted: BTreeSet<u32> = before.0.iter().flat_map(|ranking| ranking.iter().take(candidates).map(|scored| scored.document)).collect();
    let texts = texts(set, &wanted)?;
    let pairs: usize = before.0.iter().map(|ranking| ranking.len().min(candidates)).sum();
    job.progress.begin("reranking", Some(pairs as u64), "pairs");
    let mut after = Vec::with_capacity(before.0.len());
    for (query, ranking) in set.queries.iter().zip(&before.0) {
        let (first, rest) = ranking.split_at(candidates.min(ranking.len()));
        let asked: Vec<String> = first.iter().map(|scored| texts.get(&scored.document).cloned().unwrap_or_default()).collect();
        let scores = reranker.scores(&query.text, &asked, job)?;
        let mut order: Vec<(f64, u32)> = scores.into_iter().zip(first.iter().map(|scored| scored.document)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        let documents: Vec<u32> =
            order.into_iter().map(|(_, document)| document).chain(rest.iter().map(|scored| scored.document)).collect();
        // Scores of two kinds are not comparable: a run tells places.
        let places = documents.iter().enumerate().map(|(at, &document)| Scored::new(document, (documents.len() - at) as f64));
        after.push(places.collect());
    }
    job.progress.end("");
    let after = Rankings(after);
    let differences: Vec<f64> = after.ndcg(set).iter().zip(before.ndcg(set)).map(|(with, without)| with - without).collect();
    let info = reranker.info();
    let report = RerankReport {
        model,
        identity,
        runtime: info.runtime.name().to_owned(),
        runtime_version: info.runtime_version.clone(),
        activation: reranker.activation().name().to_owned(),
        max_tokens: reranker.max_tokens(),
        candidates,
        metrics: after.figures(set)?,
        gain: metrics::bootstrap_mean(&differences, SEED)?.into(),
        speed: Speed::since(pairs, begun),
    };
    Ok((report, after))
}

/// The texts of some documents, read from the corpus in one pass.
fn texts(set: &BeirSet, wanted: &BTreeSet<u32>) -> Result<BTreeMap<u32, String>> {
    let mut texts = BTreeMap::new();
    for (row, document) in set.texts()?.enumerate() {
        let document = document?;
        let number = set.on_row(row).ok_or_else(|| Error::bug(format!("the corpus has no row {row}")))?;
        if wanted.contains(&number) {
            texts.insert(number, document.joined());
        }
    }
    Ok(texts)
}
