//! What `scry` can be asked for beside a question: filters, folding, explanations.

use serde_json::{Value, json};

use crate::harness::{Place, Ran};

/// A project with files of several languages, a dated note, twins, and a history.
fn place() -> Place {
    let place = Place::tiny_project();
    place.write("src/lock.py", "def take_lock(path):\n    \"\"\"Takes the lock of a project.\"\"\"\n    return open(path)\n");
    place.write("notes/a.md", "# Session: locks\n\n**Started**: 2025-02-03T10:00:00Z\n\n## Activity\n\nThe lock tells who holds it.\n");
    let twin = "Patina keeps a lock in the folder of the project, and whoever comes second is told the number of the process that holds it, \
                when it began, and what it does. The lock is gone with its process, however that ends, so nobody has to remove it by hand.";
    place.write("docs/lock.md", format!("# Locks\n\n{twin}\n"));
    place.write("docs/old/lock.md", format!("# Locks\n\n{}\n", twin.replace("by hand", "himself")));
    place.git(&["init", "-q"]);
    place.git(&["add", "src/parse.rs", "cache.md"]);
    place.git(&["commit", "-q", "-m", "The cache and the parser"]);
    place.git(&["add", "src/lock.py"]);
    place.git(&["commit", "-q", "-m", "The lock is taken"]);
    place.run(["scrape"]).success();
    place
}

fn paths(ran: &Ran) -> Vec<String> {
    let mut paths: Vec<String> =
        ran.json()["hits"].as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

/// Searches by words, as JSON.
fn ask<'a>(place: &Place, options: &[&'a str], question: &'a str) -> Ran {
    place.run([&["scry", "--mode", "lexical", "--json"], options, &[question]].concat())
}

#[test]
fn filters_by_path_language_and_date() {
    let place = place();
    assert_eq!(paths(&ask(&place, &["--path", "docs/", "--no-fold"], "lock")), ["docs/lock.md", "docs/old/lock.md"]);
    assert_eq!(paths(&ask(&place, &["--path", "docs/", "--path", "!old/"], "lock")), ["docs/lock.md"]);
    assert_eq!(paths(&ask(&place, &["--language", "python"], "lock")), ["src/lock.py"]);
    assert_eq!(paths(&ask(&place, &["--language", "rs,py"], "lock parse")), ["src/lock.py", "src/parse.rs"]);
    // The note's heading and its section.
    assert_eq!(paths(&ask(&place, &["--until", "2025-02-28"], "lock")), ["notes/a.md", "notes/a.md"]);
    // A commit is found by the files that it touches.
    let commits = ask(&place, &["--kind", "commit", "--path", "*.py"], "the").json();
    let titles: Vec<&Value> = commits["hits"].as_array().unwrap().iter().map(|hit| &hit["title"]).collect();
    assert_eq!(titles, [&json!("The lock is taken")]);
    let ran = ask(&place, &["--since", "2025-03-01", "--until", "2025-03-31"], "lock");
    assert_eq!(ran.json()["hits"].as_array().unwrap().len(), 1);
    let filter = &ran.json()["filter"];
    assert_eq!((&filter["since"], &filter["passing"]), (&json!("2025-03-01T00:00:00Z"), &json!(2)));
    assert!(filter["undated_sources"].as_u64().unwrap() >= 6, "{filter}");
    let told = place.run(["scry", "--mode", "lexical", "--since", "2025-03-01", "lock"]);
    assert!(told.success().err.contains("have no date and cannot pass --since or --until"), "{told}");
}

