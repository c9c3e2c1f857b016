//! One line of the recipe changes engine, prompts, pooling, dimensions and folder; and the way back costs nothing.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Place, byte_model, furthest, vectors};

/// A model of another family each, what its own files say of prompts, what the recipe says beside it, and the vectors' numbers.
const MODELS: [(&str, &str, &str, usize); 8] = [
    ("bert-mean", "{}", "", 64),
    ("bert-cls-bge", r#"{"prompts": {"query": "Find: "}}"#, "", 64),
    ("distilbert-mean", r#"{"prompts": {"query": "", "document": ""}}"#, "dimensions: 24\n", 24),
    ("xlm-roberta-mean-e5", r#"{"prompts": {"query": "query: ", "passage": "passage: "}}"#, "max_tokens: 64\n", 64),
    ("modernbert-cls-gte", "{}", "", 64),
    ("qwen3-lasttoken", r#"{"prompts": {"query": "Instruct: find\nQuery:"}}"#, "dimensions: 32\n", 32),
    ("gemma3-mean-dense-embeddinggemma", r#"{"prompts": {"query": "query: ", "document": "title: none | text: "}}"#, "", 48),
    ("mpnet-mean", "{}", "", 64),
];

fn project() -> Place {
    let place = Place::tiny_project();
    place.write(".gitignore", "/model/\n/models/\n");
    for (name, prompts, ..) in MODELS {
        byte_model(name, &place.path(&format!("models/{name}")));
        place.write(&format!("models/{name}/config_sentence_transformers.json"), prompts);
    }
    place.run(["scrape"]).success();
    place
}

/// The recipe's one line, and what belongs to it.
fn choose(place: &Place, (name, _, more, _): (&str, &str, &str, usize)) {
    place.write(".patina/oxidize.yaml", format!("version: 1\nembedding_model: ./models/{name}/\n{more}"));
}

fn index(name: &str) -> String {
    format!(".patina/data/embeddings/models-{name}/base.usearch")
}

fn oxidize(place: &Place) -> Value {
    place.run(["oxidize", "--json"]).json()
}

/// The vector of a text as the program embeds it for the recipe's model.
fn embedded(place: &Place, kind: &str, line: &Value) -> Vec<f32> {
    let ran = place.run_with(["embed", "--kind", kind], &[], format!("{line}\n"));
    vectors(&ran.success().text()).remove(0)
}

/// The byte tokenizer's ids of a text.
fn ids(text: &str) -> Value {
    let ids: Vec<u32> = std::iter::once(2).chain(text.bytes().map(|byte| u32::from(byte) + 5)).collect();
    json!({ "input_ids": ids })
}

#[test]
fn eight_families_by_one_line_each_and_back() {
    let place = project();
    let mut fingerprints = BTreeSet::new();
    let mut first = Vec::new();
    for (at, model) in MODELS.into_iter().enumerate() {
        let (name, prompts, _, dimensions) = model;
        choose(&place, model);
        // Nothing is searched that another model made.
        let ran = place.run(["scry", "cache"]);
        match at {
            0 => assert!(ran.exit(2).err.contains("there is no index yet"), "{ran}"),
            _ => assert!(ran.exit(3).err.contains("the project is indexed with another model (models-"), "{ran}"),
        }
        let summary = oxidize(&place);
        assert_eq!((&summary["embedded"], &summary["dimensions"], &summary["index"]), (&3.into(), &dimensions.into(), &"built".into()));
        assert!(fingerprints.insert(summary["fingerprint"].as_str().unwrap().to_owned()), "{name}: {summary}");
        let hits = place.run(["scry", "--json", "--mode", "vector", "what keeps every model?"]).json();
        assert_eq!(hits["hits"].as_array().unwrap().len(), 3, "{name}");
        // Its own prompts, on the side that they are for.
        let prompts: Value = serde_json::from_str(prompts).unwrap();
        for (kind, keys) in [("query", ["query", "query"]), ("document", ["passage", "document"])] {
            let prompt = keys.iter().find_map(|key| prompts["prompts"][key].as_str()).unwrap_or_default();
            let (text, expected) =
                (embedded(&place, kind, &json!({ "text": "cache" })), embedded(&place, kind, &ids(&format!("{prompt}cache"))));
            assert_eq!(text.len(), dimensions, "{name}");
            assert!(furthest(&text, &expected) < 1e-6, "{name} {kind}");
        }
        first.push(place.read(&index(name)));
    }
    // Back through all of them: no text is embedded again and no index is made again.
    for (model, bytes) in MODELS.into_iter().zip(&first).rev() {
        choose(&place, model);
        let summary = oxidize(&place);
        assert_eq!((&summary["embedded"], &summary["index"]), (&0.into(), &"up to date".into()), "{}: {summary}", model.0);
        assert!(fingerprints.contains(summary["fingerprint"].as_str().unwrap()));
        assert!(place.read(&index(model.0)) == *bytes, "{}: the index is another", model.0);
        place.run(["scry", "cache"]).success();
        assert_eq!(place.run(["status", "--json"]).json()["index"]["state"], "current");
    }
}

#[test]
fn dimensions_and_pooling_change_the_vectors_and_not_the_folder() {
    let place = project();
    let recipe = |more: &str| place.write(".patina/oxidize.yaml", format!("version: 1\nembedding_model: ./models/bert-mean/\n{more}"));
    let mut fingerprints = BTreeSet::new();
    for (more, dimensions) in [("", 64), ("dimensions: 16\n", 16), ("pooling: cls\n", 64), ("pooling: cls\ndimensions: 16\n", 16)] {
        recipe(more);
        if !more.is_empty() {
            let ran = place.run(["scry", "cache"]);
            assert!(ran.exit(3).err.contains("hint: run `patina oxidize`"), "{more}: {ran}");
        }
        let summary = oxidize(&place);
        assert_eq!((&summary["embedded"], &summary["dimensions"]), (&3.into(), &dimensions.into()), "{more}");
        assert!(fingerprints.insert(summary["fingerprint"].as_str().unwrap().to_owned()), "{more}");
        place.run(["scry", "cache"]).success();
    }
    // All dimensions are no change: the first vectors are found again.
    recipe("dimensions: 64\n");
    let summary = oxidize(&place);
    assert_eq!(summary["embedded"], 0, "{summary}");
    assert!(fingerprints.contains(summary["fingerprint"].as_str().unwrap()));
}
