//! The git history: one source and one chunk a commit, following rewritten history.

use std::collections::BTreeSet;

use super::Report;
use super::git::{Answer, Asked, Logged, MAX_COMMITS, Repository};
use super::headings::clip;
use crate::error::Result;
use crate::progress::Job;
use crate::store::{Commit, Content, Kind, Piece, Source, Store};

/// What the keys of commits begin with.
const KEY: &str = "commit:";

/// The text of a commit names this many of its files.
pub const FILES_SHOWN: usize = 30;

/// A subject is cut to this many characters in the title; the whole of a longer one is in the text.
pub const SUBJECT_CHARS: usize = 200;

/// Commits are read and recorded together up to this many.
const BATCH: usize = 500;

/// Where the head that was followed last is remembered, with the way of reading it.
const FOLLOWED: &str = "git_head";

/// The way of reading; raise it when the same commit begins to give another text.
const READER: &str = "1";

/// Follows the history of the repository. If git cannot tell it, what is known stays, and a note says why.
pub(super) fn scrape(asked: &Asked, store: &mut Store, full: bool, report: &mut Report, job: Job<'_>) -> Result<()> {
    let unread = |report: &mut Report, why: &str| {
        report.notes.push(format!("the git history was not read: {why}"));
        Ok(())
    };
    let repository = match asked {
        Asked::Found(repository) => Some(repository),
        Asked::None => None,
        Asked::Unable(why) => return unread(report, why),
    };
    let head = match repository.map_or(Ok(None), Repository::head) {
        Ok(head) => head,
        Err(why) => return unread(report, &why),
    };
    match (repository, &head) {
        (None, _) => report.notes.push("this is no git repository: there are no commits to read".to_owned()),
        (Some(_), None) => report.notes.push("the git repository has no commits yet".to_owned()),
        _ => {}
    }
    let followed = format!("{READER} {}", head.as_deref().unwrap_or("none"));
    let last = store.state(FOLLOWED)?;
    if !full && last.as_ref() == Some(&followed) {
        report.commits.unchanged += store.counts()?.commits;
        return Ok(());
    }
    let hashes = match (repository, &head) {
        (Some(repository), Some(head)) => match repository.reachable(head) {
            Ok(hashes) => hashes,
            Err(why) => return unread(report, &why),
        },
        _ => Vec::new(),
    };
    if hashes.len() == MAX_COMMITS {
        report.notes.push(format!("only the newest {MAX_COMMITS} commits are read"));
    }
    let reread = full || last.is_some_and(|last| !last.starts_with(&format!("{READER} ")));
    // Until all is done no head is followed, so that an interrupted scrape looks again.
    store.set_state(FOLLOWED, &format!("{READER} unfinished"))?;
    match follow(repository, &hashes, store, reread, report, job)? {
        Ok(()) => store.set_state(FOLLOWED, &followed),
        Err(why) => unread(report, &why),
    }
}

/// Makes the commits of the store those of `hashes`: new ones are read, ones that are no longer reachable leave. The inner error is
/// what git says.
fn follow(
    repository: Option<&Repository>,
    hashes: &[String],
    store: &mut Store,
    reread: bool,
    report: &mut Report,
    job: Job<'_>,
) -> Result<Answer<()>> {
    let known = store.known(KEY)?;
    let wanted: BTreeSet<String> = hashes.iter().map(|hash| format!("{KEY}{hash}")).collect();
    let gone: Vec<&String> = known.keys().filter(|key| !wanted.contains(*key)).collect();
    report.commits.removed += store.remove_sources(&gone)?;
    // Oldest first, as the events happened.
    let mut unread: Vec<String> = hashes.iter().filter(|hash| reread || !known.contains_key(&format!("{KEY}{hash}"))).cloned().collect();
    unread.reverse();
    report.commits.unchanged += (hashes.len() - unread.len()) as u64;
    let Some(repository) = repository.filter(|_| !unread.is_empty()) else { return Ok(Ok(())) };
    job.progress.begin("reading the git history", Some(unread.len() as u64), "commits");
    for batch in unread.chunks(BATCH) {
        job.check()?;
        let logged = match repository.log(batch) {
            Ok(logged) => logged,
            Err(why) => return Ok(Err(why)),
        };
        let sources: Vec<Source> = logged.into_iter().map(source).collect();
        let changes = store.put_sources(&sources.iter().map(|source| (source, None)).collect::<Vec<_>>())?;
        for change in changes {
            report.commits.count(change);
        }
        job.progress.advance(batch.len() as u64);
    }
    job.progress.end("");
    Ok(Ok(()))
}

fn source(logged: Logged) -> Source {
    let title = match logged.subject.trim() {
        "" => format!("commit {}", logged.hash.get(..12).unwrap_or(&logged.hash)),
        subject => clip(subject, SUBJECT_CHARS),
    };
    let mut parts = Vec::new();
    if title != logged.subject.trim() && !logged.subject.trim().is_empty() {
        parts.push(logged.subject.clone());
    }
    if !logged.body.trim().is_empty() {
        parts.push(logged.body.clone());
    }
    if !logged.files.is_empty() {
        let mut files = String::from("Files:");
        for (path, old) in logged.files.iter().take(FILES_SHOWN) {
            files.push('\n');
            files.push_str(path);
            if let Some(old) = old {
                files.push_str(" (was ");
                files.push_str(old);
                files.push(')');
            }
        }
        if let Some(more) = logged.files.len().checked_sub(FILES_SHOWN).filter(|more| *more > 0) {
            files.push_str(&format!("\nand {more} more"));
        }
        parts.push(files);
    }
    if parts.is_empty() {
        // A merge without a body: the title says all there is.
        parts.push(title.clone());
    }
    let piece = Piece { title, text: parts.join("\n\n").replace('\0', "\u{fffd}"), line: 0, end_line: 0 };
    // git keeps dates that no calendar has; only a real one is passed on.
    let date = Some(logged.date.clone()).filter(|date| date.parse::<jiff::Timestamp>().is_ok());
    let commit = Commit {
        hash: logged.hash.clone(),
        date: logged.date,
        author: logged.author,
        subject: logged.subject,
        body: logged.body,
        files: logged.files.into_iter().map(|(path, _)| path).collect(),
    };
    let content = Content {
        kind: Kind::Commit,
        path: logged.hash.clone(),
        hash: logged.hash.clone(),
        date,
        commit: Some(commit),
        code: None,
        pieces: vec![piece],
    };
    Source { key: format!("{KEY}{}", logged.hash), content }
}
