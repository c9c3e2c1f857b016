//! Search as a whole, over a real store with FTS5 and a brute-force vector index.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::filter::{Moment, Paths};
use super::language::Language;
use super::lexical::{MAX_TERMS, STOP_WORDS, match_expression, terms};
use super::*;
use crate::error::ErrorKind;
use crate::store::{Content, Piece, Source};

/// Cosine similarity with every vector: what an index approximates.
struct BruteForce(Vec<(u64, Vec<f32>)>);

impl VectorIndex for BruteForce {
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        let cosine = |v: &[f32]| v.iter().zip(query).map(|(a, b)| a * b).sum::<f32>() / (norm(v) * norm(query));
        let mut all: Vec<(u64, f32)> = self.0.iter().map(|(id, v)| (*id, cosine(v))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        Ok(all)
    }

    fn nearest_among(&self, query: &[f32], k: usize, ids: &[u64]) -> Result<Vec<(u64, f32)>> {
        let mut all = self.nearest(query, self.0.len())?;
        all.retain(|(id, _)| ids.contains(id));
        all.truncate(k);
        Ok(all)
    }
}

/// An index whose list holds only what is near: of the rest it knows nothing unless it is asked for it by id, as a graph.
struct NearOnly {
    all: BruteForce,
    reaches: usize,
}

impl VectorIndex for NearOnly {
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        self.all.nearest(query, k.min(self.reaches))
    }

    fn nearest_among(&self, query: &[f32], k: usize, ids: &[u64]) -> Result<Vec<(u64, f32)>> {
        self.all.nearest_among(query, k, ids)
    }
}

struct Project {
    _folder: tempfile::TempDir,
    store: Store,
}

impl Project {
    /// Each row is one file (or commit) of one chunk: kind, path, title, text.
    fn new(rows: &[(Kind, &str, &str, &str)]) -> Project {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(&folder.path().join("patina.db")).expect("a store");
        let sources: Vec<Source> = rows.iter().map(|row| source(*row)).collect();
        store.put_sources(&sources.iter().map(|source| (source, None)).collect::<Vec<_>>()).expect("put");
        Project { _folder: folder, store }
    }

    fn id(&self, path: &str) -> u64 {
        self.store.chunks().expect("chunks").into_iter().find(|chunk| chunk.path == path).expect("the path").id
    }

    fn lexical(&self, question: &str, options: &Options) -> Vec<Hit> {
        self.answer(question, options).hits
    }

    fn answer(&self, question: &str, options: &Options) -> Answer {
        search(&self.store, None, None, question, &Options { mode: Mode::Lexical, ..options.clone() }, None).expect("search")
    }
}

fn of_kind(kind: Kind) -> Options {
    filtered(Filter { kinds: vec![kind], ..Filter::default() })
}

fn filtered(filter: Filter) -> Options {
    Options { filter, ..Options::default() }
}

fn source((kind, path, title, text): (Kind, &str, &str, &str)) -> Source {
    let end_line = 9 + text.lines().count() as u32;
    let (title, text) = (title.to_owned(), text.to_owned());
    let content = Content {
        kind,
        path: path.to_owned(),
        hash: crate::fs::sha256(text.as_bytes()),
        date: Some("2025-08-16".to_owned()),
        commit: None,
        code: None,
        pieces: vec![Piece { title, text, line: 10, end_line }],
    };
    Source { key: format!("file:{path}"), content }
}

fn paths(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.path.as_str()).collect()
}

fn small() -> Project {
    Project::new(&[
        (Kind::Session, "s/lock.md", "Locks", "Two processes at once.\n\nThe second is told who holds the lock.\nNothing is lost."),
        (Kind::Code, "src/fs.rs", "src/fs.rs", "pub fn acquireLock(path: &Path) -> Result<Lock> {\n    create_folder(parent(path))?;\n}"),
        (Kind::Document, "docs/a.md", "Guide > Vectors", "Vectors are cached by fingerprint and text hash.\nA stale index is refused."),
        (Kind::Document, "docs/b.md", "Guide > Copy", "Vectors are  cached by fingerprint and text hash.\nA stale index is refused."),
    ])
}

