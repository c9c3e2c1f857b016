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
