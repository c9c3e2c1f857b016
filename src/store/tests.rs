//! The promises of the store: an append-only log with deterministic ids, derived tables that follow from it, errors that say what to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::types::Value;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::progress::{Cancel, Job, Silent};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("temporary folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data").join("patina.db")
    }

    fn open(&self) -> Store {
        Store::open(&self.path()).expect("opens")
    }
}

fn file(path: &str, texts: &[&str]) -> Source {
    let pieces = texts.iter().enumerate().map(|(at, text)| Piece {
        title: path.to_owned(),
        text: (*text).to_owned(),
        line: at as u32 + 1,
        end_line: at as u32 + 1,
    });
    let pieces: Vec<Piece> = pieces.collect();
    let hash = crate::fs::sha256(texts.concat().as_bytes());
    Source {
        key: format!("file:{path}"),
        content: Content { kind: Kind::Document, path: path.to_owned(), hash, date: None, commit: None, code: None, pieces },
    }
}

fn commit(hash: &str, date: &str, files: &[String]) -> Source {
    let commit = Commit {
        hash: hash.to_owned(),
        date: date.to_owned(),
        author: "A".to_owned(),
        subject: format!("subject {hash}"),
        body: String::new(),
        files: files.to_vec(),
    };
    let piece = Piece { title: commit.subject.clone(), text: "Files:".to_owned(), line: 0, end_line: 0 };
    let date = Some(date.to_owned());
    Source {
        key: format!("commit:{hash}"),
        content: Content {
            kind: Kind::Commit,
            path: hash.to_owned(),
            hash: hash.to_owned(),
            date,
            commit: Some(commit),
            code: None,
            pieces: vec![piece],
        },
    }
}

fn put(store: &mut Store, source: &Source) -> Change {
    store.put_source(source, None).expect("put")
}

/// Everything that must follow from the events alone, as text.
pub(crate) fn dump_derived(store: &Store) -> Vec<String> {
    let mut out = Vec::new();
    for table in ["sources", "chunks", "commits", "commit_files", "code_files", "symbols", "imports", "calls"] {
        let mut statement = store.connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).expect("table");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("row") {
            let values: Vec<Value> = (0..columns).map(|at| row.get(at).expect("value")).collect();
            out.push(format!("{table} {values:?}"));
        }
    }
    out.extend(store.co_changes().expect("co-changes").iter().map(|pair| format!("{pair:?}")));
    for word in ["alpha", "beta", "gamma", "token", "identifiers: token", "files"] {
        out.push(format!("{word} {:?}", store.lexical(word, 100).expect("search")));
    }
    // FTS5 compares its words with the texts of `chunks`, and fails if they differ.
    store
        .connection
        .execute_batch("INSERT INTO chunks_fts (chunks_fts, rank) VALUES ('integrity-check', 1)")
        .expect("index and texts agree");
    out
}

fn event_ids(store: &Store) -> Vec<String> {
    store.rows("SELECT id FROM events ORDER BY seq", [], |row| row.get(0)).expect("events")
}

#[test]
fn the_same_history_gives_the_same_ids_anywhere_and_a_file_may_come_back() {
    let history = |place: &Place| {
        let mut store = place.open();
        let a = file("a.md", &["alpha", "beta"]);
        assert_eq!(put(&mut store, &a), Change::Added);
        assert_eq!(put(&mut store, &a), Change::Unchanged);
        assert_eq!(put(&mut store, &file("a.md", &["alpha", "gamma"])), Change::Changed);
        assert_eq!(store.remove_sources(&["file:a.md", "file:never.md"]).expect("removed"), 1);
        assert!(store.chunks().expect("chunks").is_empty());
        assert_eq!(store.remove_sources(&["file:a.md"]).expect("removed"), 0);
        assert_eq!(put(&mut store, &a), Change::Added);
        (event_ids(&store), store.content_hash().expect("hash"), store.chunks().expect("chunks"))
    };
    let (here, there) = (history(&Place::new()), history(&Place::new()));
    assert_eq!(here, there);
    let (mut events, _, chunks) = here;
    assert_eq!(events.len(), 4, "added, changed, removed, added again: {events:?}");
    events.dedup();
    assert_eq!(events.len(), 4);
    assert_eq!(chunks.iter().map(|chunk| chunk.text.as_str()).collect::<std::collections::BTreeSet<_>>(), ["alpha", "beta"].into());
}

