//! What belongs together in truth, whatever bounds keep out of the pairs: none of it is ever a negative of the other.
//!
//! Pairs are bounded in many ways (a file has six, a component has four files, what thirty functions call teaches nothing), and what a
//! bound left out is still a right answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Material, temporal};
use crate::recipe::PairSource;
use crate::store::{CO_CHANGE_MAX_FILES, Chunk};

/// What belongs together by the sources that pairs are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kin {
    /// Two chunks: a function and one that it calls.
    pub chunks: BTreeSet<(u64, u64)>,
    /// Two groups, each by one of its chunks: files that changed together in at least two commits, a commit and a file that it touched.
    pub groups: BTreeSet<(u64, u64)>,
}

impl Kin {
    pub(super) fn of(sources: &[PairSource], material: &Material<'_>) -> Kin {
        let mut any_of: BTreeMap<&str, &Chunk> = BTreeMap::new();
        for chunk in material.chunks {
            any_of.entry(&chunk.path).or_insert(chunk);
        }
        let mut kin = Kin::default();
        for source in sources {
            match source {
                PairSource::Semantic => kin.touched(&any_of, material),
                PairSource::Temporal => kin.changed(&any_of, material),
                PairSource::Dependency => kin.called(material),
            }
        }
        kin
    }

    fn touched(&mut self, any_of: &BTreeMap<&str, &Chunk>, material: &Material<'_>) {
        for commit in material.commits.iter().filter(|commit| commit.files.len() <= CO_CHANGE_MAX_FILES) {
            let Some(message) = any_of.get(commit.hash.as_str()) else { continue };
            let files = commit.files.iter().filter_map(|file| any_of.get(file.as_str()));
            self.groups.extend(files.map(|file| (message.id, file.id)));
        }
    }

    fn changed(&mut self, any_of: &BTreeMap<&str, &Chunk>, material: &Material<'_>) {
        let mut together: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        for commit in material.commits.iter().filter(|commit| commit.files.len() <= CO_CHANGE_MAX_FILES) {
            let files: BTreeSet<u64> = commit.files.iter().filter_map(|file| Some(any_of.get(file.as_str())?.id)).collect();
            for &a in &files {
                for &b in files.range(a + 1..) {
                    *together.entry((a, b)).or_default() += 1;
                }
            }
        }
        self.groups.extend(together.into_iter().filter(|(_, count)| *count >= temporal::MIN_TOGETHER).map(|(files, _)| files));
    }

    fn called(&mut self, material: &Material<'_>) {
        let place: BTreeMap<u64, u64> = material.symbols.iter().filter_map(|symbol| Some((symbol.id, symbol.chunk?))).collect();
        let ends = material.edges.iter().filter_map(|edge| Some((*place.get(&edge.caller)?, *place.get(&edge.callee)?)));
        self.chunks.extend(ends.filter(|(caller, callee)| caller != callee));
    }
}
