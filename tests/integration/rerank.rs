//! Cross-encoders through the program and its library: the scores that sentence-transformers gives, and what is refused.

use std::path::{Path, PathBuf};

use patina::embed::{RerankSettings, Reranker, TOKEN_BUDGET, select};
use patina::model::ModelFolder;
use patina::progress::Job;
use serde_json::{Value, json};

use crate::harness::{Place, Ran, copy_folder, copy_model};

/// The most that a score may differ from its reference.
const TOLERANCE: f64 = 1e-4;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cross-encoder").join(name)
}

const MODELS: [&str; 4] = ["bert", "bert-old", "roberta", "xlm-roberta"];

fn cases(name: &str) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(folder(name).join("cases.json")).unwrap()).unwrap()
}

fn text(case: &Value, key: &str) -> String {
    case[key].as_str().unwrap().to_owned()
}

/// A reranker as `scry` opens it, on every runtime of this build.
fn rerankers(name: &str, token_budget: usize) -> Vec<Reranker> {
    let model = ModelFolder::open(&folder(name)).unwrap();
    let carried = select::carried().into_iter().filter(|&(_, carried)| carried);
    let open = |runtime| {
        let settings = RerankSettings {
            folder: model.path().to_path_buf(),
            tokenizer: model.tokenizer(),
            max_tokens: model.max_tokens(),
            lower_case: model.settings().do_lower_case,
            tokens: model.settings().tokens.clone(),
            runtime,
            threads: 2,
            token_budget,
        };
        Reranker::open(settings).unwrap()
    };
    let rerankers: Vec<Reranker> = carried.map(|(runtime, _)| open(runtime)).collect();
    assert!(!rerankers.is_empty(), "this build carries no runtime");
    rerankers
}

/// From the texts to the scores, pairs that are cut among them, alone and in batches.
#[test]
fn scores_are_those_of_sentence_transformers() {
    for name in MODELS {
        let cases = cases(name);
        for token_budget in [TOKEN_BUDGET, 1] {
            for reranker in &mut rerankers(name, token_budget) {
                for (at, case) in cases.iter().enumerate() {
                    // A question's pairs are scored together: this one's text among all others'.
                    let texts: Vec<String> = cases.iter().map(|case| text(case, "text")).collect();
                    let scores = reranker.scores(&text(case, "question"), &texts, Job::silent()).unwrap();
                    let away = (scores[at] - case["score"].as_f64().unwrap()).abs();
                    assert!(away <= TOLERANCE, "{name} on {}: case {at} is {away} away", reranker.info().runtime);
                }
            }
        }
    }
}

#[test]
fn what_makes_a_score_is_read_from_every_layout() {
    let of = |name: &str| rerankers(name, TOKEN_BUDGET)[0].activation().name();
    assert_eq!(MODELS.map(of), ["sigmoid", "identity", "identity", "sigmoid"]);
}

/// The tiny project with a reranker beside the model.
fn project(candidates: &str) -> Place {
    let place = Place::tiny_project();
    copy_folder(&folder("bert"), &place.path("reranker"));
    place.write(".gitignore", "/model/\n/reranker/\n");
    recipe(&place, &format!("rerank:\n  model: ./reranker\n{candidates}"));
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    place
}

fn recipe(place: &Place, more: &str) {
    place.write(".patina/oxidize.yaml", format!("version: 1\nembedding_model: ./model/\n{more}"));
}

