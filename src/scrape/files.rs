//! Documents, session notes and source files: what changed since the last time, and what became of it.
//!
//! Files are read and parsed on several threads and recorded by the calling one, in the order of their paths, many in a transaction.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::code::Parsed;
use super::formats::{DATA_BYTES, Format};
use super::headings::Markup;
use super::notes::{self, FrontMatter};
use super::pieces::lines;
use super::read::{self, Outcome};
use super::walk::{Candidate, Found, is_below};
use super::{LeftOut, Options, Report, code, headings};
use crate::error::{Error, Result};
use crate::progress::Job;
use crate::store::{Content, Kind, Known, Source, Stamp, Store};
use crate::threads::start_in;

/// What the keys of files begin with.
const KEY: &str = "file:";

/// The way of reading; raise it when the same bytes begin to give other pieces or facts, and every file is read again.
const READER: &str = "3";

/// A file that changed this shortly before it was read may change again without looking different (same size, and the clock of the file
/// system has not moved on), so its stamp is not trusted.
const FRESH: Duration = Duration::from_secs(2);

/// The most threads that read files; the store is one writer, and more would wait for it.
const MAX_READERS: usize = 8;
/// Files that a thread reads before it hands them over. Each thread is at most two hands ahead, which bounds the memory.
const HAND: usize = 16;
/// Files of one transaction at most ...
const TRANSACTION_FILES: usize = 256;
/// ... and about the bytes of their texts. The search index is written out with each transaction, so that many small ones are slow.
const TRANSACTION_BYTES: usize = 8 << 20;

/// A file that is to be read.
struct Work<'a> {
    path: &'a str,
    candidate: &'a Candidate,
    stamp: Option<Stamp>,
}

/// What a stamp says after the way of reading if its file gave no source; why not follows, or nothing if it has no text.
const PASSED: &str = " passed over: ";

