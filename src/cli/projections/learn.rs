//! From the project's structure to a trained projection and its verdict.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Ground, Outcome};
use crate::cli::report::count;
use crate::error::{Error, Result};
use crate::pairs::{self, Fractions, Material, Pair, Pairs, QUESTION_BIT, SMALL_GROUPS, Split, TooLittle};
use crate::progress::Job;
use crate::recipe::{Architecture as RecipeArchitecture, FusionPlan, Loss as RecipeLoss, PairSource, ProjectionPlan, Sides as RecipeSides};
use crate::search::fusion::{RankedList, Scale, fuse};
use crate::search::{Weights, lexical};
use crate::store::{CO_CHANGE_MAX_FILES, CallEdge, Chunk, Commit, Store, Symbol};
use crate::train::{
    Architecture, Fold, Found, History, Lesson, Loss, Mining, Projection, Related, RowPair, Sides, TrainConfig, Trial, Vectors, judge,
    train,
};

// The gate's room comes before that of search and cannot ask it.
const _: () = assert!(crate::train::FUSED_DEPTH == crate::search::FUSED_DEPTH, "the gate fuses as deep as search does");

/// How many times deeper words are searched than chunks per candidate ask for, before all that match are looked through.
const DEEPER: usize = 2;

/// Why calls are compared with no table. Of functions that are scraped it is exact, and a projection has nothing to add; of those that
/// are not, which the held-out ones stand for, it knows nothing, and to beat it there proves nothing.
const NO_TABLE: &str = "no table: held-out functions are as if they had not been scraped";

/// Trains and judges; the projection, published or not, if there was enough to train on. What there is to say goes into `outcome`.
pub(super) fn learn(plan: &ProjectionPlan, ground: &Ground<'_>, outcome: &mut Outcome, job: Job<'_>) -> Result<Option<Projection>> {
    let Known { commits, symbols, edges } = Known::of(plan, ground.store)?;
    let material = Material { chunks: &ground.sample.chunks, commits: &commits, symbols: &symbols, edges: &edges };
    let made = pairs::make(&plan.pairs, &material);
    let splits = match split(&made, plan.seed) {
        Ok(splits) => splits,
        Err(too_little) => {
            outcome.reason = format!("not trained: {too_little}{}", missing(plan, &material, &made));
            return Ok(None);
        }
    };
    let chunks: Vec<&Chunk> = ground.sample.chunks.iter().chain(&made.questions).collect();
    for split in &splits {
        pairs::check_units(split, chunks.iter().copied(), made.unit)?;
    }
    outcome.questions = made.questions.len();
    let class = Class::new(plan, ground, &made, chunks, &commits, &symbols)?;
    class.learn(&splits, outcome, job)
}

/// What pairs are made of beside chunks, as far as this plan needs it.
struct Known {
    commits: Vec<Commit>,
    symbols: Vec<Symbol>,
    edges: Vec<CallEdge>,
}

impl Known {
    fn of(plan: &ProjectionPlan, store: &Store) -> Result<Known> {
        let needs_code = plan.pairs.iter().any(|source| *source != PairSource::Temporal);
        let needs_calls = plan.pairs.contains(&PairSource::Dependency);
        Ok(Known {
            commits: store.commits()?,
            symbols: if needs_code { store.symbols()? } else { Vec::new() },
            edges: if needs_calls { store.call_edges()? } else { Vec::new() },
        })
    }
}

