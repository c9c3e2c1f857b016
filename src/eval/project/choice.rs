//! What each retriever counts in a project's search, chosen on questions of the project itself.
//!
//! Questions are dealt into two halves by the name of their group. One half chooses among a few weights, the other judges the winner
//! against the usual ones: they are replaced only if it is better there beyond the paired interval. So no choice is judged on what chose
//! it. A project with too few questions keeps the usual weights.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::ranked::Searched;
use super::{Query, Set};
use crate::error::Result;
use crate::eval::SEED;
use crate::metrics::{self, Interval, Judgements};
use crate::progress::Job;
use crate::search::filter::Filter;
use crate::search::fusion::{RankedList, order};
use crate::search::{self, By, LEXICAL_WEIGHT, VECTOR_WEIGHT, Weights};
use crate::train::{MIN_TEST_GROUPS, MIN_TEST_QUERIES};

/// Raised when the same questions would choose otherwise.
pub const VERSION: u32 = 2;
/// Questions of one kind that choose and judge, at most.
pub const LIMIT: usize = 400;

/// What the vectors count together, beside words that count 1. Never nothing: people ask in other words than the texts have.
const VECTOR_WEIGHTS: [f64; 5] = [0.1, 0.25, VECTOR_WEIGHT, 1.0, 2.0];
/// What part of that is the projection's.
const PROJECTION_SHARES: [f64; 3] = [0.0, 0.5, 1.0];
/// The cut of the measure.
const CUT: usize = 10;

/// Questions and groups of a half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Half {
    /// Questions.
    pub queries: usize,
    /// Groups that they come from.
    pub groups: usize,
}

/// What was chosen, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// What search uses.
    pub weights: Weights,
    /// Whether that is other than the usual weights.
    pub chosen: bool,
    /// One sentence for people.
    pub reason: String,
    /// Questions of each kind.
    pub questions: BTreeMap<String, usize>,
    /// The half that chose.
    pub choosing: Half,
    /// The half that judged.
    pub judging: Half,
    /// What the choosing half liked best, chosen or not.
    pub best: Option<Weights>,
    /// nDCG@10 on the judging half.
    pub figures: Option<ChoiceFigures>,
}

/// nDCG@10 of each way of fusing on the half that judges, intervals by group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceFigures {
    /// Words alone.
    pub lexical: Interval,
    /// The model's own vectors alone.
    pub vector: Interval,
    /// The usual weights.
    pub usual: Interval,
    /// The weights that the other half liked best.
    pub best: Interval,
    /// Those minus the usual ones, question by question.
    pub gain: Interval,
}

/// A question with what each retriever found for it.
pub struct Asked {
    group: String,
    judged: Judgements<String>,
    /// Words, vectors, and the projection if one joins; weights are put in later.
    lists: Vec<RankedList>,
    /// What each chunk is folded to.
    units: HashMap<u64, String>,
}

/// Whether the questions of a group choose; the others judge.
pub fn chooses(group: &str) -> bool {
    // The first digit of a hash that no other choice uses.
    crate::fs::sha256(format!("fusion {group}").as_bytes()).as_bytes().first().is_some_and(|digit| digit % 2 == 0)
}

/// Asks every question of a set of each retriever. `vectors` are those of the questions.
pub fn ask(searched: &Searched<'_>, set: &Set, vectors: &[Vec<f32>], job: Job<'_>) -> Result<Vec<Asked>> {
    let mut asked = Vec::with_capacity(set.queries.len());
    let filter = Filter { kinds: set.kinds.clone(), ..Filter::default() };
    let allowed = filter.allowed(searched.store)?;
    job.progress.begin("weighing", Some(set.queries.len() as u64), "questions");
    for (query, vector) in set.queries.iter().zip(vectors) {
        job.check()?;
        let projected = match searched.joined.projection.and_then(|at| searched.projections.get(at)) {
            Some(projected) => Some((projected, projected.projection.apply(vector)?)),
            None => None,
        };
        let third = projected.as_ref().map(|(projected, vector)| (projected.name.as_str(), projected.index, vector.as_slice()));
        let lists = search::lists(searched.store, (searched.base, vector.as_slice()), third, &query.text, allowed.as_ref())?;
        asked.push(one(searched, set, query, lists)?);
        job.progress.advance(1);
    }
    job.progress.end("");
    Ok(asked)
}

/// Keeps of each list what the question may find.
fn one(searched: &Searched<'_>, set: &Set, query: &Query, mut lists: Vec<RankedList>) -> Result<Asked> {
    let mut ids: Vec<u64> = lists.iter().flat_map(|list| &list.items).map(|(id, _)| *id).filter(|id| !query.without.contains(id)).collect();
    ids.sort_unstable();
    ids.dedup();
    let chunks = searched.store.chunks_by_id(&ids)?;
    let units: HashMap<u64, String> = chunks.iter().map(|chunk| (chunk.id, query.unit(chunk, set.unit))).collect();
    for list in &mut lists {
        list.items.retain(|(id, _)| units.contains_key(id));
    }
    Ok(Asked { group: query.group.clone(), judged: query.relevant.iter().map(|unit| (unit.clone(), 1)).collect(), lists, units })
}

