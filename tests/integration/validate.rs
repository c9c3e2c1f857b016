//! `patina validate`: what is damaged is a fault and ends with 3, what is suspicious is told.

use serde_json::{Value, json};

use crate::harness::{Place, Ran, copy_model, golden, tiny_model};

const WEIGHTS: &str = "model/model.safetensors";
const TABLE: &str = "embeddings.word_embeddings.weight";

/// Changes the numbers of a tensor of a model in single precision; `change` gets each with its place.
fn change(place: &Place, tensor: &str, change: impl Fn(usize, f32) -> f32) {
    let mut bytes = place.read(WEIGHTS);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert_eq!(header[tensor]["dtype"], "F32");
    let offset = |at: usize| 8 + length + header[tensor]["data_offsets"][at].as_u64().unwrap() as usize;
    for (at, number) in bytes[offset(0)..offset(1)].chunks_exact_mut(4).enumerate() {
        let new = change(at, f32::from_le_bytes(number.try_into().unwrap()));
        number.copy_from_slice(&new.to_le_bytes());
    }
    place.write(WEIGHTS, bytes);
}

fn model() -> Place {
    let place = Place::new();
    tiny_model(&place.path("model"));
    place
}

fn report(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"))
}

#[test]
fn a_sound_project() {
    let place = Place::tiny_oxidized();
    snap!(place.run(["validate"]), @r#"
    exit 0
    --- stdout
    project      [FOLDER]
    model        model, 64 dimensions, 5 files
    identity     [SHA-256]
    weights      37 tensors of 94,592 numbers, all finite
    table        embeddings.word_embeddings.weight: 300 rows, 0 dead
    vectors      3, length 1.0000 to 1.0000, median 1.0000
    no faults, nothing suspicious
    "#);
    let report = place.run(["validate", "--json"]).json();
    assert_eq!((&report["faults"], &report["warnings"], &report["vectors"]["missing"]), (&json!([]), &json!([]), &json!(0)));
    assert_eq!(report["weights"]["tables"][0]["rows"], 300);
}

/// The bytes of all safetensors in a folder and below it.
fn weights_below(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.extension() {
            _ if path.is_dir() => weights_below(&path),
            Some(end) if end == "safetensors" => path.metadata().unwrap().len(),
            _ => 0,
        })
        .sum()
}

#[test]
fn every_golden_model_is_sound() {
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let folder = golden(&entry.unwrap().file_name().into_string().unwrap());
        if !std::path::Path::new(&folder).join("cases.json").exists() {
            continue; // How they were made.
        }
        let report = Place::new().run(["validate", "--model", &folder, "--json"]).json();
        assert_eq!(report["faults"], json!([]), "{folder}");
        // The numbers that are counted are those of the files, which are little else.
        let bytes = report["weights"]["bytes"].as_u64().unwrap();
        assert!(bytes > weights_below(folder.as_ref()) / 2 && report["weights"]["tensors"].as_u64().unwrap() > 0, "{folder}: {report}");
    }
}

#[test]
fn a_model_without_a_project() {
    let place = Place::new();
    let report = place.run(["validate", "--model", "all-MiniLM-L6-v2", "--json"]).json();
    assert_eq!((&report["faults"], &report["project"], &report["vectors"]), (&json!([]), &Value::Null, &Value::Null));
    let table = &report["weights"]["tables"][0];
    assert_eq!((&table["name"], &table["rows"]), (&json!("embeddings.word_embeddings.weight"), &json!(30522)));
    assert_eq!(report["model"]["dimensions"], 384);
    place.run(["validate", "--model", "./nowhere"]).exit(2);
    place.run(["validate"]).exit(2);
}

