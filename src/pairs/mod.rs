//! The project's own structure as training pairs: which two chunks belong together, and how they are split without leakage.
//!
//! A pair says "these two are about the same thing" because one group holds both: pieces of one section, sections of one
//! session, neighbouring sections of a document, or a commit and a file that its message talks of. Everything here is
//! deterministic: the same chunks in any order give the same pairs in the same order.

mod commits;
mod components;
mod eligible;
mod leakage;
mod split;
#[cfg(test)]
mod tests;
mod within;

use std::collections::{BTreeMap, BTreeSet};

pub use leakage::check;
pub use split::{Fractions, MIN_GROUPS, MIN_PAIRS, MIN_TEST_GROUPS, MIN_TEST_PAIRS, Split, TooLittle, split};

use crate::store::{Chunk, Commit};

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
    let mut ids: BTreeSet<(u64, u64)> = BTreeSet::new();
    for members in groups.values() {
        ids.extend(within::pairs(members));
    }
    let mut components = components::Components::default();
    let mut named: Vec<(u64, u64, &str)> = Vec::new();
    let group_of: BTreeMap<u64, &str> = groups.values().flatten().map(|chunk| (chunk.id, chunk.group.as_str())).collect();
    for (anchor, positive) in ids {
        if let Some(group) = group_of.get(&anchor) {
            named.push((anchor, positive, group));
        }
    }
    for link in commits::links(&groups, commits) {
        if components.join(link.commit_group, link.file_group) {
            named.push((link.anchor, link.positive, link.commit_group));
        }
    }
    let mut pairs: Vec<Pair> =
        named.into_iter().map(|(anchor, positive, group)| Pair { group: components.name(group).to_owned(), anchor, positive }).collect();
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