impl Asked {
    /// nDCG@10 with these weights.
    fn ndcg(&self, weights: &Weights) -> f64 {
        let mut lists = Vec::with_capacity(self.lists.len());
        for (list, weight) in self.lists.iter().zip([weights.lexical, weights.vector, weights.projection]) {
            if weight > 0.0 {
                lists.push(RankedList { weight, ..list.clone() });
            }
        }
        let mut ranked: Vec<String> = Vec::with_capacity(CUT);
        for found in order(&lists, weights.by) {
            match self.units.get(&found) {
                Some(unit) if !ranked.contains(unit) => ranked.push(unit.clone()),
                _ => continue,
            }
            if ranked.len() == CUT {
                break;
            }
        }
        metrics::ndcg(&ranked, &self.judged, CUT)
    }
}

/// Every weighing that is tried; the usual one is the first.
fn candidates(with_projection: bool) -> Vec<Weights> {
    let usual = Weights::usual(with_projection);
    let mut all = vec![usual];
    for vectors in VECTOR_WEIGHTS {
        for share in PROJECTION_SHARES.into_iter().take(if with_projection { PROJECTION_SHARES.len() } else { 1 }) {
            let weights = Weights { lexical: LEXICAL_WEIGHT, vector: vectors * (1.0 - share), projection: vectors * share, by: By::Scores };
            if !all.contains(&weights) {
                all.push(weights);
            }
        }
    }
    all
}

/// The usual weights, if these sets have too few questions to choose by: better known before anything is embedded.
pub fn kept(sets: &[Set], with_projection: bool) -> Option<Choice> {
    let groups = sets.iter().flat_map(|set| &set.queries).map(|query| query.group.as_str());
    let questions = sets.iter().map(|set| (set.name.clone(), set.queries.len())).collect();
    let choice = Choice::usual(groups, questions, with_projection);
    (!choice.reason.is_empty()).then_some(choice)
}

impl Choice {
    /// Nothing is chosen yet; there is a reason if nothing can be.
    fn usual<'a>(groups: impl Iterator<Item = &'a str>, questions: BTreeMap<String, usize>, with_projection: bool) -> Choice {
        let (choosing, judging): (Vec<&str>, Vec<&str>) = groups.partition(|group| chooses(group));
        let (choosing, judging) = (half(choosing), half(judging));
        let few = [choosing, judging].iter().any(|half| half.queries < MIN_TEST_QUERIES || half.groups < MIN_TEST_GROUPS);
        let reason = format!(
            "the usual weights: too few questions to choose by ({} choose, {} judge; at least {MIN_TEST_QUERIES} of {MIN_TEST_GROUPS} groups each)",
            choosing.queries, judging.queries
        );
        Choice {
            weights: Weights::usual(with_projection),
            chosen: false,
            reason: if few { reason } else { String::new() },
            questions,
            choosing,
            judging,
            best: None,
            figures: None,
        }
    }
}

/// Chooses. `questions` are those of each kind; `with_projection` says whether each has a third list.
pub fn choose(questions: &BTreeMap<String, Vec<Asked>>, with_projection: bool, job: Job<'_>) -> Result<Choice> {
    let usual = Weights::usual(with_projection);
    let groups = questions.values().flatten().map(|asked| asked.group.as_str());
    let counts = questions.iter().map(|(kind, asked)| (kind.clone(), asked.len())).collect();
    let mut choice = Choice::usual(groups, counts, with_projection);
    if !choice.reason.is_empty() {
        return Ok(choice);
    }
    let (choosing, judging): (Vec<&Asked>, Vec<&Asked>) = questions.values().flatten().partition(|asked| chooses(&asked.group));
    let mut best = (f64::NEG_INFINITY, usual);
    for weights in candidates(with_projection) {
        job.check()?;
        let mean = choosing.iter().map(|asked| asked.ndcg(&weights)).sum::<f64>() / choosing.len() as f64;
        if mean > best.0 {
            best = (mean, weights);
        }
    }
    let best = best.1;
    let groups = numbered(&judging);
    let values = |weights: &Weights| judging.iter().map(|asked| asked.ndcg(weights)).collect::<Vec<_>>();
    let mean = |values: &[f64]| metrics::bootstrap_mean_by_group(values, &groups, SEED);
    let (of_best, of_usual) = (values(&best), values(&usual));
    let alone = |lexical, vector| Weights { lexical, vector, projection: 0.0, by: By::Scores };
    let figures = ChoiceFigures {
        lexical: mean(&values(&alone(1.0, 0.0)))?,
        vector: mean(&values(&alone(0.0, 1.0)))?,
        usual: mean(&of_usual)?,
        best: mean(&of_best)?,
        gain: metrics::bootstrap_difference_by_group(&of_best, &of_usual, &groups, SEED)?,
    };
    (choice.best, choice.figures) = (Some(best), Some(figures));
    if best == usual {
        choice.reason = "the usual weights: no others were better on the questions that choose".to_owned();
    } else if figures.gain.is_positive() {
        (choice.weights, choice.chosen) = (best, true);
        choice.reason = "chosen: better than the usual weights on questions that did not choose them".to_owned();
    } else {
        choice.reason =
            format!("the usual weights: {} is not clearly better on questions that did not choose it", best.told(with_projection));
    }
    Ok(choice)
}

