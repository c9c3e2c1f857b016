//! Documents, session notes and source files: what changed since the last time, and what became of it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::formats::{DATA_BYTES, Format};
use super::headings::Markup;
use super::notes::{self, FrontMatter};
use super::pieces::lines;
use super::read::{self, Outcome};
use super::walk::{Candidate, Found, is_below};
use super::{LeftOut, Options, Report, code, headings};
use crate::error::Result;
use crate::progress::Job;
use crate::store::{Content, Kind, Known, Source, Stamp, Store};

/// What the keys of files begin with.
const KEY: &str = "file:";

/// The way of reading; raise it when the same bytes begin to give other pieces, and every file is read again.
const READER: &str = "1";

/// A file that changed this shortly before it was read may change again without looking different (same size, and the clock of the file
/// system has not moved on), so its stamp is not trusted.
const FRESH: Duration = Duration::from_secs(2);

/// Follows the files that a walk found, one transaction a file.
pub(super) fn scrape(found: &Found, store: &mut Store, options: &Options, report: &mut Report, job: Job<'_>) -> Result<()> {
    let known = store.known(KEY)?;
    let mut present: BTreeSet<&str> = BTreeSet::new();
    job.progress.begin("reading files", Some(found.files.len() as u64), "files");
    for (path, candidate) in &found.files {
        job.check()?;
        let key = format!("{KEY}{path}");
        let before = known.get(&key);
        let mut leave_out = |reason: String| report.left_out.push(LeftOut { path: path.clone(), reason });
        let stamp = stamp(candidate);
        if let (Some(before), Some(stamp), false) = (before, &stamp, options.full)
            && before.stamp.as_ref() == Some(stamp)
            && stamp.size <= limit(candidate.format, options)
        {
            present.insert(path);
            report.tally_mut(before.kind).unchanged += 1;
            job.progress.advance(1);
            continue;
        }
        match read::read(&candidate.path, limit(candidate.format, options)) {
            Outcome::Text { text, .. } if candidate.format == Format::Code && code::looks_made(&text) => {
                leave_out("looks generated or minified (very long lines)".to_owned());
            }
            Outcome::Text { text, hash } => {
                let stamp = stamp.filter(is_settled);
                match source(&key, path, candidate, &text, hash) {
                    Some(source) => {
                        present.insert(path);
                        let kind = source.content.kind;
                        let change = store.put_source(&source, stamp.as_ref())?;
                        report.tally_mut(kind).count(change);
                    }
                    None => report.empty_files += 1,
                }
            }
            Outcome::Empty => report.empty_files += 1,
            Outcome::LeftOut(reason) => leave_out(reason),
            Outcome::Gone => leave_out("it vanished before it was read".to_owned()),
            Outcome::Unreadable(reason) => {
                // What cannot be read now may well be as it was: nothing is forgotten.
                present.insert(path);
                leave_out(reason);
            }
        }
        job.progress.advance(1);
    }
    job.progress.end("");

    job.check()?;
    let gone: Vec<(&String, &Known)> = known
        .iter()
        .filter(|(key, _)| {
            let path = &key[KEY.len()..];
            !present.contains(path) && !found.unreadable.iter().any(|folder| is_below(path, folder))
        })
        .collect();
    store.remove_sources(&gone.iter().map(|(key, _)| key).collect::<Vec<_>>())?;
    for (_, known) in gone {
        report.tally_mut(known.kind).removed += 1;
    }
    Ok(())
}

fn limit(format: Format, options: &Options) -> u64 {
    match format {
        Format::Data => options.max_file_bytes.min(DATA_BYTES),
        Format::Code | Format::Prose(_) => options.max_file_bytes,
    }
}

fn stamp(candidate: &Candidate) -> Option<Stamp> {
    let (size, modified) = read::look(&candidate.path)?;
    Some(Stamp { size, modified, reader: format!("{READER}{}", if candidate.listed { " listed" } else { "" }) })
}

/// Whether the file has been as it is for long enough that a later change cannot look the same.
fn is_settled(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::from(stamp.modified) + (FRESH.as_nanos() as i128) < now.as_nanos() as i128
}

/// What the file holds, or nothing if it is blank.
fn source(key: &str, path: &str, candidate: &Candidate, text: &str, hash: String) -> Option<Source> {
    let lines = lines(text);
    let name = path.rsplit('/').next().unwrap_or(path);
    let (kind, date, pieces) = match candidate.format {
        Format::Code | Format::Data => (Kind::Code, None, code::pieces(&lines, path)),
        Format::Prose(markup) => {
            let front = if markup == Markup::Markdown { FrontMatter::read(&lines) } else { FrontMatter::default() };
            let found = headings::headings(&lines, markup, front.lines);
            let is_note = candidate.listed || (markup == Markup::Markdown && notes::is_session(&front, &found));
            let kind = if is_note { Kind::Session } else { Kind::Document };
            let title = front.get("title").map(|title| headings::clip(title, headings::HEADING_CHARS));
            // The title of the front matter stands above headings that do not say it themselves.
            let prefix = title.as_deref().filter(|title| found.first().is_none_or(|first| first.text != *title));
            let root = title.as_deref().unwrap_or(name);
            (kind, notes::date(&front, &lines, name), headings::pieces(&lines, &found, markup, root, prefix))
        }
    };
    let content = Content { kind, path: path.to_owned(), hash, date, commit: None, code: None, pieces };
    (!content.pieces.is_empty()).then(|| Source { key: key.to_owned(), content })
}
