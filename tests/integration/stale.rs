//! What is derived and no longer fits is refused, with the command that mends it.

use crate::harness::{Place, tiny_model};

const INDEX: &str = ".patina/data/embeddings/model/base.usearch";
const MANIFEST: &str = ".patina/data/embeddings/model/base.json";

/// `patina oxidize` mends it, and embeds this many texts for it.
fn mended(place: &Place, embedded: u64) {
    let summary = place.run(["oxidize", "--json"]).json();
    assert_eq!(summary["embedded"], embedded, "{summary}");
    place.run(["scry", "cache"]).success();
    assert_eq!(place.run(["status", "--json"]).json()["index"]["state"], "current");
}

#[test]
fn another_model_in_the_recipe() {
    let place = Place::tiny_oxidized();
    tiny_model(&place.path("other"));
    place.write("other/1_Pooling/config.json", "{\"word_embedding_dimension\": 64, \"pooling_mode_cls_token\": true}");
    place.write(".gitignore", "/model/\n/other/\n");
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./other/\n");
    snap!(place.run(["scry", "cache"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml: the project is indexed with another model (model), and the recipe asks for ./other/
    hint: run `patina oxidize`
    "#);
    snap!(place.run(["status"]), @r#"
    exit 0
    --- stdout
    project      [FOLDER]
    model        ./other/, 64 dimensions
    runtime      ONNX Runtime (it runs on every platform)
    chunks       3 (0 session, 0 commit, 2 document, 1 code)
    code         1 symbol, 1 call
    scraped      [TIME]
    vectors      missing for 3 chunks: run `patina oxidize`
    index        missing (there is no index yet): run `patina oxidize`
    lockfile     does not hold (model.files.1_Pooling/config.json.size is not what the lockfile pins: expected 287, found 64 (and 4 fields more)): `patina oxidize` or `patina lock` writes it anew
    "#);
    place.run(["scry", "--mode", "lexical", "cache"]).success();
    mended(&place, 3);
    // The vectors of the first model are still there.
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\n");
    mended(&place, 0);
}

#[test]
fn other_weights_under_the_same_name() {
    let place = Place::tiny_oxidized();
    let path = "model/model.safetensors";
    let mut bytes = place.read(path);
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    place.write(path, bytes);
    let ran = place.run(["scry", "cache"]);
    assert!(ran.err.contains("the index was made by another model or runtime"), "{ran}");
    assert!(ran.exit(3).err.contains("hint: run `patina oxidize`"), "{ran}");
    mended(&place, 3);
}

#[test]
fn a_prompt_changes_the_vectors() {
    let place = Place::tiny_oxidized();
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\nprompts:\n  document: \"passage: \"\n");
    place.run(["scry", "cache"]).exit(3);
    mended(&place, 3);
}

#[test]
fn scraped_and_not_oxidized() {
    let place = Place::tiny_oxidized();
    place.write("new.md", "# New\n\nA document that came later.\n");
    place.run(["scrape"]).success();
    snap!(place.run(["scry", "cache"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/model/base.usearch: the index is older than what was scraped
    hint: run `patina oxidize`
    "#);
    snap!(place.run(["status"]), @r#"
    exit 0
    --- stdout
    project      [FOLDER]
    model        ./model/, 64 dimensions
    runtime      ONNX Runtime (it runs on every platform)
    chunks       4 (0 session, 0 commit, 3 document, 1 code)
    code         1 symbol, 1 call
    scraped      [TIME]
    vectors      missing for 1 chunk: run `patina oxidize`
    index        stale (the index is older than what was scraped): run `patina oxidize`
    lockfile     does not hold (source.sha256 is not what the lockfile pins: expected [SHA-256], found [SHA-256] (and one field more)): `patina oxidize` or `patina lock` writes it anew
    "#);
    mended(&place, 1);
}

#[test]
fn one_byte_of_the_index_is_another() {
    let place = Place::tiny_oxidized();
    place.tamper(INDEX);
    snap!(place.run(["scry", "cache"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/model/base.usearch: the index has SHA-256 [SHA-256], its manifest says [SHA-256]
    hint: run `patina oxidize`
    "#);
    mended(&place, 0);
}

#[test]
fn the_index_is_cut_short() {
    let place = Place::tiny_oxidized();
    let bytes = place.read(INDEX);
    for length in [0, 1, bytes.len() - 1] {
        place.write(INDEX, &bytes[..length]);
        place.run(["scry", "cache"]).exit(3);
    }
    mended(&place, 0);
}

#[test]
fn the_index_is_gone() {
    let place = Place::tiny_oxidized();
    std::fs::remove_file(place.path(INDEX)).unwrap();
    snap!(place.run(["scry", "cache"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/model/base.usearch: the index is gone and only its manifest is here
    hint: run `patina oxidize`
    "#);
    mended(&place, 0);
    std::fs::remove_file(place.path(MANIFEST)).unwrap();
    snap!(place.run(["scry", "cache"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/model/base.usearch: the index has no manifest: its making was interrupted
    hint: run `patina oxidize`
    "#);
    mended(&place, 0);
    std::fs::remove_dir_all(place.path(".patina/data/embeddings")).unwrap();
    snap!(place.run(["scry", "cache"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/model/base.usearch: there is no index yet
    hint: run `patina oxidize`
    "#);
    mended(&place, 0);
}

#[test]
fn a_manifest_that_is_none() {
    let place = Place::tiny_oxidized();
    for text in ["", "{", "[]", "{\"version\": 1}", "{\"version\": 99}"] {
        place.write(MANIFEST, text);
        let ran = place.run(["scry", "cache"]);
        assert!(ran.exit(3).err.contains("hint: run `patina oxidize`"), "{text}: {ran}");
    }
    mended(&place, 0);
}

#[test]
fn a_database_that_is_gone_is_made_again() {
    let place = Place::tiny_oxidized();
    for name in ["patina.db", "patina.db-wal", "patina.db-shm"] {
        let _ = std::fs::remove_file(place.path(".patina/data").join(name));
    }
    place.run(["scry", "cache"]).exit(2);
    place.run(["scrape"]).success();
    mended(&place, 3);
}

#[test]
fn an_index_in_fewer_bits_gives_the_same_scores_and_another_format_is_made_anew() {
    let place = Place::tiny_oxidized();
    let ask = || place.run(["scry", "--json", "--mode", "vector", "the cache of models"]).json()["hits"].clone();
    let score = |hits: &serde_json::Value, at: usize| hits[at]["score"].as_f64().unwrap();
    let exact = ask();
    let recipe = String::from_utf8(place.read(".patina/oxidize.yaml")).unwrap();
    for scalar in ["f16", "i8", "b1"] {
        place.write(".patina/oxidize.yaml", format!("{recipe}index: {{scalar: {scalar}}}\n"));
        let ran = place.run(["scry", "--mode", "vector", "the cache of models"]);
        assert!(ran.exit(3).err.contains(&format!("expected {scalar} by")), "{ran}");
        assert_eq!(place.run(["oxidize", "--json"]).json()["index"], "built");
        let found = ask();
        assert_eq!(found.as_array().unwrap().len(), exact.as_array().unwrap().len());
        for at in 0..found.as_array().unwrap().len() {
            assert_eq!(found[at]["id"], exact[at]["id"], "{scalar}");
            assert!((score(&found, at) - score(&exact, at)).abs() < 1e-6, "{scalar}");
        }
        place.run(["validate"]).success();
        place.run(["lock", "--check"]).success();
        assert_eq!(place.run(["oxidize", "--json"]).json()["index"], "up to date");
        // One file more costs its own chunks.
        place.write("more.md", format!("# More\n\nOne text more, for {scalar}.\n"));
        place.run(["scrape"]).success();
        assert_eq!(place.run(["oxidize", "--json"]).json()["embedded"], 1);
        std::fs::remove_file(place.path("more.md")).unwrap();
        place.run(["scrape"]).success();
        assert_eq!(place.run(["oxidize", "--json"]).json()["embedded"], 0);
    }
}
