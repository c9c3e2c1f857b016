//! From a question to the chunks that answer it: lexical search, vectors and projections, fused.
//!
//! The question is embedded by the caller; nothing here knows a model. [`Mode`] says which retrievers run:
//!
//! | mode | without a projection | with a projection |
//! |---|---|---|
//! | hybrid | lexical + raw vectors | lexical + raw vectors + projection; the two vector lists share the vectors' weight, unless other weights are given |
//! | vector | raw vectors | the projection alone |
//! | lexical | lexical | lexical; the projection is not looked at |

pub mod fusion;
pub mod lexical;
pub mod snippet;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

pub use fusion::{By, Explain};
use fusion::{Fused, RankedList, Scale, fuse};
use snippet::{Wanted, printable};
pub use weights::{LEXICAL_WEIGHT, VECTOR_WEIGHT, Weights};

use crate::error::{Error, Result};
use crate::index::{Index, Source};
use crate::store::{Chunk, Kind, Store};

/// How far down each retriever's list is read, at least.
pub const DEPTH: usize = 100;
/// How far down each retriever's list is read, for each result that was asked for.
pub const DEPTH_PER_RESULT: usize = 5;
/// With a filter that little passes, lists are read deeper and deeper, but no deeper than this.
pub const MAX_DEPTH: usize = 20_000;
/// The most results of one search.
pub const MAX_LIMIT: usize = 1000;
/// An index of vectors by cosine similarity, as search needs it.
pub trait VectorIndex {
    /// The `k` nearest vectors to `query`, best first, as (chunk id, cosine similarity); fewer if there are fewer. An error if `query`
    /// has not the index's number of dimensions.
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>>;
}

impl VectorIndex for Index {
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        self.search(query, k)
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
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Which retrievers are asked.
    pub mode: Mode,
    /// The most results; at most [`MAX_LIMIT`] are given.
    pub limit: usize,
    /// Only these kinds; all if empty.
    pub kinds: Vec<Kind>,
    /// Whether results say what each retriever thought of them.
    pub explain: bool,
    /// What each retriever's votes count in hybrid mode; [`Weights::usual`] if nothing is given.
    pub weights: Option<Weights>,
    /// Chunks that are not to be found: an evaluation's question must not find the text that it was taken from.
    pub without: BTreeSet<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options { mode: Mode::Hybrid, limit: 10, kinds: Vec::new(), explain: false, weights: None, without: BTreeSet::new() }
    }
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
    /// Higher is better. The sum of the fusion in hybrid mode, else the one retriever's own: cosine similarity or BM25.
    pub score: f64,
    /// How many worse results with the same text are folded into this one.
    pub duplicates: usize,
    /// What each retriever that found it says; empty, and not in JSON, unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub explain: Vec<Explain>,
}

/// Searches; results are best first, and the same for the same store and indexes.
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
) -> Result<Vec<Hit>> {
    if text.trim().is_empty() {
        return Err(Error::usage("the question is empty").hint("ask in plain words: patina scry \"how are sessions scraped?\""));
    }
    let terms = lexical::terms(text);
    let weights = options.weights.unwrap_or(Weights::usual(projection.is_some()));
    let retrievers = retrievers(base, projection, lexical::match_expression(&terms), options.mode, &weights)?;
    let limit = options.limit.min(MAX_LIMIT);
    let wanted = Wanted::new(&terms);
    let mut depth = DEPTH.max(limit * DEPTH_PER_RESULT);
    loop {
        let lists: Vec<RankedList> = retrievers.iter().map(|retriever| retriever.list(store, depth)).collect::<Result<_>>()?;
        let exhausted = lists.iter().all(|list| list.items.len() < depth) || depth >= MAX_DEPTH;
        let found = Found::new(store, lists, weights.by, options)?;
        if found.fused.len() >= limit || exhausted {
            return Ok(found.hits(&wanted, limit, options));
        }
        depth = (depth * 4).min(MAX_DEPTH);
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

impl Retriever<'_> {
    fn weight(&self) -> f64 {
        match self {
            Retriever::Lexical { weight, .. } | Retriever::Vector { weight, .. } => *weight,
        }
    }

    fn list(&self, store: &Store, depth: usize) -> Result<RankedList> {
        Ok(match self {
            Retriever::Lexical { weight, expression } => {
                let items = expression.as_deref().map_or(Ok(Vec::new()), |expression| store.lexical(expression, depth))?;
                RankedList { retriever: "lexical".to_owned(), weight: *weight, scale: Scale::FromZero, items }
            }
            Retriever::Vector { name, weight, index, query } => {
                let items = index.nearest(query, depth)?.into_iter().map(|(id, score)| (id, f64::from(score))).collect();
                RankedList { retriever: name.clone(), weight: *weight, scale: Scale::Spread, items }
            }
        })
    }
}

/// What the retrievers found that the store has and the filter lets pass, equal texts folded.
struct Found {
    /// Best first, with the number of worse ones of the same text.
    fused: Vec<(Fused, usize)>,
    chunks: BTreeMap<u64, Chunk>,
}

impl Found {
    fn new(store: &Store, mut lists: Vec<RankedList>, by: By, options: &Options) -> Result<Found> {
        let mut ids: Vec<u64> = lists.iter().flat_map(|list| list.items.iter().map(|(id, _)| *id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let passes =
            |chunk: &Chunk| (options.kinds.is_empty() || options.kinds.contains(&chunk.kind)) && !options.without.contains(&chunk.id);
        let chunks: BTreeMap<u64, Chunk> =
            store.chunks_by_id(&ids)?.into_iter().filter(|chunk| passes(chunk)).map(|chunk| (chunk.id, chunk)).collect();
        for list in &mut lists {
            list.items.retain(|(id, _)| chunks.contains_key(id));
        }
        let mut fused: Vec<(Fused, usize)> = Vec::new();
        let mut texts: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for mut found in fuse(&lists, by) {
            let Some(chunk) = chunks.get(&found.id) else { continue };
            if let [only] = found.explain.as_slice()
                && options.mode != Mode::Hybrid
            {
                found.score = only.score;
            }
            match texts.get(&same_text(&chunk.text)) {
                Some(&first) => fused[first].1 += 1,
                None => {
                    texts.insert(same_text(&chunk.text), fused.len());
                    fused.push((found, 0));
                }
            }
        }
        Ok(Found { fused, chunks })
    }

    fn hits(self, wanted: &Wanted, limit: usize, options: &Options) -> Vec<Hit> {
        let hit = |(found, duplicates): (Fused, usize)| {
            let chunk = self.chunks.get(&found.id)?;
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
                score: found.score,
                duplicates,
                explain: if options.explain { found.explain } else { Vec::new() },
            })
        };
        self.fused.into_iter().take(limit).filter_map(hit).collect()
    }
}

/// Equal texts whatever their spaces: copies of a template, a file that is there twice.
fn same_text(text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in text.split_whitespace() {
        hash.update(word.as_bytes());
        hash.update(b" ");
    }
    hash.finalize().into()
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