#[test]
fn chunk_ids_are_what_the_documentation_says() {
    let source = file("a.md", &["same", "same"]);
    let ids = events::chunk_ids(&source.content);
    assert_ne!(ids[0], ids[1], "equal texts of one file have their ordinals");
    let mut bytes = Vec::new();
    for part in ["document", "a.md", "a.md", "same"] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(&1u64.to_be_bytes());
    let hash = crate::fs::sha256(&bytes);
    assert_eq!(ids[1], (u64::from_str_radix(&hash[..16], 16).expect("hexadecimal") & (u64::MAX >> 1)) as i64);
    // A text above does not change the ids below it.
    let longer = events::chunk_ids(&file("a.md", &["new", "same", "same"]).content);
    assert_eq!(ids, longer[1..]);
}

#[test]
fn events_refuse_to_be_changed_or_deleted() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["alpha"]));
    for sql in ["UPDATE events SET payload = ''", "UPDATE events SET seq = 9", "DELETE FROM events"] {
        let error = store.connection.execute(sql, []).expect_err(sql);
        assert!(error.to_string().contains("only ever appended"), "{error}");
    }
    store.connection.execute("UPDATE chunks SET text = 'x'", []).expect_err("the words of a chunk never change");
}

#[test]
fn incremental_edits_and_a_rebuild_give_the_same_tables() {
    let place = Place::new();
    let mut store = place.open();
    let names = |range: std::ops::Range<usize>| range.map(|n| format!("f{n}.rs")).collect::<Vec<_>>();
    put(&mut store, &file("a.md", &["alpha beta", "gamma TokenBatch"]));
    put(&mut store, &file("b.md", &["alpha"]));
    put(&mut store, &commit("c1", "2026-01-01T00:00:00+02:00", &names(0..3)));
    put(&mut store, &commit("c2", "2026-01-01T00:00:00+01:00", &names(0..2)));
    put(&mut store, &file("a.md", &["beta", "gamma TokenBatch", "beta"]));
    put(&mut store, &commit("c3", "2025-01-01T00:00:00Z", &names(1..3)));
    store.remove_sources(&["commit:c2", "file:b.md"]).expect("removed");
    put(&mut store, &file("b.md", &["alpha token"]));
    store.finish_scrape(1_000).expect("finish");

    let (before, hash) = (dump_derived(&store), store.content_hash().expect("hash"));
    let events = event_ids(&store);
    store.rebuild(Job::silent()).expect("rebuild");
    assert_eq!(dump_derived(&store), before);
    assert_eq!(store.content_hash().expect("hash"), hash);
    assert_eq!(event_ids(&store), events, "a rebuild writes no event");

    // The same end state reached directly says the same, the log aside.
    let other = Place::new();
    let mut direct = other.open();
    for source in [
        commit("c3", "2025-01-01T00:00:00Z", &names(1..3)),
        file("b.md", &["alpha token"]),
        file("a.md", &["beta", "gamma TokenBatch", "beta"]),
        commit("c1", "2026-01-01T00:00:00+02:00", &names(0..3)),
    ] {
        put(&mut direct, &source);
    }
    assert_eq!(direct.content_hash().expect("hash"), hash);
    assert_eq!(direct.chunks().expect("chunks"), store.chunks().expect("chunks"));
    assert_eq!(direct.lexical("alpha OR beta", 9).expect("search"), store.lexical("alpha OR beta", 9).expect("search"));
    assert_eq!(store.commits().expect("commits").iter().map(|c| c.hash.as_str()).collect::<Vec<_>>(), ["c1", "c3"]);
    let pairs: Vec<String> = store.co_changes().expect("pairs").iter().map(|p| format!("{} {} {}", p.a, p.b, p.count)).collect();
    assert_eq!(pairs, ["f0.rs f1.rs 1", "f0.rs f2.rs 1", "f1.rs f2.rs 2"]);
}

#[test]
fn a_rebuild_refuses_a_damaged_event_and_an_interrupted_one_changes_nothing() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["alpha"]));
    let before = dump_derived(&store);
    let cancel = Cancel::default();
    cancel.raise();
    assert_eq!(store.rebuild(Job::new(&Silent, &cancel)).expect_err("stopped").kind(), ErrorKind::Interrupted);
    assert_eq!(dump_derived(&store), before);
    store
        .connection
        .execute_batch("DROP TRIGGER events_are_not_updated; UPDATE events SET payload = replace(payload, 'alpha', 'omega')")
        .expect("tampered");
    let error = store.rebuild(Job::silent()).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.message().contains("file:a.md"), "{error}");
    assert_eq!(dump_derived(&store), before);
}

