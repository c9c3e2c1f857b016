//! Data sets as they are and as they must not be, and rankings against the slow way.

use std::path::{Path, PathBuf};

use super::beir::BeirSet;
use super::best::Scored;
use super::lexical::LexicalIndex;
use super::lines::LINE_LIMIT;
use super::retrieval::{CUTS, DEPTH, Rankings, check_run, evaluate, fused};
use super::sts::StsSet;
use crate::error::{Error, ErrorKind};
use crate::metrics::{self, Judgements};
use crate::progress::{Cancel, Job, Silent};
use crate::search::Mode;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval").join(name)
}

fn write(path: &Path, bytes: &[u8]) {
    crate::fs::write_atomic(path, |out| out.write_all(bytes)).expect("a file");
}

/// The sound set with one of its files replaced.
fn set_with(file: &str, fault: &Path) -> (tempfile::TempDir, Result<BeirSet, Error>) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"] {
        let from = if name == file { fault.to_path_buf() } else { fixture("beir").join(name) };
        write(&folder.path().join(name), &std::fs::read(from).expect("the fixture"));
    }
    let set = BeirSet::read(folder.path(), "test", Job::silent());
    (folder, set)
}

fn sound() -> BeirSet {
    BeirSet::read(&fixture("beir"), "test", Job::silent()).expect("a sound set")
}

/// Line and column, what the message says, and that there is a hint.
fn refused(name: &str, error: &Error, kind: ErrorKind, at: Option<(usize, usize)>, part: &str) {
    assert_eq!(error.kind(), kind, "{name}: {error:?}");
    assert!(error.message().contains(part), "{name}: {error:?}");
    assert_eq!(error.place().and_then(|place| place.at), at, "{name}: {error:?}");
    assert!(error.place().is_some() && error.hint_text().is_some(), "{name}: {error:?}");
}

#[test]
fn every_layout_of_pairs_is_read_alike() {
    let plain = StsSet::read(&fixture("sts/plain.tsv")).expect("three columns");
    assert_eq!(plain.pairs.iter().map(|pair| (pair.score, pair.line)).collect::<Vec<_>>(), [(5.0, 1), (2.4, 2), (0.75, 4)]);
    assert_eq!(plain.pairs[2].sentences, ["He said \"no quotes here.", "She said: 5\" is enough."]);
    for name in ["benchmark.csv", "header.tsv", "header_in_another_order.tsv"] {
        let set = StsSet::read(&fixture("sts").join(name)).expect(name);
        let told = |set: &StsSet| set.pairs.iter().map(|pair| (pair.score, pair.sentences.clone())).collect::<Vec<_>>();
        assert_eq!(told(&set), told(&plain), "{name}");
    }
}

#[test]
fn pairs_that_cannot_be_evaluated_are_refused_with_their_place() {
    let usage = ErrorKind::Usage;
    for (name, at, part) in [
        ("empty.tsv", None, "holds no pair"),
        ("header_alone.tsv", None, "holds no pair"),
        ("one_pair.tsv", None, "holds one pair"),
        ("header_without_sentences.tsv", Some((1, 1)), "not which columns are the two sentences"),
        ("score_is_a_word.tsv", Some((2, 1)), "the score is \"high\", which is no number"),
        ("score_is_nan.tsv", Some((2, 1)), "the score is NaN; a finite number was expected"),
        ("score_is_infinite.csv", Some((2, 9)), "the score is inf"),
        ("score_is_missing.tsv", Some((2, 1)), "has no score, and an unlabelled set cannot be evaluated"),
        ("scores_are_constant.tsv", None, "all 3 pairs have the score -1"),
        ("four_columns.tsv", Some((1, 1)), "the line has 4 columns; 3, or 7 and more, were expected"),
        ("commas.csv", Some((1, 1)), "the line has 1 column;"),
        ("second_line_of_two_columns.tsv", Some((2, 1)), "the line has 2 columns; 3 were expected"),
        ("second_line_of_six_columns.csv", Some((2, 1)), "the line has 6 columns; 7 and more were expected"),
        ("sentence_is_empty.tsv", Some((2, 34)), "the sentence is empty"),
        ("not_utf8.tsv", Some((2, 8)), "not UTF-8"),
    ] {
        refused(name, &StsSet::read(&fixture("sts").join(name)).expect_err(name), usage, at, part);
    }
    refused("no file", &StsSet::read(&fixture("sts/none.tsv")).expect_err("no file"), ErrorKind::Missing, None, "no file here");
    refused("a folder", &StsSet::read(&fixture("sts")).expect_err("a folder"), usage, None, "this is no file");
}

