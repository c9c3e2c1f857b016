//! Asking the questions of a set in every way of searching, and measuring what came.

use std::collections::{BTreeMap, BTreeSet};

use super::{Figures, Query, Set, SetReport, SystemReport, Unit, Worst};
use crate::embed::{Embedder, Input, Order, TextKind};
use crate::error::{Error, Result};
use crate::eval::SEED;
use crate::metrics::{self, Judgements};
use crate::progress::Job;
use crate::search::filter::Filter;
use crate::search::{Mode, Options, VectorIndex, Weights, search};
use crate::store::{Chunk, Store};
use crate::train::Projection;

/// The cut of every measure.
pub const CUT: usize = 10;
/// Chunks of a ranking that are folded to units: as many as `scry --limit 100` shows.
pub const DEPTH: usize = 100;
/// What a bad question found is told up to so many units.
const FOUND_SHOWN: usize = 3;

/// What is searched.
pub struct Searched<'a> {
    /// The texts.
    pub store: &'a Store,
    /// The model's own vectors.
    pub base: &'a dyn VectorIndex,
    /// Every projection that is there.
    pub projections: Vec<Projected<'a>>,
    /// What hybrid search is.
    pub joined: Joined,
}

/// A projection and its vectors.
pub struct Projected<'a> {
    /// Its name in the recipe.
    pub name: String,
    /// What the reader should know of it: whether it is published.
    pub note: String,
    /// For the questions.
    pub projection: &'a Projection,
    /// Of the projected vectors.
    pub index: &'a dyn VectorIndex,
}

/// How hybrid search fuses.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    /// Which of the projections joins, by its place in the list.
    pub projection: Option<usize>,
    /// What each retriever counts; the usual if none.
    pub weights: Option<Weights>,
}

/// What every way of searching found: units, best first, for every question in their order.
pub struct Rankings {
    /// The name of each way and what the reader should know of it.
    names: Vec<(String, String)>,
    pub(super) found: Vec<Vec<Vec<String>>>,
}

/// The vectors of the questions, with the model's prompt for queries.
pub fn embed(set: &Set, embedder: &mut Embedder, job: Job<'_>) -> Result<Vec<Vec<f32>>> {
    let mut vectors = Vec::with_capacity(set.queries.len());
    job.progress.begin("embedding", Some(set.queries.len() as u64), "questions");
    let inputs = set.queries.iter().map(|query| Ok(Input::Text(query.text.clone())));
    let name = |number: usize| format!("the question {:?}", set.queries.get(number).map_or("", |query| &query.id));
    embedder.embed(inputs, TextKind::Query, Order::AsGiven, job, name, |_, vector| {
        vectors.push(vector.to_vec());
        Ok(())
    })?;
    job.progress.end("");
    Ok(vectors)
}

impl Searched<'_> {
    /// Asks every question in every way. `vectors` are those of the questions, in their order.
    pub fn rank(&self, set: &Set, vectors: &[Vec<f32>], job: Job<'_>) -> Result<Rankings> {
        if vectors.len() != set.queries.len() {
            return Err(Error::bug(format!("{} vectors are not those of {} questions", vectors.len(), set.queries.len())));
        }
        let mut names = vec![("lexical".to_owned(), String::new()), ("vector".to_owned(), String::new())];
        names.extend(self.projections.iter().map(|projected| (format!("projection:{}", projected.name), projected.note.clone())));
        names.push(("hybrid".to_owned(), self.hybrid_note()));
        let mut found = vec![Vec::with_capacity(set.queries.len()); names.len()];
        job.progress.begin("searching", Some(set.queries.len() as u64), "questions");
        for (query, vector) in set.queries.iter().zip(vectors) {
            job.check()?;
            let projected: Vec<Vec<f32>> = self.projections.iter().map(|one| one.projection.apply(vector)).collect::<Result<_>>()?;
            let third = |at: usize| (self.projections[at].name.as_str(), self.projections[at].index, projected[at].as_slice());
            let base = Some((self.base, vector.as_slice()));
            let ask = |mode, third| self.ask(set, query, mode, base, third);
            let mut all = vec![ask(Mode::Lexical, None)?, ask(Mode::Vector, None)?];
            for at in 0..self.projections.len() {
                all.push(ask(Mode::Vector, Some(third(at)))?);
            }
            all.push(ask(Mode::Hybrid, self.joined.projection.map(third))?);
            found.iter_mut().zip(all).for_each(|(found, units)| found.push(units));
            job.progress.advance(1);
        }
        job.progress.end("");
        Ok(Rankings { names, found })
    }

    fn ask(
        &self,
        set: &Set,
        query: &Query,
        mode: Mode,
        base: Option<(&dyn VectorIndex, &[f32])>,
        third: Option<(&str, &dyn VectorIndex, &[f32])>,
    ) -> Result<Vec<String>> {
        let weights = self.joined.weights;
        let (filter, without) = (Filter { kinds: set.kinds.clone(), ..Filter::default() }, query.without.clone());
        let options = Options { mode, limit: DEPTH, filter, weights, without, fold: false, ..Options::default() };
        let ids: Vec<u64> = search(self.store, base, third, &query.text, &options, None)?.hits.iter().map(|hit| hit.id).collect();
        Ok(folded(query, &self.store.chunks_by_id(&ids)?, set.unit))
    }

    fn hybrid_note(&self) -> String {
        let with = self.joined.projection.map(|at| format!("with the projection {}", self.projections[at].name));
        let weights = self.joined.weights.map(|weights| weights.told(self.joined.projection.is_some()));
        with.into_iter().chain(weights).collect::<Vec<_>>().join(", ")
    }
}

