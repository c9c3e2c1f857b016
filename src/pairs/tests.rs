//! Pairs, splits and the leakage check together: examples, and properties over made-up projects.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::eligible::MIN_CHARACTERS;
use super::*;
use crate::error::ErrorKind;
use crate::store::{Content, Kind, Piece, Source, Store, SymbolKind};

fn chunk(id: u64, kind: Kind, path: &str, line: u32, title: &str, text: &str) -> Chunk {
    let (path, group) = (path.to_owned(), path.to_owned());
    Chunk { id, kind, path, line, end_line: line + 3, title: title.to_owned(), text: text.to_owned(), date: None, group }
}

/// A text of its own that is long enough.
fn text(topic: &str) -> String {
    format!("{topic}: a paragraph that talks of {topic} and of nothing else at some length")
}

fn ids(pairs: &[Pair]) -> Vec<(u64, u64)> {
    pairs.iter().map(|pair| (pair.anchor, pair.positive)).collect()
}

#[test]
fn sections_of_a_session_and_pieces_of_a_section_are_pairs_in_the_order_of_the_file() {
    let chunks = [
        chunk(9, Kind::Session, "s/a.md", 1, "A > Goals", &text("alpha")),
        chunk(3, Kind::Session, "s/a.md", 10, "A > Log", &text("beta")),
        chunk(5, Kind::Session, "s/a.md", 20, "A > Log", &text("gamma")),
        chunk(1, Kind::Session, "s/b.md", 1, "B > Goals", &text("delta")),
    ];
    let pairs = semantic(&chunks);
    // 3 with 5 are pieces of one section; 9 with either are two sections; b.md has only one chunk.
    assert_eq!(ids(&pairs), [(3, 5), (9, 3), (9, 5)]);
    assert!(pairs.iter().all(|pair| pair.group == "s/a.md"));
    let mut shuffled = chunks.to_vec();
    shuffled.reverse();
    assert_eq!(semantic(&shuffled), pairs);
}

#[test]
fn documents_pair_neighbours_under_one_heading_and_code_pairs_neighbours() {
    let document = [
        chunk(1, Kind::Document, "d.md", 1, "Guide", &text("intro")),
        chunk(2, Kind::Document, "d.md", 9, "Guide > Install", &text("install")),
        chunk(3, Kind::Document, "d.md", 20, "Guide > Use", &text("use")),
        chunk(4, Kind::Document, "d.md", 30, "Annex > Licence", &text("licence")),
    ];
    assert_eq!(ids(&semantic(&document)), [(1, 2), (2, 3)]);
    let code: Vec<Chunk> = (0..3)
        .map(|i| chunk(i, Kind::Code, "x.rs", 10 * i as u32 + 1, "x.rs", &text(&format!("fn{}", ["a", "b", "c"][i as usize]))))
        .collect();
    assert_eq!(ids(&semantic(&code)), [(0, 1), (1, 2)]);
}

#[test]
fn a_long_session_gives_a_bounded_number_of_pairs() {
    let chunks: Vec<Chunk> =
        (0..200).map(|i| chunk(i, Kind::Session, "s/a.md", i as u32 + 1, &format!("A > {i}"), &text(&letters(i)))).collect();
    let pairs = semantic(&chunks);
    assert_eq!(pairs.len(), within::MAX_SESSION_PAIRS);
    assert!(pairs.iter().any(|pair| pair.anchor > 150), "the choice is spread over the session");
}

#[test]
fn short_chunks_and_texts_of_several_groups_are_on_no_side() {
    let template = "Session started at 12:01 on 2025-08-16 with the goal to be written down here";
    let filled = "session started at 7:45 on 2025-09-03 with the  goal to be written down here";
    let mut chunks = Vec::new();
    for (g, path) in ["s/a.md", "s/b.md"].into_iter().enumerate() {
        let id = 10 * g as u64;
        chunks.push(chunk(id + 1, Kind::Session, path, 1, "S > One", &text(&format!("one {path}"))));
        chunks.push(chunk(id + 2, Kind::Session, path, 2, "S > Two", &text(&format!("two {path}"))));
        chunks.push(chunk(id + 3, Kind::Session, path, 3, "S > Start", if g == 0 { template } else { filled }));
        chunks.push(chunk(id + 4, Kind::Session, path, 4, "S > Todo", &"x".repeat(MIN_CHARACTERS - 1)));
    }
    // A text twice in one group is there once: its first place.
    chunks.push(chunk(0, Kind::Session, "s/a.md", 9, "S > Again", &text("one s/a.md")));
    assert_eq!(ids(&semantic(&chunks)), [(1, 2), (11, 12)]);
}

fn commit(hash: &str, subject: &str, files: &[&str]) -> Commit {
    let files = files.iter().map(|file| (*file).to_owned()).collect();
    Commit {
        hash: hash.to_owned(),
        date: "2025-01-01T00:00:00Z".to_owned(),
        author: "A".to_owned(),
        subject: subject.to_owned(),
        body: String::new(),
        files,
    }
}