fn half(mut groups: Vec<&str>) -> Half {
    let queries = groups.len();
    groups.sort_unstable();
    groups.dedup();
    Half { queries, groups: groups.len() }
}

fn numbered(asked: &[&Asked]) -> Vec<usize> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    asked
        .iter()
        .map(|asked| {
            let next = numbers.len();
            *numbers.entry(&asked.group).or_insert(next)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::fusion::Scale;

    /// A question whose answer words find at one rank of twenty and vectors at another, or nowhere. What else they find is the same, or `apart`.
    fn asked(group: usize, words: usize, vectors: usize, apart: u64) -> Asked {
        let list = |name: &str, scale, at: usize, apart: u64| RankedList {
            retriever: name.to_owned(),
            weight: 0.0,
            scale,
            items: (1..=20).map(|rank| (if rank == at { 1 } else { 100 + apart + rank as u64 }, 1.0 - rank as f64 / 40.0)).collect(),
        };
        let lists = vec![list("lexical", Scale::FromZero, words, 0), list("vector", Scale::Spread, vectors, apart)];
        let units = lists.iter().flat_map(|list| &list.items).map(|(id, _)| (*id, format!("u{id}"))).collect();
        Asked { group: format!("g{group}"), judged: Judgements::from([("u1".to_owned(), 1)]), lists, units }
    }

    const NOWHERE: usize = 99;

    fn questions(count: usize, of: impl Fn(usize) -> Asked) -> BTreeMap<String, Vec<Asked>> {
        BTreeMap::from([("sentences".to_owned(), (0..count).map(of).collect())])
    }

    fn choice(questions: &BTreeMap<String, Vec<Asked>>) -> Choice {
        choose(questions, false, Job::silent()).expect("a choice")
    }

    #[test]
    fn what_finds_nothing_loses_its_weight() {
        // Vectors alone know the answer.
        let found = choice(&questions(200, |group| asked(group, NOWHERE, 1, 1000)));
        assert!(found.chosen && found.weights.vector > VECTOR_WEIGHT, "{found:?}");
        let figures = found.figures.expect("figures");
        assert!(figures.gain.is_positive() && figures.vector.mean > figures.lexical.mean);
        assert_eq!(found.choosing.queries + found.judging.queries, 200);
        assert_eq!(found.choosing.queries, (0..200).filter(|n| chooses(&format!("g{n}"))).count());
        // Words alone know it: what vectors say only disturbs.
        let found = choice(&questions(200, |group| asked(group, 1, 20, 0)));
        assert!(found.weights.vector < VECTOR_WEIGHT, "{found:?}");
    }

    #[test]
    fn the_usual_weights_stay_where_others_win_nothing() {
        let found = choice(&questions(200, |group| asked(group, 1, 1, 1000)));
        assert_eq!((found.chosen, found.weights, found.best), (false, Weights::usual(false), Some(Weights::usual(false))));
        assert!(found.reason.contains("no others were better"), "{}", found.reason);
        // What wins on some questions of the choosing half by chance does not win on the others.
        let lucky = |group: usize| if chooses(&format!("g{group}")) { asked(group, NOWHERE, 1, 1000) } else { asked(group, 1, 20, 0) };
        let found = choice(&questions(200, lucky));
        assert!(!found.chosen && found.best != Some(Weights::usual(false)), "{found:?}");
        assert!(found.reason.contains("not clearly better"), "{}", found.reason);
    }

    #[test]
    fn too_few_questions_choose_nothing() {
        let found = choice(&questions(40, |group| asked(group, NOWHERE, 1, 1000)));
        assert!(!found.chosen && found.figures.is_none() && found.reason.contains("too few questions"), "{found:?}");
        let found = choice(&questions(400, |number| asked(number % 4, NOWHERE, 1, 1000)));
        assert!(found.reason.contains("too few questions"), "four groups are too few: {found:?}");
        assert!(choice(&BTreeMap::new()).reason.contains("too few questions"));
    }

    #[test]
    fn a_projection_takes_its_share_of_the_vectors() {
        let all = candidates(true);
        assert_eq!(all[0], Weights::usual(true));
        assert!(all.iter().all(|weights| weights.lexical == LEXICAL_WEIGHT));
        assert!(all.iter().any(|weights| weights.vector == 0.0 && weights.projection == VECTOR_WEIGHT));
        assert!(candidates(false).iter().all(|weights| weights.projection == 0.0));
        let distinct = |all: &[Weights]| (1..all.len()).all(|at| !all[..at].contains(&all[at]));
        assert!(distinct(&all) && distinct(&candidates(false)));
    }
}
