//! The suite of `patina-backend` over MLX in every precision, and what only this backend can get wrong.
#![cfg(feature = "enabled")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use patina_backend::{EmbeddingEngine, EngineError, Model, Precision, Result, Runtime, TokenBatch, conformance};
use patina_mlx::{Device, Options};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden")
}

fn at(precision: Precision) -> Options {
    Options { precision, threads: 2, ..Options::default() }
}

fn model(name: &str) -> Arc<Model> {
    Arc::new(Model::open(&golden().join(name)).expect("a golden model"))
}

fn load(options: &Options) -> Result<Box<dyn EmbeddingEngine>> {
    patina_mlx::load(model("bert-mean"), options)
}

#[test]
fn conformance_in_f32() {
    for threads in [1, 2, 3] {
        let options = Options { threads, ..at(Precision::F32) };
        conformance::run(&golden(), &|model| patina_mlx::load(model, &options));
    }
}

/// The project's tolerances against single precision.
#[test]
fn conformance_in_f16() {
    conformance::run_to_cosine(&golden(), &|model| patina_mlx::load(model, &at(Precision::F16)), 0.9995);
}

#[test]
fn conformance_in_bf16() {
    conformance::run_to_cosine(&golden(), &|model| patina_mlx::load(model, &at(Precision::Bf16)), 0.999);
}

#[test]
fn conformance_in_q8() {
    for group_size in patina_mlx::GROUP_SIZES.into_iter().filter(|&size| size <= 64) {
        let options = Options { group_size, ..at(Precision::Q8) };
        conformance::run_to_cosine(&golden(), &|model| patina_mlx::load(model, &options), 0.999);
    }
}

/// No tolerance is promised for 4 bits; random weights are the hard case.
#[test]
fn conformance_in_q4() {
    conformance::run_to_cosine(&golden(), &|model| patina_mlx::load(model, &at(Precision::Q4)), 0.9);
}