#[test]
fn a_commit_is_paired_with_the_piece_of_a_file_that_its_message_talks_of() {
    let message = "tokenizer.rs: truncate sequences at the longest position before padding";
    let chunks = [
        chunk(1, Kind::Commit, "c1", 0, message, message),
        chunk(2, Kind::Code, "src/tokenizer.rs", 1, "src/tokenizer.rs", "use std::path::Path; // imports and other things that come first"),
        chunk(
            3,
            Kind::Code,
            "src/tokenizer.rs",
            50,
            "src/tokenizer.rs",
            "/// Truncate the sequences that are longer than the longest position",
        ),
        chunk(4, Kind::Code, "src/other.rs", 1, "src/other.rs", "/// Truncate sequences at the longest position, which nobody mentioned"),
    ];
    let touched = commit("c1", message, &["src/other.rs", "src/tokenizer.rs"]);
    let pairs = semantic_with_commits(&chunks, std::slice::from_ref(&touched));
    assert!(ids(&pairs).contains(&(1, 3)), "{pairs:?}");
    assert!(!pairs.iter().any(|pair| pair.positive == 4 || (pair.anchor, pair.positive) == (1, 2)));
    // The commit's group and the file's are one component now, also for the pair inside the file.
    assert!(pairs.iter().all(|pair| pair.group == "c1"), "{pairs:?}");

    let many: Vec<String> = (0..30).map(|i| format!("f{i}")).collect();
    let sweeping = Commit { files: many.into_iter().chain(touched.files.clone()).collect(), ..touched };
    assert_eq!(ids(&semantic_with_commits(&chunks, &[sweeping])), [(2, 3)], "a commit of more than 30 files says nothing");
}

#[test]
fn two_commits_of_one_file_are_told_apart_by_their_subjects() {
    let files = "Files:\nsrc/tokenizer.rs, which is all that the text of either says";
    let subjects = ["tokenizer: truncate sequences at the longest position", "tokenizer: pad batches of sequences on the right"];
    let mut chunks: Vec<Chunk> = (0..2).map(|i| chunk(i, Kind::Commit, &format!("c{i}"), 0, subjects[i as usize], files)).collect();
    chunks.push(chunk(
        2,
        Kind::Code,
        "src/tokenizer.rs",
        1,
        "src/tokenizer.rs",
        "/// Truncate long sequences at the last position, pad batches on the right",
    ));
    let commits = [0, 1].map(|i| commit(&format!("c{i}"), subjects[i], &["src/tokenizer.rs"]));
    assert_eq!(ids(&semantic_with_commits(&chunks, &commits)), [(0, 2), (1, 2)]);
}

/// The symbol of a chunk; its id is 1000 more.
fn symbol(chunk: u64, doc: &str) -> Symbol {
    Symbol {
        id: 1000 + chunk,
        chunk: Some(chunk),
        kind: SymbolKind::Function,
        name: format!("f{chunk}"),
        qualified: format!("f{chunk}"),
        signature: String::new(),
        doc: doc.to_owned(),
        language: "rust".into(),
        path: "x.rs".into(),
        line: 1,
        end_line: 2,
        doc_line: 0,
        doc_end_line: 0,
        declared: false,
    }
}

fn made(sources: &[PairSource], chunks: &[Chunk], commits: &[Commit], symbols: &[Symbol], edges: &[CallEdge]) -> Pairs {
    make(sources, &Material { chunks, commits, symbols, edges })
}

#[test]
fn headings_lines_that_ask_and_doc_comments_are_questions_to_their_answers() {
    let long = "Because the answer is written down here at some length, and nobody has to guess it.";
    let asked = format!("Some words.\n\n- Why is the index derived from the store?\n{long}");
    let chunks = [
        chunk(1, Kind::Document, "d.md", 1, "Guide > How an index is made anew", &text("index")),
        chunk(2, Kind::Document, "d.md", 9, "Guide > How an index is made anew", &asked),
        chunk(3, Kind::Session, "s.md", 1, "S > Next", "What is to be done with the stale lockfile now?"),
        chunk(4, Kind::Session, "s.md", 5, "S > Next", long),
        chunk(5, Kind::Code, "x.rs", 1, "x.rs", &text("fn open")),
        // The same question in two groups asks nothing.
        chunk(6, Kind::Document, "e.md", 1, "What to do about it all 1", &text("e")),
        chunk(7, Kind::Document, "f.md", 1, "What to do about it all 2", &text("f")),
    ];
    let symbol = symbol(5, "Opens the store and locks it. Fails if it is held.");
    let found = made(&[PairSource::Semantic], &chunks, &[], std::slice::from_ref(&symbol), &[]);
    let answers: BTreeMap<&str, u64> = found
        .questions
        .iter()
        .map(|question| (question.text.as_str(), found.pairs.iter().find(|pair| pair.anchor == question.id).expect("a pair").positive))
        .collect();
    let expected = BTreeMap::from([
        ("How an index is made anew", 1),
        ("Why is the index derived from the store?", 2),
        ("What is to be done with the stale lockfile now?", 4),
        ("Opens the store and locks it", 5),
    ]);
    assert_eq!(answers, expected);
    let by_id: BTreeMap<u64, &Chunk> = chunks.iter().map(|chunk| (chunk.id, chunk)).collect();
    for question in &found.questions {
        assert!(question.id & QUESTION_BIT != 0);
        let pair = found.pairs.iter().find(|pair| pair.anchor == question.id).expect("a pair");
        assert_eq!(question.group, by_id[&pair.positive].group, "question and answer are on one side");
    }
    let mut backwards = chunks.to_vec();
    backwards.reverse();
    assert_eq!(made(&[PairSource::Semantic], &backwards, &[], &[symbol], &[]).questions, found.questions);
}

