//! The suite that every engine is put through: what [`EmbeddingEngine`] guarantees, checked against golden models.
//!
//! It panics at the first breach, with the model and what was expected: it is meant to be called from a backend's tests.

#![allow(clippy::disallowed_methods)] // It writes altered models into temporary folders.

pub mod cross_encoders;
mod heads;
pub mod hostile;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::BatchError;
use crate::{EmbeddingEngine, Embeddings, EngineError, Model, Result, TokenBatch};

/// Makes an engine of the backend under test.
pub type Load<'a> = &'a dyn Fn(Arc<Model>) -> Result<Box<dyn EmbeddingEngine>>;

/// The greatest difference in any component from a reference in single precision.
pub const GOLDEN_TOLERANCE: f32 = 1e-4;

/// The greatest difference in any component between a row in a batch and the same row alone.
pub const BATCH_TOLERANCE: f32 = 1e-5;

#[derive(Deserialize)]
struct Case {
    input_ids: Vec<u32>,
    embedding: Vec<f32>,
}

/// Runs every check. `golden` holds one folder a model, each with a `cases.json` of token ids and reference vectors, and
/// `bert-mean` among them with reference vectors for every pooling: `poolings.json`, and `left_out.json` after a prompt that is left out.
pub fn run(golden: &Path, load: Load<'_>) {
    for model in &models(golden) {
        let mut engine = engine(model, load);
        golden_vectors(model, engine.as_mut());
        rows_are_independent_and_in_order(model, engine.as_mut());
        bad_batches_are_refused(model, engine.as_mut());
        longest_row(model, engine.as_mut());
        empty_batch(model, engine.as_mut());
        // Static models hold formats besides, which they read as they are.
        if Model::open(model).expect("a model").architecture() != crate::architectures::STATIC {
            half_precision_weights(model, load);
            heads::one_token_alone_is_what_it_is_among_all(model, load);
        }
    }
    let bert = golden.join("bert-mean");
    poolings(&bert, load);
    heads::run(&bert, load);
    non_finite_weights_are_refused(&bert, load);
    a_new_architecture_needs_nothing_of_a_backend(&bert, load);
}

/// Runs the checks that a precision below single can pass: every golden vector and every pooling has at least the cosine `least` with its
/// reference in single precision, so has a row in a batch with the same row alone, and bad batches, empty ones and weights that are not
/// finite are refused as ever. A model that the precision does not fit (groups of weights that are no whole ones) is left out; six at
/// least must be in. Gives the least cosine found of all golden vectors.
pub fn run_to_cosine(golden: &Path, load: Load<'_>, least: f32) -> f32 {
    run_to_cosines(golden, load, &|_| least)
}

/// Like [`run_to_cosine`] with a bound for each model, by its folder's name.
pub fn run_to_cosines(golden: &Path, load: Load<'_>, least_of: &dyn Fn(&str) -> f32) -> f32 {
    let mut worst = f32::INFINITY;
    let all = models(golden);
    let mut run = 0;
    for model in &all {
        let opened = Model::open(model).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
        let mut engine = match load(Arc::new(opened)) {
            Ok(engine) => engine,
            Err(EngineError::Precision { .. }) => continue,
            Err(error) => panic!("{}: {error}", model.display()),
        };
        run += 1;
        let least = least_of(&model.file_name().unwrap_or_default().to_string_lossy());
        let vectors = all_cases(model, engine.as_mut());
        for (row, case) in cases(model).iter().enumerate() {
            let found = cosine(vectors.row(row), &case.embedding);
            assert!(found >= least, "{}: case {row} has the cosine {found} with its reference", model.display());
            let alone = engine.embed(&TokenBatch::from_rows([&case.input_ids])).expect("a row alone");
            let same = cosine(alone.row(0), vectors.row(row));
            assert!(same >= least, "{}: row {row} has the cosine {same} with itself alone", model.display());
            worst = worst.min(found);
        }
        bad_batches_are_refused(model, engine.as_mut());
        empty_batch(model, engine.as_mut());
    }
    assert!(run >= 6, "only {run} of {} models were run", all.len());
    let bert = golden.join("bert-mean");
    let least = least_of("bert-mean");
    for (mode, found, expected) in pooled(&bert, load) {
        for (row, vector) in expected.iter().enumerate() {
            let found = cosine(found.row(row), vector);
            assert!(found >= least, "pooling {mode}: row {row} has the cosine {found} with its reference");
        }
    }
    non_finite_weights_are_refused(&bert, load);
    worst
}