/// The units of chunks that are best first, each once, where its best chunk is.
fn folded(query: &Query, chunks: &[Chunk], unit: Unit) -> Vec<String> {
    let mut seen = BTreeSet::new();
    chunks.iter().map(|chunk| query.unit(chunk, unit)).filter(|unit| seen.insert(unit.clone())).collect()
}

/// Measures by question.
struct Scores {
    ndcg: Vec<f64>,
    mrr: Vec<f64>,
    recall: Vec<f64>,
}

impl Scores {
    fn new(set: &Set, found: &[Vec<String>]) -> Scores {
        let mut scores = Scores { ndcg: Vec::new(), mrr: Vec::new(), recall: Vec::new() };
        for (query, units) in set.queries.iter().zip(found) {
            let judged: Judgements<&str> = query.relevant.iter().map(|unit| (unit.as_str(), 1)).collect();
            let ranked: Vec<&str> = units.iter().map(String::as_str).collect();
            scores.ndcg.push(metrics::ndcg(&ranked, &judged, CUT));
            scores.mrr.push(metrics::reciprocal_rank(&ranked, &judged, CUT));
            scores.recall.push(metrics::recall(&ranked, &judged, CUT));
        }
        scores
    }

    fn minus(&self, other: &Scores) -> Scores {
        let by = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        Scores { ndcg: by(&self.ndcg, &other.ndcg), mrr: by(&self.mrr, &other.mrr), recall: by(&self.recall, &other.recall) }
    }

    fn figures(&self, groups: &[usize]) -> Result<Figures> {
        let by = |values: &[f64]| metrics::bootstrap_mean_by_group(values, groups, SEED);
        Ok(Figures { ndcg_at_10: by(&self.ndcg)?.into(), mrr_at_10: by(&self.mrr)?.into(), recall_at_10: by(&self.recall)?.into() })
    }
}

impl Rankings {
    /// The figures of every way of searching, and the `worst` questions of hybrid search.
    pub fn report(&self, set: &Set, worst: usize) -> Result<SetReport> {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let groups: Vec<usize> = set
            .queries
            .iter()
            .map(|query| {
                let next = numbers.len();
                *numbers.entry(&query.group).or_insert(next)
            })
            .collect();
        let scores: Vec<Scores> = self.found.iter().map(|found| Scores::new(set, found)).collect();
        let Some(hybrid) = scores.last() else { return Err(Error::bug("no way of searching was asked")) };
        let mut systems = Vec::with_capacity(scores.len());
        for (at, ((name, note), own)) in self.names.iter().zip(&scores).enumerate() {
            let against_hybrid = (at + 1 < scores.len()).then(|| own.minus(hybrid).figures(&groups)).transpose()?;
            systems.push(SystemReport { name: name.clone(), note: note.clone(), figures: own.figures(&groups)?, against_hybrid });
        }
        Ok(SetReport {
            name: set.name.clone(),
            about: set.about.clone(),
            queries: set.queries.len(),
            groups: numbers.len(),
            relevant: set.queries.iter().map(|query| query.relevant.len()).sum(),
            hidden_chunks: set.queries.iter().map(|query| query.without.len()).sum(),
            left_out: set.left_out.clone(),
            notes: set.notes.clone(),
            systems,
            worst: self.worst(set, hybrid, worst),
        })
    }