#[test]
fn nothing_that_passes_and_nothing_that_matches_are_told_apart() {
    let place = place();
    snap!(place.run(["scry", "--mode", "lexical", "--path", "nowhere/", "--language", "rust", "lock"]), @r#"
    exit 0
    --- stdout
    nothing passes the filter, none of 10 chunks: --path nowhere/ --language rust
    try a wider one
    "#);
    snap!(place.run(["scry", "--mode", "lexical", "--path", "docs/", "zeppelin"]), @r#"
    exit 0
    --- stdout
    nothing found among the 2 of 10 chunks that pass the filter: --path docs/
    "#);
    let empty = ask(&place, &["--path", "nowhere/"], "lock").json();
    assert_eq!((&empty["hits"], &empty["filter"]["passing"], &empty["filter"]["chunks"]), (&json!([]), &json!(0), &json!(10)));
}

#[test]
fn filters_that_are_none_are_refused() {
    let place = place();
    let scry = |option: &str, value: &str| place.run(["scry", "--mode", "lexical", option, value, "x"]);
    snap!(scry("--since", "soon"), @r#"
    exit 2
    --- stderr
    error: --since is "soon", which is no date
    hint: dates are days (2025-08-16), instants ([TIME]), or how long ago: 12h, 30d, 6w, 1y
    "#);
    snap!(scry("--path", "a[z-a]"), @r#"
    exit 2
    --- stderr
    error: --path is "a[z-a]", which is no pattern: invalid range; 'z' > 'a'
    hint: patterns are as in .gitignore: `src/**/*.rs`, `docs/`, or `!tests/` to leave a folder out
    "#);
    let language = scry("--language", "klingon");
    assert_eq!(language.exit(2).err.lines().next(), Some("error: --language is \"klingon\", which is no language that Patina knows"));
    assert!(language.err.contains("hint: languages are asciidoc, assembly, ") && language.err.contains("python"), "{language}");
    snap!(place.run(["scry", "--mode", "lexical", "--since", "2026-01-01", "--until", "2025-01-01", "x"]), @r#"
    exit 2
    --- stderr
    error: --since [TIME] is after --until 2025-01-01T23:59:59.999999999Z: nothing was written between
    hint: swap the two
    "#);
}

#[test]
fn twins_are_folded_and_named() {
    let place = place();
    let question = "second told number of the process";
    let folded = ask(&place, &["--path", "docs/"], question).json();
    let hits = folded["hits"].as_array().unwrap();
    assert_eq!((hits.len(), &hits[0]["duplicates"]), (1, &json!(1)));
    let twin = &hits[0]["folded"][0];
    let mut both = [hits[0]["path"].as_str().unwrap(), twin["path"].as_str().unwrap()];
    both.sort_unstable();
    assert_eq!(both, ["docs/lock.md", "docs/old/lock.md"]);
    assert!((0.8..1.0).contains(&twin["agreement"].as_f64().unwrap()), "{twin}");
    let text = place.run(["scry", "--mode", "lexical", "--path", "docs/", question]);
    assert!(text.success().text().contains("and 1 that says nearly the same"), "{text}");
    let text = place.run(["scry", "--mode", "lexical", "--path", "docs/", "--explain", question]);
    assert!(text.success().text().contains("folded     docs/") && text.text().contains(" % the same"), "{text}");
    assert_eq!(ask(&place, &["--path", "docs/", "--no-fold"], question).json()["hits"].as_array().unwrap().len(), 2);
}

#[test]
fn an_explanation_adds_up() {
    let place = place();
    place.run(["oxidize"]).success();
    let answer = place.run(["scry", "--explain", "--json", "--kind", "code,document", "who holds the lock"]).json();
    let hits = answer["hits"].as_array().unwrap();
    assert!(hits.len() > 1);
    for hit in hits {
        let explain = hit["explain"].as_array().unwrap();
        let sum: f64 = explain.iter().map(|explain| explain["contribution"].as_f64().unwrap()).sum();
        assert!((sum - hit["score"].as_f64().unwrap()).abs() < 1e-9, "{hit}");
        assert!(explain.iter().all(|explain| explain["weight"].as_f64().unwrap() > 0.0 && explain["rank"].as_u64().unwrap() > 0));
    }
    let asked: Vec<&str> = answer["retrievers"].as_array().unwrap().iter().filter_map(|asked| asked["retriever"].as_str()).collect();
    assert_eq!(asked, ["lexical", "vector"]);
    assert_eq!(answer["retrievers"][1]["found"], answer["filter"]["passing"], "every vector that passes is ranked");
    assert_eq!((&answer["reranked"], &answer["reranker"]), (&Value::Null, &Value::Null));
    let text = place.run(["scry", "--explain", "--kind", "code,document", "who holds the lock"]);
    assert!(text.success().text().contains("pass --kind code,document"), "{text}");
    assert!(text.text().contains(" weight ") && text.text().contains(" adds "), "{text}");
}