/// The sessions, files and commits of all pairs that a projection of this plan is trained on or stopped by, if it is trained on what is in
/// the store now; `published` says which one that is, as [`Class::learn`] has it. A pair teaches of its whole group: what stands beside it in
/// the same session was pulled along.
pub(in crate::cli) fn trained_on(plan: &ProjectionPlan, store: &Store, published: bool) -> Result<BTreeSet<String>> {
    let chunks = store.sample(super::MOST_CHUNKS)?;
    let Known { commits, symbols, edges } = Known::of(plan, store)?;
    let made = pairs::make(&plan.pairs, &Material { chunks: &chunks, commits: &commits, symbols: &symbols, edges: &edges });
    let Ok(splits) = split(&made, plan.seed) else { return Ok(BTreeSet::new()) };
    // In folds the last training, of what is published, is on all of them.
    let (first, all) = (&splits[0], splits.len() > 1 && published);
    let tested = first.test.iter().filter(|_| all);
    let known = first.train.iter().chain(&first.validation).chain(tested);
    let ids: HashSet<u64> = known.flat_map(|pair| [pair.anchor, pair.positive]).collect();
    Ok(chunks.iter().chain(&made.questions).filter(|chunk| ids.contains(&chunk.id)).map(|chunk| chunk.group.clone()).collect())
}

/// Several splits of a small project, else one.
fn split(made: &Pairs, seed: u64) -> Result<Vec<Split>, TooLittle> {
    let components: BTreeSet<&str> = made.pairs.iter().map(|pair| pair.group.as_str()).collect();
    // Where a table is compared with, time must be cut.
    if components.len() < SMALL_GROUPS && !made.is_temporal() {
        pairs::folds(&made.pairs, seed)
    } else {
        made.split(seed, Fractions::default()).map(|split| vec![split])
    }
}

/// What the kind of pairs lacks, if there are none at all.
fn missing(plan: &ProjectionPlan, material: &Material<'_>, made: &Pairs) -> String {
    if !made.pairs.is_empty() {
        return String::new();
    }
    let texts: HashSet<&str> = material.chunks.iter().map(|chunk| chunk.text.trim()).collect();
    if material.chunks.len() > 1 && texts.len() == 1 {
        return "; all texts are the same".to_owned();
    }
    match plan.pairs[..] {
        [PairSource::Temporal] => {
            let paths: HashSet<&str> = material.chunks.iter().map(|chunk| chunk.path.as_str()).collect();
            let indexed = |commit: &&Commit| commit.files.iter().any(|file| paths.contains(file.as_str()));
            let (all, here) = (material.commits.len(), material.commits.iter().filter(indexed).count());
            format!(
                "; of {} commits {} touch an indexed file, and no two of those files changed together twice in commits of at most \
                 {CO_CHANGE_MAX_FILES} files",
                count(all as u64),
                count(here as u64)
            )
        }
        [PairSource::Dependency] => format!(
            "; {} symbols and {} calls between them are known, and none leads from one indexed function to another",
            count(material.symbols.len() as u64),
            count(material.edges.len() as u64)
        ),
        _ => String::new(),
    }
}

/// Everything that training and judging look at.
struct Class<'a> {
    plan: &'a ProjectionPlan,
    ground: &'a Ground<'a>,
    chunks: Vec<&'a Chunk>,
    vectors: Vectors,
    /// Row by row: the number of its group.
    groups: Vec<usize>,
    /// What belongs together beyond the pairs: rows, and numbers of groups.
    kin: [Vec<(usize, usize)>; 2],
    /// Rows that are searched.
    candidates: Vec<usize>,
    /// Chunks of the store for each of them: more than one where only a sample of the chunks, or only some of them, are searched.
    stored: usize,
    commits: &'a [Commit],
    made: &'a Pairs,
}