/// A session that says the question and nothing else, and one that answers it: the first is not on the other side of the second.
#[test]
fn what_a_chunk_of_another_group_says_and_nothing_else_asks_nothing() {
    let asked = "Why does the lexical search miss split identifiers?";
    let answer = "Because the tokenizer of the index took them for one word each, until they were split.";
    let other = "What does the second session ask of the lockfile?";
    let mut chunks = vec![
        chunk(1, Kind::Session, "s/a.md", 1, "S > Open", &format!("- {}", asked.to_uppercase())),
        chunk(2, Kind::Session, "s/a.md", 9, "S > Done", &text("alpha")),
        chunk(3, Kind::Session, "s/b.md", 1, "S > Log", &format!("{asked}\n{answer}\n{other}\n{answer}")),
    ];
    let texts = |chunks: &[Chunk]| -> Vec<String> {
        made(&[PairSource::Semantic], chunks, &[], &[], &[]).questions.into_iter().map(|question| question.text).collect()
    };
    // With a list's dash it is another text.
    assert_eq!(texts(&chunks).len(), 2);
    chunks[0].text = asked.to_uppercase();
    assert_eq!(texts(&chunks), [other]);
    // As title and text together too; in its own group it may stand.
    (chunks[0].title, chunks[0].text) = ("Why does".to_owned(), "the lexical search miss   split identifiers?".to_owned());
    assert_eq!(texts(&chunks), [other]);
    (chunks[0].path, chunks[0].group) = ("s/b.md".to_owned(), "s/b.md".to_owned());
    assert_eq!(texts(&chunks).len(), 2);
}

#[test]
fn files_that_change_together_are_pairs_of_their_first_pieces() {
    let chunks: Vec<Chunk> = ["a", "b", "c", "d"]
        .iter()
        .zip(0..)
        .flat_map(|(name, at)| {
            let path = format!("{name}.rs");
            [1, 40].map(|line| {
                chunk(10 * at + u64::from(line > 1), Kind::Code, &path, line, &path, &text(&format!("{name} at {}", letters(line.into()))))
            })
        })
        .collect();
    let day =
        |at: usize, files: &[&str]| Commit { date: format!("2025-01-{:02}T00:00:00Z", at + 1), ..commit(&format!("h{at}"), "x", files) };
    let mut commits = vec![day(0, &["a.rs", "b.rs"]), day(1, &["a.rs", "b.rs", "gone.rs"]), day(2, &["a.rs", "c.rs"])];
    commits.extend((3..9).map(|at| day(at, &["d.rs", "other.rs"])));
    let found = made(&[PairSource::Temporal], &chunks, &commits, &[], &[]);
    // a and b twice together, in both directions; a and c only once; d with nothing that is indexed.
    assert_eq!(ids(&found.pairs), [(0, 10), (10, 0)]);
    assert!(found.is_temporal() && found.questions.is_empty());
    // With others there is no table to be compared with, and time need not be cut.
    let mixed = made(&[PairSource::Semantic, PairSource::Temporal], &chunks, &commits, &[], &[]);
    assert!(ids(&mixed.pairs).contains(&(0, 10)) && !mixed.is_temporal());
    // What changes in every commit is tied to nothing.
    let always: Vec<Commit> = (0..6).map(|at| day(at, &["a.rs", ["b.rs", "c.rs", "d.rs"][at % 3]])).collect();
    assert!(made(&[PairSource::Temporal], &chunks, &always, &[], &[]).pairs.is_empty());
    let sweeping: Vec<String> = (0..31).map(|at| format!("f{at}")).chain(["a.rs".into(), "b.rs".into()]).collect();
    let sweeping: Vec<&str> = sweeping.iter().map(String::as_str).collect();
    let sweeps = [day(0, &sweeping), day(1, &sweeping), day(2, &["c.rs", "x"]), day(3, &["c.rs", "y"])];
    assert!(made(&[PairSource::Temporal], &chunks, &sweeps, &[], &[]).pairs.is_empty());
}