#[test]
fn a_huge_line_is_refused_before_it_fills_the_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a_huge_line.tsv");
    let mut bytes = b"5\ta\tb\n2\tc\t".to_vec();
    bytes.resize(LINE_LIMIT + 100, b'x');
    write(&path, &bytes);
    refused("a huge line", &StsSet::read(&path).expect_err("huge"), ErrorKind::Usage, Some((2, 1)), "more than 16777216 bytes");
    let (_folder, set) = set_with("corpus.jsonl", &path);
    refused("a corpus", &set.expect_err("no JSON"), ErrorKind::Usage, Some((1, 1)), "the line is no JSON object");
}

#[test]
fn a_sound_set_is_read_whole() {
    let set = sound();
    let counts = set.counts;
    assert_eq!((counts.documents, counts.queries, counts.judgements), (7, 4, 6));
    assert_eq!((counts.queries_not_judged, counts.queries_without_relevant), (1, 1));
    assert_eq!((counts.unknown_queries, counts.unknown_documents), (0, 0));
    assert_eq!((0..7).map(|document| set.id(document)).collect::<Vec<_>>(), ["d1", "d2", "d3", "d4", "d5", "d7", "q3"]);
    let judged = |id: &str| &set.queries.iter().find(|query| query.id == id).expect("the query").judged;
    assert_eq!(judged("q1"), &Judgements::from([(0, 2), (3, 1)]));
    assert_eq!(judged("q5"), &Judgements::from([(2, 0)]), "below 0 is 0");
    assert_eq!(set.queries.iter().map(|query| query.own).collect::<Vec<_>>(), [None, None, Some(6), None]);
    let texts: Vec<String> = set.texts().expect("the corpus").map(|document| document.expect("a document").joined()).collect();
    assert_eq!(texts[0], "Caches A cache keeps every model under its own name.");
    assert_eq!((texts[2].as_str(), texts[6].as_str()), ("An index is derived and can be deleted.", ""));
    assert_eq!(BeirSet::read(&fixture("beir"), "dev", Job::silent()).expect("another split").counts.queries, 1);
}

