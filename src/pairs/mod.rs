//! The project's own structure as training pairs: which two chunks belong together, and how they are split without leakage.
//!
//! A pair says "the first asks, the second answers". Semantic pairs are pieces of one section, sections of one session, neighbouring
//! sections of a document, a commit and a file that its message talks of, and questions that texts hold themselves (headings, lines that
//! ask, doc comments). Temporal pairs are files that change together, dependency pairs functions that call and are called. Everything here
//! is deterministic: the same chunks in any order give the same pairs in the same order.

mod commits;
mod components;
mod dependency;
mod eligible;
mod folds;
mod kin;
mod leakage;
mod link;
mod questions;
mod split;
mod table;
mod temporal;
#[cfg(test)]
mod tests;
mod within;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use folds::{FOLDS, SMALL_GROUPS, folds};
pub use kin::Kin;
pub use leakage::{Unit, check, check_units};
use link::Link;
pub use questions::{MAX_QUESTIONS, QUESTION_BIT};
pub use split::{Fractions, MIN_GROUPS, MIN_PAIRS, MIN_TEST_GROUPS, MIN_TEST_PAIRS, Split, TooLittle, is_before, split};

use crate::recipe::PairSource;
use crate::store::{CallEdge, Chunk, Commit, Symbol};

/// Two different chunks that belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// What must stay on one side of a split: the name of the connected component of groups that the pair belongs to, which is
    /// the smallest name among the component's groups. For a pair within a group that no other pair ties to another group this
    /// is the chunks' own [`Chunk::group`].
    pub group: String,
    /// The chunk that comes first in its file; for a pair with a commit, the commit.
    pub anchor: u64,
    /// The other chunk.
    pub positive: u64,
}

/// The pairs inside groups, sorted by group, anchor and positive, each once. Commits are paired with files only by
/// [`semantic_with_commits`], because chunks do not say what a commit touched.
pub fn semantic(chunks: &[Chunk]) -> Vec<Pair> {
    semantic_with_commits(chunks, &[])
}

/// The pairs of [`semantic`], and commits paired with chunks of the files that they touched and talk of.
///
/// Chunks that are too short, and those whose text stands in more than one group, are on neither side of any pair.
pub fn semantic_with_commits(chunks: &[Chunk], commits: &[Commit]) -> Vec<Pair> {
    let groups = by_group(eligible::select(chunks));
    named(semantic_links(&groups, commits), components::Components::default())
}

/// What pairs are made of.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The chunks that may be in a pair.
    pub chunks: &'a [Chunk],
    /// All commits.
    pub commits: &'a [Commit],
    /// The symbols of source files.
    pub symbols: &'a [Symbol],
    /// Which of them call which.
    pub edges: &'a [CallEdge],
}

/// Pairs, and what is needed to split and judge by them.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Sorted by component, anchor and positive, each once.
    pub pairs: Vec<Pair>,
    /// Texts of their own that ask, ordered by id: chunks that are in no store and no index. Their ids have [`QUESTION_BIT`].
    pub questions: Vec<Chunk>,
    /// What is never split.
    pub unit: Unit,
    /// By path the chunk that stands for a file where files change together: the first that may be in a pair.
    pub firsts: BTreeMap<String, u64>,
    /// What belongs together beyond the pairs.
    pub kin: Kin,
    /// Whether no pair is of anything but files that change together.
    temporal_alone: bool,
    /// When the files of a temporal pair changed together last, by anchor and positive.
    moments: BTreeMap<(u64, u64), jiff::Timestamp>,
    /// The dates that components are split by.
    dates: HashMap<u64, jiff::Timestamp>,
}