/// More companions than a file may have pairs and a component files: they are no pairs, and kin nevertheless.
#[test]
fn files_that_bounds_keep_out_of_the_pairs_are_kin() {
    let names: Vec<String> = (0..9).map(|at| format!("{}.rs", letters(at))).collect();
    let mut chunks: Vec<Chunk> = names.iter().zip(0..).map(|(path, id)| chunk(id, Kind::Code, path, 1, path, &text(path))).collect();
    // A file without a piece that may teach can be found, too.
    chunks.push(chunk(9, Kind::Code, "short.rs", 1, "short.rs", "mod a;"));
    let mut commits = Vec::new();
    for (at, other) in names.iter().map(String::as_str).chain(["short.rs"]).enumerate().skip(1) {
        commits.extend((0..2).map(|time| commit(&format!("{at}.{time}"), "x", &[&names[0], other])));
    }
    commits.push(commit("once", "x", &[&names[1], &names[2]]));
    commits.extend((0..20).map(|at| commit(&format!("other{at}"), "x", &["x", "y"])));
    let found = made(&[PairSource::Temporal], &chunks, &commits, &[], &[]);
    assert_eq!(found.pairs.len(), 2 * (components::MAX_FILES_PER_COMPONENT - 1));
    assert_eq!(found.kin.groups, (1..10).map(|other| (0, other)).collect());
    assert!(found.kin.chunks.is_empty());
    // A commit and the files that it touched, whether its message names them or not.
    chunks.push(chunk(77, Kind::Commit, "once", 0, "x", "x"));
    assert_eq!(made(&[PairSource::Semantic], &chunks, &commits, &[], &[]).kin.groups, BTreeSet::from([(77, 1), (77, 2)]));
}

/// A licence that stands above every file, and a short first line: neither is what a file is asked by, looked up by, or found as.
#[test]
fn a_common_header_stands_for_no_file_in_pairs_or_table() {
    let mut chunks = Vec::new();
    for (path, id) in ["a.rs", "b.rs", "c.rs"].into_iter().zip([10, 20, 30]) {
        chunks.push(chunk(id, Kind::Code, path, 1, "Licence", &text("the licence that stands above every file")));
        chunks.push(chunk(id + 1, Kind::Code, path, 9, path, "use std::fmt;"));
        chunks.push(chunk(id + 2, Kind::Code, path, 12, path, &text(path)));
        chunks.push(chunk(id + 3, Kind::Code, path, 30, path, &text(&format!("more of {path}"))));
    }
    chunks.push(chunk(40, Kind::Code, "d.rs", 1, "d.rs", "use std::fmt;"));
    let day =
        |at: usize, files: &[&str]| Commit { date: format!("2025-01-{:02}T00:00:00Z", at + 1), ..commit(&format!("h{at}"), "x", files) };
    let mut commits = vec![day(0, &["a.rs", "b.rs"]), day(1, &["a.rs", "b.rs"]), day(9, &["a.rs", "c.rs"])];
    commits.extend((2..9).map(|at| day(at, &["c.rs", "d.rs"])));
    let found = made(&[PairSource::Temporal], &chunks, &commits, &[], &[]);
    assert_eq!(found.firsts, BTreeMap::from([("a.rs".to_owned(), 12), ("b.rs".to_owned(), 22), ("c.rs".to_owned(), 32)]));
    assert_eq!(ids(&found.pairs), [(12, 22), (22, 12)]);
    let table = found.companions_before(&commits, Some("2025-01-10T00:00:00Z"));
    let rows = |file: u64| table.get(&file).map(|others| others.iter().map(|other| other.0).collect::<Vec<_>>());
    assert_eq!((rows(12), rows(22), rows(32)), (Some(vec![22]), Some(vec![12]), None), "what is asked for is what is found: {table:?}");
}

