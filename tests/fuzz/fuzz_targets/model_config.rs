//! `config.json` against real weights: whatever it says is an encoder that the weights hold, or an error. The first byte picks the family.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use patina_backend::{Model, Weights};

/// A golden model of each family.
const FAMILIES: [&str; 12] = [
    "bert-mean",
    "distilbert-mean",
    "gemma3-mean-new-keys",
    "gte-new-cls",
    "jina-bert-code",
    "modernbert-cls-gte",
    "mpnet-mean",
    "nomic-bert-hub",
    "qwen3-prefixed-window",
    "roberta-mean",
    "static-model2vec-mapped",
    "xlm-roberta-mean-e5",
];

static WEIGHTS: LazyLock<Vec<Weights>> = LazyLock::new(|| {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden");
    FAMILIES.iter().map(|name| Weights::open(&golden.join(name)).expect("a golden model")).collect()
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [family, config @ ..] = input {
        let weights = &WEIGHTS[usize::from(*family) % FAMILIES.len()];
        if let Err(error) = Model::check_config(config, weights) {
            assert!(error.message().len() < 4096);
        }
    }
});