impl<'a> Class<'a> {
    fn new(
        plan: &'a ProjectionPlan,
        ground: &'a Ground<'a>,
        made: &'a Pairs,
        chunks: Vec<&'a Chunk>,
        commits: &'a [Commit],
        symbols: &[Symbol],
    ) -> Result<Class<'a>> {
        let texts: Vec<String> = made.questions.iter().map(|question| question.text.clone()).collect();
        let asked = if texts.is_empty() { Vec::new() } else { (ground.embed)(&texts)? };
        if asked.len() != texts.len() {
            return Err(Error::bug(format!("{} questions have {} vectors", texts.len(), asked.len())));
        }
        let questions = made.questions.iter().map(|question| question.id).zip(asked.iter().map(Vec::as_slice));
        let all: Vec<(u64, &[f32])> = ground.sample.vectors.iter().map(|(id, vector)| (*id, vector.as_slice())).chain(questions).collect();
        let vectors = Vectors::new(plan.input, &all)?;
        let by_id: HashMap<u64, &Chunk> = chunks.iter().map(|chunk| (chunk.id, *chunk)).collect();
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut groups = Vec::with_capacity(vectors.len());
        for row in 0..vectors.len() {
            let name = by_id.get(&vectors.id_of(row)).map_or("", |chunk| chunk.group.as_str());
            let next = numbers.len();
            groups.push(*numbers.entry(name).or_insert(next));
        }
        let rows = |ids: &BTreeSet<(u64, u64)>| -> Vec<(usize, usize)> {
            ids.iter().filter_map(|&(a, b)| Some((vectors.row_of(a)?, vectors.row_of(b)?))).collect()
        };
        let kin_groups = rows(&made.kin.groups).into_iter().map(|(a, b)| (groups[a], groups[b])).collect();
        let kin = [rows(&made.kin.chunks), kin_groups];
        // What a table answers is searched among what it knows: files, or functions.
        let wanted: Option<HashSet<u64>> = match plan.pairs[..] {
            [PairSource::Temporal] => Some(made.firsts.values().copied().collect()),
            [PairSource::Dependency] => Some(symbols.iter().filter_map(|symbol| symbol.chunk).collect()),
            _ => None,
        };
        let is_candidate = |row: &usize| {
            let id = vectors.id_of(*row);
            id & QUESTION_BIT == 0 && wanted.as_ref().is_none_or(|wanted| wanted.contains(&id))
        };
        let candidates: Vec<usize> = (0..vectors.len()).filter(is_candidate).collect();
        let stored = ground.store.chunk_count()?.div_ceil(candidates.len().max(1));
        Ok(Class { plan, ground, vectors, groups, kin, candidates, stored, commits, made, chunks })
    }

    fn rows(&self, pairs: &[Pair]) -> Vec<RowPair> {
        self.vectors.pairs(pairs.iter().map(|pair| (pair.anchor, pair.positive, pair.group.as_str()))).0
    }

    /// One projection for each split, all judged together; of several the one that is published is trained on all groups.
    fn learn(&self, splits: &[Split], outcome: &mut Outcome, job: Job<'_>) -> Result<Option<Projection>> {
        let mut trained: Vec<(Projection, History)> = Vec::with_capacity(splits.len());
        for (at, split) in splits.iter().enumerate() {
            if splits.len() > 1 {
                job.progress.note(&format!("{}: part {} of {}", self.plan.name, at + 1, splits.len()));
            }
            trained.push(self.train(&split.train, &split.validation, &[&split.validation, &split.test], job)?);
        }
        let tests = self.numbered(splits);
        let folds: Vec<Fold<'_>> = trained.iter().zip(&tests).map(|((projection, _), test)| Fold { projection, test }).collect();
        let first = &splits[0];
        outcome.pairs = Some([first.train.len(), first.validation.len(), first.test.len()]);
        outcome.groups = Some(first.groups);
        outcome.folds = (splits.len() > 1).then_some(splits.len());
        let verdict = self.judge(&folds, first, job)?;
        outcome.published = verdict.published || !self.plan.gate;
        outcome.reason = match (verdict.published, self.plan.gate) {
            (false, false) => format!("published because the recipe says `gate: off`, though the gate says: {}", verdict.reason),
            _ => verdict.reason.clone(),
        };
        outcome.verdict = Some(verdict);
        let mut histories = trained.iter().map(|(_, history)| history.clone());
        outcome.history = histories.next();
        outcome.other_histories = histories.collect();
        if !outcome.published {
            // As it was judged: of several the first, which is not worth another training.
            return Ok(trained.into_iter().next().map(|(projection, _)| projection));
        }
        if splits.len() == 1 {
            return Ok(trained.pop().map(|(projection, _)| projection));
        }
        // The folds said whether it helps; what searches has learnt from all but what stops it.
        let all: Vec<Pair> = first.train.iter().chain(&first.test).cloned().collect();
        Ok(Some(self.train(&all, &first.validation, &[&first.validation], job)?.0))
    }

    /// The test pairs of all splits with their groups numbered together.
    fn numbered(&self, splits: &[Split]) -> Vec<Vec<RowPair>> {
        let all: Vec<Pair> = splits.iter().flat_map(|split| split.test.iter().cloned()).collect();
        let names: BTreeSet<&str> = all.iter().map(|pair| pair.group.as_str()).collect();
        let numbers: BTreeMap<&str, usize> = names.into_iter().enumerate().map(|(number, name)| (name, number)).collect();
        let of = |split: &Split| {
            let pairs = split.test.iter().flat_map(|pair| {
                let rows = self.rows(std::slice::from_ref(pair));
                let group = numbers[pair.group.as_str()];
                rows.into_iter().map(move |row| RowPair { group, ..row })
            });
            pairs.collect()
        };
        splits.iter().map(of).collect()
    }

    fn train(&self, pairs: &[Pair], validation: &[Pair], held_out: &[&Vec<Pair>], job: Job<'_>) -> Result<(Projection, History)> {
        // Nothing of what is held out is pushed away either.
        let ends = held_out.iter().flat_map(|pairs| pairs.iter().flat_map(|pair| [pair.anchor, pair.positive]));
        let rows: HashSet<usize> = ends.filter_map(|id| self.vectors.row_of(id)).collect();
        let groups: HashSet<usize> = rows.iter().map(|&row| self.groups[row]).collect();
        let free: Vec<usize> = self.candidates.iter().copied().filter(|&row| !groups.contains(&self.groups[row])).collect();
        let (pairs, validation) = (self.rows(pairs), self.rows(validation));
        let related = Related { rows: &self.kin[0], groups: &self.kin[1] };
        let lesson = Lesson {
            vectors: &self.vectors,
            pairs: &pairs,
            validation: &validation,
            candidates: Some(&self.candidates),
            mining: Some(Mining { rows: &free, groups: &self.groups, related }),
        };
        train(&config(self.plan), &lesson, job)
    }

    fn judge(&self, folds: &[Fold<'_>], split: &Split, job: Job<'_>) -> Result<crate::train::Verdict> {
        let (vectors, store) = (&self.vectors, self.ground.store);
        let texts: HashMap<u64, &Chunk> = self.chunks.iter().map(|chunk| (chunk.id, *chunk)).collect();
        let words = |row: usize, limit: usize| -> Result<Vec<Found>> {
            let Some(chunk) = texts.get(&vectors.id_of(row)) else { return Ok(Vec::new()) };
            let Some(expression) = lexical::match_expression(&lexical::terms(&chunk.embed_text())) else { return Ok(Vec::new()) };
            let candidate = |id: u64| vectors.row_of(id).filter(|row| self.candidates.binary_search(row).is_ok());
            deep_enough(store, &expression, limit, self.stored, &candidate)
        };
        let known = match self.plan.pairs[..] {
            [PairSource::Temporal] if self.made.is_temporal() => Some(self.co_changes_before(split)),
            // Of calls there is none, see `NO_TABLE`.
            _ => None,
        };
        let table = |row: usize, limit: usize| -> Result<Vec<Found>> {
            let rows = known.as_ref().and_then(|known| known.get(&row));
            Ok(rows.into_iter().flatten().copied().take(limit).collect())
        };
        let fuse = |words: &[Found], raw: &[Found], projected: Option<&[Found]>| fused(&self.plan.fusion, words, raw, projected);
        let trial = Trial {
            vectors,
            folds,
            candidates: Some(&self.candidates),
            lexical: Some(&words),
            table: known.is_some().then_some(&table),
            fuse: Some(&fuse),
            must_beat_lexical: false,
            seed: self.plan.seed,
        };
        let mut verdict = judge(&trial, job)?;
        if self.plan.pairs == [PairSource::Dependency] {
            verdict.reason = format!("{}; {NO_TABLE}", verdict.reason);
        }
        Ok(verdict)
    }

    /// For each file's row the rows of the files that changed with it before the test begins, best first.
    fn co_changes_before(&self, split: &Split) -> HashMap<usize, Vec<Found>> {
        let row = |chunk: u64| self.vectors.row_of(chunk);
        let known = self.made.companions_before(self.commits, split.test_from.as_deref()).into_iter();
        let rows = known.filter_map(|(file, others)| {
            Some((row(file)?, others.into_iter().filter_map(|(other, score)| Some((row(other)?, score))).collect()))
        });
        rows.collect()
    }
}

