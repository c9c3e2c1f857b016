//! Training through the program: what is published, what search makes of it, and that the same input gives the same bytes.

use std::fmt::Write;

use crate::harness::Place;

const FILE: &str = ".patina/data/embeddings/model/projections/semantic.safetensors";

/// Words to make notes of: every note has a subject of its own, and every section says something of its own about it.
const SUBJECTS: [&str; 16] = [
    "tokenizer",
    "scheduler",
    "parser",
    "cache",
    "index",
    "graph",
    "pooling",
    "lockfile",
    "channel",
    "manifest",
    "gradient",
    "snapshot",
    "terminal",
    "archive",
    "benchmark",
    "protocol",
];
const SECTIONS: [(&str, &str); 5] = [
    ("Goals", "was slow on large inputs, and nobody knew where the time of the"),
    ("Activity", "now reads its settings once, which halves the work of the"),
    ("Decisions", "keeps its state in one place, since two copies disagreed about the"),
    ("Problems", "failed on an empty file, until a test was written for the"),
    ("Next", "needs a measurement on a second machine, with the numbers of the"),
];

/// The tiny project with sixteen session notes, and a recipe that ends in `more`.
fn place(more: &str) -> Place {
    let place = Place::tiny_project();
    recipe(&place, more);
    for (at, subject) in SUBJECTS.iter().enumerate() {
        let mut note = format!("# Session: the {subject}\n\n**Started**: 2025-02-{:02}T10:00:00Z\n", at + 1);
        for (heading, text) in SECTIONS {
            let other = SUBJECTS[(at * 7 + heading.len()) % SUBJECTS.len()];
            writeln!(note, "\n## {heading}\n\nThe {subject} {text} {subject}, seen from the {other}; number {}.", at * 31 + heading.len())
                .unwrap();
        }
        place.write(&format!("notes/{at:02}-{subject}.md"), note);
    }
    place
}

fn recipe(place: &Place, more: &str) {
    place.write(
        ".patina/oxidize.yaml",
        format!("version: 1\nembedding_model: ./model/\nprojections:\n  semantic:\n    layers: [32]\n    architecture: linear\n    epochs: 3\n{more}"),
    );
}

/// The same, scraped and oxidized.
pub fn oxidized(more: &str) -> Place {
    let place = place(more);
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    place
}

#[test]
fn a_projection_that_is_published_without_the_gate() {
    let place = oxidized("    gate: off\n");
    let outcome = &place.run(["oxidize", "--json"]).json()["projections"][0];
    assert_eq!((&outcome["published"], &outcome["gate"], &outcome["output_dim"]), (&true.into(), &false.into(), &32.into()), "{outcome}");
    assert!(outcome["reason"].as_str().unwrap().contains("gate: off"), "{outcome}");
    // Whoever asks for it gets it; whoever does not searches with what has proven itself.
    let asked = place.run(["scry", "--projection", "semantic", "--explain", "--json", "the parser"]).json();
    assert_eq!(asked["projection"], "semantic");
    let retrievers: Vec<&str> = asked["hits"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|hit| hit["explain"].as_array().unwrap())
        .filter_map(|explain| explain["retriever"].as_str())
        .collect();
    assert!(retrievers.contains(&"projection:semantic"), "{asked}");
    let plain = place.run(["scry", "--json", "the parser"]).json();
    let passed = outcome["verdict"]["published"].as_bool().unwrap();
    assert_eq!(plain["projection"].is_null(), !passed, "{plain}");
    place.run(["scry", "--mode", "vector", "--projection", "semantic", "the parser"]).success();
    let text = place.run(["status"]).text();
    assert!(text.contains("projection   semantic: up to date"), "{text}");
}

#[test]
fn with_the_gate_back_on_the_same_projection_is_judged_anew() {
    let place = oxidized("    gate: off\n");
    assert!(place.path(FILE).exists());
    recipe(&place, "    gate: on\n");
    let stale = place.run(["status"]).text();
    assert!(stale.contains("semantic: stale (the recipe, the model or the project changed since): run `patina oxidize`"), "{stale}");
    let outcome = place.run(["oxidize", "--json"]).json()["projections"][0].take();
    assert_eq!(outcome["published"], outcome["verdict"]["published"], "{outcome}");
    assert_eq!(place.path(FILE).exists(), outcome["published"].as_bool().unwrap());
}

