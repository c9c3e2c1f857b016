//! What training on a set's own labels gains: a projection of questions alone, taught by the judgements of one split and judged once by
//! those of another.
//!
//! Settings are chosen by cross-validation over the training queries; the other split is looked at once, at the end. Documents are shared,
//! as they are by every retriever; queries and judgements of the test are in no training.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::beir::{BeirSet, Files, Query};
use super::best::{Best, Scored};
use super::retrieval::{DEPTH, FUSED_DEPTH, Figures, Rankings, direction, dot, fused, fused_with, lexical_rankings};
use super::{EngineReport, Figure, SEED, Speed, VERSION};
use crate::embed::{Embedder, Input, Order, TextKind};
use crate::error::{Error, Result};
use crate::metrics;
use crate::progress::Job;
use crate::train::{
    Architecture, Fold, Lesson, Loss, Mining, Projection, Related, RowPair, Sides, TrainConfig, Trial, Vectors, judge, train,
};

/// In how many parts the training queries are split to choose settings.
pub const FOLDS: usize = 5;
/// Fewer training queries than this (those that are tied by a document count as one) teach nothing that would hold elsewhere.
pub const MIN_GROUPS: usize = 50;
/// The most titles that ask for their documents, for each label: more would drown what people said. An even choice over the corpus.
pub const TITLES_PER_LABEL: usize = 3;
/// Documents whose vectors are held in memory, at most.
pub const MAX_DOCUMENTS: usize = 1_000_000;
/// A title of fewer words asks nothing.
const MIN_TITLE_WORDS: usize = 3;

/// What is tried on the training queries. All are low-rank, of questions alone, with multiple negatives and eight hard negatives a pair,
/// held to the raw similarities.
const TRIED: [Tried; 5] = [
    Tried { rank: 32, epochs: 10, titles: false },
    Tried { rank: 128, epochs: 10, titles: false },
    Tried { rank: 128, epochs: 5, titles: true },
    Tried { rank: 128, epochs: 10, titles: true },
    Tried { rank: 256, epochs: 10, titles: true },
];

#[derive(Clone, Copy)]
struct Tried {
    rank: usize,
    epochs: usize,
    /// Whether titles ask for their documents, beside the labelled queries.
    titles: bool,
}

/// Settings, and how they did on the training queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The rank of the change.
    pub rank: usize,
    /// Passes over the pairs.
    pub epochs: usize,
    /// Whether titles ask for their documents too.
    pub titles: bool,
    /// What it adds to nDCG@10 of raw vectors, over the folds, with its interval.
    pub gain: Figure,
}

/// How much there was to learn from, and what was kept out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// Training queries.
    pub queries: usize,
    /// Groups of them: those that share a relevant document are one.
    pub groups: usize,
    /// Query and relevant document.
    pub pairs: usize,
    /// Titles that asked for their documents; they are labels of nobody.
    pub titles: usize,
    /// Training queries that are a test query too, by id or by text; left out.
    pub queries_left_out: usize,
    /// Titles that are a test query by their text; left out.
    #[serde(default)]
    pub titles_left_out: usize,
    /// Labels that lead to no document or query of the set; left out.
    pub labels_to_nowhere: usize,
    /// Documents that are relevant in both splits: their texts were seen in training with other questions.
    pub documents_shared: usize,
    /// Documents that are relevant in the test.
    pub documents_of_test: usize,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnedReport {
    /// Of these fields.
    pub version: u32,
    /// `beir-learned`
    pub task: String,
    /// The folder of the data set.
    pub folder: PathBuf,
    /// The judgements that judged.
    pub split: String,
    /// The judgements that taught.
    pub trained_on: String,
    /// What made the vectors.
    pub engine: EngineReport,
    /// The SHA-256 of each file, of the test and of the training.
    pub files: [Files; 2],
    /// What was learnt from.
    pub ground: Ground,
    /// Every setting that was tried on the training queries.
    pub settings: Vec<Setting>,
    /// The number of the one that was chosen, in their order: that whose interval begins highest.
    pub chosen: usize,
    /// Test queries.
    pub queries: usize,
    /// Raw vectors on the test.
    pub raw: Figures,
    /// The projection of questions.
    pub projection: Figures,
    /// BM25.
    pub lexical: Figures,
    /// BM25 and raw vectors, fused.
    pub hybrid: Figures,
    /// BM25, raw vectors and the projection, fused.
    pub hybrid_with: Figures,
    /// What the projection adds to nDCG@10 of raw vectors, query by query.
    pub gain: Figure,
    /// The projection against BM25 and raw vectors fused.
    pub against_hybrid: Figure,
    /// What the projection adds to nDCG@10 of the fused.
    pub hybrid_gain: Figure,
    /// Test queries none of whose documents was an answer in training, to a labelled query or, where titles taught, to its title.
    pub fresh_queries: usize,
    /// What the projection adds to nDCG@10 of raw vectors on these alone; none where there are none.
    pub fresh_gain: Option<Figure>,
    /// The verdict in plain words.
    pub verdict: String,
    /// How much was embedded.
    pub speed: Speed,
    /// How long all of it took after the files were checked and the model was loaded.
    pub seconds: f64,
}