#[test]
fn words_and_parts_of_identifiers_find_their_lines() {
    let project = small();
    let hits = project.lexical("who holds the lock?", &Options::default());
    assert_eq!(paths(&hits), ["s/lock.md", "src/fs.rs"]);
    let best = &hits[0];
    assert_eq!((best.line, best.end_line), (12, 13), "the line that answers, in the file");
    assert_eq!(best.snippet, "The second is told who holds the lock.\nNothing is lost.");
    assert_eq!((best.kind, best.date.as_deref(), best.title.as_str()), (Kind::Session, Some("2025-08-16"), "Locks"));
    assert!(best.score > hits[1].score && best.explain.is_empty());
    assert_eq!(paths(&project.lexical("acquire", &Options::default())), ["src/fs.rs"]);
    assert_eq!(paths(&project.lexical("acquireLock", &Options { limit: 1, ..Options::default() })), ["src/fs.rs"]);
    assert_eq!(paths(&project.lexical("create_folder", &Options::default())), ["src/fs.rs"]);
    assert!(project.lexical("zebra", &Options::default()).is_empty());
    assert!(project.lexical("\u{1f600}!", &Options::default()).is_empty());
    assert!(project.lexical("lock", &Options { limit: 0, ..Options::default() }).is_empty());
}

#[test]
fn equal_texts_are_folded_and_kinds_filter() {
    let project = small();
    let hits = project.lexical("stale index", &Options::default());
    assert_eq!((hits.len(), hits[0].duplicates), (1, 1));
    let code = of_kind(Kind::Code);
    assert_eq!(paths(&project.lexical("lock", &code)), ["src/fs.rs"]);
    assert!(project.lexical("stale", &code).is_empty());
}

#[test]
fn a_filter_that_little_passes_reads_deeper() {
    let text = |i: usize| format!("needle number {i}");
    let rows: Vec<(String, String)> = (0..FUSED_DEPTH + 50).map(|i| (format!("d/{i}.md"), text(i))).collect();
    let mut rows: Vec<(Kind, &str, &str, &str)> =
        rows.iter().map(|(path, text)| (Kind::Document, path.as_str(), "needle", text.as_str())).collect();
    rows.push((
        Kind::Code,
        "x.rs",
        "x",
        "a long text that has the needle only once and so many other words that it comes last of all in the list",
    ));
    let project = Project::new(&rows);
    assert_eq!(paths(&project.lexical("needle", &of_kind(Kind::Code))), ["x.rs"]);
}

#[test]
fn modes_ask_the_retrievers_that_they_name() {
    let project = small();
    let (lock, fs, a) = (project.id("s/lock.md"), project.id("src/fs.rs"), project.id("docs/a.md"));
    let base = BruteForce(vec![(lock, vec![1.0, 0.0]), (fs, vec![0.8, 0.6]), (a, vec![0.0, 1.0]), (424_242, vec![0.1, 1.0])]);
    let other = BruteForce(vec![(fs, vec![1.0]), (a, vec![-1.0])]);
    let ask = |mode, base, projection| {
        let options = Options { mode, explain: true, ..Options::default() };
        search(&project.store, base, projection, "who holds the lock", &options, None).map(|answer| {
            answer
                .hits
                .into_iter()
                .map(|hit| (hit.path, hit.explain.into_iter().map(|e| (e.retriever, e.rank)).collect::<Vec<_>>()))
                .collect::<Vec<_>>()
        })
    };
    let raw: Option<(&dyn VectorIndex, &[f32])> = Some((&base, &[0.0, 1.0]));
    let projected: Option<(&str, &dyn VectorIndex, &[f32])> = Some(("semantic", &other, &[1.0]));
    let row = |path: &str, said: &[(&str, usize)]| {
        (path.to_owned(), said.iter().map(|(who, rank)| ((*who).to_owned(), *rank)).collect::<Vec<_>>())
    };

    // The vector of a chunk that the store does not have is passed over, and takes no rank.
    assert_eq!(
        ask(Mode::Vector, raw, None).expect("vector"),
        [row("docs/a.md", &[("vector", 1)]), row("src/fs.rs", &[("vector", 2)]), row("s/lock.md", &[("vector", 3)])]
    );
    assert_eq!(
        ask(Mode::Vector, raw, projected).expect("projection"),
        [row("src/fs.rs", &[("projection:semantic", 1)]), row("docs/a.md", &[("projection:semantic", 2)])]
    );
    assert_eq!(
        ask(Mode::Lexical, raw, projected).expect("lexical"),
        [row("s/lock.md", &[("lexical", 1)]), row("src/fs.rs", &[("lexical", 2)])]
    );
    let hybrid = ask(Mode::Hybrid, raw, None).expect("hybrid");
    // The best of the words counts 1, the nearest vector one half.
    assert_eq!(hybrid[0], row("s/lock.md", &[("lexical", 1), ("vector", 3)]));
    assert_eq!(hybrid[1], row("docs/a.md", &[("vector", 1)]));
    assert_eq!(hybrid[2], row("src/fs.rs", &[("lexical", 2), ("vector", 2)]));
    let all = ask(Mode::Hybrid, raw, projected).expect("all");
    assert_eq!(all[0], row("s/lock.md", &[("lexical", 1), ("vector", 3)]));
    assert!(all.contains(&row("src/fs.rs", &[("lexical", 2), ("vector", 2), ("projection:semantic", 1)])), "{all:?}");

    for mode in [Mode::Hybrid, Mode::Vector] {
        let error = ask(mode, None, None).expect_err("no index");
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert!(error.hint_text().is_some_and(|hint| hint.contains("patina oxidize")));
    }
    let empty = search(&project.store, raw, None, " \n", &Options::default(), None).expect_err("empty");
    assert_eq!(empty.kind(), ErrorKind::Usage);
}