/// What counts nothing in search can neither help nor harm there, and the gate says just that.
#[test]
fn the_gate_fuses_by_the_weights_of_the_recipe() {
    let place = oxidized("    gate: off\nfusion:\n  lexical: 0\n  vector: 0.1\n  projection: 5\n");
    let judged = || place.run(["oxidize", "--json"]).json()["projections"][0].take();
    let loud = judged();
    recipe(&place, "    gate: off\nfusion:\n  projection: 0\n");
    let stale = place.run(["status"]).text();
    assert!(stale.contains("semantic: stale"), "{stale}");
    let silent = judged();
    assert_ne!(loud["inputs"], silent["inputs"]);
    let ends = |outcome: &serde_json::Value| ["low", "high"].map(|end| outcome["verdict"]["hybrid"]["gain"]["ndcg"][end].as_f64().unwrap());
    assert_ne!(ends(&loud), [0.0; 2], "{loud}");
    assert_eq!(ends(&silent), [0.0; 2], "{silent}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for more in ["    gate: off\n", "    gate: off\n    seed: 7\n    loss: triplet\n    batch_size: 8\n"] {
        assert_eq!(oxidized(more).read(FILE), oxidized(more).read(FILE), "{more}");
    }
}

#[test]
fn another_seed_gives_other_bytes() {
    let more = |seed: u32| format!("    gate: off\n    seed: {seed}\n    batch_size: 8\n    learning_rate: 0.01\n    patience: 3\n");
    assert!(oxidized(&more(1)).read(FILE) != oxidized(&more(2)).read(FILE));
}

#[test]
fn the_recipe_of_the_first_day() {
    let place = place("");
    place.write(
        ".patina/oxidize.yaml",
        "version: 1\nembedding_model: ./model/\nprojections:\n  semantic:\n    layers: [64, 48, 16]\n    epochs: 2\n    batch_size: 16\n    gate: off\n",
    );
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    let bytes = place.read(FILE);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert_eq!(header["w1.weight"]["shape"], serde_json::json!([48, 64]));
    assert_eq!(header["w1.bias"]["shape"], serde_json::json!([48]));
    assert_eq!(header["w2.weight"]["shape"], serde_json::json!([16, 48]));
    assert_eq!(header["w2.bias"]["shape"], serde_json::json!([16]));
    for (key, value) in
        [("architecture", "mlp-2layer"), ("input_dim", "64"), ("hidden_dim", "48"), ("output_dim", "16"), ("created_by", "patina-oxidize")]
    {
        assert_eq!(header["__metadata__"][key], value, "{header}");
    }
}

