//! `patina eval`: the tiny model on small sets, whose figures mean nothing but must be those of its vectors.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Place, cosine, tiny_model, vectors};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval").join(name).to_str().unwrap().to_owned()
}

/// A folder with the tiny model in it.
fn place() -> Place {
    let place = Place::new();
    tiny_model(&place.path("model"));
    place
}

/// The vectors that `patina embed` gives.
fn embed(place: &Place, kind: &str, texts: &[&str]) -> Vec<Vec<f32>> {
    let lines: Vec<String> = texts.iter().map(|text| json!({ "text": text }).to_string()).collect();
    vectors(&place.run_with(["embed", "--model", "./model", "--kind", kind], &[], lines.join("\n")).success().text())
}

#[test]
fn pairs_are_correlated_by_the_cosine_of_their_vectors() {
    let place = place();
    let rows = [
        (5.0, "a cat", "a dog"),
        (3.0, "one two three", "one two four"),
        (2.0, "x", "a longer text"),
        (0.5, "lock", "zebra"),
        (3.0, "b", "c"),
    ];
    let text: String = rows.iter().map(|(score, a, b)| format!("{score}\t{a}\t{b}\n")).collect();
    place.write("pairs.tsv", text);
    let ran = place.run(["eval", "sts", "--model", "./model", "pairs.tsv", "--json", "--output", "out/report.json"]);
    let report = ran.json();
    assert_eq!(serde_json::from_slice::<Value>(&place.read("out/report.json")).unwrap(), report);
    assert_eq!((&report["task"], &report["pairs"], &report["version"]), (&json!("sts"), &json!(5), &json!(1)));
    assert_eq!((&report["engine"]["runtime"], &report["engine"]["precision"]), (&json!("onnx"), &json!("f32")));
    assert_eq!((&report["engine"]["dimensions"], &report["engine"]["max_tokens"]), (&json!(64), &json!(128)));
    for hash in [&report["engine"]["identity"], &report["engine"]["fingerprint"], &report["sha256"]] {
        assert_eq!(hash.as_str().unwrap().len(), 64);
    }
    assert_eq!(report["speed"]["texts"], 10);

    // By the definitions: ranks counted one by one, and the textbook's formula.
    let sentences: Vec<&str> = rows.iter().flat_map(|row| [row.1, row.2]).collect();
    let vectors = embed(&place, "document", &sentences);
    let cosines: Vec<f64> = vectors.chunks(2).map(|pair| cosine(&pair[0], &pair[1])).collect();
    let scores: Vec<f64> = rows.iter().map(|row| row.0).collect();
    let rank = |values: &[f64]| -> Vec<f64> {
        let below = |value: f64| values.iter().filter(|&&other| other < value).count() as f64;
        let equal = |value: f64| values.iter().filter(|&&other| other == value).count() as f64;
        values.iter().map(|&value| below(value) + (equal(value) + 1.0) / 2.0).collect()
    };
    let correlation = |x: &[f64], y: &[f64]| {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (mx, my) = (mean(x), mean(y));
        let covariance: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
        let variance = |values: &[f64], mean: f64| values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        covariance / (variance(x, mx) * variance(y, my)).sqrt()
    };
    for (name, expected) in [("pearson", correlation(&scores, &cosines)), ("spearman", correlation(&rank(&scores), &rank(&cosines)))] {
        let figure = |key: &str| report[name][key].as_f64().unwrap();
        assert!((figure("value") - expected).abs() < 1e-6, "{name}: {report}");
        assert!(figure("low") <= figure("value") && figure("value") <= figure("high"), "{name}: {report}");
    }
    let ran = place.run(["eval", "sts", "--model", "./model", "pairs.tsv"]);
    assert!(ran.success().text().contains("pairs.tsv: 5 pairs\n./model on onnx "), "{ran}");
    assert!(ran.text().contains("\nSpearman "), "{ran}");
}