#[test]
fn numbers_that_are_not_finite() {
    let place = model();
    change(&place, "encoder.layer.1.output.dense.weight", |at, value| match at {
        5 | 4000 => f32::NAN,
        77 => f32::NEG_INFINITY,
        _ => value,
    });
    change(&place, "encoder.layer.0.output.dense.bias", |at, value| if at == 63 { f32::INFINITY } else { value });
    snap!(place.run(["validate", "--model", "./model"]), @r#"
    exit 3
    --- stdout
    model        model, 64 dimensions, 5 files
    identity     [SHA-256]
    weights      37 tensors of 94,592 numbers, 4 not finite
    table        embeddings.word_embeddings.weight: 300 rows, 0 dead
    fault: weights: the tensor encoder.layer.0.output.dense.bias holds 0 NaN and 1 infinite values
    fault: weights: the tensor encoder.layer.1.output.dense.weight holds 2 NaN and 1 infinite values
    --- stderr
    error: 2 faults found; the first: the tensor encoder.layer.0.output.dense.bias holds 0 NaN and 1 infinite values (and 1 more)
    hint: the report names them all
    "#);
    let ran = place.run(["validate", "--model", "./model", "--json"]);
    let found = &report(ran.exit(3))["weights"]["not_finite"][1];
    assert_eq!((&found["nan"], &found["infinite"]), (&json!(2), &json!(1)));
    assert_eq!(ran.json_error()["kind"], "corrupt");
}

#[test]
fn dead_rows_of_the_embedding_table() {
    let place = model();
    // Minus zero is zero; the padding token, 0, is never read.
    change(&place, TABLE, |at, value| match at / 64 {
        0 | 17 | 299 => [0.0, -0.0][at % 2],
        _ => value,
    });
    let ran = place.run(["validate", "--model", "./model"]);
    assert!(
        ran.success()
            .text()
            .contains("warning: weights: the embedding table embeddings.word_embeddings.weight has 2 rows of zeros: 17, 299\n"),
        "{ran}"
    );
    let report = place.run(["validate", "--model", "./model", "--json"]).json();
    assert_eq!(report["weights"]["tables"][0]["first_dead"], json!([0, 17, 299]));
    // Zeros in another tensor are no dead rows.
    let place = model();
    change(&place, "encoder.layer.0.output.dense.weight", |_, _| 0.0);
    assert!(place.run(["validate", "--model", "./model"]).success().text().contains("nothing suspicious"));
}

#[test]
fn different_texts_with_the_same_vector() {
    let place = Place::tiny_project();
    // The model reads 128 bytes: what differs later makes no difference.
    let same =
        "Both begin alike and go on alike for as long as the model reads them, which is not for very long, as it is a tiny one. ".repeat(2);
    place.write("one.md", format!("# Alike\n\n{same}One.\n"));
    place.write("two.md", format!("# Alike\n\n{same}Two.\n"));
    // The same text twice has the same vector by right.
    place.write("copy/one.md", format!("# Alike\n\n{same}One.\n"));
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    let ran = place.run(["validate"]);
    assert!(ran.success().text().contains("warning: vectors: 2 texts that differ share 1 vector, such as "), "{ran}");
    let report = place.run(["validate", "--json"]).json();
    assert_eq!((&report["vectors"]["duplicates"], &report["vectors"]["duplicate_groups"]), (&json!(2), &json!(1)));
}

#[test]
fn what_is_behind_is_a_warning_and_what_is_damaged_a_fault() {
    let place = Place::tiny_project();
    let text = place.run(["validate"]).success().text();
    assert!(text.contains("warning: vectors: ") && text.contains("nothing has been scraped here yet"), "{text}");
    place.run(["scrape"]).success();
    let text = place.run(["validate"]).success().text();
    assert!(text.contains("3 chunks have no vector yet") && text.contains("there is no index yet"), "{text}");
    place.run(["oxidize"]).success();
    place.write("new.md", "# New\n\nA document that came later.\n");
    place.run(["scrape"]).success();
    let text = place.run(["validate"]).success().text();
    assert!(text.contains("1 chunk has no vector yet") && text.contains("the index is older than what was scraped"), "{text}");
    assert!(text.contains("warning: lockfile: source.sha256 is not what the lockfile pins"), "{text}");
    place.run(["oxidize"]).success();
    place.tamper(".patina/data/embeddings/model/base.usearch");
    let ran = place.run(["validate"]);
    assert!(ran.exit(3).text().contains("fault: index: ") && ran.err.contains("1 fault found"), "{ran}");
    place.run(["oxidize"]).success();
    place.write(".patina/oxidize.lock", "{");
    assert!(place.run(["validate"]).exit(3).text().contains("fault: lockfile: "));
}

#[test]
fn a_model_that_is_not_the_pinned_one() {
    let place = Place::tiny_oxidized();
    change(&place, TABLE, |at, value| if at == 1000 { value + 1.0 } else { value });
    let ran = place.run(["validate"]);
    assert!(ran.exit(3).text().contains("fault: lockfile: model.files.model.safetensors.sha256 is not what the lockfile pins"), "{ran}");
}

#[test]
fn an_imported_model_that_changed() {
    let place = model();
    let cache = [("PATINA_CACHE_DIR", "cache")];
    place.run_with(["model", "import", "./model", "--name", "mine"], &cache, "").success();
    place.run_with(["validate", "--model", "mine"], &cache, "").success();
    place.tamper("cache/models/mine/model.safetensors");
    let ran = place.run_with(["validate", "--model", "mine"], &cache, "");
    assert!(ran.exit(3).text().contains("fault: model: ") && ran.text().contains("its SHA-256 must be"), "{ran}");
}

#[test]
fn hostile_weights_are_refused_without_a_panic() {
    for length in [0, 7, 8, 100, 5000] {
        let place = model();
        let bytes = place.read(WEIGHTS);
        place.write(WEIGHTS, &bytes[..length]);
        let ran = place.run(["validate", "--model", "./model"]);
        assert!(ran.exit(3).text().contains("fault: model: ") && !ran.err.contains("panicked"), "{length}: {ran}");
    }
    let place = Place::new();
    copy_model("bert-mean", &place.path("model"));
    let mut bytes = place.read(WEIGHTS);
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    place.write(WEIGHTS, bytes);
    place.run(["validate", "--model", "./model"]).exit(3);
}

/// Without modules.json the recipe says how the model pools, here too.
#[test]
fn a_model_whose_pooling_the_recipe_says() {
    let place = Place::tiny_project();
    std::fs::remove_file(place.path("model/modules.json")).unwrap();
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\npooling: mean\n");
    for command in ["scrape", "oxidize", "validate"] {
        place.run([command]).success();
    }
}

#[test]
fn a_recipe_that_does_not_fit_the_model() {
    let place = Place::tiny_project();
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\nepochz: 3\n");
    assert!(place.run(["validate"]).exit(2).err.contains("oxidize.yaml:3:1: unknown key `epochz`"));
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\nprojections:\n  semantic:\n    layers: [768, 1024, 256]\n");
    assert!(place.run(["validate"]).exit(2).err.contains("the first layer has 768 numbers; the model's vectors have 64"));
}