#[test]
fn one_retriever_gives_its_own_score_and_several_the_fused_one() {
    let project = small();
    let lock = project.id("s/lock.md");
    let base = BruteForce(vec![(lock, vec![3.0, 4.0])]);
    let score = |mode| {
        let options = Options { mode, ..Options::default() };
        search(&project.store, Some((&base, &[1.0, 0.0])), None, "second", &options, None).expect("search").hits[0].score
    };
    assert!((score(Mode::Vector) - 0.6).abs() < 1e-6);
    // The best of the words counts 1, the nearest vector one half.
    assert!((score(Mode::Hybrid) - 1.5).abs() < 1e-9);
}

#[test]
fn a_hit_has_stable_names_in_json_and_nothing_that_a_terminal_obeys() {
    let project =
        Project::new(&[(Kind::Document, "docs/\u{1b}[2Jevil.md", "Guide \u{1b}]0;owned\u{7}> A", "needle \u{1b}[31mred\u{202e}")]);
    let hits = project.lexical("needle", &Options { explain: true, ..Options::default() });
    let json = serde_json::to_value(&hits[0]).expect("json");
    let names: Vec<&String> = json.as_object().expect("an object").keys().collect();
    assert_eq!(
        names.into_iter().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(["id", "kind", "path", "line", "end_line", "date", "title", "snippet", "score", "duplicates", "explain"])
    );
    assert_eq!(json["id"].as_str().map(str::len), Some(16));
    assert_eq!(json["path"], "docs/evil.md");
    assert_eq!(json["title"], "Guide > A");
    assert_eq!(json["snippet"], "needle red");
    assert_eq!(json["explain"][0]["retriever"], "lexical");
    assert_eq!(json["explain"][0]["rank"], 1);
    assert!(["weight", "contribution"].iter().all(|key| json["explain"][0][key].as_f64().expect("a number") > 0.0), "{json}");
}