    fn worst(&self, set: &Set, hybrid: &Scores, count: usize) -> Vec<Worst> {
        let Some(found) = self.found.last() else { return Vec::new() };
        let mut order: Vec<usize> = (0..set.queries.len()).collect();
        order.sort_by(|&a, &b| hybrid.ndcg[a].total_cmp(&hybrid.ndcg[b]).then(a.cmp(&b)));
        let one = |&at: &usize| {
            let (query, units) = (&set.queries[at], &found[at]);
            let rank = |unit: &String| units.iter().position(|found| found == unit).map(|place| place + 1);
            Worst {
                id: query.id.clone(),
                query: query.text.clone(),
                ndcg_at_10: hybrid.ndcg[at],
                relevant: query.relevant.iter().map(|unit| (unit.clone(), rank(unit))).collect(),
                found: units.iter().filter(|unit| !query.relevant.contains(*unit)).take(FOUND_SHOWN).cloned().collect(),
            }
        };
        order.iter().take(count).filter(|&&at| hybrid.ndcg[at] < 1.0).map(one).collect()
    }

    /// The name of every way of searching, in the order of the rankings.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }
}

/// Vectors in memory, compared one by one: of what has no index, such as a projection that was not published.
pub struct Flat {
    dimensions: usize,
    ids: Vec<u64>,
    /// Each of length 1, or zeros.
    numbers: Vec<f32>,
}

impl Flat {
    /// Room for vectors of so many numbers.
    pub fn new(dimensions: usize) -> Flat {
        Flat { dimensions, ids: Vec::new(), numbers: Vec::new() }
    }

    /// Adds a vector. Fails if it has not the number of numbers.
    pub fn push(&mut self, id: u64, vector: &[f32]) -> Result<()> {
        self.fits(vector)?;
        self.ids.push(id);
        self.numbers.extend(crate::eval::retrieval::direction(vector));
        Ok(())
    }

    /// Every vector, of length 1 or zeros, in the order in which they were added.
    pub fn each(&self, each: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
        let rows = self.numbers.chunks_exact(self.dimensions.max(1));
        self.ids.iter().zip(rows).try_for_each(|(&id, row)| each(id, row))
    }

    fn fits(&self, vector: &[f32]) -> Result<()> {
        match vector.len() == self.dimensions {
            true => Ok(()),
            false => Err(Error::bug(format!("a vector has {} numbers, expected {}", vector.len(), self.dimensions))),
        }
    }
}

impl VectorIndex for Flat {
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        self.nearest_of(query, k, |_| true)
    }

    fn nearest_among(&self, query: &[f32], k: usize, ids: &[u64]) -> Result<Vec<(u64, f32)>> {
        let ids: BTreeSet<u64> = ids.iter().copied().collect();
        self.nearest_of(query, k, |id| ids.contains(&id))
    }
}