#[test]
fn results_are_put_in_the_rerankers_order() {
    let place = project("");
    let question = "what is the index";
    let plain = place.run(["scry", "--no-rerank", "--json", question]).json();
    assert!(plain["reranker"].is_null() && plain["hits"].as_array().unwrap().iter().all(|hit| hit["rerank"].is_null()));
    let ran = place.run(["scry", "--json", question]).json();
    assert_eq!((&ran["reranker"], &ran["reranked"]), (&json!("./reranker"), &json!(3)));
    let hits = ran["hits"].as_array().unwrap();
    let scores: Vec<f64> = hits.iter().map(|hit| hit["rerank"]["score"].as_f64().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
    for hit in hits {
        let from = hit["rerank"]["from"].as_u64().unwrap() as usize;
        assert_eq!(plain["hits"][from - 1]["id"], hit["id"], "the place that it had");
    }
    // One candidate stays where it is.
    recipe(&place, "rerank: {model: ./reranker, candidates: 1}\n");
    let one = place.run(["scry", "--json", question]).json();
    assert_eq!((&one["reranked"], &one["hits"][0]["id"]), (&json!(1), &plain["hits"][0]["id"]));
    assert!(one["hits"][0]["rerank"]["score"].is_f64() && one["hits"][1]["rerank"].is_null());
    let text = place.run(["scry", "--explain", question]);
    assert!(text.success().text().contains("reranked   #1"), "{text}");
    // Words need no model unless they are asked to be reranked.
    assert!(place.run(["scry", "--mode", "lexical", "--json", "index"]).json()["reranker"].is_null());
    assert_eq!(place.run(["scry", "--mode", "lexical", "--rerank", "--json", "index"]).json()["reranked"], 1);
}

#[test]
fn the_lockfile_pins_the_reranker() {
    let place = project("");
    let lock: Value = serde_json::from_slice(&place.read(".patina/oxidize.lock")).unwrap();
    let pinned = &lock["reranker"];
    assert_eq!((&pinned["architecture"], &pinned["activation"], &pinned["max_tokens"]), (&json!("bert"), &json!("sigmoid"), &json!(40)));
    let files: Vec<&str> = pinned["files"].as_array().unwrap().iter().filter_map(|file| file["path"].as_str()).collect();
    assert_eq!(files, ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    place.run(["scry", "--locked", "the index"]).success();
    place.run(["lock", "--check"]).success();
    place.tamper("reranker/model.safetensors");
    snap!(place.run(["scry", "--locked", "the index"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/oxidize.lock: reranker.files.model.safetensors.sha256 is not what the lockfile pins: expected [SHA-256], found [SHA-256]
    hint: put back what was pinned, or accept what is here with `patina lock`; `patina lock --check` names every field
    "#);
}

#[test]
fn what_is_no_reranker_is_refused_by_name() {
    let place = project("");
    let scry = |more: &str| {
        recipe(&place, more);
        place.run(["scry", "x"])
    };
    let named = |ran: &Ran, parts: &[&str]| {
        ran.exit(2);
        for part in parts {
            assert!(ran.err.contains(part), "{part}: {ran}");
        }
    };
    named(
        &scry("rerank: {model: ./model}\n"),
        &["the model is one that embeds, by mean pooling, and no reranker", "hint: a reranker is a cross-encoder"],
    );
    copy_model("bert-cls-gelu-new", &place.path("headless"));
    std::fs::copy(place.path("reranker/tokenizer.json"), place.path("headless/tokenizer.json")).unwrap();
    std::fs::remove_file(place.path("headless/modules.json")).unwrap();
    named(
        &scry("rerank: {model: ./headless}\n"),
        &["the model has no classifier head: it is a BertModel, and its weights have no matrix classifier.weight"],
    );
    two_labels(&place.path("reranker"), &place.path("two"));
    named(&scry("rerank: {model: ./two}\n"), &["the model's classifier has 2 labels; a reranker has one", "num_labels = 1"]);
    copy_folder(&folder("bert"), &place.path("other"));
    let config = String::from_utf8(place.read("other/config.json")).unwrap();
    place.write("other/config.json", config.replace("\"model_type\": \"bert\"", "\"model_type\": \"mpnet\""));
    named(
        &scry("rerank: {model: ./other}\n"),
        &["cross-encoders of the architecture \"mpnet\" (model_type) are not supported", "bert, roberta, xlm-roberta"],
    );
    place.write("other/config.json", config.replacen('{', "{\"sbert_ce_default_activation_function\": \"my.own.Tanh\",", 1));
    named(&scry("rerank: {model: ./other}\n"), &["the activation \"my.own.Tanh\" of the scores is not supported"]);
    place.write("other/config.json", &config);
    std::fs::remove_file(place.path("other/tokenizer.json")).unwrap();
    named(&scry("rerank: {model: ./other}\n"), &["has no tokenizer.json, and a reranker reads texts"]);
    named(&scry("rerank: {model: ./nowhere}\n"), &["nowhere"]);
    // A cross-encoder gives no vectors.
    copy_folder(&folder("xlm-roberta"), &place.path("scores"));
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./scores\n");
    named(
        &place.run(["scry", "x"]),
        &["the model is a cross-encoder: it scores pairs of texts and gives no vectors", "name it under `rerank:`"],
    );
}

#[test]
fn the_section_is_checked() {
    let place = Place::tiny_project();
    place.run(["scrape"]).success();
    recipe(&place, "rerank:\n  candidates: 5\n");
    snap!(place.run(["scry", "x"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml:4:3: the key `model` is missing
    hint: add `model:`
    "#);
    recipe(&place, "rerank:\n  model: ./reranker\n  candidates: 0\n");
    snap!(place.run(["scry", "x"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml:5:15: `candidates` is 0; it must be from 1 to 1000
    hint: write a whole number from 1 to 1000, or remove the key for 50
    "#);
    recipe(&place, "");
    place.run(["oxidize"]).success();
    snap!(place.run(["scry", "--rerank", "x"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml: --rerank: the recipe names no reranker
    hint: write `rerank: {model: NAME}` into it, with a cross-encoder's name, hub id or folder
    "#);
}

#[test]
fn it_is_shown_and_looked_through_as_what_it_is() {
    let place = project("");
    let shown = place.run(["model", "show", "--json", "./reranker"]).json();
    assert_eq!((&shown["reranker"], &shown["architecture"], &shown["max_tokens"]), (&json!("sigmoid"), &json!("bert"), &json!(40)));
    let text = place.run(["model", "show", "./reranker"]);
    assert!(text.success().text().contains("/reranker}` in a recipe") && !text.text().contains("pooling"), "{text}");
    let alone = place.run(["validate", "--json", "--model", "./reranker"]).json();
    assert_eq!((&alone["model"]["reranker"], &alone["faults"]), (&json!("sigmoid"), &json!([])));
    assert!(alone["weights"]["tensors"].as_u64().unwrap() > 10, "{alone}");
    let of_project = || place.run(["validate", "--json"]);
    assert!(!of_project().json()["warnings"].to_string().contains("reranker"), "{}", of_project());
    // A number of the classifier's that is none: the project's own look-through finds it.
    let path = place.path("reranker/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let ran = of_project();
    ran.exit(3);
    let told = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(told.contains("\"reranker\"") && told.contains("1 NaN"), "{ran}");
}

#[test]
fn a_set_is_measured_with_and_without() {
    let place = Place::new();
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval/beir");
    let (set, model) = (set.to_str().unwrap().to_owned(), folder("bert").to_str().unwrap().to_owned());
    let plain = place.run(["eval", "beir", "--mode", "lexical", &set, "--json", "--run", "plain.run"]).json();
    let run = ["eval", "beir", "--mode", "lexical", &set, "--rerank", &model, "--candidates", "3", "--json", "--run", "with.run"];
    let with = place.run(run).json();
    assert!(plain["rerank"].is_null());
    assert_eq!(plain["metrics"], with["metrics"], "what is without it stays as it is");
    let reranked = &with["rerank"];
    assert_eq!((&reranked["candidates"], &reranked["activation"]), (&json!(3), &json!("sigmoid")));
    let value = |figure: &Value| figure["value"].as_f64().unwrap();
    let difference = value(&reranked["metrics"]["ndcg_at_10"]) - value(&with["metrics"]["ndcg_at_10"]);
    assert!((difference - value(&reranked["gain"])).abs() < 1e-9);
    // The same documents in another order, those behind the candidates as they were, and scores that fall.
    let read = |name: &str| -> Vec<(String, String, f64)> {
        let text = String::from_utf8(place.read(name)).unwrap();
        let row = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[0].to_owned(), fields[2].to_owned(), fields[4].parse().unwrap())
        };
        text.lines().map(row).collect()
    };
    let (before, after) = (read("plain.run"), read("with.run"));
    assert_eq!(before.len(), after.len());
    let queries: std::collections::BTreeSet<&String> = before.iter().map(|row| &row.0).collect();
    for query in queries {
        let of = |rows: &'_ [(String, String, f64)]| rows.iter().filter(|row| row.0 == *query).cloned().collect::<Vec<_>>();
        let (before, after) = (of(&before), of(&after));
        assert!(after.windows(2).all(|pair| pair[0].2 > pair[1].2), "{after:?}");
        let documents = |rows: &[(String, String, f64)]| rows.iter().map(|row| row.1.clone()).collect::<Vec<_>>();
        assert_eq!(documents(&before)[3.min(before.len())..], documents(&after)[3.min(after.len())..]);
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(sorted(documents(&before)), sorted(documents(&after)));
    }
    let text = place.run(["eval", "beir", "--mode", "lexical", &set, "--rerank", &model]);
    assert!(text.success().text().contains("gain nDCG@10") && text.text().contains("with the first 50 reranked by "), "{text}");
    place.run(["eval", "beir", "--mode", "lexical", &set, "--rerank", &model, "--candidates", "0"]).exit(2);
}

/// A copy of a cross-encoder whose classifier gives two labels.
fn two_labels(from: &Path, to: &Path) {
    copy_folder(from, to);
    let path = to.join("model.safetensors");
    let old = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(old[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Map<String, Value> = serde_json::from_slice(&old[8..8 + length]).unwrap();
    let data = &old[8 + length..];
    let mut bytes = Vec::new();
    for (name, entry) in header.iter_mut().filter(|(name, _)| *name != "__metadata__") {
        let offset = |at: usize| entry["data_offsets"][at].as_u64().unwrap() as usize;
        let values = &data[offset(0)..offset(1)];
        let begin = bytes.len();
        bytes.extend_from_slice(values);
        if name.starts_with("classifier.") {
            bytes.extend_from_slice(values);
            entry["shape"][0] = json!(2);
        }
        entry["data_offsets"] = json!([begin, bytes.len()]);
    }
    let header = serde_json::to_vec(&header).unwrap();
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], &header, &bytes].concat()).unwrap();
}