/// The cosine of two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different length");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
}

fn models(golden: &Path) -> Vec<PathBuf> {
    let mut models: Vec<PathBuf> = fs::read_dir(golden)
        .unwrap_or_else(|e| panic!("{}: {e}", golden.display()))
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.join("cases.json").exists())
        .collect();
    models.sort();
    assert!(!models.is_empty(), "{} holds no model", golden.display());
    models
}

fn engine(model: &Path, load: Load<'_>) -> Box<dyn EmbeddingEngine> {
    let opened = Model::open(model).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
    load(Arc::new(opened)).unwrap_or_else(|e| panic!("{}: {e}", model.display()))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn cases(model: &Path) -> Vec<Case> {
    let cases: Vec<Case> = read(&model.join("cases.json"));
    assert!(cases.len() > 1, "{}: too few cases", model.display());
    cases
}

fn all_cases(model: &Path, engine: &mut dyn EmbeddingEngine) -> Embeddings {
    let batch = TokenBatch::from_rows(cases(model).iter().map(|case| case.input_ids.clone()));
    engine.embed(&batch).unwrap_or_else(|e| panic!("{}: {e}", model.display()))
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different length");
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn golden_vectors(model: &Path, engine: &mut dyn EmbeddingEngine) {
    let vectors = all_cases(model, engine);
    let cases = cases(model);
    assert_eq!(vectors.rows(), cases.len());
    for (row, case) in cases.iter().enumerate() {
        let off = difference(vectors.row(row), &case.embedding);
        assert!(off <= GOLDEN_TOLERANCE, "{}: case {row} is off by {off:e}", model.display());
    }
}

fn rows_are_independent_and_in_order(model: &Path, engine: &mut dyn EmbeddingEngine) {
    let together = all_cases(model, engine);
    let cases = cases(model);
    for (row, case) in cases.iter().enumerate() {
        let alone = engine.embed(&TokenBatch::from_rows([&case.input_ids])).expect("a row alone");
        let off = difference(alone.row(0), together.row(row));
        assert!(off <= BATCH_TOLERANCE, "{}: row {row} differs from itself alone by {off:e}", model.display());
    }
    let reversed = TokenBatch::from_rows(cases.iter().rev().map(|case| &case.input_ids));
    let reversed = engine.embed(&reversed).expect("the rows reversed");
    for (row, vector) in reversed.iter().rev().enumerate() {
        let off = difference(vector, together.row(row));
        assert!(off <= BATCH_TOLERANCE, "{}: row {row} moves with the order, by {off:e}", model.display());
    }
}

fn bad_batches_are_refused(model: &Path, engine: &mut dyn EmbeddingEngine) {
    let before = all_cases(model, engine);
    let vocabulary = engine.info().vocabulary;
    let max = engine.info().max_tokens;
    let good = cases(model)[0].input_ids.clone();
    let refused = |engine: &mut dyn EmbeddingEngine, row: Vec<u32>| match engine.embed(&TokenBatch::from_rows([good.clone(), row])) {
        Err(EngineError::Batch(error)) => error,
        Err(other) => panic!("{}: {other:?} is not a refusal of the batch", model.display()),
        Ok(_) => panic!("{}: a bad batch was embedded", model.display()),
    };
    for id in [vocabulary as u32, u32::MAX] {
        assert_eq!(refused(engine, vec![1, id]), BatchError::OutOfVocabulary { row: 1, id, vocabulary });
    }
    assert_eq!(refused(engine, vec![]), BatchError::EmptyRow { row: 1 });
    assert_eq!(refused(engine, vec![1; max + 1]), BatchError::TooLong { row: 1, tokens: max + 1, max });
    assert_eq!(all_cases(model, engine), before, "{}: a refused batch left a trace", model.display());
}

fn longest_row(model: &Path, engine: &mut dyn EmbeddingEngine) {
    let info = engine.info().clone();
    let long: Vec<u32> = (0..info.max_tokens).map(|at| (at % info.vocabulary) as u32).collect();
    let short = &cases(model)[0].input_ids;
    let vectors = engine.embed(&TokenBatch::from_rows([&long, short])).expect("the longest row");
    let alone = engine.embed(&TokenBatch::from_rows([short])).expect("the short row");
    assert!(difference(vectors.row(1), alone.row(0)) <= BATCH_TOLERANCE, "{}: padding shows", model.display());
}

fn empty_batch(model: &Path, engine: &mut dyn EmbeddingEngine) {
    let vectors = engine.embed(&TokenBatch::new()).unwrap_or_else(|e| panic!("{}: an empty batch: {e}", model.display()));
    assert_eq!((vectors.rows(), vectors.dimensions()), (0, engine.info().dimensions));
}

/// A copy of a model whose single-precision weights are rewritten.
fn altered(model: &Path, alter: impl Fn(&str, f32) -> f32, to: &str, bytes: impl Fn(f32) -> Vec<u8>) -> tempfile::TempDir {
    let folder = copy(model);
    let mut files = vec![folder.path().join("model.safetensors")];
    files.extend(fs::read_dir(folder.path()).expect("the copy").filter_map(|entry| {
        let path = entry.expect("an entry").path().join("model.safetensors");
        path.exists().then_some(path)
    }));
    for file in files {
        let old = fs::read(&file).expect("weights");
        let header_length = u64::from_le_bytes(old[..8].try_into().expect("8 bytes")) as usize;
        let mut header: serde_json::Map<String, Value> = serde_json::from_slice(&old[8..8 + header_length]).expect("a header");
        let mut names: Vec<String> = header.keys().filter(|name| *name != "__metadata__").cloned().collect();
        names.sort();
        let mut data = Vec::new();
        for name in names {
            let entry = header.get_mut(&name).expect("the entry");
            let offset = |at: usize| 8 + header_length + entry["data_offsets"][at].as_u64().expect("an offset") as usize;
            let values = old[offset(0)..offset(1)].to_vec();
            let start = data.len();
            // Wider formats only: golden models are stored as f32, f16 or bf16.
            let floats: Vec<f32> = match entry["dtype"].as_str() {
                Some("F32") => values.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
                Some("F16") => values.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
                Some("BF16") => values.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
                other => panic!("{other:?} in a golden model"),
            };
            data.extend(floats.into_iter().flat_map(|value| bytes(alter(&name, value))));
            entry["dtype"] = json!(to);
            entry["data_offsets"] = json!([start, data.len()]);
        }
        let header = serde_json::to_vec(&header).expect("a header");
        let new = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
        fs::write(&file, new).expect("write the copy");
    }
    folder
}

fn copy(model: &Path) -> tempfile::TempDir {
    fn all(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                fs::create_dir(&target).expect("a folder");
                all(&entry.path(), &target);
            } else {
                fs::write(&target, fs::read(entry.path()).expect("a file")).expect("write");
            }
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    all(model, folder.path());
    folder
}

/// Weights stored as f16 or bf16 give the vectors of the same values stored as f32.
fn half_precision_weights(model: &Path, load: Load<'_>) {
    let rounded = |name: &str, value: f32| match name {
        "F16" => half::f16::from_f32(value).to_f32(),
        _ => half::bf16::from_f32(value).to_f32(),
    };
    let narrow = |name: &str, value: f32| match name {
        "F16" => half::f16::from_f32(value).to_le_bytes().to_vec(),
        _ => half::bf16::from_f32(value).to_le_bytes().to_vec(),
    };
    for name in ["F16", "BF16"] {
        let stored = altered(model, |_, value| value, name, |value| narrow(name, value));
        let wide = altered(model, |_, value| rounded(name, value), "F32", |value| value.to_le_bytes().to_vec());
        let stored = all_cases(model, engine(stored.path(), load).as_mut());
        let wide = all_cases(model, engine(wide.path(), load).as_mut());
        let off = difference(stored.values(), wide.values());
        assert!(off <= BATCH_TOLERANCE, "{}: weights stored as {name} are off by {off:e}", model.display());
    }
}

#[derive(Deserialize)]
struct PoolingCases {
    /// Not normalized, from the hidden states of `bert-mean` for its cases, by mode as newer pooling files name it.
    modes: std::collections::BTreeMap<String, Vec<Vec<f32>>>,
}

fn poolings(model: &Path, load: Load<'_>) {
    for (mode, found, expected) in pooled(model, load) {
        for (row, vector) in expected.iter().enumerate() {
            let off = difference(found.row(row), vector);
            assert!(off <= GOLDEN_TOLERANCE, "pooling {mode}: row {row} is off by {off:e}");
        }
    }
}

/// For every pooling: its name, the vectors found and the reference.
fn pooled(model: &Path, load: Load<'_>) -> Vec<(String, Embeddings, Vec<Vec<f32>>)> {
    let reference: PoolingCases = read(&model.join("poolings.json"));
    let expected = ["cls", "lasttoken", "max", "mean", "mean_sqrt_len_tokens", "weightedmean"];
    assert!(reference.modes.keys().eq(expected), "poolings.json must hold {expected:?}");
    let with = |(mode, vectors): (String, Vec<Vec<f32>>)| {
        let folder = copy(model);
        let config = json!({ "word_embedding_dimension": vectors[0].len(), "pooling_mode": mode });
        fs::write(folder.path().join("1_Pooling/config.json"), config.to_string()).expect("write the copy");
        let modules: Vec<Value> = read(&folder.path().join("modules.json"));
        fs::write(folder.path().join("modules.json"), json!(modules[..2]).to_string()).expect("write the copy");
        let found = all_cases(model, engine(folder.path(), load).as_mut());
        (mode, found, vectors)
    };
    reference.modes.into_iter().map(with).collect()
}

fn non_finite_weights_are_refused(model: &Path, load: Load<'_>) {
    for bad in [f32::NAN, f32::INFINITY] {
        let spoil = |name: &str, value: f32| if name.ends_with("encoder.layer.1.output.dense.bias") { bad } else { value };
        let folder = altered(model, spoil, "F32", |value| value.to_le_bytes().to_vec());
        let row = &cases(model)[0].input_ids;
        match engine(folder.path(), load).embed(&TokenBatch::from_rows([row])) {
            Err(EngineError::NonFinite { row: 0 }) => {}
            other => panic!("weights of {bad}: {other:?}"),
        }
    }
}

/// The suite's own architecture, which no backend knows, against the same arithmetic in double precision.
fn a_new_architecture_needs_nothing_of_a_backend(model: &Path, load: Load<'_>) {
    let folder = copy(model);
    let path = folder.path().join("config.json");
    let mut config: serde_json::Map<String, Value> = read(&path);
    config.insert("model_type".into(), json!(crate::architectures::FICTITIOUS));
    fs::write(&path, json!(config).to_string()).expect("write the copy");
    let epsilon = config["layer_norm_eps"].as_f64().expect("a number");
    let found = all_cases(model, engine(folder.path(), load).as_mut());

    let weights = crate::Weights::open(model).expect("weights");
    let of = |name: &str| -> Vec<f64> { weights.get(name).expect(name).f32().iter().map(|&value| f64::from(value)).collect() };
    let (table, norm, shift) =
        (of("embeddings.word_embeddings.weight"), of("embeddings.LayerNorm.weight"), of("embeddings.LayerNorm.bias"));
    let (dense, bias) = (of("encoder.layer.0.attention.output.dense.weight"), of("encoder.layer.0.attention.output.dense.bias"));
    let hidden = bias.len();
    for (row, case) in cases(model).iter().enumerate() {
        let mut sum = vec![0.0; hidden];
        for &id in &case.input_ids {
            let x = &table[id as usize * hidden..][..hidden];
            let line = |at: usize| bias[at] + dense[at * hidden..][..hidden].iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
            let y: Vec<f64> = (0..hidden).map(|at| x[at] + line(at) / (1.0 + (-line(at)).exp())).collect();
            let mean = y.iter().sum::<f64>() / hidden as f64;
            let deviation = (y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / hidden as f64 + epsilon).sqrt();
            for at in 0..hidden {
                sum[at] += (y[at] - mean) / deviation * norm[at] + shift[at];
            }
        }
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        let expected: Vec<f32> = sum.iter().map(|value| (value / length) as f32).collect();
        let off = difference(found.row(row), &expected);
        assert!(off <= GOLDEN_TOLERANCE, "the fictitious architecture: row {row} is off by {off:e}");
    }
}
