//! What a table knew of files that change together before the test began: a projection of such files must beat it.
//!
//! It is the table that [`Store::companions`](crate::store::Store::companions) shows, made of the commits before. What that does not show,
//! files that changed together once, stands behind what it does: a table without them would be easier to beat.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Pairs, is_before};
use crate::store::{CO_CHANGE_MAX_FILES, CO_CHANGE_MIN_SUPPORT, Commit, tie};

impl Pairs {
    /// For each file's first piece ([`Pairs::firsts`]) those of the files that changed with it in commits before `cut`, best first, with
    /// the table's score.
    pub fn companions_before(&self, commits: &[Commit], cut: Option<&str>) -> BTreeMap<u64, Vec<(u64, f64)>> {
        let mut touching: BTreeMap<&str, u64> = BTreeMap::new();
        let mut together: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut counted = 0;
        let before = |commit: &&Commit| is_before(&commit.date, cut) && (1..=CO_CHANGE_MAX_FILES).contains(&commit.files.len());
        for commit in commits.iter().filter(before) {
            counted += 1;
            let files: BTreeSet<&str> = commit.files.iter().map(String::as_str).filter(|file| self.firsts.contains_key(*file)).collect();
            for &a in &files {
                *touching.entry(a).or_default() += 1;
                for &b in files.iter().filter(|&&b| b > a) {
                    *together.entry((a, b)).or_default() += 1;
                }
            }
        }
        let mut known: BTreeMap<&str, Vec<(u64, f64, &str)>> = BTreeMap::new();
        for ((a, b), both) in together {
            let [.., score] = tie(both, [touching[a], touching[b]], counted);
            known.entry(a).or_default().push((both, score, b));
            known.entry(b).or_default().push((both, score, a));
        }
        known.into_iter().map(|(file, others)| (self.firsts[file], self.best_first(others))).collect()
    }

    /// `others` are how often a file changed with another one, the score of that, and its path.
    fn best_first(&self, mut others: Vec<(u64, f64, &str)>) -> Vec<(u64, f64)> {
        let is_rare = |both: u64| both < CO_CHANGE_MIN_SUPPORT;
        others.sort_by(|a, b| {
            let scores = || b.1.total_cmp(&a.1);
            is_rare(a.0).cmp(&is_rare(b.0)).then_with(scores).then_with(|| (Reverse(a.0), a.2).cmp(&(Reverse(b.0), b.2)))
        });
        others.into_iter().map(|(_, score, path)| (self.firsts[path], score)).collect()
    }
}