/// What a projection of files that change together must beat is what `scry --file` shows, and behind it what changed together once.
#[test]
fn the_table_of_the_gate_is_that_of_companions() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut store = Store::open(&folder.path().join("patina.db")).expect("a store");
    let mut put = |kind: Kind, path: &str, text: String, commit: Option<Commit>| {
        let (path, hash, date) = (path.to_owned(), crate::fs::sha256(path.as_bytes()), commit.as_ref().map(|commit| commit.date.clone()));
        let pieces = vec![Piece { title: path.clone(), text, line: 1, end_line: 1 }];
        let key = format!("{}:{path}", if commit.is_some() { "commit" } else { "file" });
        let source = Source { key, content: Content { kind, path, hash, date, commit, code: None, pieces } };
        store.put_source(&source, None).expect("put");
    };
    let names: Vec<String> = (0..12u8).map(|at| format!("{}.md", char::from(b'a' + at))).collect();
    for name in names.iter().map(String::as_str).chain(["changes.md"]) {
        put(Kind::Document, name, text(name), None);
    }
    let mut random = crate::metrics::random::SplitMix64::new(5);
    for at in 0..60 {
        // Files near each other change together, and with them the list of changes, whatever changed.
        let from = random.below(10);
        let mut files: Vec<String> = names.iter().skip(from).take(3).filter(|_| random.below(3) > 0).cloned().collect();
        files.extend(["changes.md".to_owned(), "gone.md".to_owned()]);
        if at % 20 == 0 {
            files.extend((0..40).map(|other| format!("sweep{other}.md")));
        }
        let (hash, date) = (format!("c{at:02}"), format!("2025-01-01T00:{at:02}:00Z"));
        let made = Commit { files, date, ..commit(&hash, "x", &[]) };
        put(Kind::Commit, &hash, "x".to_owned(), Some(made));
    }
    let once = Commit { date: "2025-01-01T01:00:00Z".to_owned(), ..commit("once", "x", &["a.md", "l.md"]) };
    put(Kind::Commit, "once", "x".to_owned(), Some(once));
    let (chunks, commits) = (store.chunks().expect("chunks"), store.commits().expect("commits"));
    let pairs = made(&[PairSource::Temporal], &chunks, &commits, &[], &[]);
    let table = pairs.companions_before(&commits, Some("2026-01-01"));
    let path_of = |id: u64| pairs.firsts.iter().find(|(_, first)| **first == id).map(|(path, _)| path.as_str()).expect("a file");
    let mut rare = 0;
    for name in &names {
        let shown: Vec<(String, f64)> = store
            .companions(name)
            .expect("companions")
            .files
            .into_iter()
            .filter(|file| file.indexed)
            .map(|file| (file.path, file.score))
            .collect();
        let known: Vec<(String, f64)> = table[&pairs.firsts[name]].iter().map(|(id, score)| (path_of(*id).to_owned(), *score)).collect();
        assert_eq!(known[..shown.len()], shown, "{name}");
        assert!(shown.len() > 1 && shown[0].0 != "changes.md", "{name}: {shown:?}");
        rare += known.len() - shown.len();
    }
    assert!(rare > 0, "nothing changed together once");
    assert!(pairs.companions_before(&commits, Some("2025-01-01")).is_empty(), "nothing was before");
}

#[test]
fn what_changed_together_before_the_test_judges_nothing() {
    let (mut chunks, mut commits) = (Vec::new(), Vec::new());
    for pair in 0..60u64 {
        let paths = [format!("src/{}a.rs", letters(100 + pair)), format!("src/{}b.rs", letters(100 + pair))];
        for (at, path) in paths.iter().enumerate() {
            chunks.push(chunk(
                2 * pair + at as u64,
                Kind::Code,
                path,
                1,
                path,
                &text(&format!("{} {at}", letters(1000 + 2 * pair + at as u64))),
            ));
        }
        for time in 0..2 {
            // Twice on the same day, days in the order of the pairs; files of even pairs change with others later too.
            let files: Vec<&str> = paths.iter().map(String::as_str).collect();
            let date = format!("2025-{:02}-{:02}T0{time}:00:00Z", 1 + pair / 28, 1 + pair % 28);
            commits.push(Commit { date, ..commit(&format!("{pair}.{time}"), "x", &files) });
        }
    }
    let found = made(&[PairSource::Temporal], &chunks, &commits, &[], &[]);
    let parts = found.split(1, Fractions::default()).expect("enough");
    check(&parts, &chunks).expect("no leak");
    assert_eq!(parts.groups, [42, 6, 12]);
    let cut = parts.test_from.clone().expect("time is cut");
    assert!(parts.test.iter().all(|pair| pair.anchor >= 96) && parts.train.iter().all(|pair| pair.anchor < 84), "{cut}");
    assert!(is_before(&commits[95].date, Some(&cut)) && !is_before(&commits[97].date, Some(&cut)));
}

#[test]
fn calls_keep_their_direction_and_are_split_by_function() {
    // Twelve functions in one file, each calling the next but one; and a tool that all call.
    let mut chunks: Vec<Chunk> =
        (0..40).map(|i| chunk(i, Kind::Code, "x.rs", 10 * i as u32 + 1, &format!("x.rs > f{i}"), &text(&letters(500 + i)))).collect();
    chunks.push(chunk(99, Kind::Code, "x.rs", 999, "x.rs > tool", &text("tool")));
    let symbols: Vec<Symbol> = chunks.iter().map(|chunk| symbol(chunk.id, "")).collect();
    let edge = |caller: u64, callee: u64| CallEdge { caller: 1000 + caller, callee: 1000 + callee, count: 1 };
    let mut edges: Vec<CallEdge> = (0..20).map(|i| edge(i, i + 20)).collect();
    edges.extend((0..40).map(|i| edge(i, 99)));
    edges.push(edge(3, 77_777));
    let found = made(&[PairSource::Dependency], &chunks, &[], &symbols, &edges);
    let mut pairs = ids(&found.pairs);
    pairs.sort_unstable();
    assert_eq!(pairs, (0..20).map(|i| (i, i + 20)).collect::<Vec<_>>(), "the caller asks, and nobody for the tool of all");
    assert!((0..40).all(|i| found.kin.chunks.contains(&(i, 99))), "which is called all the same");
    assert_eq!((found.kin.chunks.len(), found.kin.groups.len()), (60, 0));
    assert_eq!(found.unit, Unit::Function);
    let groups: BTreeSet<&str> = found.pairs.iter().map(|pair| pair.group.as_str()).collect();
    assert_eq!(groups.len(), 20, "functions of one file are groups of their own");
    // With pairs of files the file is what is never split.
    let both = made(&[PairSource::Semantic, PairSource::Dependency], &chunks, &[], &symbols, &edges);
    assert_eq!(both.unit, Unit::Group);
    assert!(both.pairs.iter().all(|pair| pair.group == "x.rs"));
    assert!(made(&[PairSource::Dependency], &chunks, &[], &[], &[]).pairs.is_empty());
}

