//! Retrieval: every judged query of a data set against all of its documents, by vectors, by words, or by both fused as search fuses
//! them.
//!
//! Vectors are compared one with another, exactly, and none of a document is kept: memory grows with the queries, not with the corpus.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::beir::{BeirSet, Counts, Files};
use super::best::{Best, Scored};
use super::lexical::LexicalIndex;
use super::rerank::RerankReport;
use super::{EngineReport, Figure, SEED, Speed, VERSION};
use crate::embed::{Embedder, Input, Order, TextKind};
use crate::error::{Error, Result};
use crate::fs;
use crate::metrics;
use crate::progress::Job;
pub use crate::search::FUSED_DEPTH;
use crate::search::fusion::{By, RankedList, Scale, fuse};
use crate::search::{Mode, Weights};

/// The cut of nDCG, MRR and recall, and the deeper one of recall.
pub const CUTS: (usize, usize) = (10, 100);
/// How deep a ranking is read, as in BEIR and MTEB: average precision looks no further.
pub const DEPTH: usize = 1000;

/// The measures, each a mean over queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// nDCG@10.
    pub ndcg_at_10: Figure,
    /// MRR@10.
    pub mrr_at_10: Figure,
    /// Recall@10.
    pub recall_at_10: Figure,
    /// Recall@100.
    pub recall_at_100: Figure,
    /// Mean average precision over the first [`DEPTH`].
    pub map: Figure,
}

/// What came of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalReport {
    /// Of these fields.
    pub version: u32,
    /// `beir`
    pub task: String,
    /// The folder of the data set.
    pub folder: PathBuf,
    /// Which judgements.
    pub split: String,
    /// How documents were found: vector, lexical or hybrid.
    pub mode: String,
    /// What made the vectors; none where only words were compared.
    pub engine: Option<EngineReport>,
    /// The SHA-256 of each file.
    pub files: Files,
    /// How much there is.
    pub counts: Counts,
    /// How deep each list was read.
    pub depth: usize,
    /// The measures.
    pub metrics: Figures,
    /// The measures once a reranker put the first documents in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankReport>,
    /// How much was embedded; none where only words were compared.
    pub speed: Option<Speed>,
    /// How long all of it took after the files were checked and the model was loaded.
    pub seconds: f64,
}

/// The rankings of all queries, in their order; each best first.
pub struct Rankings(pub(super) Vec<Vec<Scored>>);

/// Ranks and measures. `vectors` is what embeds, and its report; every mode but [`Mode::Lexical`] needs it.
pub fn evaluate(
    set: &BeirSet,
    mode: Mode,
    vectors: Option<(EngineReport, &mut Embedder)>,
    job: Job<'_>,
) -> Result<(RetrievalReport, Rankings)> {
    let begun = Instant::now();
    let (mut engine, mut speed) = (None, None);
    let by_vectors = |depth| -> Result<Vec<Vec<Scored>>> {
        let Some((report, embedder)) = vectors else {
            return Err(Error::bug(format!("{} search was asked for without a model", mode.name())));
        };
        let (rankings, took) = vector_rankings(set, embedder, depth, job)?;
        (engine, speed) = (Some(report), Some(took));
        Ok(rankings)
    };
    let rankings = match mode {
        Mode::Vector => by_vectors(DEPTH)?,
        Mode::Lexical => lexical_rankings(set, DEPTH, job)?,
        Mode::Hybrid => {
            // Words first: they take seconds, and what fails fails early.
            let words = lexical_rankings(set, FUSED_DEPTH, job)?;
            let vectors = by_vectors(FUSED_DEPTH)?;
            words.into_iter().zip(vectors).map(|(words, vectors)| fused(words, vectors)).collect()
        }
    };
    let rankings = Rankings(rankings);
    let report = RetrievalReport {
        version: VERSION,
        task: "beir".to_owned(),
        folder: set.folder.clone(),
        split: set.split.clone(),
        mode: mode.name().to_owned(),
        engine,
        files: set.files.clone(),
        counts: set.counts,
        depth: if mode == Mode::Hybrid { FUSED_DEPTH } else { DEPTH },
        metrics: rankings.figures(set)?,
        rerank: None,
        speed,
        seconds: begun.elapsed().as_secs_f64(),
    };
    Ok((report, rankings))
}