/// Every measure from the vectors of `patina embed`, by sorting all documents for each query.
#[test]
fn documents_are_ranked_by_the_cosine_of_their_vectors() {
    let place = place();
    let folder = fixture("beir");
    let lines = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(Path::new(&folder).join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let (corpus, queries) = (lines("corpus.jsonl"), lines("queries.jsonl"));
    let texts: Vec<String> = corpus.iter().map(|row| format!("{} {}", word(row, "title"), word(row, "text")).trim().to_owned()).collect();
    let documents = embed(&place, "document", &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut grades: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for line in std::fs::read_to_string(Path::new(&folder).join("qrels/test.tsv")).unwrap().lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        grades.entry(fields[0].into()).or_default().insert(fields[1].into(), fields[2].parse::<f64>().unwrap().max(0.0));
    }
    let mut expected: BTreeMap<&str, f64> = BTreeMap::new();
    for query in &queries {
        let id = word(query, "_id");
        let Some(grades) = grades.get(&id) else { continue };
        let asked = &embed(&place, "query", &[&word(query, "text")])[0];
        let mut ranked: Vec<(f64, String)> = corpus
            .iter()
            .zip(&documents)
            .map(|(row, vector)| (cosine(asked, vector), word(row, "_id")))
            .filter(|pair| pair.1 != id)
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let gains: Vec<f64> = ranked.iter().map(|pair| grades.get(&pair.1).copied().unwrap_or(0.0)).collect();
        let mut ideal: Vec<f64> = grades.values().copied().filter(|&grade| grade > 0.0).collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        let dcg = |gains: &[f64]| gains.iter().enumerate().map(|(at, gain)| gain / (at as f64 + 2.0).log2()).sum::<f64>();
        let places: Vec<f64> = gains.iter().enumerate().filter(|(_, gain)| **gain > 0.0).map(|(at, _)| at as f64 + 1.0).collect();
        if !ideal.is_empty() {
            *expected.entry("ndcg_at_10").or_default() += dcg(&gains) / dcg(&ideal) / 4.0;
            *expected.entry("mrr_at_10").or_default() += 1.0 / places[0] / 4.0;
            *expected.entry("recall_at_10").or_default() += places.len() as f64 / ideal.len() as f64 / 4.0;
            *expected.entry("recall_at_100").or_default() += places.len() as f64 / ideal.len() as f64 / 4.0;
            let precisions: f64 = places.iter().enumerate().map(|(before, place)| (before as f64 + 1.0) / place).sum();
            *expected.entry("map").or_default() += precisions / ideal.len() as f64 / 4.0;
        }
    }
    let report = place.run(["eval", "beir", "--model", "./model", &folder, "--json"]).json();
    for (name, expected) in expected {
        let value = report["metrics"][name]["value"].as_f64().unwrap();
        assert!((value - expected).abs() < 1e-9, "{name}: {value} is not {expected}");
    }
    assert_eq!((&report["mode"], &report["counts"]["queries"], &report["speed"]["texts"]), (&json!("vector"), &json!(4), &json!(11)));
    assert_eq!(report["counts"]["queries_without_relevant"], 1);

    // Both sides at once, and a run that names every document that one of them found.
    let arguments = ["eval", "beir", "--model", "./model", &folder, "--mode", "hybrid", "--run", "out/hybrid.run", "--json"];
    let hybrid = place.run(arguments).json();
    assert_eq!((&hybrid["mode"], &hybrid["engine"]["identity"]), (&json!("hybrid"), &report["engine"]["identity"]));
    let run = String::from_utf8(place.read("out/hybrid.run")).unwrap();
    assert_eq!(run.lines().count(), 7 + 7 + 6 + 7, "every document but the query's own: {run}");
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn words_need_no_model() {
    let place = Place::new();
    let ran = place.run(["eval", "beir", "--mode", "lexical", &fixture("beir"), "--json"]);
    let report = ran.json();
    assert_eq!((&report["engine"], &report["speed"], &report["counts"]["documents"]), (&Value::Null, &Value::Null, &json!(7)));
    let ran = place.run(["eval", "beir", "--mode", "lexical", "--model", "no-such-model", &fixture("beir")]);
    ran.success();
    assert!(ran.err.contains("note: queries without a relevant document: 1; they count as 0"), "{ran}");
    assert!(ran.err.contains("note: words alone are compared; the model is not used"), "{ran}");
    assert!(ran.text().contains("(test), lexical: 4 queries, 7 documents\n"), "{ran}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let place = place();
    place.write("nan.tsv", "5\ta\tb\nNaN\tc\td\n");
    snap!(place.run(["eval", "sts", "--model", "./model", "nan.tsv"]), @r#"
    exit 2
    --- stderr
    error: nan.tsv:2:1: the score is NaN; a finite number was expected
    hint: expected between tabs: the STS benchmark's own columns (score in column 5, sentences in 6 and 7), or a score and two sentences, or a first line that names the columns score, sentence1 and sentence2
    "#);
    snap!(place.run(["eval", "sts", "--model", "no-such-model", &fixture("sts/plain.tsv")]), @r#"
    exit 2
    --- stderr
    error: the model no-such-model is not on this machine
    hint: `patina model list` shows what there is; bring a model of your own with `patina model import FOLDER --name no-such-model`
    "#);
    snap!(place.run(["eval", "sts", "none.tsv"]), @r#"
    exit 2
    --- stderr
    error: none.tsv: there is no file here; scored pairs of sentences were expected
    hint: expected between tabs: the STS benchmark's own columns (score in column 5, sentences in 6 and 7), or a score and two sentences, or a first line that names the columns score, sentence1 and sentence2
    "#);
    snap!(place.run(["eval", "beir", "--model", "./model", "nothing"]), @r#"
    exit 2
    --- stderr
    error: nothing: there is no such folder
    hint: a BEIR data set is a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv
    "#);
    place.write("set/qrels/dev.tsv", "q1\td1\t1\n");
    snap!(place.run(["eval", "beir", "--model", "./model", "set"]), @r#"
    exit 2
    --- stderr
    error: set/qrels/test.tsv: the data set has no split "test"
    hint: splits that are there: dev
    "#);
    snap!(place.run(["eval", "beir", "--model", "./model", "set", "--split", "dev"]), @r#"
    exit 2
    --- stderr
    error: set/queries.jsonl: there is no file here; queries were expected
    hint: a BEIR data set is a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv
    "#);
    snap!(place.run(["eval", "beir", "--mode", "magic", "set"]), @r#"
    exit 2
    --- stderr
    error: --mode is "magic", which is no mode
    hint: modes are hybrid, vector, lexical
    "#);
    snap!(place.run(["eval", "beir", "--mode", "lexical", "--output", "model", "set"]), @r#"
    exit 2
    --- stderr
    error: model: the output is a folder
    hint: name a file in it
    "#);
    let error = place.run(["--json", "eval", "sts", "nan.tsv"]).exit(2).json_error();
    assert_eq!((&error["kind"], &error["place"]["line"], &error["place"]["column"]), (&json!("usage"), &json!(2), &json!(1)));
    // Without a project there is no model to fall back on.
    snap!(place.run(["eval", "beir", &fixture("beir")]), @r#"
    exit 2
    --- stderr
    note: queries without a relevant document: 1; they count as 0, as in pytrec_eval
    error: [FOLDER]: there is no project here: no .patina/oxidize.yaml in this folder or above it
    hint: run `patina init` in the project's folder
    "#);
}

#[test]
fn a_project_has_a_model_to_measure() {
    let place = Place::tiny_project();
    let report = place.run(["eval", "sts", &fixture("sts/benchmark.csv"), "--json", "--threads", "1"]).json();
    assert_eq!((&report["engine"]["model"], &report["engine"]["threads"], &report["pairs"]), (&json!("./model/"), &json!(1), &json!(3)));
}

/// Ctrl-C in the middle: nothing is written, nothing is left.
#[cfg(unix)]
#[test]
fn an_interrupted_evaluation_leaves_nothing() {
    use std::process::{Command, Stdio};
    let place = Place::new();
    let corpus: String =
        (0..4000).map(|n| format!("{}\n", json!({"_id": format!("d{n}"), "text": "river engine paper ".repeat(60)}))).collect();
    place.write("set/corpus.jsonl", corpus);
    place.write("set/queries.jsonl", "{\"_id\": \"q\", \"text\": \"river\"}\n");
    place.write("set/qrels/test.tsv", "q\td1\t1\n");
    place.write("tmp/.keep", "");
    let mut command =
        place.command(["eval", "beir", "--model", "all-MiniLM-L6-v2", "set", "--mode", "hybrid", "--output", "report.json", "--json"]);
    command.env("TMPDIR", place.path("tmp")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let begun = std::time::Instant::now();
    while !place.left_behind().iter().any(|path| path.starts_with(place.path("tmp"))) {
        assert!(begun.elapsed().as_secs() < 60 && child.try_wait().unwrap().is_none(), "no scratch folder was made");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ran = place.ran(child.wait_with_output().unwrap());
    assert_eq!((ran.exit(130).json_error()["kind"].as_str(), ran.out.len()), (Some("interrupted"), 0), "{ran}");
    assert!(!place.path("report.json").exists());
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new(), "the scratch folder is gone");
}

/// The published figures of all-MiniLM-L6-v2 (x100). Run with the folder of data sets in `PATINA_TEST_DATA`.
mod published {
    use super::*;

    fn data(name: &str) -> String {
        let folder = std::env::var_os("PATINA_TEST_DATA").expect("PATINA_TEST_DATA names the folder of data sets");
        Path::new(&folder).join(name).to_str().unwrap().to_owned()
    }

    fn hundred(report: &Value, figure: &str) -> f64 {
        100.0 * report.pointer(figure).unwrap().as_f64().unwrap()
    }

    #[test]
    #[ignore = "needs data that is not in the repository, and half a minute"]
    fn sts_benchmark() {
        let report = Place::new().run(["eval", "sts", "--model", "all-MiniLM-L6-v2", &data("stsb/sts-test.csv"), "--json"]).json();
        let spearman = hundred(&report, "/spearman/value");
        assert!((spearman - 82.03).abs() <= 0.02, "Spearman is {spearman:.3}");
    }

    #[test]
    #[ignore = "needs data that is not in the repository, and minutes"]
    fn scifact_by_vectors() {
        let report = Place::new().run(["eval", "beir", "--model", "all-MiniLM-L6-v2", &data("scifact"), "--json"]).json();
        let ndcg = hundred(&report, "/metrics/ndcg_at_10/value");
        assert!((ndcg - 64.51).abs() <= 0.2, "nDCG@10 is {ndcg:.2}");
    }

    #[test]
    #[ignore = "needs data that is not in the repository"]
    fn scifact_by_words() {
        let report = Place::new().run(["eval", "beir", "--mode", "lexical", &data("scifact"), "--json"]).json();
        let ndcg = hundred(&report, "/metrics/ndcg_at_10/value");
        assert!(ndcg >= 66.0, "nDCG@10 is {ndcg:.2}");
    }
}

/// A set whose training queries can teach: `queries` of them, each with its document.
fn taught(place: &Place, queries: usize) {
    let word = |n: usize| -> String { n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect() };
    let (mut corpus, mut asked, mut train, mut test) = (String::new(), String::new(), String::new(), String::new());
    for n in 0..queries {
        let text = format!("The document of {} speaks of {} at length.", word(n), word(n * 17));
        corpus += &format!("{}\n", json!({"_id": format!("d{n}"), "title": format!("About the {} and more", word(n)), "text": text}));
        asked += &format!("{}\n", json!({"_id": format!("q{n}"), "text": format!("what of {}", word(n))}));
        let qrels = if n % 4 == 3 { &mut test } else { &mut train };
        *qrels += &format!("q{n}\td{n}\t1\n");
    }
    place.write("set/corpus.jsonl", corpus);
    place.write("set/queries.jsonl", asked);
    place.write("set/qrels/train.tsv", train);
    place.write("set/qrels/test.tsv", test);
}

#[test]
fn a_projection_is_taught_by_one_split_and_judged_by_another() {
    let place = place();
    taught(&place, 120);
    let report = place.run(["eval", "beir", "--model", "./model", "set", "--train", "--json"]).json();
    assert_eq!((&report["task"], &report["trained_on"], &report["split"]), (&json!("beir-learned"), &json!("train"), &json!("test")));
    let ground = &report["ground"];
    assert_eq!(
        (&ground["queries"], &ground["groups"], &ground["pairs"], &ground["titles"]),
        (&json!(90), &json!(90), &json!(90), &json!(120))
    );
    assert_eq!((&ground["documents_shared"], &ground["documents_of_test"], &report["queries"]), (&json!(0), &json!(30), &json!(30)));
    assert!(report["settings"].as_array().unwrap().len() >= 3, "{report}");
    // Raw and hybrid are those of the evaluation without training.
    for (mode, system) in [("vector", "raw"), ("hybrid", "hybrid"), ("lexical", "lexical")] {
        let alone = place.run(["eval", "beir", "--model", "./model", "set", "--mode", mode, "--json"]).json();
        for measure in ["ndcg_at_10", "mrr_at_10", "recall_at_100"] {
            let (found, expected) = (&report[system][measure]["value"], &alone["metrics"][measure]["value"]);
            assert!((found.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 1e-9, "{mode} {measure}: {found} {expected}");
        }
    }
    let difference = report["projection"]["ndcg_at_10"]["value"].as_f64().unwrap() - report["raw"]["ndcg_at_10"]["value"].as_f64().unwrap();
    assert!((report["gain"]["value"].as_f64().unwrap() - difference).abs() < 1e-9, "{report}");
    // Every test query asks for a document of its own: with titles, that document's title has taught it.
    let chosen = &report["settings"][report["chosen"].as_u64().unwrap() as usize];
    let (fresh, gain) = if chosen["titles"] == true { (json!(0), &Value::Null) } else { (json!(30), &report["gain"]) };
    assert_eq!((&report["fresh_queries"], &report["fresh_gain"]), (&fresh, gain), "{report}");
    let ran = place.run(["eval", "beir", "--model", "./model", "set", "--train", "train"]);
    assert!(
        ran.success().text().contains("kept out: all test queries and their judgements; shared: the corpus, with 0 of the 30"),
        "{ran}"
    );
}

#[test]
fn what_cannot_teach_is_refused_before_anything_is_embedded() {
    let place = place();
    taught(&place, 40);
    snap!(place.run(["eval", "beir", "--model", "./model", "set", "--train"]), @r#"
    exit 2
    --- stderr
    error: set: the split "train" has 30 separate training queries, and at least 50 are needed
    hint: evaluate without --train, or take a split with more judgements
    "#);
    snap!(place.run(["eval", "beir", "--model", "./model", "set", "--train", "test"]), @r#"
    exit 2
    --- stderr
    error: set: "test" cannot both teach and judge
    hint: name another split: --train train --split test
    "#);
    snap!(place.run(["eval", "beir", "--model", "./model", "set", "--train", "dev"]), @r#"
    exit 2
    --- stderr
    error: set/qrels/dev.tsv: the data set has no split "dev"
    hint: splits that are there: test, train
    "#);
    // Labels that lead nowhere, a training query that is a test query, and one that is another document's title.
    taught(&place, 120);
    let queries = String::from_utf8(place.read("set/queries.jsonl")).unwrap();
    place.write("set/queries.jsonl", queries.replace("\"what of h\"", "\"about the  FA and more\""));
    let mut train = String::from_utf8(place.read("set/qrels/train.tsv")).unwrap();
    train += "q0\tnowhere\t1\nq3\td3\t1\nnobody\td1\t1\n";
    place.write("set/qrels/train.tsv", train);
    let ground = place.run(["eval", "beir", "--model", "./model", "set", "--train", "--json"]).json()["ground"].take();
    assert_eq!(
        (&ground["labels_to_nowhere"], &ground["queries_left_out"], &ground["pairs"], &ground["titles"], &ground["titles_left_out"]),
        (&json!(2), &json!(1), &json!(90), &json!(119), &json!(1)),
        "{ground}"
    );
}