/// Pairs of all these sources together. Components hold for all of them: what one source ties together no other one splits.
pub fn make(sources: &[PairSource], material: &Material<'_>) -> Pairs {
    let chunks = eligible::select(material.chunks);
    let by_id: BTreeMap<u64, &Chunk> = chunks.iter().map(|chunk| (chunk.id, *chunk)).collect();
    let unit = if sources == [PairSource::Dependency] { Unit::Function } else { Unit::Group };
    let names: BTreeMap<u64, String> = match unit {
        Unit::Function => chunks.iter().map(|chunk| (chunk.id, format!("{}#{:016x}", chunk.path, chunk.id))).collect(),
        Unit::Group => chunks.iter().map(|chunk| (chunk.id, chunk.group.clone())).collect(),
    };
    let groups = by_group(chunks.clone());
    let (mut links, mut questions, mut moments, mut dates) = (Vec::new(), Vec::new(), BTreeMap::new(), split::dates(material.chunks));
    let asked = if sources.contains(&PairSource::Semantic) { questions::find(&chunks, material.symbols) } else { Vec::new() };
    let firsts = temporal::representatives(chunks.iter().copied());
    for source in sources {
        match source {
            PairSource::Semantic => {
                links.extend(semantic_links(&groups, material.commits));
                for (question, answer) in &asked {
                    let (anchor, group) = (question.id, question.group.as_str());
                    links.push(Link { anchor, positive: *answer, anchor_group: group, positive_group: group });
                }
                questions.extend(asked.iter().map(|(question, _)| question.clone()));
            }
            PairSource::Temporal => {
                let (found, seen) = temporal::links(&firsts, material.commits);
                for ((anchor, positive), last) in seen {
                    let Some(moment) = split::parse_date(last) else { continue };
                    moments.insert((anchor, positive), moment);
                    let date = dates.entry(anchor).or_insert(moment);
                    *date = moment.max(*date);
                }
                links.extend(found);
            }
            PairSource::Dependency => links.extend(dependency::links(&by_id, &names, material.symbols, material.edges)),
        }
    }
    let bound = match sources {
        [PairSource::Temporal] => components::MAX_FILES_PER_COMPONENT,
        [PairSource::Dependency] => components::MAX_FUNCTIONS_PER_COMPONENT,
        _ => components::MAX_GROUPS_PER_COMPONENT,
    };
    dates.extend(questions.iter().filter_map(|question| Some((question.id, split::parse_date(question.date.as_deref()?)?))));
    let kin = Kin::of(sources, material);
    let temporal_alone = sources == [PairSource::Temporal];
    let firsts = firsts.into_iter().map(|(path, chunk)| (path.to_owned(), chunk.id)).collect();
    Pairs { pairs: named(links, components::Components::bounded(bound)), questions, unit, firsts, kin, temporal_alone, moments, dates }
}

impl Pairs {
    /// [`split`] by these pairs' own dates. Of temporal pairs those are judged by that changed together after the time was cut: what
    /// changed before, a table knows.
    pub fn split(&self, seed: u64, fractions: Fractions) -> Result<Split, TooLittle> {
        let mut split = split::split_dated(&self.pairs, &self.dates, seed, fractions)?;
        if let Some(cut) = split.test_from.as_deref().and_then(split::parse_date)
            && !self.moments.is_empty()
        {
            split.test.retain(|pair| self.moments.get(&(pair.anchor, pair.positive)).is_none_or(|moment| *moment >= cut));
        }
        Ok(split)
    }

    /// Whether all pairs are of files that change together: they are compared with a table of what was before, so that time must be cut.
    pub fn is_temporal(&self) -> bool {
        self.temporal_alone && !self.moments.is_empty()
    }
}

/// Links inside groups, and between commits and files.
fn semantic_links<'a>(groups: &BTreeMap<&'a str, Vec<&'a Chunk>>, commits: &[Commit]) -> Vec<Link<'a>> {
    let mut ids: BTreeSet<(u64, u64)> = BTreeSet::new();
    for members in groups.values() {
        ids.extend(within::pairs(members));
    }
    let group_of: BTreeMap<u64, &str> = groups.values().flatten().map(|chunk| (chunk.id, chunk.group.as_str())).collect();
    let inside = ids.into_iter().filter_map(|(anchor, positive)| {
        let group = *group_of.get(&anchor)?;
        Some(Link { anchor, positive, anchor_group: group, positive_group: group })
    });
    inside.chain(commits::links(groups, commits)).collect()
}

/// Links whose groups may be tied together, in their order, as pairs of the components that come of it.
fn named<'a>(links: Vec<Link<'a>>, mut components: components::Components<'a>) -> Vec<Pair> {
    let mut kept = Vec::with_capacity(links.len());
    for link in links {
        if components.join(link.anchor_group, link.positive_group) {
            kept.push(link);
        }
    }
    let mut pairs: Vec<Pair> = kept
        .into_iter()
        .map(|link| Pair { group: components.name(link.anchor_group).to_owned(), anchor: link.anchor, positive: link.positive })
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Chunks by group, each group's in the order of its files.
fn by_group(chunks: Vec<&Chunk>) -> BTreeMap<&str, Vec<&Chunk>> {
    let mut groups: BTreeMap<&str, Vec<&Chunk>> = BTreeMap::new();
    for chunk in chunks {
        groups.entry(&chunk.group).or_default().push(chunk);
    }
    for members in groups.values_mut() {
        members.sort_by(|a, b| (&a.path, a.line, a.id).cmp(&(&b.path, b.line, b.id)));
    }
    groups
}
