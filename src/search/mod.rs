//! From a question to the chunks that answer it: lexical search, vectors and projections, fused.
//!
//! The question is embedded by the caller; nothing here knows a model. [`Mode`] says which retrievers run:
//!
//! | mode | without a projection | with a projection |
//! |---|---|---|
//! | hybrid | lexical + raw vectors | lexical + raw vectors + projection; the two vector lists share the vectors' weight, unless other weights are given |
//! | vector | raw vectors | the projection alone |
//! | lexical | lexical | lexical; the projection is not looked at |
//!
//! What a [`Filter`] does not let pass is ranked by nobody. Of what is found, texts that nearly agree are folded into the best of them, and
//! the first results can be put in the order of a [`Scorer`] that reads question and text together.

pub mod filter;
mod fold;
pub mod fusion;
pub mod language;
pub mod lexical;
pub mod snippet;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Serialize, Serializer};

use filter::{Allowed, Filter, FilterReport};
use fold::{Fold, Folded};
pub use fold::{MIN_SHINGLES, NEAR, SHINGLE_WORDS};
pub use fusion::{By, Explain, FUSED_DEPTH};
use fusion::{Fused, RankedList, Scale, fuse};
use snippet::{Wanted, printable};
pub use weights::{LEXICAL_WEIGHT, VECTOR_WEIGHT, Weights};

use crate::error::{Error, Result};
use crate::index::{EXACT_LIMIT, Index, Source};
use crate::store::{Chunk, Kind, Store};

/// Where the first [`FUSED_DEPTH`] of the lists give too few results, they are read deeper and deeper, but no deeper than this.
pub const MAX_DEPTH: usize = 20_000;
/// Where a filter lets no more chunks pass than this, the question is compared with each of them: the top of a list that others fill would
/// hold few of them or none. As many as an index of vectors compares whole.
pub const FILTERED_EXACT: usize = EXACT_LIMIT;
/// So many of the first that were found are looked at for what says the same, however few are shown: their texts are read.
const FOLDED_DEPTH: usize = 500;
/// Texts that are read at a time.
const TEXTS: usize = 50;
/// The most results of one search.
pub const MAX_LIMIT: usize = 1000;
/// Folded results that are named; [`Hit::duplicates`] counts all of them.
pub const MAX_FOLDED_NAMED: usize = 100;

/// An index of vectors by cosine similarity, as search needs it.
pub trait VectorIndex {
    /// The `k` nearest vectors to `query`, best first, as (chunk id, cosine similarity); fewer if there are fewer. An error if `query`
    /// has not the index's number of dimensions.
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>>;

    /// Like [`nearest`](VectorIndex::nearest) of the vectors of these ids (each once, in any order), each of which is compared: none is
    /// missed. An id without a vector is passed over.
    fn nearest_among(&self, query: &[f32], k: usize, ids: &[u64]) -> Result<Vec<(u64, f32)>>;
}

impl VectorIndex for Index {
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        self.search(query, k)
    }

    fn nearest_among(&self, query: &[f32], k: usize, ids: &[u64]) -> Result<Vec<(u64, f32)>> {
        self.search_kept(query, k, ids)
    }
}

/// An index and the vectors that it was made from: what an index in fewer bits finds is compared again with them.
pub struct Exact<'a, S: Source + ?Sized> {
    /// The index.
    pub index: &'a Index,
    /// The vectors.
    pub vectors: &'a S,
}

impl<S: Source + ?Sized> VectorIndex for Exact<'_, S> {
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        self.index.search_again(query, k, self.vectors)
    }

    fn nearest_among(&self, query: &[f32], k: usize, ids: &[u64]) -> Result<Vec<(u64, f32)>> {
        self.index.search_among(query, k, ids, self.vectors)
    }
}

/// Reads a question and a text together and says how well the text answers: slower than comparing vectors, and better at it.
pub trait Scorer {
    /// A score for each text, in their order; higher is better. They are comparable for one question alone.
    fn scores(&mut self, question: &str, texts: &[String]) -> Result<Vec<f64>>;
}

/// What reranks, and how much of what was found it reads.
pub struct Reranking<'a> {
    /// What scores.
    pub scorer: &'a mut dyn Scorer,
    /// The best so many results are scored, and stand before all others.
    pub candidates: usize,
}