#[test]
fn lexical_search_ranks_finds_identifiers_and_breaks_ties_by_id() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["the packed TokenBatch of an engine", "nothing of that kind"]));
    put(&mut store, &file("b.md", &["equal words"]));
    put(&mut store, &file("c.md", &["equal words"]));
    assert_eq!(store.lexical("identifiers: batch", 9).expect("search").len(), 1);
    assert_eq!(store.lexical("batch", 9).expect("search").len(), 1, "found although FTS5 does not split TokenBatch");
    assert_eq!(store.lexical("\"engines\"", 9).expect("stemmed").len(), 1);
    let ties = store.lexical("equal", 9).expect("search");
    assert_eq!(ties.len(), 2);
    assert!(ties[0].0 < ties[1].0 && (ties[0].1 - ties[1].1).abs() < 1e-12 && ties[0].1 > 0.0, "{ties:?}");
    assert_eq!(store.lexical("equal", 1).expect("limit"), ties[..1]);
    assert_eq!(store.lexical_among("equal", 9, |_| true).expect("all"), ties);
    assert_eq!(store.lexical_among("equal", 1, |id| id == ties[1].0).expect("the second alone"), ties[1..]);
    assert_eq!(store.lexical_among("equal", 0, |_| true).expect("none"), []);
    assert_eq!(store.lexical_among("AND", 1, |_| true).expect_err("no expression").kind(), ErrorKind::Usage);
    for bad in ["\"", "AND", "title :", "nocolumn: x", ""] {
        match store.lexical(bad, 9) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Usage, "{bad}: {error:?}"),
            Ok(found) => assert!(found.is_empty() && bad.is_empty(), "{bad}"),
        }
    }
    let all = store.chunks().expect("chunks");
    let asked: Vec<u64> = vec![all[2].id, u64::MAX, 5, all[0].id];
    let got: Vec<u64> = store.chunks_by_id(&asked).expect("by id").iter().map(|chunk| chunk.id).collect();
    assert_eq!(got, [all[2].id, all[0].id]);
    let keys: Vec<_> = all.iter().map(|chunk| (chunk.id, chunk.text_hash())).collect();
    assert_eq!(store.chunk_keys().expect("keys"), keys);
}

#[test]
fn chunks_are_chosen_by_what_their_source_is() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["one", "two"]));
    put(&mut store, &file("b.md", &["three"]));
    put(&mut store, &commit("abc", "2026-01-02T00:00:00Z", &["a.md".to_owned(), "b.md".to_owned()]));
    let chunks = store.chunks().expect("chunks");
    for dates in [false, true] {
        let mut seen = Vec::new();
        let ids = store
            .chunk_ids_where(dates, |kind, path, date| {
                seen.push((kind, path.to_owned(), date.map(str::to_owned)));
                Ok(path == "a.md")
            })
            .expect("ids");
        assert_eq!(ids, chunks.iter().filter(|chunk| chunk.path == "a.md").map(|chunk| chunk.id).collect::<Vec<_>>());
        assert_eq!(ids.len(), 2);
        for (kind, path, date) in seen {
            let of = chunks.iter().find(|chunk| chunk.path == path).expect("a chunk");
            assert_eq!((kind, date), (of.kind, of.date.clone().filter(|_| dates)));
        }
    }
    let refused = store.chunk_ids_where(false, |_, _, _| Err(Error::bug("stop"))).expect_err("the first error");
    assert_eq!(refused.kind(), ErrorKind::Bug);
    assert_eq!(store.files_of_commit("abc").expect("files"), ["a.md", "b.md"]);
    assert!(store.files_of_commit("def").expect("none").is_empty());
}