impl Rankings {
    /// nDCG@10 of every query, in their order.
    pub fn ndcg(&self, set: &BeirSet) -> Vec<f64> {
        let ranked = |ranking: &Vec<Scored>| ranking.iter().take(CUTS.0).map(|scored| scored.document).collect::<Vec<_>>();
        self.0.iter().zip(&set.queries).map(|(ranking, query)| metrics::ndcg(&ranked(ranking), &query.judged, CUTS.0)).collect()
    }

    /// The measures with their intervals.
    pub(super) fn figures(&self, set: &BeirSet) -> Result<Figures> {
        if self.0.len() != set.queries.len() {
            return Err(Error::bug(format!("{} rankings are not those of {} queries", self.0.len(), set.queries.len())));
        }
        let ranked: Vec<Vec<u32>> = self.0.iter().map(|ranking| ranking.iter().map(|scored| scored.document).collect()).collect();
        let mean = |measure: &dyn Fn(&[u32], &metrics::Judgements<u32>) -> f64| -> Result<Figure> {
            let values: Vec<f64> = ranked.iter().zip(&set.queries).map(|(ranked, query)| measure(ranked, &query.judged)).collect();
            Ok(metrics::bootstrap_mean(&values, SEED)?.into())
        };
        Ok(Figures {
            ndcg_at_10: mean(&|ranked, judged| metrics::ndcg(ranked, judged, CUTS.0))?,
            mrr_at_10: mean(&|ranked, judged| metrics::reciprocal_rank(ranked, judged, CUTS.0))?,
            recall_at_10: mean(&|ranked, judged| metrics::recall(ranked, judged, CUTS.0))?,
            recall_at_100: mean(&|ranked, judged| metrics::recall(ranked, judged, CUTS.1))?,
            map: mean(&|ranked, judged| metrics::average_precision(ranked, judged))?,
        })
    }

    /// Writes the rankings as a run of TREC (`query Q0 document rank score tag`), for trec_eval and its kin.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if an id holds a space, which separates the columns there.
    pub fn write(&self, set: &BeirSet, path: &Path) -> Result<()> {
        check_run(set)?;
        fs::write_atomic(path, |out| {
            for (query, ranking) in set.queries.iter().zip(&self.0) {
                for (rank, scored) in (1..).zip(ranking) {
                    writeln!(out, "{} Q0 {} {rank} {:?} patina", query.id, set.id(scored.document), scored.score)?;
                }
            }
            Ok(())
        })
    }
}

/// Whether rankings of this set can be written as a run of TREC: better asked before anything is embedded.
pub fn check_run(set: &BeirSet) -> Result<()> {
    let ids = set.queries.iter().map(|query| query.id.as_str()).chain((0..set.counts.documents as u32).map(|document| set.id(document)));
    match ids.into_iter().find(|id| id.contains(char::is_whitespace)) {
        Some(id) => Err(Error::usage(format!("the id {id:?} holds a space, which separates the columns of a run"))
            .at(&set.folder)
            .hint("leave --run out; the measures need no run")),
        None => Ok(()),
    }
}

pub(super) fn lexical_rankings(set: &BeirSet, depth: usize, job: Job<'_>) -> Result<Vec<Vec<Scored>>> {
    let mut index = LexicalIndex::build(set, job)?;
    job.progress.begin("searching", Some(set.queries.len() as u64), "queries");
    let mut rankings = Vec::with_capacity(set.queries.len());
    for query in &set.queries {
        job.check()?;
        rankings.push(index.search(set, &query.text, query.own, depth)?);
        job.progress.advance(1);
    }
    job.progress.end("");
    Ok(rankings)
}