/// Which retrievers are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Words and vectors, fused.
    #[default]
    Hybrid,
    /// Vectors only.
    Vector,
    /// Words only; needs no model and no index.
    Lexical,
}

impl Mode {
    /// Every mode, the default first.
    pub const ALL: [Mode; 3] = [Mode::Hybrid, Mode::Vector, Mode::Lexical];

    /// The word on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Hybrid => "hybrid",
            Mode::Vector => "vector",
            Mode::Lexical => "lexical",
        }
    }

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// How to search.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which retrievers are asked.
    pub mode: Mode,
    /// The most results; at most [`MAX_LIMIT`] are given.
    pub limit: usize,
    /// What chunks must be.
    pub filter: Filter,
    /// Whether results that say the same as a better one are folded into it.
    pub fold: bool,
    /// Whether results say what each retriever thought of them.
    pub explain: bool,
    /// What each retriever's votes count in hybrid mode; [`Weights::usual`] if nothing is given.
    pub weights: Option<Weights>,
    /// Chunks that are not to be found: an evaluation's question must not find the text that it was taken from.
    pub without: BTreeSet<u64>,
}

impl Default for Options {
    fn default() -> Options {
        let (weights, without) = (None, BTreeSet::new());
        Options { mode: Mode::Hybrid, limit: 10, filter: Filter::default(), fold: true, explain: false, weights, without }
    }
}

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The results, best first.
    pub hits: Vec<Hit>,
    /// Which retrievers were asked.
    pub retrievers: Vec<Asked>,
    /// What the filter let pass, if there was one.
    pub filter: Option<FilterReport>,
    /// How many results were scored again; none where nothing reranked.
    pub reranked: Option<usize>,
}

/// A retriever that was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Asked {
    /// Its name: `lexical`, `vector`, or `projection:NAME`.
    pub retriever: String,
    /// What one of its votes counts in fusion.
    pub weight: f64,
    /// How many chunks it gave.
    pub found: usize,
}

/// One result. All texts are safe to print on a terminal ([`snippet::printable`]).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// The chunk's id; sixteen hexadecimal digits in JSON, whose readers often cannot hold 63 bits.
    #[serde(serialize_with = "as_hex")]
    pub id: u64,
    /// What the chunk was cut from.
    pub kind: Kind,
    /// The file, relative to the project; for a commit its hash.
    pub path: String,
    /// The line of the file that the snippet begins at, from 1; 0 for a commit.
    pub line: u32,
    /// The last line of the chunk, from 1; 0 for a commit.
    pub end_line: u32,
    /// When it was written, if known.
    pub date: Option<String>,
    /// Heading path, commit subject or file.
    pub title: String,
    /// The lines that answer best, with line feeds between.
    pub snippet: String,
    /// Where the question's words are in the snippet, in bytes; not in JSON.
    #[serde(skip)]
    pub marks: Vec<Range<usize>>,
    /// Higher is better. The sum of the fusion in hybrid mode, else the one retriever's own: cosine similarity or BM25.
    pub score: f64,
    /// The score of what read question and text together, if it read this one; such results stand first, in the order of this score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<Reranked>,
    /// How many worse results that say the same are folded into this one.
    pub duplicates: usize,
    /// The first [`MAX_FOLDED_NAMED`] of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folded: Vec<Twin>,
    /// What each retriever that found it says; empty, and not in JSON, unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub explain: Vec<Explain>,
}

/// What a reranker made of a result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reranked {
    /// Its score.
    pub score: f64,
    /// The rank that the result had before, from 1.
    pub from: usize,
}

/// A result that is folded into a better one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Twin {
    /// The chunk's id, as [`Hit::id`].
    #[serde(serialize_with = "as_hex")]
    pub id: u64,
    /// The file, relative to the project; for a commit its hash.
    pub path: String,
    /// The first line of the chunk, from 1; 0 for a commit.
    pub line: u32,
    /// How much of their word shingles the two share, from [`NEAR`] to 1; 1 for equal texts.
    pub agreement: f64,
}