/// A project of every kind, with dates.
fn dated() -> Project {
    let mut sources: Vec<Source> = [
        (Kind::Session, "notes/a.md", "A", "needle in a session note"),
        (Kind::Document, "docs/b.md", "B", "needle in a document that nobody dated"),
        (Kind::Code, "src/c.rs", "src/c.rs", "fn needle() { of_code() }"),
        (Kind::Code, "src/tests/d.py", "src/tests/d.py", "def test_needle(): pass"),
        (Kind::Commit, "c0ffee", "Fix the needle", "the needle was bent, said the message"),
    ]
    .into_iter()
    .map(source)
    .collect();
    let dates = [Some("2025-08-16"), None, Some("2025-01-01T10:00:00Z"), None, Some("2026-02-03T23:30:00-02:00")];
    for (source, date) in sources.iter_mut().zip(dates) {
        source.content.date = date.map(str::to_owned);
    }
    sources[4].key = "commit:c0ffee".to_owned();
    sources[4].content.commit = Some(crate::store::Commit {
        hash: "c0ffee".to_owned(),
        date: "2026-02-03T23:30:00-02:00".to_owned(),
        author: "A".to_owned(),
        subject: "Fix the needle".to_owned(),
        body: String::new(),
        files: vec!["src/c.rs".to_owned()],
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("patina.db")).expect("a store");
    store.put_sources(&sources.iter().map(|source| (source, None)).collect::<Vec<_>>()).expect("put");
    Project { _folder: folder, store }
}

fn moment(text: &str) -> Option<Moment> {
    Some(Moment::parse("--since", text, "2026-03-01T00:00:00Z".parse().expect("now")).expect(text))
}

fn patterns(patterns: &[&str]) -> Option<Paths> {
    Paths::new(&patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>()).expect("patterns")
}

#[test]
fn filters_let_pass_what_they_say() {
    let project = dated();
    let found = |filter: Filter| {
        let answer = project.answer("needle", &filtered(filter));
        let mut paths: Vec<String> = answer.hits.into_iter().map(|hit| hit.path).collect();
        paths.sort();
        (paths.join(" "), answer.filter.expect("a report"))
    };
    let paths = |list: &[&str]| found(Filter { paths: patterns(list), ..Filter::default() }).0;
    assert_eq!(paths(&["src/"]), "c0ffee src/c.rs src/tests/d.py", "a commit has the paths of its files");
    assert_eq!(paths(&["src/", "!tests/"]), "c0ffee src/c.rs");
    assert_eq!(paths(&["!src/"]), "docs/b.md notes/a.md");
    assert_eq!(paths(&["*.md"]), "docs/b.md notes/a.md");

    let languages = |word: &str| found(Filter { languages: Language::parse(word).expect(word), ..Filter::default() }).0;
    assert_eq!(languages("rust"), "src/c.rs");
    assert_eq!(languages("md"), "docs/b.md notes/a.md");
    assert_eq!(languages("zig"), "");

    let between = |since: &str, until: &str| {
        let of = |text: &str| if text.is_empty() { None } else { moment(text) };
        found(Filter { since: of(since), until: of(until), ..Filter::default() })
    };
    // Half past eleven at night two hours west of Greenwich is the next day there.
    assert_eq!(between("2026-02-04", "").0, "c0ffee");
    assert_eq!(between("", "2026-02-03").0, "notes/a.md src/c.rs");
    assert_eq!(between("2025-08-16T12:00:00Z", "2025-08-16T13:00:00Z").0, "notes/a.md", "a day passes if part of it does");
    assert_eq!(between("30d", "").0, "c0ffee");
    let (all, report) = between("2025-01-01T10:00:00Z", "2026-02-04T01:30:00Z");
    assert_eq!(all, "c0ffee notes/a.md src/c.rs");
    assert_eq!((report.passing, report.chunks, report.undated_sources), (3, 5, 2));
    assert_eq!((report.since.as_deref(), report.until.as_deref()), (Some("2025-01-01T10:00:00Z"), Some("2026-02-04T01:30:00Z")));

    let all = Filter { kinds: vec![Kind::Code], paths: patterns(&["src/"]), since: moment("2024-01-01"), ..Filter::default() };
    let (paths, report) = found(all);
    assert_eq!((paths.as_str(), report.passing, report.undated_sources), ("src/c.rs", 1, 1));

    let swapped = Filter { since: moment("2026-01-01"), until: moment("2025-01-01"), ..Filter::default() };
    let error = search(&project.store, None, None, "x", &Options { mode: Mode::Lexical, ..filtered(swapped) }, None).expect_err("swapped");
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.hint_text().is_some());
}

#[test]
fn a_filter_that_nothing_passes_is_not_a_question_that_nothing_matches() {
    let project = dated();
    let nothing = project.answer("needle", &filtered(Filter { paths: patterns(&["nowhere/"]), ..Filter::default() }));
    assert_eq!((nothing.hits.len(), nothing.filter.expect("a report").passing), (0, 0));
    let no_match = project.answer("zebra", &filtered(Filter { paths: patterns(&["src/"]), ..Filter::default() }));
    assert_eq!((no_match.hits.len(), no_match.filter.expect("a report").passing), (0, 3));
    assert_eq!(project.answer("zebra", &Options::default()).filter, None);
}