#[test]
fn vectors_are_kept_by_fingerprint_and_text_and_checked_both_ways() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["alpha", "beta"]));
    let chunks = store.chunks().expect("chunks");
    let all: Vec<u64> = chunks.iter().map(|chunk| chunk.id).collect();
    assert_eq!(store.missing_vectors("f").expect("missing"), all);
    let (first, second) = ([1.0f32, -0.5], [f32::MIN_POSITIVE, 3.0]);
    store.put_vectors("f", &[(chunks[0].text_hash(), &first)]).expect("put");
    assert_eq!(store.missing_vectors("f").expect("missing"), all[1..]);
    assert_eq!(store.missing_vectors("other").expect("missing"), all);
    store.put_vectors("f", &[(chunks[0].text_hash(), &second), (chunks[1].text_hash(), &first)]).expect("upsert");
    let vectors = store.vectors("f", 2).expect("vectors");
    assert_eq!(vectors, [(all[0], second.to_vec()), (all[1], first.to_vec())]);
    assert!(store.vectors("other", 2).expect("none").is_empty());

    // The same, one by one, in the order asked.
    let read = |fingerprint: &str, ids: &[u64]| {
        let mut out = Vec::new();
        let stored = store.stored_vectors(fingerprint, 2).expect("vectors");
        stored.each(ids, &mut |id, vector| {
            out.push((id, vector.to_vec()));
            Ok(())
        })?;
        Ok::<_, Error>(out)
    };
    assert_eq!(read("f", &[all[1], 7, u64::MAX, all[0]]).expect("read"), [(all[1], first.to_vec()), (all[0], second.to_vec())]);
    assert!(read("other", &all).expect("none").is_empty());
    assert_eq!(store.stored_vectors("f", 2).expect("vectors").ids().expect("ids"), all);

    for bad in [vec![f32::NAN, 0.0], vec![f32::INFINITY, 0.0], vec![], vec![1.0]] {
        let error = store.put_vectors("g", &[(chunks[0].text_hash(), &first), (chunks[1].text_hash(), &bad)]).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(store.vectors("g", 2).expect("nothing stored").is_empty());
    }
    assert_eq!(store.vectors("f", 3).expect_err("another model's").kind(), ErrorKind::Corrupt);
    store.connection.execute("UPDATE vectors SET numbers = ?1", [[0xffu8; 8].as_slice()]).expect("tampered");
    assert_eq!(store.vectors("f", 2).expect_err("NaN on disk").kind(), ErrorKind::Corrupt);
    let stored = store.stored_vectors("f", 2).expect("vectors");
    assert_eq!(stored.each(&all, &mut |_, _| Ok(())).expect_err("NaN on disk").kind(), ErrorKind::Corrupt);

    // The cache outlives a removal, so that a file that comes back costs nothing, until it is pruned.
    store.remove_sources(&["file:a.md"]).expect("removed");
    assert_eq!(store.counts().expect("counts").vectors, 2);
    assert_eq!(store.prune_vectors().expect("pruned"), 2);
}

#[test]
fn counts_name_every_kind() {
    let place = Place::new();
    let mut store = place.open();
    assert_eq!(store.counts().expect("counts").last_scrape, None);
    put(&mut store, &file("a.md", &["alpha", "beta"]));
    put(&mut store, &commit("c1", "2026-01-01T00:00:00Z", &[]));
    store.finish_scrape(1_000).expect("finish");
    let counts = store.counts().expect("counts");
    assert_eq!(counts.chunks, BTreeMap::from([(Kind::Session, 0), (Kind::Commit, 1), (Kind::Document, 2), (Kind::Code, 0)]));
    assert_eq!((counts.chunks_total(), counts.events, counts.sources, counts.commits, counts.vectors), (3, 2, 2, 1, 0));
    assert!(counts.last_scrape.is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()));
    assert_eq!(serde_json::to_value(store.counts().expect("counts")).expect("JSON")["chunks"]["commit"], 1);
}

fn error_of(path: &Path) -> Error {
    let error = Store::open(path).expect_err("refused");
    assert_eq!(Store::open_existing(path).expect_err("refused too").kind(), error.kind());
    assert_eq!(error.place().expect("place").path, path);
    assert!(error.hint_text().is_some(), "{error:?}");
    error
}

#[test]
fn what_is_no_database_of_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = folder.path().join("text.db");
    crate::fs::write_atomic(&text, |out| out.write_all(&b"this is no database, and long enough to be read as one ".repeat(40)))
        .expect("file");
    let bytes = std::fs::read(&text).expect("bytes");
    assert_eq!(error_of(&text).kind(), ErrorKind::Corrupt);
    assert_eq!(std::fs::read(&text).expect("bytes"), bytes);

    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).expect("open").execute_batch("CREATE TABLE cookies (x)").expect("table");
    assert_eq!(error_of(&foreign).kind(), ErrorKind::Corrupt);

    let newer = folder.path().join("newer.db");
    let store = Store::open(&newer).expect("new");
    store.connection.pragma_update(None, "user_version", FORMAT + 1).expect("newer");
    drop(store);
    let error = error_of(&newer);
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.message().contains(&format!("format {}", FORMAT + 1)), "{error}");

    let missing = folder.path().join("missing.db");
    let error = Store::open_existing(&missing).expect_err("missing");
    assert_eq!((error.kind(), missing.exists()), (ErrorKind::Missing, false));
    assert!(error.hint_text().is_some_and(|hint| hint.contains("patina scrape")));
}

