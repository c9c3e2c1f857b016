//! What follows the encoder: several poolings at once, prompts that are left out, cuts, and the rarer modules.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{BATCH_TOLERANCE, GOLDEN_TOLERANCE, Load, all_cases, cases, copy, difference, engine, read};
use crate::error::BatchError;
use crate::{EngineError, Model, ModelOptions, Pooling, TokenBatch};

pub(super) fn run(model: &Path, load: Load<'_>) {
    several_poolings_stand_side_by_side(model, load);
    a_prompt_is_left_out(model, load);
    fewer_dimensions(model, load);
    another_pooling(model, load);
    layer_norm_and_residual(model, load);
}

/// A copy of a model with other modules after the encoder and other files in their folders.
fn with_modules(model: &Path, modules: &[(&str, &str)], files: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = copy(model);
    let entry = |(at, (kind, path)): (usize, &(&str, &str))| json!({ "idx": at, "name": at.to_string(), "path": path, "type": kind });
    let modules: Vec<Value> = [("sentence_transformers.models.Transformer", "")].iter().chain(modules).enumerate().map(entry).collect();
    fs::write(folder.path().join("modules.json"), json!(modules).to_string()).expect("write the copy");
    for (name, value) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, value.to_string()).expect("write the copy");
    }
    folder
}

/// The class names of release 6, which moved them.
const POOLING: (&str, &str) = ("sentence_transformers.sentence_transformer.modules.pooling.Pooling", "1_Pooling");
const NORMALIZE: (&str, &str) = ("sentence_transformers.base.modules.normalize.Normalize", "2_Normalize");

fn modes(model: &Path) -> BTreeMap<String, Vec<Vec<f32>>> {
    #[derive(Deserialize)]
    struct Reference {
        modes: BTreeMap<String, Vec<Vec<f32>>>,
    }
    read::<Reference>(&model.join("poolings.json")).modes
}

