//! Commits to files: the subject of a commit asks for the files that it touched.
//!
//! The newest commits are taken, so that a projection, whose pairs are split by time, has not seen them; those that are in a pair that trained
//! one, or that touched a file which is, are left out whatever their date. Files are searched as they are now.

use std::collections::{BTreeMap, BTreeSet};

use super::{Query, Set, Unit};
use crate::error::Result;
use crate::search::lexical;
use crate::store::{CO_CHANGE_MAX_FILES, Commit, Kind, Store};

/// The share of the commits, the newest by author date, that are asked: as much as is held out of training.
pub const NEWEST_SHARE: f64 = 0.2;
/// Of a short history more than that share is asked, up to so many commits.
pub const NEWEST_AT_LEAST: usize = 200;
/// A subject of fewer words asks for nothing ("wip", "fix tests").
pub const MIN_SUBJECT_WORDS: usize = 3;
/// Chunks that hold one subject, at most, which are looked for.
const MOST_HOLDERS: usize = 10_000;

/// What a file's source is called in the store, before its path.
const FILE: &str = "file:";
/// What a commit's source is called in the store, before its hash.
const COMMIT: &str = "commit:";

/// The questions of the history, at most `limit`. `trained` are the groups of all pairs that a projection of the project was trained on.
pub fn commits(store: &Store, trained: &BTreeSet<String>, limit: usize) -> Result<Set> {
    let mut set = Set {
        name: "commits".to_owned(),
        about: "the subject of a commit asks for the files that it touched".to_owned(),
        queries: Vec::new(),
        kinds: vec![Kind::Session, Kind::Document, Kind::Code],
        unit: Unit::File,
        left_out: Vec::new(),
        notes: Vec::new(),
    };
    let all = store.commits()?;
    let newest = all.len().min(NEWEST_AT_LEAST.max((all.len() as f64 * NEWEST_SHARE).ceil() as usize));
    set.left_out("commits", "older than those that are asked", all.len() - newest);
    let mut subjects: BTreeMap<String, usize> = BTreeMap::new();
    for commit in &all {
        *subjects.entry(plain(&commit.subject)).or_default() += 1;
    }
    let files: BTreeSet<String> = store.known(FILE)?.into_keys().filter_map(|key| key.strip_prefix(FILE).map(str::to_owned)).collect();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut gone, mut holding) = (0, 0);
    for commit in &all[..newest] {
        if let Some(reason) = unfit(commit, subjects.get(&plain(&commit.subject)).copied().unwrap_or(0)) {
            *reasons.entry(reason).or_default() += 1;
            continue;
        }
        let own: BTreeSet<u64> = store.chunks_of_source(&format!("{COMMIT}{}", commit.hash))?.iter().map(|chunk| chunk.id).collect();
        let mut without = holders(store, &commit.subject)?;
        let mut relevant = BTreeSet::new();
        for path in &commit.files {
            if !files.contains(path) {
                gone += 1;
            } else if store.chunks_of_source(&format!("{FILE}{path}"))?.iter().all(|chunk| without.contains(&chunk.id)) {
                holding += 1;
            } else {
                relevant.insert(path.clone());
            }
        }
        without.extend(own);
        if relevant.is_empty() {
            *reasons.entry("no file that it touched is searched now").or_default() += 1;
            continue;
        }
        if trained.contains(&commit.hash) || relevant.iter().any(|path| trained.contains(path)) {
            *reasons.entry("a projection was trained on pairs of it or of a file that it asks for").or_default() += 1;
            continue;
        }
        let (id, text, group) = (commit.hash.clone(), asked(&commit.subject).to_owned(), commit.hash.clone());
        set.queries.push(Query { id, text, group, relevant, without, places: BTreeMap::new() });
    }
    for (reason, count) in reasons {
        set.left_out("commits", reason, count);
    }
    set.left_out("files of commits", "gone, renamed or not searched", gone);
    set.left_out("files of commits", "every piece holds the subject", holding);
    set.draw(limit, "commits");
    Ok(set)
}

/// Why a commit is no question; `standing` is how many commits have its subject.
fn unfit(commit: &Commit, standing: usize) -> Option<&'static str> {
    let subject = plain(&commit.subject);
    if commit.files.is_empty() || subject.starts_with("merge ") {
        Some("merges, or without files")
    } else if subject.starts_with("revert ") || subject.starts_with("reapply ") {
        Some("reverts")
    } else if is_version_bump(&commit.subject) {
        Some("version bumps")
    } else if commit.files.len() > CO_CHANGE_MAX_FILES {
        Some("more than 30 files")
    } else if asked(&commit.subject).split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).count() < MIN_SUBJECT_WORDS {
        Some("subjects of fewer than 3 words")
    } else if standing > 1 {
        Some("subjects that several commits have")
    } else {
        None
    }
}