/// A database that Patina wrote before it knew symbols and calls is brought up to date, and what is in it stays.
#[test]
fn a_database_of_format_1_is_migrated() {
    let place = Place::new();
    crate::fs::create_folder(place.path().parent().expect("a folder")).expect("created");
    let mut old = file("src/a.rs", &["fn alpha() { beta() }"]);
    old.content.kind = Kind::Code;
    let payload = serde_json::to_string(&old.content).expect("JSON");
    let event = super::events::event_id("source.set", &old.key, None, &payload);
    let hash = super::text_hash(&old.content.pieces[0].title, &old.content.pieces[0].text);
    let connection = rusqlite::Connection::open(place.path()).expect("a file");
    connection.execute_batch(include_str!("schema.sql")).expect("format 1");
    connection.pragma_update(None, "application_id", 0x50_74_6e_61).expect("ours");
    connection.pragma_update(None, "user_version", 1).expect("format 1");
    let piece = &old.content.pieces[0];
    for (sql, values) in [
        (
            "INSERT INTO events (id, kind, source, payload, recorded_at) VALUES (?1, 'source.set', ?2, ?3, '2026-01-01T00:00:00Z')",
            [&event, &old.key, &payload],
        ),
        (
            "INSERT INTO sources (key, kind, path, hash, event) VALUES (?2, 'code', 'src/a.rs', ?3, ?1)",
            [&event, &old.key, &old.content.hash],
        ),
        (
            "INSERT INTO chunks (id, source, text_hash, kind, path, line, end_line, title, text, identifiers)
             VALUES (7, ?1, x'00', 'code', 'src/a.rs', 1, 1, ?2, ?3, '')",
            [&old.key, &piece.title, &piece.text],
        ),
    ] {
        connection.execute(sql, values).expect(sql);
    }
    connection.execute("UPDATE chunks SET text_hash = ?1", [hash.as_slice()]).expect("the hash");
    connection.execute("INSERT INTO file_stamps VALUES (?1, 5, 6, '1')", [&old.key]).expect("a stamp");
    drop(connection);

    let mut store = Store::open_existing(&place.path()).expect("migrated by a command that only reads, too");
    assert_eq!(store.connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).expect("format"), FORMAT);
    let chunks = store.chunks().expect("chunks");
    assert_eq!((chunks.len(), chunks[0].text.as_str()), (1, "fn alpha() { beta() }"));
    assert_eq!(store.lexical("alpha", 9).expect("search").len(), 1);
    assert!(store.symbols().expect("symbols").is_empty() && store.calls().expect("calls").is_empty());
    // The events of format 1 are events still.
    store.rebuild(Job::silent()).expect("rebuilt");
    assert_eq!(store.chunks().expect("chunks").len(), 1);
    // The stamp is of a way of reading that knew no symbols, so the next scrape reads the file again.
    assert_eq!(store.known("file:").expect("known")[&old.key].stamp.as_ref().map(|stamp| stamp.reader.as_str()), Some("1"));
    let fact = |name: &str| SymbolFact {
        kind: SymbolKind::Function,
        name: name.to_owned(),
        qualified: name.to_owned(),
        signature: String::new(),
        doc: String::new(),
        line: 1,
        end_line: 1,
        doc_line: 0,
        doc_end_line: 0,
        declared: false,
    };
    let mut now = old.clone();
    now.content.code = Some(CodeFacts { language: "rust".into(), symbols: vec![fact("alpha")], ..CodeFacts::default() });
    put(&mut store, &now);
    assert_eq!(store.symbols().expect("symbols").len(), 1);
    let before = dump_derived(&store);
    store.rebuild(Job::silent()).expect("rebuilt");
    assert_eq!(dump_derived(&store), before);
    assert_eq!(store.counts().expect("counts").events, 2);
}