#[test]
fn sets_that_cannot_be_evaluated_are_refused_with_their_place() {
    for (name, at, part) in [
        ("corpus_empty.jsonl", None, "holds no document"),
        ("corpus_cut_off.jsonl", Some((7, 15)), "the line is no JSON object: EOF"),
        ("corpus_id_twice.jsonl", Some((8, 1)), "the id \"d2\" is that of line 2 too"),
        ("corpus_without_id.jsonl", Some((3, 1)), "no `_id`"),
        ("corpus_id_is_a_list.jsonl", Some((1, 1)), "neither a text nor a whole number"),
        ("corpus_id_is_empty.jsonl", Some((1, 1)), "the id is empty"),
        ("corpus_id_with_a_tab.jsonl", Some((1, 1)), "has a tab or a line break"),
        ("corpus_without_text.jsonl", Some((2, 1)), "no `text`"),
        ("corpus_text_is_a_number.jsonl", Some((1, 1)), "`text` is no text"),
        ("corpus_is_a_list.jsonl", Some((1, 1)), "no JSON object"),
        ("corpus_not_utf8.jsonl", Some((2, 27)), "not UTF-8"),
        ("queries_empty.jsonl", None, "holds no query"),
        ("queries_id_twice.jsonl", Some((6, 1)), "the id \"q1\" is that of line 1 too"),
        ("queries_without_text.jsonl", Some((2, 1)), "no `text`"),
        ("queries_text_is_blank.jsonl", Some((2, 1)), "the query has no text"),
        ("qrels_empty.tsv", None, "holds no judgement, and an unlabelled split cannot be evaluated"),
        ("qrels_header_alone.tsv", None, "holds no judgement"),
        ("qrels_two_columns.tsv", Some((2, 1)), "the line has 2 columns; 3 were expected"),
        ("qrels_four_columns.tsv", Some((1, 1)), "the line has 4 columns; 3 were expected"),
        ("qrels_grade_is_a_word.tsv", Some((2, 7)), "the grade is \"yes\"; a whole number was expected"),
        ("qrels_grade_is_nan.tsv", Some((3, 7)), "the grade is \"NaN\""),
        ("qrels_grade_is_a_fraction.tsv", Some((2, 7)), "the grade is \"0.5\""),
        ("qrels_grade_is_missing.tsv", Some((2, 7)), "the grade is \"\""),
        ("qrels_id_is_empty.tsv", Some((2, 1)), "the id is empty"),
        ("qrels_contradict.tsv", Some((3, 1)), "are judged 0 here and 1 above"),
        ("qrels_nothing_is_relevant.tsv", None, "no document is judged relevant for any query"),
        ("qrels_of_another_set.tsv", None, "none of the 2 queries that are judged here is in queries.jsonl"),
    ] {
        let file = match name.split('_').next().expect("a word") {
            "qrels" => "qrels/test.tsv".to_owned(),
            word => format!("{word}.jsonl"),
        };
        let (folder, set) = set_with(&file, &fixture(name));
        let error = set.expect_err(name);
        refused(name, &error, ErrorKind::Usage, at, part);
        assert_eq!(error.place().map(|place| place.path.clone()), Some(folder.path().join(file)), "{name}");
    }
    let read = |folder: &Path, split: &str| BeirSet::read(folder, split, Job::silent()).expect_err(split);
    let no_split = read(&fixture("beir"), "train");
    refused("no split", &no_split, ErrorKind::Missing, None, "no split \"train\"");
    assert_eq!(no_split.hint_text(), Some("splits that are there: dev, test"));
    assert_eq!(read(&fixture("beir"), "../test").kind(), ErrorKind::Usage);
    refused("no qrels", &read(&fixture("sts"), "test"), ErrorKind::Missing, None, "no split \"test\"");
    refused("no folder", &read(&fixture("none"), "test"), ErrorKind::Missing, None, "no such folder");
    refused("a file", &read(&fixture("sts/plain.tsv"), "test"), ErrorKind::Usage, None, "this is no folder");
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("qrels/test.tsv"), b"q1\td1\t1\n");
    refused("no queries", &read(folder.path(), "test"), ErrorKind::Missing, None, "there is no file here; queries were expected");
}

/// Every fixture is named in a test: a fault that nobody looks at is no test.
#[test]
fn no_fixture_is_forgotten() {
    for folder in ["", "sts"] {
        for entry in std::fs::read_dir(fixture(folder)).expect("the fixtures") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            assert!(include_str!("tests.rs").contains(&name) || entry.path().is_dir(), "{name}");
        }
    }
}

#[test]
fn unknown_ids_are_counted_and_count_as_not_found() {
    let (_folder, set) = set_with("qrels/test.tsv", &fixture("qrels_unknown_ids.tsv"));
    let set = set.expect("it can be evaluated");
    assert_eq!((set.counts.unknown_queries, set.counts.unknown_documents), (1, 1));
    assert_eq!((set.counts.queries, set.counts.judgements, set.counts.queries_without_relevant), (2, 3, 1));
    // d1 first: half of what is relevant for q1; q5 has nothing to find.
    let rankings = Rankings(vec![vec![Scored::new(0, 0.9), Scored::new(1, 0.8)], vec![Scored::new(2, 0.5)]]);
    let figures = rankings.figures(&set).expect("figures");
    assert_eq!((figures.recall_at_10.value, figures.mrr_at_10.value, figures.map.value), (0.25, 0.5, 0.25));
    let ideal = 1.0 + 1.0 / 3f64.log2();
    assert!((figures.ndcg_at_10.value - 0.5 / ideal).abs() < 1e-12);
}

#[test]
fn words_find_documents_and_a_query_never_itself() {
    let set = sound();
    let mut index = LexicalIndex::build(&set, Job::silent()).expect("an index");
    let mut ids = |question: &str, own: Option<u32>, depth: usize| -> Vec<String> {
        let found = index.search(&set, question, own, depth).expect("found");
        assert!(found.windows(2).all(|pair| pair[0] > pair[1]));
        found.iter().map(|scored| set.id(scored.document).to_owned()).collect()
    };
    assert_eq!(ids("who is told about the lock?", None, 10), ["d2", "q3"]);
    assert_eq!(ids("who is told about the lock?", set.document("q3"), 10), ["d2"]);
    assert_eq!(ids("who is told about the lock?", set.document("d2"), 1), ["q3"]);
    assert_eq!(ids("d1 d2 q3 7", None, 10), Vec::<String>::new(), "an id is no text");
    assert_eq!(ids("caches", None, 10), ["d1"], "a title is");
    assert_eq!(ids("?", None, 10), Vec::<String>::new());
}