/// A rare kind among many vectors that are all nearer to the question: whoever reads the top of the list and filters it finds nothing.
#[test]
fn filtered_vector_search_is_what_comparing_all_gives() {
    let mut random = crate::metrics::random::SplitMix64::new(7);
    let mut number = || random.below(2000) as f32 / 1000.0 - 1.0;
    let rows: Vec<(String, String)> = (0..600).map(|i| (format!("d/{i}.md"), format!("text number {i}"))).collect();
    let kind = |i: usize| if i % 100 == 17 { Kind::Code } else { Kind::Document };
    let rows: Vec<(Kind, &str, &str, &str)> =
        rows.iter().enumerate().map(|(i, (path, text))| (kind(i), path.as_str(), "t", text.as_str())).collect();
    let project = Project::new(&rows);
    let chunks = project.store.chunks().expect("chunks");
    let query = [1.0f32, 0.0, 0.0, 0.0];
    // What is code looks away from the question, everything else towards it.
    let vectors: Vec<(u64, Vec<f32>)> = chunks
        .iter()
        .map(|chunk| {
            let towards = if chunk.kind == Kind::Code { -1.0 } else { 3.0 };
            (chunk.id, vec![towards + number(), number(), number(), number()])
        })
        .collect();
    let base = NearOnly { all: BruteForce(vectors.clone()), reaches: 200 };
    let search = |filter: Filter, limit| {
        let options = Options { mode: Mode::Vector, limit, filter, fold: false, explain: true, ..Options::default() };
        search(&project.store, Some((&base, &query)), None, "number", &options, None).expect("search").hits
    };
    let code = search(Filter { kinds: vec![Kind::Code], ..Filter::default() }, 10);
    let expected = {
        let ids: Vec<u64> = chunks.iter().filter(|chunk| chunk.kind == Kind::Code).map(|chunk| chunk.id).collect();
        base.all.nearest_among(&query, 10, &ids).expect("all")
    };
    assert_eq!(expected.len(), 6);
    assert_eq!(code.iter().map(|hit| hit.id).collect::<Vec<_>>(), expected.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    assert!(code.iter().enumerate().all(|(at, hit)| hit.explain[0].rank == at + 1), "ranks count what passes");
    // Without the filter the same index shows none of them.
    assert!(search(Filter::default(), 100).iter().all(|hit| hit.kind == Kind::Document));

    // Too many to be compared each: the list is read deeper, and what it does not reach is compared after all.
    for kind in Kind::ALL {
        let allowed = Filter { kinds: vec![kind], ..Filter::default() }.allowed(&project.store).expect("allowed").expect("a filter");
        for depth in [1, 5, 100] {
            let found = nearest_allowed(&base, &query, depth, &allowed, 0).expect("search");
            assert_eq!(found, base.all.nearest_among(&query, depth, &allowed.ids).expect("all"), "{kind:?} {depth}");
        }
    }
}

/// Neighbouring versions of one paragraph of this project's own documentation, and a paragraph beside it.
const SECTION: [&str; 3] = [
    "The peak is a multiplication in registers and the nearest caches with the widest instructions, in safe code through `pulp`; measured \
     before the rounds and after them, the greater one counts. On an AMD EPYC (Zen 4, AVX-512, 2 cores) one thread reaches 115 GFLOP/s, where \
     OpenBLAS's own (NumPy) reaches 107 with matrices of 96, 103 of 256 and 97 of 1,024: so a share of it is a little less than one of OpenBLAS.",
    "The peak is a multiplication in registers and the nearest caches with the widest instructions, in safe code through `pulp`; it is measured \
     before the rounds and after them, and the greater one counts. On an AMD EPYC (Zen 4, AVX-512, 2 cores) one thread reaches 115 GFLOP/s, where \
     OpenBLAS's own (NumPy) reaches 107 with matrices of 96, 103 of 256 and 97 of 1,024: so a share of it is a little less than one of OpenBLAS.",
    "A library that knows only AVX2, or the runtime itself, would make shares above 1 on other processors. Shares are told for single precision \
     on the processor alone; one above 1 is flagged as an error of measurement. The peak of memory is the process's, its copy of the corpus \
     included; processor time is known on Unix, and elsewhere both are null.",
];

#[test]
fn near_duplicates_are_folded_and_named() {
    let project = Project::new(&[
        (Kind::Document, "docs/now.md", "A", SECTION[0]),
        (Kind::Document, "docs/then.md", "A", SECTION[1]),
        (Kind::Document, "docs/beside.md", "A", SECTION[2]),
        (Kind::Code, "copy.rs", "A", SECTION[0]),
    ]);
    let hits = project.lexical("peak", &Options::default());
    assert_eq!(hits.len(), 2);
    let (folded, alone): (Vec<&Hit>, Vec<&Hit>) = hits.iter().partition(|hit| hit.duplicates > 0);
    assert_eq!(paths(&[alone[0].clone()]), ["docs/beside.md"]);
    let mut all: Vec<&str> = folded[0].folded.iter().map(|twin| twin.path.as_str()).chain([folded[0].path.as_str()]).collect();
    all.sort_unstable();
    assert_eq!((folded[0].duplicates, all), (2, vec!["copy.rs", "docs/now.md", "docs/then.md"]));
    assert!(folded[0].folded.iter().all(|twin| (NEAR..=1.0).contains(&twin.agreement) && twin.line == 10));
    assert_eq!(project.lexical("peak", &Options { fold: false, ..Options::default() }).len(), 4);
}

/// Says the opposite of what was found, by the texts that it is given.
struct Backwards(Vec<String>);

impl Scorer for Backwards {
    fn scores(&mut self, question: &str, texts: &[String]) -> Result<Vec<f64>> {
        assert_eq!(question, "needle");
        self.0 = texts.to_vec();
        Ok((0..texts.len()).map(|at| at as f64).collect())
    }
}

#[test]
fn the_first_candidates_are_put_in_the_scorers_order() {
    let project = dated();
    let before = project.lexical("needle", &Options::default());
    let mut scorer = Backwards(Vec::new());
    let options = Options { mode: Mode::Lexical, ..Options::default() };
    let reranking = Reranking { scorer: &mut scorer, candidates: 3 };
    let answer = search(&project.store, None, None, "needle", &options, Some(reranking)).expect("search");
    assert_eq!(answer.reranked, Some(3));
    let order: Vec<u64> = answer.hits.iter().map(|hit| hit.id).collect();
    assert_eq!(order, [2, 1, 0, 3, 4].map(|at| before[at].id), "the others follow as they were");
    assert_eq!(answer.hits[0].rerank, Some(Reranked { score: 2.0, from: 3 }));
    assert_eq!(answer.hits[3].rerank, None);
    let chunks = project.store.chunks_by_id(&[before[0].id]).expect("the chunk");
    assert_eq!(scorer.0[0], chunks[0].embed_text(), "title and text are read");
    // One result of three that were read.
    let reranking = Reranking { scorer: &mut scorer, candidates: 3 };
    let one = search(&project.store, None, None, "needle", &Options { limit: 1, ..options }, Some(reranking)).expect("search");
    assert_eq!(one.hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [before[2].id]);
}

/// Scores of a list are made comparable over all that was read of it: were more read for more results, the first ones would change.
#[test]
fn the_first_results_are_the_same_however_many_are_shown() {
    let mut random = crate::metrics::random::SplitMix64::new(11);
    let mut number = |below: usize| random.below(below);
    let texts: Vec<(String, String)> = (0..900)
        .map(|i| (format!("d/{i}.md"), format!("{}{}text {i}", "needle ".repeat(1 + number(6)), "hay ".repeat(number(40)))))
        .collect();
    let project = Project::new(&texts.iter().map(|(path, text)| (Kind::Document, path.as_str(), "t", text.as_str())).collect::<Vec<_>>());
    let ids = project.store.chunk_ids().expect("ids");
    let base = BruteForce(ids.into_iter().map(|id| (id, (0..6).map(|_| number(2000) as f32 / 1000.0 - 1.0).collect())).collect());
    let query = [1.0f32, 0.2, 0.0, -0.3, 0.1, 0.0];
    let ask = |limit, by, fold, candidates: Option<usize>| {
        let weights = Some(Weights { by, ..Weights::usual(false) });
        let options = Options { limit, weights, fold, ..Options::default() };
        let mut scorer = Backwards(Vec::new());
        let reranking = candidates.map(|candidates| Reranking { scorer: &mut scorer, candidates });
        search(&project.store, Some((&base, &query)), None, "needle", &options, reranking).expect("search").hits
    };
    for (by, fold) in [(By::Scores, true), (By::Scores, false), (By::Ranks { k: 60.0 }, true)] {
        let all = ask(100, by, fold, None);
        assert_eq!(all.len(), 100);
        for limit in [1, 5, 30, 900] {
            let some = ask(limit, by, fold, None);
            let shown = limit.min(100);
            assert_eq!(some[..shown], all[..shown], "{by:?}, {limit} results");
        }
        // What a reranker says of the rank before is the rank that a search without it gives.
        for hit in ask(5, by, fold, Some(50)) {
            let from = hit.rerank.expect("reranked").from;
            assert_eq!((all[from - 1].id, all[from - 1].score), (hit.id, hit.score), "{by:?}");
        }
    }
    // Beyond what is fused results still come.
    assert!(ask(1000, By::Scores, false, None).len() > 850);
}

#[test]
fn stop_words_are_sorted_for_the_search_in_them() {
    assert!(STOP_WORDS.is_sorted());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// FTS5 itself says whether an expression is one: whatever is asked, it is never a syntax error.
    #[test]
    fn no_question_is_a_syntax_error(question in "(?s).{0,200}|[\"'*:^()+{}\\[\\], \0a-cNEARORNOTAND_\u{301}\u{1f600}\u{4f60}-]{0,120}") {
        thread_local!(static PROJECT: Project = small());
        PROJECT.with(|project| {
            let found = terms(&question);
            prop_assert!(found.len() <= MAX_TERMS);
            if let Some(expression) = match_expression(&found) {
                let rows = project.store.lexical(&expression, 10);
                prop_assert!(rows.is_ok(), "{expression}: {rows:?}");
            }
            Ok(())
        })?;
    }

    /// A question made of a text's own words finds the text.
    #[test]
    fn the_words_of_a_text_find_it(at in 0usize..3, from in 0usize..6) {
        thread_local!(static PROJECT: Project = small());
        PROJECT.with(|project| {
            let chunk = project.store.chunks().expect("chunks")[at].clone();
            let word = chunk.text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).nth(from).unwrap_or("lock").to_owned();
            let hits = project.lexical(&word, &Options::default());
            prop_assert!(hits.iter().any(|hit| hit.id == chunk.id || hit.duplicates > 0), "{word}");
            Ok(())
        })?;
    }
}