#[test]
fn too_little_to_train_on() {
    let place = Place::tiny_project();
    recipe(&place, "    gate: off\n");
    place.run(["scrape"]).success();
    snap!(place.run(["oxidize"]), @r#"
    exit 0
    --- stdout
    ./model/ on ONNX Runtime (f32), 64 dimensions
    3 chunks, 3 texts embedded
    index built
    projection semantic (linear): not published
      not trained: there are 0 separate groups (sessions, documents, files) with pairs, and at least 10 are needed
    fusion lexical 1, vector 0.5
      the usual weights: too few questions to choose by (0 choose, 0 judge; at least 30 of 8 groups each)
    lockfile written: .patina/oxidize.lock
    "#);
    snap!(place.run(["scry", "--projection", "semantic", "x"]), @r#"
    exit 2
    --- stderr
    error: the projection "semantic" is not published: not trained: there are 0 separate groups (sessions, documents, files) with pairs, and at least 10 are needed
    hint: search without it; it can be trained once the project has more sessions, documents and commits
    "#);
    snap!(place.run(["scry", "--projection", "temporal", "x"]), @r#"
    exit 2
    --- stderr
    error: the recipe has no projection "temporal"
    hint: the recipe has semantic
    "#);
}

#[test]
fn a_projection_that_was_tampered_with() {
    let place = oxidized("    gate: off\n");
    let good = place.read(FILE);
    place.tamper(FILE);
    snap!(place.run(["scry", "--projection", "semantic", "x"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/model/projections/semantic.safetensors: the projection has SHA-256 [SHA-256], its record says [SHA-256]
    hint: run `patina oxidize`
    "#);
    place.run(["oxidize"]).success();
    assert_eq!(place.read(FILE), good);
    std::fs::remove_file(place.path(FILE)).unwrap();
    snap!(place.run(["scry", "--projection", "semantic", "x"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/model/projections/semantic.safetensors: the projection's file is gone
    hint: run `patina oxidize`
    "#);
    place.run(["oxidize"]).success();
    place.tamper(".patina/data/embeddings/model/projections/semantic.usearch");
    snap!(place.run(["scry", "--projection", "semantic", "x"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/model/projections/semantic.usearch: the index has SHA-256 [SHA-256], its manifest says [SHA-256]
    hint: run `patina oxidize`
    "#);
    place.run(["oxidize"]).success();
    place.run(["scry", "--projection", "semantic", "x"]).success();
}

#[test]
fn a_projection_of_questions_alone_needs_no_index() {
    let place = place("");
    let recipe = |more: &str| {
        let text = "version: 1\nembedding_model: ./model/\nprojections:\n  semantic:\n    architecture: low-rank\n    layers: [8]\n    sides: query\n";
        place.write(".patina/oxidize.yaml", format!("{text}    loss: multiple-negatives\n    hard_negatives: 3\n    epochs: 3\n{more}"));
    };
    recipe("    gate: off\n");
    place.run(["scrape"]).success();
    let outcome = place.run(["oxidize", "--json"]).json()["projections"][0].take();
    assert_eq!((&outcome["published"], &outcome["sides"]), (&true.into(), &"query".into()), "{outcome}");
    assert!(outcome["verdict"]["pca"].is_null() && outcome["verdict"]["random"].is_null(), "{outcome}");
    assert!(place.path(FILE).exists() && !place.path(&FILE.replace(".safetensors", ".usearch")).exists());
    let bytes = place.read(FILE);
    let header = String::from_utf8_lossy(&bytes[8..400]).into_owned();
    assert!(header.contains("\"architecture\":\"low-rank\"") && header.contains("\"sides\":\"query\""), "{header}");
    // It asks the index of raw vectors.
    let asked = place.run(["scry", "--mode", "vector", "--projection", "semantic", "--json", "the parser"]).json();
    assert!(!asked["hits"].as_array().unwrap().is_empty(), "{asked}");
    let text = place.run(["status"]).text();
    assert!(text.contains("projection   semantic: up to date"), "{text}");
    place.run(["lock", "--check"]).success();
    place.run(["validate"]).success();
    let lock: serde_json::Value = serde_json::from_slice(&place.read(".patina/oxidize.lock")).unwrap();
    let pins = &lock["made"]["projections"][0];
    assert_eq!((&pins["sides"], &pins["index"], &pins["published"]), (&"query".into(), &serde_json::Value::Null, &true.into()), "{pins}");
    assert_eq!(pins["reason"], outcome["reason"]);
    let systems: Vec<&str> = pins["metrics"]["against"].as_array().unwrap().iter().map(|one| one["system"].as_str().unwrap()).collect();
    assert_eq!(systems, ["bm25", "hybrid"], "{pins}");
    place.run(["oxidize", "--locked"]).success();
    // With both sides again it has an index, and withdrawn it has neither.
    recipe("    gate: off\n    patience: 4\n");
    place.run(["oxidize"]).success();
    assert!(place.path(FILE).exists());
}

/// A project in git whose files are in pairs that change at once, twice each, every commit a minute after the one before.
fn history(groups: usize, together: bool) -> Place {
    history_of(groups, together, "py", "")
}

/// The same of files of this kind, below a header that all of them have.
fn history_of(groups: usize, together: bool, kind: &str, header: &str) -> Place {
    let place = Place::tiny_project();
    place.write(
        ".patina/oxidize.yaml",
        "version: 1\nembedding_model: ./model/\nscrape:\n  exclude: [cache.md, index.md]\nprojections:\n  temporal:\n    architecture: linear\n    layers: [32]\n    epochs: 2\n",
    );
    place.git(&["init", "-q", "."]);
    let mut minutes = 0..;
    let mut commit = |files: &[&str], said: &str| {
        let minute = minutes.next().unwrap_or(0);
        place.git(&[&["add"], files].concat());
        place.git_at(&format!("2025-03-04T{:02}:{:02}:00Z", minute / 60, minute % 60), &["commit", "-q", "-m", said]);
    };
    let pairs = (0..groups).map(|group| ["client", "server"].map(|end| (format!("src/{}_{end}.{kind}", name(group)), end)));
    let pairs: Vec<[(String, &str); 2]> = pairs.collect();
    for round in 0..2 {
        for pair in &pairs {
            for (path, end) in pair {
                let mark = if kind == "py" { "# " } else { "" };
                let said = format!("{mark}The {end} of {path}, written down in words that no other file of this project has.\n");
                place.write(path, format!("{header}{said}VALUE = '{path} {round}'\n"));
                if !together {
                    commit(&[path], "one file");
                }
            }
            if together {
                commit(&[&pair[0].0, &pair[1].0], "both ends");
            }
        }
    }
    place
}

/// A word for a number.
fn name(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

/// Every file changed with its partner and with nothing else before the test begins, so that the table knows all answers: nothing is
/// published, below a header that all files have too. A table that is asked for other pieces than the pairs are of would find nothing.
#[test]
fn files_that_change_together_are_judged_against_the_table() {
    let licence =
        "# Licence\n\nEverybody may read this file and give it to others, as long as these words stay.\n\n# Short\n\nBelow.\n\n# Notes\n\n";
    for (kind, header) in [("py", ""), ("md", licence)] {
        let place = history_of(80, true, kind, header);
        place.run(["scrape"]).success();
        let outcome = place.run(["oxidize", "--json"]).json()["projections"][0].take();
        assert_eq!((&outcome["name"], &outcome["sources"]), (&"temporal".into(), &serde_json::json!(["temporal"])), "{outcome}");
        let verdict = &outcome["verdict"];
        assert_eq!(
            (&verdict["queries"], &verdict["groups"], &outcome["folds"]),
            (&32.into(), &16.into(), &serde_json::Value::Null),
            "{outcome}"
        );
        for system in ["raw", "pca", "cut", "random", "lexical", "table"] {
            assert!(verdict[system]["gain"]["ndcg"]["low"].is_number(), "{system}: {outcome}");
        }
        let table = &verdict["table"];
        for measure in ["ndcg", "mrr", "recall"] {
            assert_eq!(table["figures"][measure]["mean"], 1.0, "{kind}: the table does not know {measure}: {outcome}");
        }
        assert!(table["gain"]["ndcg"]["high"].as_f64().unwrap() <= 0.0 && outcome["published"] == false, "{outcome}");
        // Each file can be found once, by the piece that it is asked by.
        assert!((160..=161).contains(&verdict["candidates"].as_u64().unwrap()), "{outcome}");
        assert!(verdict["hybrid"]["gain"]["ndcg"]["high"].is_number(), "{outcome}");
        let text = place.run(["status"]).text();
        assert!(text.contains("table lookup") && text.contains("hybrid with it"), "{text}");
    }
}

#[test]
fn a_small_project_of_mixed_pairs_is_judged_in_parts() {
    let place = history(30, true);
    place.write(
        ".patina/oxidize.yaml",
        "version: 1\nembedding_model: ./model/\nscrape:\n  exclude: ['*.md']\nprojections:\n  both:\n    pairs: [semantic, temporal]\n    architecture: linear\n    layers: [64]\n    epochs: 1\n",
    );
    place.run(["scrape"]).success();
    let outcome = place.run(["oxidize", "--json"]).json()["projections"][0].take();
    assert_eq!((&outcome["folds"], &outcome["verdict"]["table"]), (&5.into(), &serde_json::Value::Null), "{outcome}");
}

#[test]
fn a_history_in_which_nothing_changes_together() {
    let place = history(4, false);
    place.run(["scrape"]).success();
    snap!(place.run(["oxidize"]), @"
    exit 0
    --- stdout
    ./model/ on ONNX Runtime (f32), 64 dimensions
    25 chunks, 17 texts embedded
    index built
    projection temporal (linear): not published
      not trained: there are 0 separate groups (sessions, documents, files) with pairs, and at least 10 are needed; of 16 commits 16 touch an indexed file, and no two of those files changed together twice in commits of at most 30 files
    fusion lexical 1, vector 0.5
      the usual weights: too few questions to choose by (0 choose, 0 judge; at least 30 of 8 groups each)
    lockfile written: .patina/oxidize.lock
    ");
}

#[test]
fn calls_that_lead_nowhere() {
    let place = Place::tiny_project();
    place.write(
        ".patina/oxidize.yaml",
        "version: 1\nembedding_model: ./model/\nprojections:\n  calls:\n    pairs: dependency\n    architecture: low-rank\n",
    );
    place.run(["scrape"]).success();
    let text = place.run(["oxidize"]).text();
    assert!(text.contains("projection calls (low-rank): not published"), "{text}");
    assert!(
        text.contains("at least 10 are needed; 0 symbols and 0 calls between them are known") || text.contains("none leads from one"),
        "{text}"
    );
}

/// What a table of calls could not know is not shown as beaten.
#[test]
fn calls_are_judged_against_no_table() {
    let place = Place::tiny_project();
    place.write(
        ".patina/oxidize.yaml",
        "version: 1\nembedding_model: ./model/\nscrape:\n  exclude: ['*.md']\nprojections:\n  dependency:\n    architecture: linear\n    epochs: 1\n    layers: [64]\n",
    );
    for at in 0..56 {
        let (caller, callee) = (format!("ask_{}", name(at)), format!("answer_{}", name(at)));
        let said = |end: &str| format!("# The {end} of number {}, in words of its own so that it is long enough.", name(at));
        place.write(&format!("src/{caller}.py"), format!("{}\ndef {caller}():\n    return {callee}()\n", said("caller")));
        place.write(&format!("src/{callee}.py"), format!("{}\ndef {callee}():\n    return '{callee}'\n", said("callee")));
    }
    place.run(["scrape"]).success();
    let outcome = place.run(["oxidize", "--report", "report.html", "--json"]).json()["projections"][0].take();
    assert_eq!((&outcome["folds"], &outcome["verdict"]["queries"]), (&5.into(), &56.into()), "{outcome}");
    let said = "; no table: held-out functions are as if they had not been scraped";
    assert!(outcome["verdict"]["table"].is_null() && outcome["reason"].as_str().unwrap().ends_with(said), "{outcome}");
    let lock: serde_json::Value = serde_json::from_slice(&place.read(".patina/oxidize.lock")).unwrap();
    let pins = &lock["made"]["projections"][0];
    let systems: Vec<&str> = pins["metrics"]["against"].as_array().unwrap().iter().map(|one| one["system"].as_str().unwrap()).collect();
    assert!(pins["reason"].as_str().unwrap().ends_with(said) && !systems.contains(&"table"), "{pins}");
    let page = String::from_utf8(place.read("report.html")).unwrap();
    assert!(page.contains(said) && !page.contains("table lookup"), "the report shows a table");
    let text = place.run(["status"]).text();
    assert!(text.contains(said) && !text.contains("table lookup"), "{text}");
}

#[test]
fn a_project_of_one_session_or_of_one_text() {
    let place = Place::project("./model/");
    place.write(".gitignore", "/model/\n");
    crate::harness::tiny_model(&place.path("model"));
    recipe(&place, "");
    let sections: String = (0..12)
        .map(|at| format!("## Part {}\n\nThe part named {} says something of its own at length.\n\n", name(at), name(at * 7)))
        .collect();
    place.write("notes/one.md", format!("# Session: one\n\n**Started**: 2025-02-01T10:00:00Z\n\n{sections}"));
    place.run(["scrape"]).success();
    let text = place.run(["oxidize"]).text();
    assert!(text.contains("there are 1 separate groups (sessions, documents, files) with pairs, and at least 10 are needed"), "{text}");
    std::fs::remove_file(place.path("notes/one.md")).unwrap();
    for at in 0..12 {
        place.write(&format!("same/{}.txt", name(at)), "Every one of these files says the very same thing and nothing else.\n");
    }
    place.run(["scrape"]).success();
    let text = place.run(["oxidize"]).text();
    assert!(text.contains("at least 10 are needed; all texts are the same"), "{text}");
}

#[test]
fn the_report_is_one_page() {
    let place = oxidized("");
    place.run(["oxidize", "--report", "out/report.html"]).success();
    let page = String::from_utf8(place.read("out/report.html")).unwrap();
    for part in [
        "<!DOCTYPE html>",
        "1 projection, ",
        "raw vectors",
        "PCA of its size",
        "hybrid with it",
        "gate-1",
        "quality-1",
        "When a projection is published",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"), "it fetches nothing");
    // The same state is the same page.
    place.run(["oxidize", "--report", "out/again.html"]).success();
    assert_eq!(String::from_utf8(place.read("out/again.html")).unwrap(), page);
    snap!(place.run(["oxidize", "--report", "out"]), @r#"
    exit 2
    --- stderr
    error: out: the report is a folder
    hint: name a file in it
    "#);
}