/// Trains on `taught`, which is another split of the folder of `set`, and judges on `set`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if the splits are one, or if there is too little to learn from; it says how much is
/// needed.
pub fn evaluate(set: &BeirSet, taught: &BeirSet, engine: EngineReport, embedder: &mut Embedder, job: Job<'_>) -> Result<LearnedReport> {
    let begun = Instant::now();
    let (pairs, ground) = pairs(set, taught)?;
    let class = Class::embed(set, taught, pairs, embedder, job)?;
    let speed = Speed::since(set.counts.documents + set.queries.len() + taught.queries.len() + class.titles.len(), begun);
    let ground = Ground { titles: class.titles.len(), titles_left_out: class.titles_left_out, ..ground };

    let folds = class.folds();
    let tried: Vec<Tried> = TRIED.into_iter().filter(|tried| !tried.titles || !class.titles.is_empty()).collect();
    let mut settings = Vec::with_capacity(tried.len());
    job.progress.begin("choosing settings", Some((tried.len() * FOLDS) as u64), "trainings");
    for tried in &tried {
        let mut trained = Vec::with_capacity(FOLDS);
        for (taught, held_out) in &folds {
            trained.push((class.train(tried, taught, job.quiet())?, held_out));
            job.progress.advance(1);
        }
        let folds: Vec<Fold<'_>> = trained.iter().map(|(projection, test)| Fold { projection, test }).collect();
        let gain = class.judge(&folds, job.quiet())?;
        settings.push(Setting { rank: tried.rank, epochs: tried.epochs, titles: tried.titles, gain });
    }
    // What is surest to gain, which is not what gained most by chance.
    let best = (0..settings.len()).max_by(|&a, &b| settings[a].gain.low.total_cmp(&settings[b].gain.low).then(b.cmp(&a)));
    let Some(chosen) = best else { return Err(Error::bug("no setting was tried")) };
    job.progress.end("");
    let projection = class.train(&tried[chosen], &class.pairs, job)?;

    // The one look at the test.
    let words = lexical_rankings(set, DEPTH, job)?;
    let raw = class.rank(set, &class.asked, DEPTH, job)?;
    let turned: Vec<Vec<f32>> = class.asked.iter().map(|vector| projection.apply(vector)).collect::<Result<_>>()?;
    let projected = class.rank(set, &turned, DEPTH, job)?;
    let cut = |ranking: &[Scored]| ranking[..ranking.len().min(FUSED_DEPTH)].to_vec();
    let hybrid: Vec<Vec<Scored>> = words.iter().zip(&raw).map(|(words, raw)| fused(cut(words), cut(raw))).collect();
    let with = words.iter().zip(&raw).zip(&projected);
    let hybrid_with: Vec<Vec<Scored>> = with.map(|((words, raw), projected)| fused_with(&cut(words), &cut(raw), &cut(projected))).collect();
    let systems = [raw, projected, words, hybrid, hybrid_with].map(Rankings);
    let ndcg = systems.each_ref().map(|system| system.ndcg(set));
    let difference = |a: usize, b: usize| -> Result<Figure> { Ok(metrics::bootstrap_difference(&ndcg[a], &ndcg[b], SEED)?.into()) };
    let (gain, against_hybrid, hybrid_gain) = (difference(1, 0)?, difference(1, 3)?, difference(4, 3)?);
    // An answer of training is known to be one: what is gained without that is told apart.
    let answers = class.answers(&tried[chosen]);
    let is_fresh = |query: &Query| !query.judged.iter().any(|(document, grade)| *grade > 0 && answers.contains(&(*document as usize)));
    let fresh: Vec<usize> = (0..set.queries.len()).filter(|&at| is_fresh(&set.queries[at])).collect();
    let fresh_gain: Option<Figure> = match fresh.is_empty() {
        true => None,
        false => {
            let of = |system: usize| -> Vec<f64> { fresh.iter().map(|&at| ndcg[system][at]).collect() };
            Some(metrics::bootstrap_difference(&of(1), &of(0), SEED)?.into())
        }
    };
    let figures = |system: usize| systems[system].figures(set);
    Ok(LearnedReport {
        version: VERSION,
        task: "beir-learned".to_owned(),
        folder: set.folder.clone(),
        split: set.split.clone(),
        trained_on: taught.split.clone(),
        engine,
        files: [set.files.clone(), taught.files.clone()],
        verdict: verdict(&gain, &settings[chosen].gain, set.queries.len(), fresh_gain.as_ref().map(|gain| (fresh.len(), gain))),
        ground,
        settings,
        chosen,
        queries: set.queries.len(),
        raw: figures(0)?,
        projection: figures(1)?,
        lexical: figures(2)?,
        hybrid: figures(3)?,
        hybrid_with: figures(4)?,
        gain,
        against_hybrid,
        hybrid_gain,
        fresh_queries: fresh.len(),
        fresh_gain,
        speed,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Whether there is enough to learn from: better asked before anything is embedded. Fails as [`evaluate`] does.
pub fn check(set: &BeirSet, taught: &BeirSet) -> Result<()> {
    pairs(set, taught).map(|_| ())
}

/// Whether it helped, and if not, why not. `fresh` is the gain on the queries whose documents were no answers in training, and how many
/// these are.
fn verdict(gain: &Figure, expected: &Figure, queries: usize, fresh: Option<(usize, &Figure)>) -> String {
    let points = |value: f64| format!("{:+.2}", 100.0 * value);
    if gain.low > 0.0 {
        let sure = format!("it beats raw vectors beyond the interval ({} to {} points of nDCG@10)", points(gain.low), points(gain.high));
        return match fresh {
            Some((_, fresh)) if fresh.low > 0.0 => format!("{sure}, and on questions whose documents were no answers in training too"),
            Some((count, fresh)) if count < queries => format!(
                "{sure}, but not on the {count} questions whose documents were no answers in training ({} to {}): what it learnt is mostly \
                 which documents answer",
                points(fresh.low),
                points(fresh.high)
            ),
            _ => sure,
        };
    }
    let half = 100.0 * (gain.high - gain.low) / 2.0;
    let why = if gain.high < 0.0 {
        "what it learnt does not hold for the test's questions".to_owned()
    } else if expected.low > 0.0 {
        format!(
            "on the training queries, which are more, it gains {} beyond the interval; with {queries} test queries only about {half:.1} points or \
             more can be told from chance",
            points(expected.value)
        )
    } else {
        "even on held-out training queries nothing is gained beyond the interval: there is too little to learn from these labels".to_owned()
    };
    format!("it does not clearly beat raw vectors ({} to {} points of nDCG@10): {why}", points(gain.low), points(gain.high))
}

/// A training query and a document that is relevant for it, by the query's place and the document's number.
type Label = (usize, u32);

/// The labels that may teach, and what was left out of them.
fn pairs(set: &BeirSet, taught: &BeirSet) -> Result<(Vec<Label>, Ground)> {
    if set.split == taught.split {
        return Err(Error::usage(format!("{:?} cannot both teach and judge", set.split))
            .at(&set.folder)
            .hint("name another split: --train train --split test"));
    }
    if set.counts.documents > MAX_DOCUMENTS {
        return Err(Error::usage(format!("the corpus has {} documents; at most {MAX_DOCUMENTS} are held in memory", set.counts.documents))
            .at(&set.folder));
    }
    let (ids, texts): (HashSet<&str>, HashSet<String>) = set.queries.iter().map(|query| (query.id.as_str(), said(&query.text))).unzip();
    let documents = taught.counts.documents as u32;
    let mut ground = Ground { labels_to_nowhere: taught.counts.unknown_queries, ..Ground::default() };
    let mut labels = Vec::new();
    let mut of_document: BTreeMap<u32, usize> = BTreeMap::new();
    for (at, query) in taught.queries.iter().enumerate() {
        if ids.contains(query.id.as_str()) || texts.contains(&said(&query.text)) {
            ground.queries_left_out += 1;
            continue;
        }
        let before = labels.len();
        for (&document, _) in query.judged.iter().filter(|(_, grade)| **grade > 0) {
            if document >= documents {
                ground.labels_to_nowhere += 1;
            } else if query.own != Some(document) {
                labels.push((at, document));
                *of_document.entry(document).or_default() += 1;
            }
        }
        ground.queries += usize::from(labels.len() > before);
    }
    ground.pairs = labels.len();
    ground.groups = groups(&labels).values().collect::<BTreeSet<_>>().len();
    let tested: BTreeSet<u32> =
        set.queries.iter().flat_map(|query| query.judged.iter().filter(|(_, grade)| **grade > 0).map(|(document, _)| *document)).collect();
    ground.documents_of_test = tested.len();
    ground.documents_shared = tested.iter().filter(|document| of_document.contains_key(document)).count();
    if ground.groups < MIN_GROUPS {
        let nowhere = match ground.labels_to_nowhere {
            0 => String::new(),
            n => format!("; {n} labels lead to no query or document of the set"),
        };
        return Err(Error::usage(format!(
            "the split {:?} has {} separate training queries, and at least {MIN_GROUPS} are needed{nowhere}",
            taught.split, ground.groups
        ))
        .at(&taught.folder)
        .hint("evaluate without --train, or take a split with more judgements"));
    }
    Ok((labels, ground))
}

/// A text without spaces and in lower case: two questions that differ in nothing else are one.
fn said(text: &str) -> String {
    text.split_whitespace().flat_map(str::chars).flat_map(char::to_lowercase).collect()
}

/// The group of each query that has a label: queries that share a document are one, by the smallest of their places.
fn groups(labels: &[Label]) -> BTreeMap<usize, usize> {
    let mut parent: BTreeMap<usize, usize> = labels.iter().map(|&(query, _)| (query, query)).collect();
    fn root(parent: &BTreeMap<usize, usize>, mut at: usize) -> usize {
        while parent[&at] != at {
            at = parent[&at];
        }
        at
    }
    let mut first: BTreeMap<u32, usize> = BTreeMap::new();
    for &(query, document) in labels {
        let other = *first.entry(document).or_insert(query);
        let (a, b) = (root(&parent, query), root(&parent, other));
        parent.insert(a.max(b), a.min(b));
    }
    parent.keys().map(|&query| (query, root(&parent, query))).collect()
}

/// Everything embedded: documents have the rows of their numbers, then training queries, then titles. Test queries are in no row.
struct Class {
    vectors: Vectors,
    documents: Vec<usize>,
    /// Training queries and their documents, as rows.
    pairs: Vec<RowPair>,
    /// Titles and their documents.
    titles: Vec<RowPair>,
    /// Titles that a test query says word for word.
    titles_left_out: usize,
    /// Row by row: what may be no negative of it.
    groups: Vec<usize>,
    /// The vectors of the test queries.
    asked: Vec<Vec<f32>>,
    /// The vectors of the documents as the model gave them, one after another.
    raw: Vec<Vec<f32>>,
}

impl Class {
    fn embed(set: &BeirSet, taught: &BeirSet, labels: Vec<Label>, embedder: &mut Embedder, job: Job<'_>) -> Result<Class> {
        let asked = embed(embedder, "queries", TextKind::Query, set.queries.iter().map(|query| Ok(query.text.clone())), job)?;
        let learning = embed(embedder, "queries", TextKind::Query, taught.queries.iter().map(|query| Ok(query.text.clone())), job)?;
        let tested: HashSet<String> = set.queries.iter().map(|query| said(&query.text)).collect();
        let (mut headings, mut titles_left_out): (Vec<(u32, String)>, usize) = (Vec::new(), 0);
        for (row, document) in set.texts()?.enumerate() {
            job.check()?;
            let document = document?;
            if let Some(number) = set.on_row(row)
                && document.title.split_whitespace().count() >= MIN_TITLE_WORDS
                && !document.text.trim().is_empty()
            {
                match tested.contains(&said(&document.title)) {
                    true => titles_left_out += 1,
                    false => headings.push((number, document.title)),
                }
            }
        }
        let step = headings.len().div_ceil((TITLES_PER_LABEL * labels.len()).max(1)).max(1);
        let headings: Vec<(u32, String)> = headings.into_iter().step_by(step).collect();
        let titles = embed(embedder, "titles", TextKind::Query, headings.iter().map(|(_, title)| Ok(title.clone())), job)?;
        let texts = set.texts()?.map(|document| document.map(|document| document.joined()));
        let mut raw = vec![Vec::new(); set.counts.documents];
        for (row, vector) in embed(embedder, "documents", TextKind::Document, texts, job)?.into_iter().enumerate() {
            let number = set.on_row(row).ok_or_else(|| Error::bug(format!("the corpus has no row {row}")))?;
            raw[number as usize] = vector;
        }
        let (documents, queries) = (raw.len(), learning.len());
        let all: Vec<(u64, &[f32])> = (0..).zip(raw.iter().chain(&learning).chain(&titles).map(Vec::as_slice)).collect();
        let vectors = Vectors::new(embedder.info().dimensions, &all)?;
        let group_of = groups(&labels);
        let pairs = labels.iter().map(|&(query, document)| RowPair {
            anchor: documents + query,
            positive: document as usize,
            group: group_of[&query],
        });
        let pairs = pairs.filter(|pair| vectors.first_of(pair.anchor) != vectors.first_of(pair.positive)).collect();
        // Titles are of groups of their own, behind those of the queries.
        let titles = headings.iter().enumerate().map(|(at, (document, _))| RowPair {
            anchor: documents + queries + at,
            positive: *document as usize,
            group: queries + at,
        });
        let titles = titles.filter(|pair| vectors.first_of(pair.anchor) != vectors.first_of(pair.positive)).collect();
        let groups = (0..vectors.len()).collect();
        let raw = raw.iter().map(|vector| direction(vector)).collect();
        Ok(Class { vectors, documents: (0..documents).collect(), pairs, titles, titles_left_out, groups, asked, raw })
    }

    /// For each fold the pairs that teach and those that are held out, whole groups together, dealt by a hash of their numbers.
    fn folds(&self) -> Vec<(Vec<RowPair>, Vec<RowPair>)> {
        let fold = |pair: &RowPair| {
            let hash = Sha256::digest((pair.group as u64).to_le_bytes());
            usize::from(hash[0]) * FOLDS / 256
        };
        let split = |held_out: usize| self.pairs.iter().copied().partition(|pair| fold(pair) != held_out);
        (0..FOLDS).map(split).collect()
    }

    /// The documents that a training with these settings knows to be answers.
    fn answers(&self, tried: &Tried) -> BTreeSet<usize> {
        let titles = self.titles.iter().filter(|_| tried.titles);
        self.pairs.iter().chain(titles).map(|pair| pair.positive).collect()
    }

    fn train(&self, tried: &Tried, pairs: &[RowPair], job: Job<'_>) -> Result<Projection> {
        let dimensions = self.vectors.dimensions();
        let config = TrainConfig {
            epochs: tried.epochs,
            batch_size: 64,
            learning_rate: 2e-4,
            weight_decay: 0.0,
            loss: Loss::MultipleNegatives { temperature: 0.05 },
            sides: Sides::Query,
            hard_negatives: 8,
            distillation: 100.0,
            seed: SEED,
            ..TrainConfig::new(Architecture::LowRank, dimensions, Some(tried.rank.min(dimensions)), dimensions)
        };
        let mut all = pairs.to_vec();
        if tried.titles {
            all.extend(&self.titles);
        }
        let lesson = Lesson {
            vectors: &self.vectors,
            pairs: &all,
            // Nothing stops it: how long to train is a setting.
            validation: &[],
            candidates: Some(&self.documents),
            mining: Some(Mining { rows: &self.documents, groups: &self.groups, related: Related::default() }),
        };
        Ok(train(&config, &lesson, job)?.0)
    }

    /// What projections add to raw vectors on the pairs that each has not seen.
    fn judge(&self, folds: &[Fold<'_>], job: Job<'_>) -> Result<Figure> {
        let (lexical, table, fuse) = (None, None, None);
        let trial = Trial {
            vectors: &self.vectors,
            folds,
            candidates: Some(&self.documents),
            lexical,
            table,
            fuse,
            must_beat_lexical: false,
            seed: SEED,
        };
        let raw = judge(&trial, job)?.raw.ok_or_else(|| Error::bug("nothing was held out"))?;
        Ok(raw.gain.ndcg.into())
    }

    /// All documents for each question, without its own.
    fn rank(&self, set: &BeirSet, asked: &[Vec<f32>], depth: usize, job: Job<'_>) -> Result<Vec<Vec<Scored>>> {
        let of = |(query, vector): (&Query, &Vec<f32>)| {
            job.check()?;
            let (vector, mut best) = (direction(vector), Best::new(depth));
            for (number, document) in (0u32..).zip(&self.raw) {
                if query.own != Some(number) {
                    best.offer(Scored::new(number, f64::from(dot(&vector, document))));
                }
            }
            Ok(best.into_ranking())
        };
        set.queries.iter().zip(asked).map(of).collect()
    }
}

/// The vectors of texts in their order.
fn embed(
    embedder: &mut Embedder,
    label: &str,
    kind: TextKind,
    texts: impl Iterator<Item = Result<String>>,
    job: Job<'_>,
) -> Result<Vec<Vec<f32>>> {
    job.progress.begin(label, None, "texts");
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    let inputs = texts.map(|text| text.map(Input::Text));
    let name = |number: usize| format!("number {} of the {label}", number + 1);
    embedder.embed(inputs, kind, Order::AsComputed, job, name, |number, vector| {
        if vectors.len() <= number {
            vectors.resize(number + 1, Vec::new());
        }
        vectors[number] = vector.to_vec();
        Ok(())
    })?;
    job.progress.end("");
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(low: f64, high: f64) -> Figure {
        Figure { value: (low + high) / 2.0, low, high }
    }

    #[test]
    fn queries_that_share_a_document_are_one_group() {
        let labels = [(4, 10), (7, 11), (9, 10), (9, 12), (2, 12), (5, 13)];
        assert_eq!(groups(&labels), BTreeMap::from([(2, 2), (4, 2), (5, 5), (7, 7), (9, 2)]));
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn a_title_that_taught_makes_its_document_an_answer() {
        let pair = |anchor, positive, group| RowPair { anchor, positive, group };
        let rows: Vec<(u64, Vec<f32>)> = (0..6).map(|id| (id, vec![id as f32, 1.0])).collect();
        let rows: Vec<(u64, &[f32])> = rows.iter().map(|(id, row)| (*id, row.as_slice())).collect();
        let class = Class {
            vectors: Vectors::new(2, &rows).expect("vectors"),
            documents: vec![0, 1, 2],
            pairs: vec![pair(3, 0, 0)],
            titles: vec![pair(4, 1, 1), pair(5, 0, 2)],
            titles_left_out: 0,
            groups: (0..6).collect(),
            asked: Vec::new(),
            raw: Vec::new(),
        };
        let with = |titles| class.answers(&Tried { rank: 1, epochs: 1, titles });
        assert_eq!(with(false), BTreeSet::from([0]));
        assert_eq!(with(true), BTreeSet::from([0, 1]));
    }

    #[test]
    fn the_verdict_says_whether_and_why_not() {
        let sure = figure(0.005, 0.02);
        let won = |fresh: Option<(usize, &Figure)>| verdict(&figure(0.002, 0.02), &sure, 300, fresh);
        assert_eq!(won(None), "it beats raw vectors beyond the interval (+0.20 to +2.00 points of nDCG@10)");
        assert!(won(Some((100, &sure))).ends_with("were no answers in training too"));
        let popular = won(Some((100, &figure(-0.006, 0.013))));
        assert!(popular.contains("but not on the 100 questions") && popular.contains("(-0.60 to +1.30)"), "{popular}");
        let noise = verdict(&figure(-0.004, 0.016), &sure, 300, None);
        assert!(noise.contains("does not clearly beat") && noise.contains("with 300 test queries only about 1.0 points"), "{noise}");
        let nothing = verdict(&figure(-0.004, 0.016), &figure(-0.01, 0.01), 300, None);
        assert!(nothing.contains("there is too little to learn from these labels"), "{nothing}");
        let worse = verdict(&figure(-0.02, -0.001), &sure, 300, None);
        assert!(worse.contains("does not hold for the test's questions"), "{worse}");
    }
}