/// The vectors of the queries are kept, those of the documents are compared with them as they come.
fn vector_rankings(set: &BeirSet, embedder: &mut Embedder, depth: usize, job: Job<'_>) -> Result<(Vec<Vec<Scored>>, Speed)> {
    let texts = set.queries.len() + set.counts.documents;
    let begun = Instant::now();
    let mut asked = Asked::new(embedder.info().dimensions, set.queries.len());
    job.progress.begin("queries", Some(set.queries.len() as u64), "texts");
    let inputs = set.queries.iter().map(|query| Ok(Input::Text(query.text.clone())));
    let name = |number: usize| format!("query {:?}", set.queries.get(number).map_or("", |query| &query.id));
    embedder.embed(inputs, TextKind::Query, Order::AsComputed, job, name, |number, vector| asked.put(number, vector))?;
    job.progress.end("");

    job.progress.begin("documents", Some(set.counts.documents as u64), "texts");
    let mut best: Vec<Best> = set.queries.iter().map(|_| Best::new(depth)).collect();
    let inputs = set.texts()?.map(|document| document.map(|document| Input::Text(document.joined())));
    let name = |row: usize| format!("document {:?}", set.on_row(row).map_or("", |document| set.id(document)));
    embedder.embed(inputs, TextKind::Document, Order::AsComputed, job, name, |row, vector| {
        let document = set.on_row(row).ok_or_else(|| Error::bug(format!("the corpus has no row {row}")))?;
        let vector = direction(vector);
        for ((query, asked), best) in set.queries.iter().zip(asked.rows()).zip(&mut best) {
            if query.own != Some(document) {
                best.offer(Scored::new(document, f64::from(dot(asked, &vector))));
            }
        }
        Ok(())
    })?;
    job.progress.end("");
    Ok((best.into_iter().map(Best::into_ranking).collect(), Speed::since(texts, begun)))
}

/// As search fuses where nothing was chosen. Equal sums are in trec_eval's order.
pub(super) fn fused(words: Vec<Scored>, vectors: Vec<Scored>) -> Vec<Scored> {
    let weights = Weights::usual(false);
    fused_lists(&[(weights.lexical, Scale::FromZero, &words), (weights.vector, Scale::Spread, &vectors)], weights.by)
}

/// The same with a projection, which shares the vectors' side.
pub(super) fn fused_with(words: &[Scored], vectors: &[Scored], projected: &[Scored]) -> Vec<Scored> {
    let weights = Weights::usual(true);
    let vectors = [(weights.vector, Scale::Spread, vectors), (weights.projection, Scale::Spread, projected)];
    fused_lists(&[(weights.lexical, Scale::FromZero, words), vectors[0], vectors[1]], weights.by)
}

fn fused_lists(lists: &[(f64, Scale, &[Scored])], by: By) -> Vec<Scored> {
    let lists: Vec<RankedList> = lists
        .iter()
        .map(|&(weight, scale, ranking)| RankedList {
            retriever: String::new(),
            weight,
            scale,
            items: ranking.iter().map(|scored| (u64::from(scored.document), f64::from(scored.score))).collect(),
        })
        .collect();
    let mut best = Best::new(DEPTH);
    for found in fuse(&lists, by) {
        // Ids are the numbers of documents that went in.
        best.offer(Scored::new(found.id as u32, found.score));
    }
    best.into_ranking()
}

/// The directions of the queries, one after another.
struct Asked {
    dimensions: usize,
    numbers: Vec<f32>,
}

impl Asked {
    fn new(dimensions: usize, count: usize) -> Asked {
        Asked { dimensions, numbers: vec![0.0; dimensions * count] }
    }

    fn put(&mut self, number: usize, vector: &[f32]) -> Result<()> {
        let at = number * self.dimensions;
        match self.numbers.get_mut(at..at + self.dimensions) {
            Some(row) if row.len() == vector.len() => row.copy_from_slice(&direction(vector)),
            _ => return Err(Error::bug(format!("query {number} has {} numbers, expected {}", vector.len(), self.dimensions))),
        }
        Ok(())
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.dimensions.max(1))
    }
}

/// The vector of length 1; zeros stay zeros, and similar to nothing.
pub(super) fn direction(vector: &[f32]) -> Vec<f32> {
    let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if norm > 0.0 { vector.iter().map(|x| (f64::from(*x) / norm) as f32).collect() } else { vector.to_vec() }
}

/// Eight sums side by side, which a processor adds at once.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}