#[test]
fn functions_of_one_file_may_be_on_two_sides_and_nothing_else_may() {
    let chunks: Vec<Chunk> = (0..8).map(|i| chunk(i, Kind::Code, "x.rs", 10 * i as u32 + 1, "x.rs", &text(&letters(500 + i)))).collect();
    let pair = |anchor: u64| Pair { group: format!("g{anchor}"), anchor, positive: anchor + 1 };
    let split = Split { train: vec![pair(0)], validation: vec![pair(2)], test: vec![pair(4)], ..Split::default() };
    check_units(&split, &chunks, Unit::Function).expect("functions");
    assert_eq!(check(&split, &chunks).expect_err("one file").kind(), ErrorKind::Bug);
    let leaking = Split { test: vec![Pair { positive: 1, ..pair(4) }], ..split };
    assert_eq!(check_units(&leaking, &chunks, Unit::Function).expect_err("one function").kind(), ErrorKind::Bug);
}

#[test]
fn folds_hold_out_every_group_once() {
    let chunks = undated(20, 4);
    let pairs = semantic(&chunks);
    let all = folds(&pairs, 1).expect("enough");
    assert_eq!(all.len(), FOLDS);
    let mut tested: Vec<Pair> = all.iter().flat_map(|split| split.test.clone()).collect();
    tested.sort();
    assert_eq!(tested, pairs);
    for split in &all {
        check(split, &chunks).expect("no leak");
        assert_eq!(split.groups, [12, 4, 4]);
        assert_eq!(split.train.len() + split.validation.len() + split.test.len(), pairs.len());
    }
    assert_eq!(folds(&pairs, 1).expect("again"), all);
    assert_ne!(folds(&pairs, 2).expect("another seed"), all);
    assert_eq!(folds(&[], 1), Err(TooLittle::Groups { found: 0 }));
    let one_session = semantic(&undated(1, 30));
    assert_eq!(folds(&one_session, 1), Err(TooLittle::Groups { found: 1 }));
    assert_eq!(split(&one_session, &undated(1, 30), 1, Fractions::default()), Err(TooLittle::Groups { found: 1 }));
}

#[test]
fn texts_that_are_all_equal_teach_nothing() {
    let chunks: Vec<Chunk> =
        (0..40).map(|i| chunk(i, Kind::Session, &format!("s/{}.md", letters(i / 2)), 1 + i as u32 % 2, "S", &text("the same"))).collect();
    let found = made(&[PairSource::Semantic], &chunks, &[], &[], &[]);
    assert!(found.pairs.is_empty() && found.questions.is_empty());
    assert_eq!(found.split(1, Fractions::default()), Err(TooLittle::Groups { found: 0 }));
}

#[test]
fn the_latest_groups_are_the_test() {
    let mut chunks = Vec::new();
    for session in 0..20u64 {
        for section in 0..4 {
            let id = session * 10 + section;
            let mut made = chunk(
                id,
                Kind::Session,
                &format!("s/{:02}.md", (session * 7) % 20),
                section as u32,
                &format!("S > {section}"),
                &text(&letters(id)),
            );
            made.date = Some(format!("2025-08-{:02}T10:00:00Z", session + 1));
            chunks.push(made);
        }
    }
    let pairs = semantic(&chunks);
    let parts = split(&pairs, &chunks, 1, Fractions::default()).expect("enough");
    check(&parts, &chunks).expect("no leak");
    assert_eq!(parts.groups, [14, 2, 4]);
    assert_eq!(parts.test_from.as_deref(), Some("2025-08-17T10:00:00Z"));
    let session = |pair: &Pair| pair.anchor / 10;
    assert!(parts.test.iter().all(|pair| session(pair) >= 16));
    assert!(parts.validation.iter().all(|pair| (14..16).contains(&session(pair))));
    assert!(parts.train.iter().all(|pair| session(pair) < 14));
    assert_eq!(split(&pairs, &chunks, 2, Fractions::default()), Ok(parts), "time decides, not the seed");
}