/// A subject in lower case, its words with single spaces between.
fn plain(subject: &str) -> String {
    let words: Vec<String> =
        asked(subject).split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect();
    words.join(" ")
}

/// The subject without the number of a pull request at its end, which is in no file.
fn asked(subject: &str) -> &str {
    let subject = subject.trim();
    let number = subject.strip_suffix(')').and_then(|rest| rest.rsplit_once("(#"));
    match number {
        Some((rest, digits)) if !rest.trim().is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => rest.trim_end(),
        _ => subject,
    }
}

/// Whether a subject tells of another version of the project or of a library: it asks for a manifest, whatever its words.
fn is_version_bump(subject: &str) -> bool {
    const VERBS: [&str; 8] = ["bump", "release", "version", "prepare", "upgrade", "update", "tag", "publish"];
    let subject = asked(subject).to_lowercase();
    let said = without_type(&subject);
    let is_number = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let word = word.strip_prefix('v').unwrap_or(word);
        word.contains('.')
            && word.starts_with(|c: char| c.is_ascii_digit())
            && word.split('.').all(|part| part.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut words = said.split_whitespace();
    let first = words.next().unwrap_or_default();
    let numbered = said.split_whitespace().any(is_number);
    first == "bump" || is_number(first) || (numbered && VERBS.contains(&first)) || subject.starts_with("chore(release)")
}

/// A subject without what conventional commits begin with: `fix(search): `.
fn without_type(subject: &str) -> &str {
    match subject.split_once(": ") {
        Some((kind, rest)) if !kind.contains(' ') && !rest.trim().is_empty() => rest.trim_start(),
        _ => subject,
    }
}

/// The chunks that hold a subject word for word: its own, a changelog's line, a note that quotes it. What conventional commits begin with
/// may be missing there.
fn holders(store: &Store, subject: &str) -> Result<BTreeSet<u64>> {
    let subject = asked(subject);
    let said = without_type(subject);
    let enough = said.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).count() >= MIN_SUBJECT_WORDS;
    let Some(phrase) = lexical::phrase(if enough { said } else { subject }) else { return Ok(BTreeSet::new()) };
    Ok(store.lexical(&phrase, MOST_HOLDERS)?.into_iter().map(|(id, _)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(subject: &str, files: usize) -> Commit {
        Commit {
            hash: "0".repeat(40),
            date: "2025-01-01T00:00:00Z".into(),
            author: "Ada".into(),
            subject: subject.into(),
            body: String::new(),
            files: (0..files).map(|n| format!("src/{n}.rs")).collect(),
        }
    }

    #[test]
    fn what_asks_for_nothing_is_left_out() {
        for (subject, files, reason) in [
            ("Merge branch 'main' into next", 2, "merges, or without files"),
            ("the parser reads all sections", 0, "merges, or without files"),
            ("Revert \"the parser reads all\"", 1, "reverts"),
            ("Bump serde from 1.0.1 to 1.0.2 (#12)", 1, "version bumps"),
            ("v0.3.0", 1, "version bumps"),
            ("chore: release 1.2.3", 1, "version bumps"),
            ("chore(release): the parser", 1, "version bumps"),
            ("Update the base image to 3.19", 1, "version bumps"),
            ("format all the files", 31, "more than 30 files"),
            ("fix tests (#7)", 1, "subjects of fewer than 3 words"),
        ] {
            assert_eq!(unfit(&commit(subject, files), 1), Some(reason), "{subject}");
        }
        assert_eq!(unfit(&commit("update the readme", 1), 2), Some("subjects that several commits have"));
        for subject in
            ["update the readme", "The parser reads version 1.2 of the format", "bumpers are drawn in red", "release the lock at once"]
        {
            assert_eq!(unfit(&commit(subject, 30), 1), None, "{subject}");
        }
    }

    #[test]
    fn a_pull_request_s_number_is_not_asked() {
        assert_eq!(asked(" Read all sections (#412)"), "Read all sections");
        assert_eq!(asked("Read (#some) sections (#x1)"), "Read (#some) sections (#x1)");
        assert_eq!(asked("(#412)"), "(#412)");
        assert_eq!(plain("Fix(Search):  the K, again"), "fix search the k again");
        assert_eq!(without_type("fix(search)!: the k"), "the k");
        assert_eq!(without_type("the parser: reads all"), "the parser: reads all");
    }
}