#[test]
fn a_truncated_database_is_corrupt() {
    let place = Place::new();
    let mut store = place.open();
    for n in 0..200 {
        put(&mut store, &file(&format!("{n}.md"), &[&"alpha beta gamma ".repeat(50)]));
    }
    drop(store);
    let bytes = std::fs::read(place.path()).expect("bytes");
    let cut = bytes[..bytes.len() / 3].to_vec();
    crate::fs::write_atomic(&place.path(), |out| out.write_all(&cut)).expect("cut");
    let outcome = Store::open_existing(&place.path()).and_then(|store| store.chunks());
    let error = outcome.expect_err("damage is seen");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[test]
fn a_second_writer_is_told_that_the_first_is_busy_and_a_reader_is_not_disturbed() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["alpha"]));
    let mut second = place.open();
    second.connection.busy_timeout(Duration::from_millis(20)).expect("timeout");
    store.connection.execute_batch("BEGIN IMMEDIATE").expect("held");
    let error = second.put_source(&file("b.md", &["beta"]), None).expect_err("busy");
    assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Busy, 4));
    assert_eq!(Store::open_existing(&place.path()).expect("reader").chunks().expect("chunks").len(), 1);
    store.connection.execute_batch("ROLLBACK").expect("released");
    assert_eq!(put(&mut second, &file("b.md", &["beta"])), Change::Added);
}

#[test]
fn a_full_disk_is_an_error_with_a_hint_and_keeps_what_was_there() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["alpha"]));
    let before = dump_derived(&store);
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("pages");
    store.connection.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(())).expect("limit");
    let error = store.put_source(&file("b.md", &[&"beta ".repeat(50_000)]), None).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.message().contains("disk is full") && error.hint_text().is_some(), "{error:?}");
    assert_eq!(dump_derived(&store), before);
}

#[test]
fn a_read_only_database_is_read_and_not_written() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["alpha"]));
    let expected = store.chunks().expect("chunks");
    drop(store);
    let mut store = Store::open_immutable(&place.path()).expect("opens");
    assert_eq!(store.chunks().expect("chunks"), expected);
    assert_eq!(store.lexical("alpha", 9).expect("search").len(), 1);
    let error = store.put_source(&file("b.md", &["beta"]), None).expect_err("read-only");
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.message().contains("read-only"), "{error:?}");
}

#[test]
fn what_may_only_be_read_is_opened_without_its_log() {
    let place = Place::new();
    let mut store = place.open();
    put(&mut store, &file("a.md", &["alpha"]));
    drop(store);
    // SQLite cannot make the files beside the database, as in a folder that may not be written; root may write everywhere.
    crate::fs::create_folder(&place.folder.path().join("data").join("patina.db-shm")).expect("in the way");
    let store = Store::open_existing(&place.path()).expect("opens");
    assert_eq!(store.chunks().expect("chunks").len(), 1);
    assert_eq!(
        Store::open(&place.path()).and_then(|mut store| store.put_source(&file("b.md", &["b"]), None)).expect_err("no").kind(),
        ErrorKind::Failed
    );
}

#[test]
fn a_path_with_the_signs_of_a_uri_opens() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("a?b#c%41 d").join("patina.db");
    let mut store = Store::open(&path).expect("opens");
    put(&mut store, &file("a.md", &["alpha"]));
    drop(store);
    assert_eq!(Store::open_immutable(&path).expect("immutable").chunks().expect("chunks").len(), 1);
}

#[test]
fn stamps_and_states_are_remembered_without_events() {
    let place = Place::new();
    let mut store = place.open();
    let stamp = Stamp { size: 5, modified: -7, reader: "1".to_owned() };
    store.put_source(&file("a.md", &["alpha"]), Some(&stamp)).expect("put");
    put(&mut store, &file("b.md", &["beta"]));
    put(&mut store, &commit("c1", "2026-01-01T00:00:00Z", &[]));
    let known = store.known("file:").expect("known");
    assert_eq!(known.keys().collect::<Vec<_>>(), ["file:a.md", "file:b.md"]);
    assert_eq!((known["file:a.md"].stamp.as_ref(), known["file:b.md"].stamp.as_ref()), (Some(&stamp), None));
    assert_eq!(store.put_source(&file("b.md", &["beta"]), Some(&stamp)).expect("stamp"), Change::Unchanged);
    assert_eq!(store.known("file:").expect("known")["file:b.md"].stamp, Some(stamp));
    // A stamp never outlives what it was taken with.
    put(&mut store, &file("b.md", &["alpha"]));
    assert_eq!(store.known("file:").expect("known")["file:b.md"].stamp, None);
    assert_eq!(store.state("head").expect("state"), None);
    store.set_state("head", "x").expect("state");
    store.set_state("head", "y").expect("state");
    assert_eq!(store.state("head").expect("state").as_deref(), Some("y"));
    assert_eq!(store.counts().expect("counts").events, 4);
}

