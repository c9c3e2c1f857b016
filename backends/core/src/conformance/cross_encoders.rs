//! Models of pairs: the logits of transformers, for every engine.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::{BATCH_TOLERANCE, GOLDEN_TOLERANCE, Load, models, read};
use crate::{CrossEncoder, EmbeddingEngine, TokenBatch};

#[derive(Deserialize)]
struct Case {
    input_ids: Vec<u32>,
    /// Where the second text begins.
    second: usize,
    logit: f32,
}

/// Checks every model in `folder` against its `cases.json`: all pairs in one batch, and each alone. Where a model tells the two texts apart,
/// a row whose tokens are all of the first has another logit.
pub fn run(folder: &Path, load: Load<'_>) {
    let mut told_apart = 0;
    for model in &models(folder) {
        let name = model.display();
        let encoder = CrossEncoder::open(model).unwrap_or_else(|e| panic!("{name}: {e}")).model;
        let mut engine = load(Arc::new(encoder)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(engine.info().dimensions, 1, "{name}: a pair has one number");
        let cases: Vec<Case> = read(&model.join("cases.json"));
        assert!(cases.len() > 1, "{name}: too few cases");
        let mut all = TokenBatch::new();
        cases.iter().for_each(|case| all.push_pair(&case.input_ids, case.second));
        let together = engine.embed(&all).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (row, case) in cases.iter().enumerate() {
            let off = (together.row(row)[0] - case.logit).abs();
            assert!(off <= GOLDEN_TOLERANCE, "{name}: case {row} is off by {off:e}");
            let alone = of_one(engine.as_mut(), &case.input_ids, case.second);
            let off = (together.row(row)[0] - alone).abs();
            assert!(off <= BATCH_TOLERANCE, "{name}: row {row} differs from itself alone by {off:e}");
            let length = case.input_ids.len();
            if case.second < length {
                let off = (alone - of_one(engine.as_mut(), &case.input_ids, length)).abs();
                assert!(off > 10.0 * GOLDEN_TOLERANCE, "{name}: row {row} does not show which text a token is of");
                told_apart += 1;
            }
        }
    }
    assert!(told_apart > 0, "no model tells the texts of a pair apart");
}

fn of_one(engine: &mut dyn EmbeddingEngine, ids: &[u32], second: usize) -> f32 {
    let mut batch = TokenBatch::new();
    batch.push_pair(ids, second);
    engine.embed(&batch).expect("a row alone").row(0)[0]
}