/// What became of it.
enum Read {
    Source(Box<Text>),
    Empty,
    /// It says so itself.
    Made(&'static str),
    LeftOut(String),
    Unreadable(String),
    /// What read it panicked.
    Panicked,
}

/// What a file holds.
struct Text {
    source: Source,
    /// Without a stamp it is read again by the next scrape.
    stamp: Option<Stamp>,
    parsed: Parsed,
    /// Of what there is more in it than is kept.
    more: Vec<String>,
}

/// Follows the files that a walk found.
pub(super) fn scrape(found: &Found, store: &mut Store, options: &Options, report: &mut Report, job: Job<'_>) -> Result<()> {
    let known = store.known(KEY)?;
    let mut present: BTreeSet<&str> = BTreeSet::new();
    let mut work: Vec<Work<'_>> = Vec::new();
    let passed = store.passed_over(KEY)?;
    let mut passed_now: Vec<(String, Stamp)> = Vec::new();
    job.progress.begin("reading files", Some(found.files.len() as u64), "files");
    for (path, candidate) in &found.files {
        let key = format!("{KEY}{path}");
        let before = known.get(&key);
        let stamp = stamp(candidate);
        if let (Some(before), Some(stamp), false) = (before, &stamp, options.full)
            && before.stamp.as_ref() == Some(stamp)
            && stamp.size <= limit(candidate.format, options)
        {
            job.check()?;
            present.insert(path);
            report.tally_mut(before.kind).unchanged += 1;
            job.progress.advance(1);
        } else if let (Some(before), Some(stamp), false) = (passed.get(&key), &stamp, options.full)
            && let Some(reason) = before.reader.strip_prefix(stamp.reader.as_str()).and_then(|rest| rest.strip_prefix(PASSED))
            && (before.size, before.modified) == (stamp.size, stamp.modified)
            && stamp.size <= limit(candidate.format, options)
        {
            job.check()?;
            match reason {
                "" => report.empty_files += 1,
                reason => report.left_out.push(LeftOut { path: path.clone(), reason: reason.to_owned() }),
            }
            job.progress.advance(1);
        } else {
            work.push(Work { path, candidate, stamp });
        }
    }
    record(&work, &|work| read(work, options, job), store, report, &mut present, &mut passed_now, job)?;
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
    // After the removals, which take the stamps along.
    let forgotten: Vec<&String> = passed.keys().filter(|key| !found.files.contains_key(&key[KEY.len()..])).collect();
    store.pass_over(&passed_now, &forgotten)
}

/// Reads what there is to read and records it. What was read before an interruption is kept.
fn record<'a>(
    work: &[Work<'a>],
    read: &(dyn Fn(&Work<'_>) -> Read + Sync),
    store: &mut Store,
    report: &mut Report,
    present: &mut BTreeSet<&'a str>,
    passed: &mut Vec<(String, Stamp)>,
    job: Job<'_>,
) -> Result<()> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(MAX_READERS).min(work.len().div_ceil(HAND)).max(1);
    std::thread::scope(|scope| {
        let mut hands: Vec<Receiver<Vec<Read>>> = Vec::new();
        for first in 0..threads {
            let (give, take) = sync_channel(1);
            hands.push(take);
            // The hands are dealt in turn, so that they are taken in the order of the files whoever is fast.
            start_in(scope, "read files", move || {
                for hand in work.chunks(HAND).skip(first).step_by(threads) {
                    // A scope whose thread panicked panics itself, and would not say where.
                    let read = |work| catch_unwind(AssertUnwindSafe(|| read(work))).unwrap_or(Read::Panicked);
                    if give.send(hand.iter().map(read).collect()).is_err() {
                        return; // Whoever takes has stopped.
                    }
                }
            })?;
        }
        let mut pending = Pending { store, sources: Vec::new(), bytes: 0 };
        for (at, hand) in work.chunks(HAND).enumerate() {
            let taken = hands[at % threads].recv().map_err(|_| Error::bug("a thread that reads files ended early"))?;
            for (work, read) in hand.iter().zip(taken) {
                if let Err(stopped) = job.check() {
                    pending.flush(report)?;
                    return Err(stopped);
                }
                let path = work.path;
                let mut leave_out = |reason: String| report.left_out.push(LeftOut { path: path.to_owned(), reason });
                match read {
                    Read::Source(text) => {
                        let Text { source, stamp, parsed, more } = *text;
                        present.insert(path);
                        report.parsed += u64::from(parsed == Parsed::Yes);
                        report.not_parsed += u64::from(matches!(parsed, Parsed::No | Parsed::Late));
                        if parsed == Parsed::Late {
                            let limit = code::PARSE_TIME.as_secs();
                            report.notes.push(format!("{path}: not parsed within {limit} s; cut at blank lines, and read again next time"));
                        }
                        let kept = more.iter().map(|more| format!("{path}: more than {more}; the first ones are kept"));
                        report.notes.extend(kept);
                        pending.put(source, stamp, report)?;
                    }
                    Read::Empty => {
                        report.empty_files += 1;
                        passed.extend(passed_over(work, ""));
                    }
                    Read::Made(reason) => {
                        leave_out(reason.to_owned());
                        passed.extend(passed_over(work, reason));
                    }
                    Read::LeftOut(reason) => leave_out(reason),
                    Read::Unreadable(reason) => {
                        // What cannot be read now may well be as it was: nothing is forgotten.
                        present.insert(path);
                        leave_out(reason);
                    }
                    Read::Panicked => {
                        // One file must not keep all others from being read, this time and every next time.
                        present.insert(path);
                        leave_out("a bug in Patina: its reader panicked".to_owned());
                    }
                }
                job.progress.advance(1);
            }
        }
        pending.flush(report)
    })
}

/// Sources that are not recorded yet.
struct Pending<'a> {
    store: &'a mut Store,
    sources: Vec<(Source, Option<Stamp>)>,
    bytes: usize,
}

impl Pending<'_> {
    fn put(&mut self, source: Source, stamp: Option<Stamp>, report: &mut Report) -> Result<()> {
        self.bytes += source.content.pieces.iter().map(|piece| piece.text.len()).sum::<usize>();
        self.sources.push((source, stamp));
        if self.sources.len() >= TRANSACTION_FILES || self.bytes >= TRANSACTION_BYTES {
            self.flush(report)?;
        }
        Ok(())
    }

    fn flush(&mut self, report: &mut Report) -> Result<()> {
        let sources: Vec<(&Source, Option<&Stamp>)> = self.sources.iter().map(|(source, stamp)| (source, stamp.as_ref())).collect();
        let changes = self.store.put_sources(&sources)?;
        for ((source, _), change) in self.sources.drain(..).zip(changes) {
            report.tally_mut(source.content.kind).count(change);
        }
        self.bytes = 0;
        Ok(())
    }
}