#[test]
fn without_dates_the_seed_decides() {
    let chunks = undated(40, 4);
    let pairs = semantic(&chunks);
    let with = |seed| split(&pairs, &chunks, seed, Fractions::default()).expect("enough");
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    let mut backwards = pairs.clone();
    backwards.reverse();
    assert_eq!(split(&backwards, &chunks, 1, Fractions::default()), Ok(with(1)));
    assert_eq!(with(1).test_from, None);
}

#[test]
fn too_little_is_told_and_is_no_panic() {
    assert_eq!(split(&[], &[], 0, Fractions::default()), Err(TooLittle::Groups { found: 0 }));
    let few = undated(MIN_GROUPS, 3);
    let pairs = semantic(&few);
    assert_eq!(pairs.len(), 3 * MIN_GROUPS);
    assert_eq!(split(&pairs, &few, 0, Fractions::default()), Err(TooLittle::Pairs { found: pairs.len() }));
    let enough = undated(12, 4);
    let tiny = Fractions::new(0.01, 0.01).expect("fractions");
    assert_eq!(split(&semantic(&enough), &enough, 0, tiny), Err(TooLittle::Test { groups: 0, pairs: 0 }));
}

#[test]
fn a_leak_of_any_sort_is_a_bug() {
    let chunks = undated(40, 4);
    let pairs = semantic(&chunks);
    let clean = split(&pairs, &chunks, 1, Fractions::default()).expect("enough");
    check(&clean, &chunks).expect("clean");
    let refused = |split: &Split, chunks: &[Chunk], what: &str| {
        let error = check(split, chunks).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Bug);
        assert!(error.message().contains(what), "{error}");
    };

    let mut row = clean.clone();
    row.test.push(row.train[0].clone());
    refused(&row, &chunks, "the component");

    let mut renamed = clean.clone();
    let moved = renamed.train.remove(0);
    renamed.test.push(Pair { group: "unheard of".to_owned(), ..moved });
    refused(&renamed, &chunks, "chunk ");

    let mut torn = clean.clone();
    let by_id: BTreeMap<u64, &Chunk> = chunks.iter().map(|chunk| (chunk.id, chunk)).collect();
    let group = by_id[&torn.train[0].anchor].group.clone();
    let (mut some, rest): (Vec<Pair>, Vec<Pair>) = torn.train.into_iter().partition(|pair| pair.group == group);
    torn.train = rest;
    // Two pairs of one group that share no chunk.
    some.retain(|pair| pair.anchor % 10 / 2 == pair.positive % 10 / 2);
    assert_eq!(some.len(), 2);
    torn.validation.push(Pair { group: "x".to_owned(), ..some[0].clone() });
    torn.train.push(Pair { group: "y".to_owned(), ..some[1].clone() });
    refused(&torn, &chunks, "the group");

    let copied = |test: &str| {
        let mut copies = chunks.clone();
        let from = by_id[&clean.train[0].anchor].clone();
        let to = copies.iter_mut().find(|chunk| chunk.id == clean.test[0].anchor).expect("there");
        (to.title, to.text) = (format!("{}{test}", from.title), from.text.to_uppercase());
        copies
    };
    refused(&clean, &copied(""), "the text");
    refused(&clean, &copied(" of another title"), "the text");

    let mut unknown = clean.clone();
    unknown.test[0].positive = 999_999;
    refused(&unknown, &chunks, "is not there");
    let mut own = clean.clone();
    own.test[0].positive = own.test[0].anchor;
    refused(&own, &chunks, "with itself");
}

/// `groups` sessions of `sections` sections without dates; session g has the ids 10 g, 10 g + 1 ...
fn undated(groups: usize, sections: usize) -> Vec<Chunk> {
    let all = (0..groups as u64).flat_map(|g| (0..sections as u64).map(move |s| (g, s)));
    all.map(|(g, s)| {
        chunk(10 * g + s, Kind::Session, &format!("s/{g:03}.md"), s as u32 + 1, &format!("S > {s}"), &text(&letters(10 * g + s)))
    })
    .collect()
}

/// A number in letters, because numbers do not tell texts apart here.
fn letters(number: u64) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

/// Made-up projects: few words and paths, so that equal texts, shared groups, short texts and links between groups all happen.
fn projects() -> impl Strategy<Value = (Vec<Chunk>, Vec<Commit>)> {
    let one = (0usize..4, 0usize..30, 0u32..40, 0usize..5, 0usize..60, proptest::option::of(1u32..29));
    proptest::collection::vec(one, 0..300).prop_map(|rows| {
        let mut commits: BTreeMap<String, Commit> = BTreeMap::new();
        let mut chunks = Vec::new();
        for (id, (kind, file, line, title, topic, day)) in rows.into_iter().enumerate() {
            let kind = Kind::ALL[kind];
            let path = format!("{}/{}.x", kind.name(), letters(file as u64));
            let body = if topic < 50 { text(&letters(if topic < 5 { topic } else { topic + id } as u64)) } else { "short".to_owned() };
            let mut made = chunk(id as u64, kind, &path, line, &format!("T > {title}"), &body);
            made.date = day.map(|day| format!("2025-01-{day:02}"));
            if kind == Kind::Commit {
                let files: Vec<String> =
                    (0..topic % 5).flat_map(|i| ["code", "document"].map(|k| format!("{k}/{}.x", letters((file + i) as u64)))).collect();
                let subject = format!("a paragraph that talks of {} at some length", files.join(" "));
                commits.entry(path.clone()).or_insert(Commit { hash: path, subject: subject.clone(), files, ..commit("", "", &[]) });
            }
            chunks.push(made);
        }
        (chunks, commits.into_values().collect())
    })
}