/// Searches; results are best first, and the same for the same store and indexes, however many are asked for.
///
/// `base` is the index of raw vectors and the question's vector, `projection` the name of a projection, its index and the
/// question's projected vector. Vectors whose chunk the store does not have are passed over: whether an index is stale is the
/// caller's to check before. A mode that needs an index that was not given is an error of kind
/// [`Missing`](crate::error::ErrorKind::Missing), never a silent substitute; an empty question one of kind
/// [`Usage`](crate::error::ErrorKind::Usage).
pub fn search(
    store: &Store,
    base: Option<(&dyn VectorIndex, &[f32])>,
    projection: Option<(&str, &dyn VectorIndex, &[f32])>,
    text: &str,
    options: &Options,
    reranking: Option<Reranking<'_>>,
) -> Result<Answer> {
    if text.trim().is_empty() {
        return Err(Error::usage("the question is empty").hint("ask in plain words: patina scry \"how are sessions scraped?\""));
    }
    let terms = lexical::terms(text);
    let weights = options.weights.unwrap_or(Weights::usual(projection.is_some()));
    let retrievers = retrievers(base, projection, lexical::match_expression(&terms), options.mode, &weights)?;
    let limit = options.limit.min(MAX_LIMIT);
    let candidates = reranking.as_ref().map_or(0, |reranking| reranking.candidates);
    let wanted = limit.max(candidates);
    let allowed = options.filter.allowed(store)?;
    let mut depth = FUSED_DEPTH;
    let (mut found, asked) = loop {
        let lists: Vec<List> = retrievers.iter().map(|retriever| retriever.list(store, depth, allowed.as_ref())).collect::<Result<_>>()?;
        let exhausted = lists.iter().all(|list| list.exhausted) || depth >= MAX_DEPTH;
        let lists: Vec<RankedList> = lists.into_iter().map(|list| list.ranked).collect();
        let asked = lists.iter().map(Asked::of).collect();
        let found = Found::new(store, lists, weights.by, options, wanted)?;
        if found.results.len() >= wanted || exhausted {
            break (found, asked);
        }
        depth = (depth * 4).min(MAX_DEPTH);
    };
    let reranked = match reranking {
        Some(reranking) => Some(found.rerank(text, reranking)?),
        None => None,
    };
    let hits = found.hits(&Wanted::new(&terms), limit, options);
    Ok(Answer { hits, retrievers: asked, filter: allowed.map(|allowed| allowed.report), reranked })
}

/// What each retriever finds for a question, of what a filter allows: words, vectors, and the projection if there is one, as [`search`]
/// fuses them. Their weights are for the caller to say.
///
/// # Errors
/// As [`search`].
pub fn lists(
    store: &Store,
    base: (&dyn VectorIndex, &[f32]),
    projection: Option<(&str, &dyn VectorIndex, &[f32])>,
    text: &str,
    allowed: Option<&Allowed>,
) -> Result<Vec<RankedList>> {
    let weights = Weights { lexical: 1.0, vector: 1.0, projection: 1.0, by: By::Scores };
    let expression = lexical::match_expression(&lexical::terms(text));
    let retrievers = retrievers(Some(base), projection, expression, Mode::Hybrid, &weights)?;
    retrievers.iter().map(|retriever| Ok(retriever.list(store, FUSED_DEPTH, allowed)?.ranked)).collect()
}

impl Asked {
    fn of(list: &RankedList) -> Asked {
        Asked { retriever: list.retriever.clone(), weight: list.weight, found: list.items.len() }
    }
}

/// One source of a ranked list.
enum Retriever<'a> {
    Lexical { weight: f64, expression: Option<String> },
    Vector { name: String, weight: f64, index: &'a dyn VectorIndex, query: &'a [f32] },
}