#[test]
fn a_megabyte_of_question_is_answered() {
    let project = small();
    let question = format!("lock {}", "\"NEAR(x^ *:) \u{1f512} ".repeat(60_000));
    assert!(question.len() > 1 << 20);
    assert_eq!(paths(&project.lexical(&question, &Options::default()))[0], "s/lock.md");
}

/// What the depth of the lists costs: a project of 5,000 chunks of 1,500 characters, without a model.
#[test]
#[ignore = "says figures, and asserts nothing"]
#[allow(clippy::print_stderr)]
fn what_a_search_takes() {
    let mut random = crate::metrics::random::SplitMix64::new(3);
    let mut number = |below: usize| random.below(below);
    let words: Vec<String> = (0..5_000).map(|n| format!("word{n}")).collect();
    let texts: Vec<(String, String)> = (0..5_000)
        .map(|i| {
            // Common words come often.
            let mut word = || (0..3).fold(5_000, |most, _| 1 + number(most)) - 1;
            let text: Vec<&str> = (0..220).map(|_| words[word()].as_str()).collect();
            (format!("d/{i}.md"), text.join(" "))
        })
        .collect();
    let project = Project::new(&texts.iter().map(|(path, text)| (Kind::Document, path.as_str(), "t", text.as_str())).collect::<Vec<_>>());
    let ids = project.store.chunk_ids().expect("ids");
    let vectors: Vec<(u64, Vec<f32>)> =
        ids.into_iter().map(|id| (id, (0..384).map(|_| number(2000) as f32 / 1000.0 - 1.0).collect())).collect();
    let query = vectors[7].1.clone();
    let base = BruteForce(vectors);
    for (limit, fold) in [(10, true), (10, false), (100, true), (100, false)] {
        let options = Options { limit, fold, ..Options::default() };
        let mut took: Vec<f64> = (0..15)
            .map(|_| {
                let begun = std::time::Instant::now();
                let found =
                    search(&project.store, Some((&base, &query)), None, "word3 word40 word500 word77", &options, None).expect("search");
                assert_eq!(found.hits.len(), limit);
                begun.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        took.sort_by(f64::total_cmp);
        let lists = std::time::Instant::now();
        project.store.lexical("\"word3\" OR \"word40\" OR \"word500\" OR \"word77\"", FUSED_DEPTH).expect("words");
        let words = lists.elapsed().as_secs_f64() * 1e3;
        let lists = std::time::Instant::now();
        base.nearest(&query, FUSED_DEPTH).expect("vectors");
        let vectors = lists.elapsed().as_secs_f64() * 1e3;
        eprintln!("{limit} results, fold {fold}: {:.1} ms, of which words {words:.1}, vectors {vectors:.1}", took[7]);
    }
}

/// Lexical search on BEIR's SciFact, nDCG@10 x 100. Run with the folder of data sets in `PATINA_TEST_DATA`.
#[test]
#[ignore = "needs data that is not in the repository"]
fn scifact_is_ranked_as_well_as_a_tuned_bm25() {
    let Some(folder) = std::env::var_os("PATINA_TEST_DATA") else { return };
    let folder = std::path::Path::new(&folder).join("scifact");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("the data");
    let rows = |name: &str| read(name).lines().map(|line| serde_json::from_str(line).expect("json")).collect::<Vec<serde_json::Value>>();
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let corpus: Vec<[String; 3]> = rows("corpus.jsonl").iter().map(|row| ["_id", "title", "text"].map(|key| text(row, key))).collect();
    let project = Project::new(
        &corpus.iter().map(|[id, title, text]| (Kind::Document, id.as_str(), title.as_str(), text.as_str())).collect::<Vec<_>>(),
    );
    let mut relevant: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for line in read("qrels/test.tsv").lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        relevant.entry(fields[0].to_owned()).or_default().insert(fields[1].to_owned(), fields[2].parse().expect("a grade"));
    }
    let gain = |grades: &mut dyn Iterator<Item = f64>| {
        grades.take(10).enumerate().map(|(at, grade)| grade / (at as f64 + 2.0).log2()).sum::<f64>()
    };
    let mut total = 0.0;
    for query in rows("queries.jsonl") {
        let Some(grades) = relevant.get(&text(&query, "_id")) else { continue };
        let hits = project.lexical(&text(&query, "text"), &Options::default());
        let mut ideal: Vec<f64> = grades.values().copied().collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        total += gain(&mut hits.iter().map(|hit| grades.get(&hit.path).copied().unwrap_or(0.0))) / gain(&mut ideal.into_iter());
    }
    let ndcg = 100.0 * total / relevant.len() as f64;
    assert!(ndcg >= 66.0, "nDCG@10 is {ndcg:.2}");
}

#[test]
fn weights_decide_and_what_is_left_out_is_not_found() {
    let project = small();
    let lock = project.id("s/lock.md");
    let base = BruteForce(vec![(lock, vec![3.0, 4.0])]);
    let ask = |options: Options| search(&project.store, Some((&base, &[1.0, 0.0])), None, "second", &options, None).expect("search").hits;
    let weigh = |lexical, vector, by| Options {
        weights: Some(Weights { lexical, vector, projection: 0.0, by }),
        explain: true,
        ..Options::default()
    };
    let ranks = ask(weigh(1.0, 1.0, By::Ranks { k: 60.0 }));
    assert!((ranks[0].score - 2.0 / 61.0).abs() < 1e-9, "{ranks:?}");
    let words = ask(weigh(2.0, 0.0, By::Scores));
    assert!((words[0].score - 2.0).abs() < 1e-9, "{words:?}");
    assert!(words.iter().all(|hit| hit.explain.iter().all(|explain| explain.retriever == "lexical")), "what counts nothing is not asked");
    let without = ask(Options { without: BTreeSet::from([lock]), ..Options::default() });
    assert!(without.iter().all(|hit| hit.id != lock) && ranks.iter().any(|hit| hit.id == lock));
}