/// The usual weights, ties as trec_eval has them: the greater document first, where search puts the smaller one.
#[test]
fn lists_are_fused_as_search_fuses_them() {
    let list = |scored: &[(u32, f64)]| scored.iter().map(|&(document, score)| Scored::new(document, score)).collect();
    // BM25 over the best of it, and half of cosines that are spread between 0 and 1: 1, 3/4 and 1/4; 1/2, 1/4 and 0.
    let fused = fused(list(&[(7, 8.0), (3, 6.0), (9, 2.0)]), list(&[(3, 0.875), (8, 0.625), (1, 0.375)]));
    assert_eq!(fused.iter().map(|scored| scored.document).collect::<Vec<_>>(), [3, 7, 9, 8, 1]);
    assert_eq!(fused.iter().map(|scored| scored.score).collect::<Vec<_>>(), [1.25, 1.0, 0.25, 0.25, 0.0]);
}

#[test]
fn a_corpus_that_changes_meanwhile_is_no_smaller_set() {
    for changed in [&b""[..], b"{\"_id\": \"d9\", \"text\": \"x\"}\n"] {
        let (folder, set) = set_with("corpus.jsonl", &fixture("beir/corpus.jsonl"));
        let set = set.expect("a sound set");
        let path = folder.path().join("corpus.jsonl");
        let mut bytes = std::fs::read(&path).expect("the corpus");
        let whole = bytes.len();
        bytes.truncate(whole - 60);
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').expect("a line") + 1);
        bytes.extend_from_slice(changed);
        write(&path, &bytes);
        let read = set.texts().expect("the file is there").collect::<Result<Vec<_>, _>>();
        assert_eq!(read.expect_err("changed").kind(), ErrorKind::Stale);
    }
}

/// The words' way from end to end, against the measures of the rankings that were written.
#[test]
fn a_run_has_what_the_figures_are_made_of() {
    let set = sound();
    let (report, rankings) = evaluate(&set, Mode::Lexical, None, Job::silent()).expect("evaluated");
    assert_eq!((report.mode.as_str(), report.depth, &report.engine, &report.speed), ("lexical", DEPTH, &None, &None));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("words.run");
    rankings.write(&set, &path).expect("written");
    let text = std::fs::read_to_string(&path).expect("the run");
    let mut total = 0.0;
    for query in &set.queries {
        let mut ranked: Vec<(u32, f64)> = text
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|fields| fields[0] == query.id)
            .map(|fields| (set.document(fields[2]).expect("a document"), fields[4].parse().expect("a score")))
            .collect();
        ranked.sort_by(metrics::trec_order);
        let ranked: Vec<u32> = ranked.into_iter().map(|pair| pair.0).collect();
        total += metrics::ndcg(&ranked, &query.judged, CUTS.0);
    }
    assert!((report.metrics.ndcg_at_10.value - total / 4.0).abs() < 1e-12);
    assert!(report.metrics.ndcg_at_10.value > 0.5 && report.metrics.ndcg_at_10.low <= report.metrics.ndcg_at_10.value);
    assert!(text.lines().all(|line| line.ends_with(" patina")) && text.starts_with("q1 Q0 "), "{text}");

    let (_folder, set) = set_with("corpus.jsonl", &fixture("corpus_id_with_a_space.jsonl"));
    let error = check_run(&set.expect("it can be evaluated")).expect_err("columns are separated by spaces");
    assert!(error.message().contains("\"d 1\" holds a space"), "{error:?}");
}

#[test]
fn a_stop_is_heard() {
    let cancel = Cancel::default();
    cancel.raise();
    let job = Job::new(&Silent, &cancel);
    assert_eq!(BeirSet::read(&fixture("beir"), "test", job).expect_err("stopped").kind(), ErrorKind::Interrupted);
    let Err(error) = evaluate(&sound(), Mode::Lexical, None, job) else { panic!("it was stopped") };
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}