/// The best `limit` candidates by words, although the store has `stored` chunks for each: read as deep as that makes likely, and if too few
/// are there, all that match. Vectors are compared with candidates alone too.
fn deep_enough(
    store: &Store,
    expression: &str,
    limit: usize,
    stored: usize,
    candidate: &dyn Fn(u64) -> Option<usize>,
) -> Result<Vec<Found>> {
    let depth = if stored > 1 { limit.saturating_mul(stored).saturating_mul(DEEPER) } else { limit };
    let read = store.lexical(expression, depth)?;
    let ended = read.len() < depth;
    let rows = |found: Vec<(u64, f64)>| -> Vec<Found> {
        found.into_iter().filter_map(|(id, score)| Some((candidate(id)?, score))).take(limit).collect()
    };
    let found = rows(read);
    if found.len() == limit || ended {
        return Ok(found);
    }
    Ok(rows(store.lexical_among(expression, limit, |id| candidate(id).is_some())?))
}

/// As hybrid search fuses by the recipe's weights, or by the usual ones if it says none: what `oxidize` chooses it chooses afterwards, for
/// the projection that was published. A list that counts nothing is not asked.
fn fused(plan: &FusionPlan, words: &[Found], raw: &[Found], projected: Option<&[Found]>) -> Vec<usize> {
    let weights = Weights::of_recipe(plan).unwrap_or(Weights::usual(projected.is_some()));
    let list = |weight: f64, scale: Scale, found: &[Found]| RankedList {
        retriever: String::new(),
        weight,
        scale,
        items: found.iter().map(|&(row, score)| (row as u64, score)).collect(),
    };
    let mut lists = vec![list(weights.lexical, Scale::FromZero, words), list(weights.vector, Scale::Spread, raw)];
    lists.extend(projected.map(|found| list(weights.projection, Scale::Spread, found)));
    lists.retain(|list| list.weight > 0.0);
    fuse(&lists, weights.by).into_iter().map(|found| found.id as usize).collect()
}