fn read(work: &Work<'_>, options: &Options, job: Job<'_>) -> Read {
    let candidate = work.candidate;
    match read::read(&candidate.path, limit(candidate.format, options)) {
        Outcome::Text { text, hash } => {
            if let Some(why) = Some(candidate.format).filter(|format| *format == Format::Code).and_then(|_| code::made_by(&text)) {
                return Read::Made(why);
            }
            match source(work.path, candidate, &text, hash, job) {
                Some((source, parsed, more)) => {
                    let stamp = work.stamp.clone().filter(|stamp| is_settled(stamp) && parsed != Parsed::Late);
                    Read::Source(Box::new(Text { source, stamp, parsed, more }))
                }
                None => Read::Empty,
            }
        }
        Outcome::Empty => Read::Empty,
        Outcome::LeftOut(reason) => Read::LeftOut(reason),
        Outcome::Gone => Read::LeftOut("it vanished before it was read".to_owned()),
        Outcome::Unreadable(reason) => Read::Unreadable(reason),
    }
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

/// What is remembered of a file that gave no source, so that it is not read again.
fn passed_over(work: &Work<'_>, reason: &str) -> Option<(String, Stamp)> {
    let stamp = work.stamp.clone().filter(is_settled)?;
    let reader = format!("{}{PASSED}{reason}", stamp.reader);
    Some((format!("{KEY}{}", work.path), Stamp { reader, ..stamp }))
}

/// Whether the file has been as it is for long enough that a later change cannot look the same.
fn is_settled(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::from(stamp.modified) + (FRESH.as_nanos() as i128) < now.as_nanos() as i128
}

/// What the file holds, or nothing if it is blank.
fn source(path: &str, candidate: &Candidate, text: &str, hash: String, job: Job<'_>) -> Option<(Source, Parsed, Vec<String>)> {
    let lines = lines(text);
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut content = Content { kind: Kind::Code, path: path.to_owned(), hash, date: None, commit: None, code: None, pieces: Vec::new() };
    let (mut parsed, mut more) = (Parsed::NoGrammar, Vec::new());
    match candidate.format {
        Format::Code | Format::Data => {
            let cut = code::cut(text, &lines, path, job);
            (content.code, content.pieces, parsed, more) = (cut.facts, cut.pieces, cut.parsed, cut.more);
        }
        Format::Prose(markup) => {
            let front = if markup == Markup::Markdown { FrontMatter::read(&lines) } else { FrontMatter::default() };
            let found = headings::headings(&lines, markup, front.lines);
            let is_note = candidate.listed || (markup == Markup::Markdown && notes::is_session(&front, &found));
            content.kind = if is_note { Kind::Session } else { Kind::Document };
            let title = front.get("title").map(|title| headings::clip(title, headings::HEADING_CHARS));
            // The title of the front matter stands above headings that do not say it themselves.
            let prefix = title.as_deref().filter(|title| found.first().is_none_or(|first| first.text != *title));
            let root = title.as_deref().unwrap_or(name);
            content.date = notes::date(&front, &lines, name);
            content.pieces = headings::pieces(&lines, &found, markup, root, prefix);
        }
    }
    (!content.pieces.is_empty()).then(|| (Source { key: format!("{KEY}{path}"), content }, parsed, more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_panics_is_a_bug_of_ours_in_that_file_and_all_others_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(&folder.path().join("patina.db")).expect("a store");
        let paths: Vec<String> = (0..40).map(|n| format!("{n:02}.rs")).collect();
        let candidate = Candidate { path: folder.path().join("a.rs"), format: Format::Code, listed: false };
        let work: Vec<Work<'_>> = paths.iter().map(|path| Work { path, candidate: &candidate, stamp: None }).collect();
        let read = |work: &Work<'_>| {
            assert!(work.path != "20.rs", "on purpose");
            let (source, parsed, more) =
                source(work.path, work.candidate, "fn a() {}\n", "hash".to_owned(), Job::silent()).expect("a source");
            Read::Source(Box::new(Text { source, stamp: None, parsed, more }))
        };
        let (mut report, mut present) = (Report::default(), BTreeSet::new());
        record(&work, &read, &mut store, &mut report, &mut present, &mut Vec::new(), Job::silent()).expect("the others");
        let left_out: Vec<(&str, &str)> = report.left_out.iter().map(|out| (out.path.as_str(), out.reason.as_str())).collect();
        assert_eq!(left_out, [("20.rs", "a bug in Patina: its reader panicked")]);
        assert_eq!((report.code.added, store.chunks().expect("chunks").len()), (39, 39));
        assert!(present.contains("20.rs"), "what is known of it is not forgotten");
    }
}