#[test]
fn ten_thousand_chunks_answer_at_once() {
    let place = Place::new();
    let mut store = place.open();
    let sources: Vec<Source> = (0..1000)
        .map(|n| {
            let texts: Vec<String> = (0..10).map(|m| format!("word{n} word{m} {} tail", "filler text of a chunk ".repeat(20))).collect();
            file(&format!("d/{n}.md"), &texts.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    for batch in sources.chunks(100) {
        store.put_sources(&batch.iter().map(|source| (source, None)).collect::<Vec<_>>()).expect("put");
    }
    store.finish_scrape(1_000).expect("finish");
    drop(store);
    let start = Instant::now();
    let store = Store::open_existing(&place.path()).expect("opens");
    assert_eq!(store.lexical("\"word7\" OR \"word500\"", 50).expect("search").len(), 50);
    assert_eq!(store.chunk_keys().expect("keys").len(), 10_000);
    assert_eq!(store.missing_vectors("f").expect("missing").len(), 10_000);
    store.content_hash().expect("hash");
    store.counts().expect("counts");
    // A bound against a wrong query plan, generous enough for any machine.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn missing_texts_come_in_portions_each_once() {
    let place = Place::new();
    let mut store = place.open();
    let texts: Vec<String> = (0..25).map(|n| format!("text {}", n % 20)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    put(&mut store, &file("a.md", &texts));
    put(&mut store, &file("b.md", &texts[..7]));
    let chunks = store.chunks().expect("chunks");
    let different: BTreeSet<[u8; 32]> = chunks.iter().map(|chunk| chunk.text_hash()).collect();
    assert!(different.len() < chunks.len());
    assert_eq!((store.chunk_count().expect("count"), store.chunk_ids().expect("ids").len()), (chunks.len(), chunks.len()));
    assert_eq!(store.count_missing_texts("f").expect("count"), different.len() as u64);
    let (mut seen, mut after, mut portions) = (Vec::new(), None, 0);
    loop {
        let portion = store.missing_texts("f", after.as_ref(), 6).expect("portion");
        let Some(last) = portion.last() else { break };
        after = Some(last.1);
        portions += 1;
        for (id, hash) in portion {
            assert_eq!(store.chunks_by_id(&[id]).expect("a chunk")[0].text_hash(), hash);
            // What is stored meanwhile does not come again, and what follows does.
            store.put_vectors("f", &[(hash, &[1.0, 2.0])]).expect("put");
            seen.push(hash);
        }
    }
    assert_eq!((seen.iter().copied().collect::<BTreeSet<_>>(), seen.len()), (different.clone(), different.len()));
    assert_eq!((portions, store.count_missing_texts("f").expect("count")), (different.len().div_ceil(6), 0));
    assert!(store.missing_vectors("f").expect("missing").is_empty());
}

#[test]
fn a_sample_is_whole_sources_and_the_same_every_time() {
    let place = Place::new();
    let mut store = place.open();
    for n in 0..20 {
        let texts = [format!("one {n}"), format!("two {n}"), format!("three {n}")];
        put(&mut store, &file(&format!("{n}.md"), &texts.each_ref().map(String::as_str)));
    }
    let all = store.chunks().expect("chunks");
    assert_eq!(store.sample(all.len()).expect("all"), all);
    let some = store.sample(20).expect("some");
    assert_eq!(some.len(), 18, "six files of three");
    assert_eq!(store.sample(20).expect("some"), some);
    assert!(some.windows(2).all(|pair| pair[0].id < pair[1].id));
    for chunk in &some {
        assert_eq!(some.iter().filter(|other| other.path == chunk.path).count(), 3, "{}", chunk.path);
    }
    let first: BTreeSet<&str> = some.iter().map(|chunk| chunk.path.as_str()).collect();
    assert!(first.iter().any(|path| !["0.md", "1.md", "10.md", "11.md", "12.md", "13.md"].contains(path)), "{first:?}");
}
