//! Files that change together: pairs of their first pieces.

use std::collections::{BTreeMap, BTreeSet};

use super::link::Link;
use crate::store::{CO_CHANGE_MAX_FILES, Chunk, Commit, Kind};

/// Two files that changed together in fewer commits may have done so by chance.
pub(super) const MIN_TOGETHER: usize = 2;
/// The most files that one file is paired with, those it is tied to most.
pub(super) const MAX_PAIRS_PER_FILE: usize = 6;

/// The first of these pieces of each source file and document, which stands for it; by path.
pub(super) fn representatives<'a>(chunks: impl IntoIterator<Item = &'a Chunk>) -> BTreeMap<&'a str, &'a Chunk> {
    let mut first: BTreeMap<&str, &Chunk> = BTreeMap::new();
    for chunk in chunks.into_iter().filter(|chunk| matches!(chunk.kind, Kind::Code | Kind::Document)) {
        let best = first.entry(&chunk.path).or_insert(chunk);
        if (chunk.line, chunk.id) < (best.line, best.id) {
            *best = chunk;
        }
    }
    first
}

/// All links, the strongest first, and when each pair changed together last. Strength is how much oftener two files change together than
/// chance would have it (the normalised pointwise mutual information of Bouma 2009), so that what changes in every commit is tied to
/// nothing.
pub(super) fn links<'a>(
    representatives: &BTreeMap<&'a str, &'a Chunk>,
    commits: &'a [Commit],
) -> (Vec<Link<'a>>, BTreeMap<(u64, u64), &'a str>) {
    let mut alone: BTreeMap<&str, usize> = BTreeMap::new();
    let mut together: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
    let mut counted = 0usize;
    for commit in commits.iter().filter(|commit| (2..=CO_CHANGE_MAX_FILES).contains(&commit.files.len())) {
        counted += 1;
        let files: BTreeSet<&str> = commit.files.iter().map(String::as_str).collect();
        for &file in &files {
            *alone.entry(file).or_default() += 1;
        }
        let known: Vec<&str> = files.into_iter().filter(|file| representatives.contains_key(file)).collect();
        for (at, &a) in known.iter().enumerate() {
            for &b in &known[at + 1..] {
                let seen = together.entry((a, b)).or_insert((0, &commit.date));
                seen.0 += 1;
                if later(&commit.date, seen.1) {
                    seen.1 = &commit.date;
                }
            }
        }
    }
    let total = counted.max(1) as f64;
    let strength = |a: &str, b: &str, count: usize| {
        let share = |n: usize| n as f64 / total;
        let both = share(count);
        let information = (both / (share(alone[a]) * share(alone[b]))).ln();
        if both < 1.0 { information / -both.ln() } else { 0.0 }
    };
    let mut found: Vec<(f64, usize, &str, &str, &str)> = together
        .into_iter()
        .filter(|(_, (count, _))| *count >= MIN_TOGETHER)
        .map(|((a, b), (count, last))| (strength(a, b, count), count, a, b, last))
        .filter(|(strength, ..)| *strength > 0.0)
        .collect();
    found.sort_by(|x, y| y.0.total_cmp(&x.0).then(y.1.cmp(&x.1)).then((x.2, x.3).cmp(&(y.2, y.3))));
    let mut of_file: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut out, mut dates) = (Vec::new(), BTreeMap::new());
    for (_, _, a, b, last) in found {
        let room = |file: &str| of_file.get(file).copied().unwrap_or(0) < MAX_PAIRS_PER_FILE;
        if room(a) && room(b) {
            *of_file.entry(a).or_default() += 1;
            *of_file.entry(b).or_default() += 1;
            let (first, second) = (representatives[a], representatives[b]);
            // Either asks for the other.
            for (anchor, positive) in [(first, second), (second, first)] {
                out.push(Link { anchor: anchor.id, positive: positive.id, anchor_group: &anchor.group, positive_group: &positive.group });
                dates.insert((anchor.id, positive.id), last);
            }
        }
    }
    (out, dates)
}

fn later(a: &str, b: &str) -> bool {
    super::split::parse_date(a) > super::split::parse_date(b)
}