/// Made-up projects that ask: not many sentences, which are lines, whole chunks, headings and doc comments alike.
fn asking() -> impl Strategy<Value = (Vec<Chunk>, Vec<Symbol>)> {
    let said = |topic: usize| match topic % 2 {
        0 => format!("Why does the search miss what the {} says of it?", letters(topic as u64)),
        _ => format!("The {} is opened once and read by whoever asks", letters(topic as u64)),
    };
    // Of a piece: its file, its title, its lines, and what a symbol in it says.
    let piece = (0usize..30, 0usize..400, proptest::collection::vec(0usize..600, 1..4), proptest::option::of(0usize..400));
    proptest::collection::vec(piece, 80..200).prop_map(move |pieces| {
        let (mut chunks, mut symbols) = (Vec::new(), Vec::new());
        for (id, (file, title, lines, doc)) in (0u64..).zip(pieces) {
            let kind = [Kind::Document, Kind::Session, Kind::Code][file % 3];
            let path = format!("{}/{}.x", kind.name(), letters(file as u64));
            let lines: Vec<String> = lines
                .into_iter()
                .map(|line| if line < 400 { said(line) } else { text(&letters(1000 + 7 * id + line as u64 % 7)) })
                .collect();
            chunks.push(chunk(id, kind, &path, id as u32 + 1, &said(title), &lines.join("\n")));
            if let Some(doc) = doc.filter(|_| kind == Kind::Code) {
                symbols.push(symbol(id, &said(doc)));
            }
        }
        (chunks, symbols)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_split_of_questions_leaks((chunks, symbols) in asking(), seed in any::<u64>()) {
        let found = made(&[PairSource::Semantic], &chunks, &[], &symbols, &[]);
        prop_assert!(!found.questions.is_empty(), "nothing is asked");
        let all: Vec<&Chunk> = chunks.iter().chain(&found.questions).collect();
        for parts in [found.split(seed, Fractions::default()).map(|split| vec![split]), folds(&found.pairs, seed)].into_iter().flatten().flatten() {
            check_units(&parts, all.iter().copied(), found.unit).expect("no leak");
        }
    }

    #[test]
    fn pairs_are_of_two_different_texts_of_one_component((chunks, commits) in projects()) {
        let pairs = semantic_with_commits(&chunks, &commits);
        let by_id: BTreeMap<u64, &Chunk> = chunks.iter().map(|chunk| (chunk.id, chunk)).collect();
        let mut component_of: BTreeMap<&str, &str> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for pair in &pairs {
            let (anchor, positive) = (by_id[&pair.anchor], by_id[&pair.positive]);
            prop_assert!(anchor.embed_text() != positive.embed_text());
            prop_assert!(anchor.text != positive.text || anchor.kind == Kind::Commit || positive.kind == Kind::Commit);
            prop_assert!(seen.insert((anchor.id.min(positive.id), anchor.id.max(positive.id))));
            for chunk in [anchor, positive] {
                prop_assert_eq!(*component_of.entry(&chunk.group).or_insert(&pair.group), pair.group.as_str());
            }
            prop_assert!(anchor.group == positive.group || anchor.kind == Kind::Commit);
        }
        prop_assert!(pairs.is_sorted());
        let mut shuffled = chunks.clone();
        shuffled.reverse();
        prop_assert_eq!(semantic_with_commits(&shuffled, &commits), pairs);
    }

    #[test]
    fn no_split_leaks_and_none_loses_a_pair((chunks, commits) in projects(), seed in any::<u64>(), validation in 0.01f64..0.4, test in 0.01f64..0.5) {
        let pairs = semantic_with_commits(&chunks, &commits);
        let fractions = Fractions::new(validation, test).expect("fractions");
        if let Ok(parts) = split(&pairs, &chunks, seed, fractions) {
            check(&parts, &chunks).expect("no leak");
            let mut all = [parts.train.clone(), parts.validation.clone(), parts.test.clone()].concat();
            all.sort();
            prop_assert_eq!(&all, &pairs);
            // A pair that goes to the other side is found out.
            let mut leaking = parts.clone();
            if let Some(index) = leaking.test.iter().position(|pair| leaking.test.iter().filter(|other| other.group == pair.group).count() > 1) {
                let moved = leaking.test.remove(index);
                leaking.train.push(moved);
                prop_assert!(check(&leaking, &chunks).is_err());
            }
        }
    }
}