fn retrievers<'a>(
    base: Option<(&'a dyn VectorIndex, &'a [f32])>,
    projection: Option<(&str, &'a dyn VectorIndex, &'a [f32])>,
    expression: Option<String>,
    mode: Mode,
    weights: &Weights,
) -> Result<Vec<Retriever<'a>>> {
    let raw = |weight| match base {
        Some((index, query)) => Ok(Retriever::Vector { name: "vector".to_owned(), weight, index, query }),
        None => Err(Error::missing(format!("there is no index of vectors, which {} search needs", mode.name()))
            .hint("run `patina oxidize`, or search words only with `--mode lexical`")),
    };
    let projected =
        |weight| projection.map(|(name, index, query)| Retriever::Vector { name: format!("projection:{name}"), weight, index, query });
    Ok(match mode {
        Mode::Lexical => vec![Retriever::Lexical { weight: weights.lexical, expression }],
        // Alone a list's weight makes no difference.
        Mode::Vector => match projected(VECTOR_WEIGHT) {
            Some(projected) => vec![projected],
            None => vec![raw(VECTOR_WEIGHT)?],
        },
        Mode::Hybrid => {
            let mut retrievers = vec![Retriever::Lexical { weight: weights.lexical, expression }, raw(weights.vector)?];
            retrievers.extend(projected(weights.projection));
            retrievers.retain(|retriever| retriever.weight() > 0.0);
            retrievers
        }
    })
}

/// What a retriever gave.
struct List {
    ranked: RankedList,
    /// There is no more to be had from it.
    exhausted: bool,
}

impl Retriever<'_> {
    fn weight(&self) -> f64 {
        match self {
            Retriever::Lexical { weight, .. } | Retriever::Vector { weight, .. } => *weight,
        }
    }

    /// The best `depth` chunks, of those that are allowed if not all are.
    fn list(&self, store: &Store, depth: usize, allowed: Option<&Allowed>) -> Result<List> {
        let (retriever, scale, items) = match self {
            Retriever::Lexical { expression, .. } => {
                let items = match (expression, allowed) {
                    (None, _) => Vec::new(),
                    (Some(expression), None) => store.lexical(expression, depth)?,
                    (Some(expression), Some(allowed)) => store.lexical_among(expression, depth, |id| allowed.has(id))?,
                };
                ("lexical".to_owned(), Scale::FromZero, items)
            }
            Retriever::Vector { name, index, query, .. } => {
                let items = match allowed {
                    None => index.nearest(query, depth)?,
                    Some(allowed) => nearest_allowed(*index, query, depth, allowed, FILTERED_EXACT)?,
                };
                (name.clone(), Scale::Spread, items.into_iter().map(|(id, score)| (id, f64::from(score))).collect())
            }
        };
        let exhausted = items.len() < depth;
        Ok(List { ranked: RankedList { retriever, weight: self.weight(), scale, items }, exhausted })
    }
}

/// The best `depth` vectors of the allowed chunks: all that there are, if there are fewer. Up to `exact` allowed chunks are compared each.
fn nearest_allowed(index: &dyn VectorIndex, query: &[f32], depth: usize, allowed: &Allowed, exact: usize) -> Result<Vec<(u64, f32)>> {
    let mut read = depth;
    while allowed.ids.len() > exact && read <= MAX_DEPTH {
        let mut found = index.nearest(query, read)?;
        // A graph need not lead to every vector: a list that ends early says nothing of what is not in it.
        let ended = found.len() < read;
        found.retain(|(id, _)| allowed.has(*id));
        if found.len() >= depth {
            found.truncate(depth);
            return Ok(found);
        }
        if ended {
            break;
        }
        read = read.saturating_mul(4);
    }
    // So few pass, or they stand so far down, that comparing each of them is the way to miss none.
    index.nearest_among(query, depth, &allowed.ids)
}

/// What the retrievers found that the store has, with what says the same folded.
struct Found {
    /// Best first.
    results: Vec<Candidate>,
    /// By id: every result's.
    chunks: BTreeMap<u64, Chunk>,
}

/// A result before it is shown.
struct Candidate {
    fused: Fused,
    duplicates: usize,
    folded: Vec<Twin>,
    rerank: Option<Reranked>,
}