fn config(plan: &ProjectionPlan) -> TrainConfig {
    let architecture = match plan.architecture {
        RecipeArchitecture::Mlp2Layer => Architecture::Mlp,
        RecipeArchitecture::Linear => Architecture::Linear,
        RecipeArchitecture::Residual => Architecture::Residual,
        RecipeArchitecture::LowRank => Architecture::LowRank,
    };
    TrainConfig {
        epochs: plan.epochs,
        batch_size: plan.batch_size,
        learning_rate: plan.learning_rate,
        weight_decay: plan.weight_decay,
        loss: match plan.loss {
            RecipeLoss::InfoNce { temperature } => Loss::InfoNce { temperature },
            RecipeLoss::MultipleNegatives { temperature } => Loss::MultipleNegatives { temperature },
            RecipeLoss::Triplet { margin } => Loss::Triplet { margin },
        },
        sides: match plan.sides {
            RecipeSides::Both => Sides::Both,
            RecipeSides::Query => Sides::Query,
        },
        hard_negatives: plan.hard_negatives,
        matryoshka: plan.matryoshka.clone(),
        distillation: plan.distillation,
        patience: plan.patience,
        seed: plan.seed,
        ..TrainConfig::new(architecture, plan.input, plan.hidden, plan.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::fusion::By;
    use crate::store::{Content, Kind, Piece, Source};

    #[test]
    fn the_gate_fuses_by_the_weights_of_the_recipe() {
        let (words, raw, projected) = ([(1, 9.0), (2, 8.0)], [(2, 0.9), (3, 0.8)], [(3, 0.7), (4, 0.6)]);
        let all = |plan: &FusionPlan| fused(plan, &words, &raw, Some(&projected));
        let weights = |lexical: f64, vector: f64, projection: f64, k: Option<f64>| FusionPlan::Weights { lexical, vector, projection, k };
        // Words count 1, the vector lists a quarter each.
        assert_eq!(all(&FusionPlan::Auto), [2, 1, 3, 4]);
        // By ranks with k 0: 3 has 1/2 + 5, 4 has 5/2, 2 has 1/2 + 1, and 1 has 1.
        assert_eq!(all(&weights(1.0, 1.0, 5.0, Some(0.0))), [3, 4, 2, 1]);
        assert_eq!(all(&weights(0.0, 1.0, 0.0, None)), [2, 3], "what counts nothing is not asked");
        assert_eq!(fused(&weights(0.0, 1.0, 1.0, None), &words, &raw, None), [2, 3]);
        assert_eq!(Weights::of_recipe(&weights(1.0, 2.0, 3.0, Some(9.0))).map(|weights| weights.by), Some(By::Ranks { k: 9.0 }));
    }
    /// As many candidates as vectors have are found by words too, wherever they are in the list of the whole store.
    #[test]
    fn words_are_read_as_deep_as_the_store_is_larger_than_what_is_searched() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut store = Store::open(&folder.path().join("patina.db")).expect("a store");
        // The more words stand beside the one that is asked for, the less it counts.
        let text = |at: usize| format!("lockfile {}", "padding ".repeat(at));
        let source = |at: usize| {
            let (path, piece) = (format!("{at}.md"), Piece { title: String::new(), text: text(at), line: 1, end_line: 1 });
            let hash = crate::fs::sha256(path.as_bytes());
            let content = Content { kind: Kind::Document, path, hash, date: None, commit: None, code: None, pieces: vec![piece] };
            Source { key: format!("file:{at}.md"), content }
        };
        let sources: Vec<Source> = (0..200).map(source).collect();
        store.put_sources(&sources.iter().map(|source| (source, None)).collect::<Vec<_>>()).expect("put");
        let all = store.lexical("lockfile", 1000).expect("searched");
        assert_eq!(all.len(), 200);
        for (name, is_candidate) in [("last", (|at| at >= 180) as fn(usize) -> bool), ("spread", |at| at % 10 == 9), ("all", |_| true)] {
            let rows: HashMap<u64, usize> =
                all.iter().enumerate().filter(|(at, _)| is_candidate(*at)).map(|(at, (id, _))| (*id, at)).collect();
            let stored = 200usize.div_ceil(rows.len());
            let found = deep_enough(&store, "lockfile", 8, stored, &|id| rows.get(&id).copied()).expect("found");
            let expected: Vec<usize> = (0..200).filter(|at| is_candidate(*at)).take(8).collect();
            assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), expected, "{name}");
        }
        let few = deep_enough(&store, "lockfile", 8, 200, &|id| (id == all[199].0).then_some(7)).expect("found");
        assert_eq!(few, [(7, all[199].1)], "there is no more");
    }
}