fn several_poolings_stand_side_by_side(model: &Path, load: Load<'_>) {
    let one = modes(model);
    let listed = ["weightedmean", "cls", "mean", "mean_sqrt_len_tokens"];
    let flags = json!({ "embedding_dimension": 64, "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true, "pooling_mode_cls_token": true });
    for (config, order) in [
        (json!({ "embedding_dimension": 64, "pooling_mode": listed }), &listed[..]),
        // Flags have no order of their own.
        (flags, &["cls", "max", "mean"]),
    ] {
        let folder = with_modules(model, &[POOLING], &[("1_Pooling/config.json", config)]);
        let mut engine = engine(folder.path(), load);
        assert_eq!(engine.info().dimensions, 64 * order.len());
        let found = all_cases(model, engine.as_mut());
        for (row, vector) in found.iter().enumerate() {
            let expected: Vec<f32> = order.iter().flat_map(|mode| one[*mode][row].clone()).collect();
            let off = difference(vector, &expected);
            assert!(off <= GOLDEN_TOLERANCE, "poolings {order:?}: row {row} is off by {off:e}");
        }
    }
}

/// A pooling of one token alone, for which the last layer computes nothing else, gives what it gives beside another, for which the whole
/// layer is computed.
pub(super) fn one_token_alone_is_what_it_is_among_all(model: &Path, load: Load<'_>) {
    let with = |modes: &[&str]| {
        let config = json!({ "embedding_dimension": 64, "pooling_mode": modes, "include_prompt": false });
        with_modules(model, &[POOLING], &[("1_Pooling/config.json", config)])
    };
    let mut batch = TokenBatch::new();
    for (at, case) in cases(model).iter().enumerate() {
        // Every second row has a prompt that is left out: its first token is none of its first.
        batch.push_after(&case.input_ids, (at % 2).min(case.input_ids.len() - 1));
    }
    let both = engine(with(&["cls", "lasttoken"]).path(), load).embed(&batch).expect("both tokens");
    for (mode, at) in [("cls", 0), ("lasttoken", 1)] {
        let alone = engine(with(&[mode]).path(), load).embed(&batch).expect("one token");
        for row in 0..batch.rows() {
            let found = alone.row(row);
            let expected = &both.row(row)[at * found.len()..][..found.len()];
            let greatest = expected.iter().fold(1.0f32, |greatest, value| greatest.max(value.abs()));
            let off = difference(found, expected);
            assert!(off <= BATCH_TOLERANCE * greatest, "{}: {mode} alone: row {row} is off by {off:e}", model.display());
        }
    }
}

#[derive(Deserialize)]
struct LeftOut {
    left_out: usize,
    input_ids: Vec<Vec<u32>>,
    modes: BTreeMap<String, Vec<Vec<f32>>>,
}

fn a_prompt_is_left_out(model: &Path, load: Load<'_>) {
    let reference: LeftOut = read(&model.join("left_out.json"));
    let whole = modes(model);
    let first = cases(model)[0].input_ids.clone();
    assert_eq!(reference.modes.len(), Pooling::ALL.len());
    for (mode, expected) in &reference.modes {
        let config = json!({ "embedding_dimension": 64, "pooling_mode": mode, "include_prompt": false });
        let folder = with_modules(model, &[POOLING], &[("1_Pooling/config.json", config)]);
        let mut engine = engine(folder.path(), load);
        // A row with its whole self in the pooling stands between those with a prompt.
        let mut batch = TokenBatch::new();
        batch.push(&first);
        for row in &reference.input_ids {
            batch.push_after(row, reference.left_out);
        }
        let found = engine.embed(&batch).expect("rows with prompts");
        for (row, expected) in std::iter::once(&whole[mode][0]).chain(expected).enumerate() {
            let off = difference(found.row(row), expected);
            assert!(off <= GOLDEN_TOLERANCE, "pooling {mode} after a prompt: row {row} is off by {off:e}");
        }
        let mut nothing = TokenBatch::new();
        nothing.push_after(&first, first.len());
        match engine.embed(&nothing) {
            Err(EngineError::Batch(BatchError::NothingPooled { row: 0, tokens })) => assert_eq!(tokens, first.len()),
            other => panic!("a row of nothing but a prompt: {other:?}"),
        }
    }
}

fn fewer_dimensions(model: &Path, load: Load<'_>) {
    let open = |folder: &Path, dimensions| Model::open_with(folder, &ModelOptions { dimensions: Some(dimensions), pooling: None });
    let expected = |length: usize| {
        let cut = move |whole: Vec<f32>| {
            let norm = whole[..length].iter().map(|x| x * x).sum::<f32>().sqrt();
            whole[..length].iter().map(|x| x / norm).collect::<Vec<f32>>()
        };
        cases(model).into_iter().map(move |case| cut(case.embedding))
    };
    for length in [8, 63, 64] {
        let opened = open(model, length).expect("fewer dimensions");
        assert_eq!((opened.dimensions(), opened.head().whole(), opened.head().normalizes()), (length, 64, true));
        let mut engine = load(Arc::new(opened)).expect("an engine");
        assert_eq!(engine.info().dimensions, length);
        let found = all_cases(model, engine.as_mut());
        for (row, expected) in expected(length).enumerate() {
            let off = difference(found.row(row), &expected);
            assert!(off <= GOLDEN_TOLERANCE, "{length} dimensions: row {row} is off by {off:e}");
        }
    }
    for wrong in [0, 65] {
        let error = open(model, wrong).err().expect("no such dimensions");
        assert!(error.to_string().contains(&format!("cannot be cut to {wrong} numbers: the model's have 64")), "{error}");
    }
    // The model's own files may ask for it; more than there are means all.
    for (asked, length) in [(16, 16), (1000, 64)] {
        let folder = copy(model);
        fs::write(folder.path().join("config_sentence_transformers.json"), json!({ "truncate_dim": asked }).to_string()).expect("write");
        let mut engine = engine(folder.path(), load);
        let found = all_cases(model, engine.as_mut());
        for (row, expected) in expected(length).enumerate() {
            assert!(difference(found.row(row), &expected) <= GOLDEN_TOLERANCE, "truncate_dim {asked}: row {row}");
        }
    }
    // Vectors that are not normalized are cut and nothing else.
    let config = json!({ "word_embedding_dimension": 64, "pooling_mode": "mean" });
    let folder = with_modules(model, &[POOLING], &[("1_Pooling/config.json", config)]);
    let mut engine = load(Arc::new(open(folder.path(), 10).expect("fewer dimensions"))).expect("an engine");
    let found = all_cases(model, engine.as_mut());
    for (row, whole) in modes(model)["mean"].iter().enumerate() {
        assert!(difference(found.row(row), &whole[..10]) <= GOLDEN_TOLERANCE, "a cut without normalization: row {row}");
    }
}

fn another_pooling(model: &Path, load: Load<'_>) {
    let with = |folder: &Path, pooling| Model::open_with(folder, &ModelOptions { pooling, dimensions: None });
    let bare = copy(model);
    fs::remove_file(bare.path().join("modules.json")).expect("remove");
    let error = with(bare.path(), None).err().expect("no pooling is guessed");
    assert!(error.hint().is_some_and(|hint| hint.contains("pooling: mean")), "{error:?}");
    for mode in [Pooling::Cls, Pooling::Mean] {
        // Without modules.json nothing is normalized.
        let mut engine = load(Arc::new(with(bare.path(), Some(mode)).expect("a pooling"))).expect("an engine");
        let found = all_cases(model, engine.as_mut());
        for (row, expected) in modes(model)[mode.name()].iter().enumerate() {
            assert!(difference(found.row(row), expected) <= GOLDEN_TOLERANCE, "{}: row {row}", mode.name());
        }
    }
    // The width that the file notes is not the model's, as in a published one: nothing is computed with it.
    let noted = copy(model);
    let config = json!({ "word_embedding_dimension": 32, "pooling_mode": "mean" });
    fs::write(noted.path().join("1_Pooling/config.json"), config.to_string()).expect("write the copy");
    assert_eq!(with(noted.path(), None).expect("a note").dimensions(), 64);
    let opened = with(model, Some(Pooling::Cls)).expect("another pooling");
    assert_eq!((opened.head().pooling(), opened.head().normalizes()), (&[Pooling::Cls][..], true));
}

/// A layer norm and dense heads with residuals, against the same arithmetic in double precision.
fn layer_norm_and_residual(model: &Path, load: Load<'_>) {
    const NORM: (&str, &str) = ("sentence_transformers.models.LayerNorm", "2_LayerNorm");
    const SAME: (&str, &str) = ("sentence_transformers.base.modules.dense.Dense", "3_Dense");
    const NARROW: (&str, &str) = ("sentence_transformers.models.Dense.Dense", "4_Dense");
    const DROPOUT: (&str, &str) = ("sentence_transformers.models.Dropout", "5_Dropout");
    let dense = |output: usize, activation: &str| {
        json!({ "in_features": 64, "out_features": output, "bias": false, "use_residual": true,
                "activation_function": format!("torch.nn.modules.activation.{activation}"), "module_input_name": "sentence_embedding" })
    };
    let files = [
        ("1_Pooling/config.json", json!({ "embedding_dimension": 64, "pooling_mode": "mean" })),
        ("2_LayerNorm/config.json", json!({ "dimension": 64 })),
        ("3_Dense/config.json", dense(64, "ReLU")),
        ("4_Dense/config.json", dense(5, "Tanh")),
    ];
    let folder = with_modules(model, &[POOLING, NORM, SAME, NARROW, DROPOUT, NORMALIZE], &files);
    let values = |seed: usize, n: usize| -> Vec<f32> { (0..n).map(|at| ((at * 7 + seed * 13) % 23) as f32 / 46.0 - 0.25).collect() };
    let (scale, shift, same) = (values(1, 64), values(2, 64), values(3, 64 * 64));
    let (narrow, residual) = (values(4, 5 * 64), values(5, 5 * 64));
    let write = |name: &str, tensors: &[(&str, &[usize], &[f32])]| {
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (name, shape, values) in tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            header.insert((*name).into(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }));
        }
        let header = serde_json::to_vec(&header).expect("a header");
        let bytes = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
        fs::write(folder.path().join(name).join("model.safetensors"), bytes).expect("write the copy");
    };
    write("2_LayerNorm", &[("norm.bias", &[64], &shift), ("norm.weight", &[64], &scale)]);
    write("3_Dense", &[("linear.weight", &[64, 64], &same)]);
    write("4_Dense", &[("linear.weight", &[5, 64], &narrow), ("residual.weight", &[5, 64], &residual)]);

    let mut engine = engine(folder.path(), load);
    assert_eq!(engine.info().dimensions, 5);
    let found = all_cases(model, engine.as_mut());
    let times = |matrix: &[f32], x: &[f64]| -> Vec<f64> {
        matrix.chunks(x.len()).map(|row| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum()).collect()
    };
    for (row, pooled) in modes(model)["mean"].iter().enumerate() {
        let x: Vec<f64> = pooled.iter().map(|&x| f64::from(x)).collect();
        let mean = x.iter().sum::<f64>() / 64.0;
        let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 64.0 + 1e-5).sqrt();
        let x: Vec<f64> = (0..64).map(|at| (x[at] - mean) / deviation * f64::from(scale[at]) + f64::from(shift[at])).collect();
        let x: Vec<f64> = times(&same, &x).iter().zip(&x).map(|(y, x)| y.max(0.0) + x).collect();
        let y: Vec<f64> = times(&narrow, &x).iter().zip(times(&residual, &x)).map(|(y, x)| y.tanh() + x).collect();
        let length = y.iter().map(|y| y * y).sum::<f64>().sqrt();
        let expected: Vec<f32> = y.iter().map(|y| (y / length) as f32).collect();
        let off = difference(found.row(row), &expected);
        assert!(off <= GOLDEN_TOLERANCE, "layer norm and residuals: row {row} is off by {off:e}");
    }
}
