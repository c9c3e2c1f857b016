//! What a table knew of files that change together before the test began: a projection of such files must beat it.

use std::collections::BTreeMap;

use super::{Pairs, is_before};
use crate::store::{CO_CHANGE_MAX_FILES, Commit};

impl Pairs {
    /// For each file's first piece ([`Pairs::firsts`]) those of the files that changed with it in commits before `cut`, the most often
    /// first, with how often.
    pub fn companions_before(&self, commits: &[Commit], cut: Option<&str>) -> BTreeMap<u64, Vec<(u64, f64)>> {
        let mut together: BTreeMap<u64, BTreeMap<u64, usize>> = BTreeMap::new();
        let before = |commit: &&Commit| is_before(&commit.date, cut);
        for commit in commits.iter().filter(before).filter(|commit| commit.files.len() <= CO_CHANGE_MAX_FILES) {
            let files: Vec<u64> = commit.files.iter().filter_map(|file| self.firsts.get(file).copied()).collect();
            for &a in &files {
                for &b in files.iter().filter(|&&b| b != a) {
                    *together.entry(a).or_default().entry(b).or_default() += 1;
                }
            }
        }
        together.into_iter().map(|(file, others)| (file, most_first(others))).collect()
    }
}

fn most_first(counts: BTreeMap<u64, usize>) -> Vec<(u64, f64)> {
    let mut files: Vec<(u64, usize)> = counts.into_iter().collect();
    files.sort_by_key(|&(file, count)| (std::cmp::Reverse(count), file));
    files.into_iter().map(|(file, count)| (file, count as f64)).collect()
}