impl Found {
    /// The first `wanted` results, if there are so many. Of what nobody is shown or folds no text is read.
    fn new(store: &Store, mut lists: Vec<RankedList>, by: By, options: &Options, wanted: usize) -> Result<Found> {
        let mut ids: Vec<u64> = lists.iter().flat_map(|list| list.items.iter().map(|(id, _)| *id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !options.without.contains(id));
        let present = store.present(&ids)?;
        for list in &mut lists {
            list.items.retain(|(id, _)| present.contains(id));
        }
        let all = fuse(&lists, by);
        let mut chunks: BTreeMap<u64, Chunk> = BTreeMap::new();
        let mut results: Vec<Candidate> = Vec::new();
        let mut fold = Fold::default();
        let folded = if options.fold { FOLDED_DEPTH } else { 0 };
        let order: Vec<u64> = all.iter().map(|fused| fused.id).collect();
        for (at, mut fused) in all.into_iter().enumerate() {
            if at >= folded && results.len() >= wanted {
                break;
            }
            if at % TEXTS == 0 {
                let next = &order[at..order.len().min(at + TEXTS)];
                chunks.extend(store.chunks_by_id(next)?.into_iter().map(|chunk| (chunk.id, chunk)));
            }
            let Some(chunk) = chunks.get(&fused.id) else { continue };
            if let [only] = fused.explain.as_slice()
                && options.mode != Mode::Hybrid
            {
                fused.score = only.score;
            }
            // No deeper, whatever is shown: what a result counts as its twins must not depend on that.
            if at < folded
                && let Folded::Into { kept, agreement } = fold.add(&chunk.text)
            {
                let result = &mut results[kept];
                result.duplicates += 1;
                if result.folded.len() < MAX_FOLDED_NAMED {
                    result.folded.push(Twin { id: chunk.id, path: printable(&chunk.path), line: chunk.line, agreement });
                }
                continue;
            }
            results.push(Candidate { fused, duplicates: 0, folded: Vec::new(), rerank: None });
        }
        Ok(Found { results, chunks })
    }

    /// Puts the first candidates in the order of their scores, equal ones as they were; gives their number.
    fn rerank(&mut self, question: &str, Reranking { scorer, candidates }: Reranking<'_>) -> Result<usize> {
        let number = candidates.min(self.results.len());
        let candidates = &mut self.results[..number];
        let texts: Vec<String> = candidates.iter().map(|result| self.chunks[&result.fused.id].embed_text()).collect();
        let scores = scorer.scores(question, &texts)?;
        if scores.len() != number {
            return Err(Error::bug(format!("the reranker gave {} scores for {number} texts", scores.len())));
        }
        for ((from, result), score) in (1..).zip(candidates.iter_mut()).zip(scores) {
            result.rerank = Some(Reranked { score, from });
        }
        let score = |result: &Candidate| result.rerank.map_or(f64::NEG_INFINITY, |rerank| rerank.score);
        candidates.sort_by(|a, b| score(b).total_cmp(&score(a)));
        Ok(number)
    }

    fn hits(self, wanted: &Wanted, limit: usize, options: &Options) -> Vec<Hit> {
        let hit = |Candidate { fused, duplicates, folded, rerank }: Candidate| {
            let chunk = self.chunks.get(&fused.id)?;
            let shown = snippet::snippet(&chunk.text, wanted);
            Some(Hit {
                id: chunk.id,
                kind: chunk.kind,
                path: printable(&chunk.path),
                line: line_in_file(chunk, shown.first),
                end_line: chunk.end_line,
                date: chunk.date.as_deref().map(printable),
                title: printable(&chunk.title),
                snippet: shown.text,
                marks: shown.marks,
                score: fused.score,
                rerank,
                duplicates,
                folded,
                explain: if options.explain { fused.explain } else { Vec::new() },
            })
        };
        self.results.into_iter().take(limit).filter_map(hit).collect()
    }
}

/// The line of the file that line `offset` (from 0) of the chunk's text is. A text of fewer lines than the chunk has lost those at
/// its beginning (the heading).
fn line_in_file(chunk: &Chunk, offset: usize) -> u32 {
    if chunk.line == 0 {
        return 0;
    }
    let span = chunk.end_line.saturating_sub(chunk.line).saturating_add(1);
    let lost = span.saturating_sub(u32::try_from(chunk.text.lines().count()).unwrap_or(u32::MAX));
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    chunk.line.saturating_add(lost).saturating_add(offset).min(chunk.end_line.max(chunk.line))
}

fn as_hex<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{id:016x}"))
}