impl Flat {
    fn nearest_of(&self, query: &[f32], k: usize, counts: impl Fn(u64) -> bool) -> Result<Vec<(u64, f32)>> {
        self.fits(query)?;
        let query = crate::eval::retrieval::direction(query);
        let rows = self.ids.iter().zip(self.numbers.chunks_exact(self.dimensions.max(1))).filter(|(id, _)| counts(**id));
        let mut scored: Vec<(u64, f32)> = rows.map(|(&id, row)| (id, crate::eval::retrieval::dot(&query, row))).collect();
        scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scored.truncate(k);
        Ok(scored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(id: &str, relevant: &[&str]) -> Query {
        Query {
            id: id.into(),
            text: format!("about {id}"),
            group: id.into(),
            relevant: relevant.iter().map(|unit| (*unit).to_owned()).collect(),
            without: BTreeSet::new(),
            places: BTreeMap::new(),
        }
    }

    fn set(queries: Vec<Query>) -> Set {
        Set {
            name: "set".into(),
            about: String::new(),
            queries,
            kinds: Vec::new(),
            unit: Unit::File,
            left_out: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn rankings(lexical: &[&[&str]], hybrid: &[&[&str]]) -> Rankings {
        let of = |lists: &[&[&str]]| lists.iter().map(|list| list.iter().map(|unit| (*unit).to_owned()).collect()).collect();
        Rankings { names: vec![("lexical".into(), String::new()), ("hybrid".into(), String::new())], found: vec![of(lexical), of(hybrid)] }
    }

    /// Three questions by hand: the gains at rank r are 1 / log2(r + 1).
    #[test]
    fn figures_are_those_by_hand() {
        let set = set(vec![query("q1", &["a"]), query("q2", &["b", "c"]), query("q3", &["d"])]);
        let found = rankings(&[&["x", "a"], &["b", "x", "c"], &[]], &[&["a"], &["x", "y", "c"], &["x", "d"]]);
        let report = found.report(&set, 2).expect("a report");
        let second = 1.0 / 3f64.log2();
        let ideal = 1.0 + second;
        let close = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
        let [lexical, hybrid] = report.systems.as_slice() else { panic!("two systems") };
        close(lexical.figures.ndcg_at_10.value, (second + 1.5 / ideal + 0.0) / 3.0);
        close(lexical.figures.mrr_at_10.value, (0.5 + 1.0 + 0.0) / 3.0);
        close(lexical.figures.recall_at_10.value, (1.0 + 1.0 + 0.0) / 3.0);
        close(hybrid.figures.ndcg_at_10.value, (1.0 + 0.5 / ideal + second) / 3.0);
        close(hybrid.figures.mrr_at_10.value, (1.0 + 1.0 / 3.0 + 0.5) / 3.0);
        close(hybrid.figures.recall_at_10.value, (1.0 + 0.5 + 1.0) / 3.0);
        let difference = lexical.against_hybrid.expect("a difference");
        close(difference.mrr_at_10.value, (0.5 - 1.0 + 1.0 - 1.0 / 3.0 - 0.5) / 3.0);
        assert_eq!(hybrid.against_hybrid, None);
        assert_eq!((report.queries, report.groups, report.relevant), (3, 3, 4));
        // The worst of hybrid search first; what was found instead is nothing relevant.
        let worst: Vec<(&str, &[String])> = report.worst.iter().map(|worst| (worst.id.as_str(), worst.found.as_slice())).collect();
        assert_eq!(worst, [("q2", ["x".to_owned(), "y".to_owned()].as_slice()), ("q3", ["x".to_owned()].as_slice())]);
        assert_eq!(report.worst[0].relevant, [("b".to_owned(), None), ("c".to_owned(), Some(3))]);
        assert_eq!(found.report(&set, 9).expect("a report").worst.len(), 2, "what is perfect is not among the worst");
    }

    #[test]
    fn a_file_stands_where_its_best_chunk_is() {
        let chunk = |id: u64, path: &str| Chunk {
            id,
            kind: crate::store::Kind::Code,
            path: path.into(),
            line: id as u32,
            end_line: id as u32,
            title: path.into(),
            text: "x".into(),
            date: None,
            group: path.into(),
        };
        let chunks = [chunk(1, "a"), chunk(2, "b"), chunk(3, "a"), chunk(4, "b"), chunk(5, "c")];
        let mut query = query("q", &["a"]);
        assert_eq!(folded(&query, &chunks, Unit::File), ["a", "b", "c"]);
        query.places.insert(4, "b:4".into());
        assert_eq!(folded(&query, &chunks, Unit::File), ["a", "b", "b:4", "c"], "a place is a unit of its own");
        query.places.insert(5, "f".into());
        assert_eq!(folded(&query, &chunks, Unit::Chunk), ["a:1", "b:2", "a:3", "b:4", "f"]);
    }

    #[test]
    fn vectors_in_memory_are_found_by_cosine() {
        let mut flat = Flat::new(2);
        for (id, vector) in [(7, [2.0, 0.0]), (3, [0.0, 5.0]), (5, [1.0, 1.0]), (4, [9.0, 0.0])] {
            flat.push(id, &vector).expect("fits");
        }
        let found = flat.nearest(&[1.0, 0.1], 3).expect("found");
        assert_eq!(found.iter().map(|pair| pair.0).collect::<Vec<_>>(), [4, 7, 5], "equal ones by id");
        assert!((f64::from(found[0].1) - 1.0 / 1.01f64.sqrt()).abs() < 1e-6);
        assert!(flat.push(1, &[1.0]).is_err() && flat.nearest(&[1.0], 1).is_err());
    }
}
