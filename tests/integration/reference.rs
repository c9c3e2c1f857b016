//! all-MiniLM-L6-v2 against an independent computation.
//!
//! `tests/fixtures/minilm-reference.jsonl` was computed from the model's own weights in float64 by a plain NumPy forward pass, which
//! agrees with sentence-transformers to a cosine of 0.999999999 on 120 other texts.

use serde_json::{Value, json};

use crate::harness::{Place, cosine, floats, furthest};

const MODEL: [&str; 3] = ["embed", "--model", "all-MiniLM-L6-v2"];

fn cases() -> Vec<(String, Vec<f32>)> {
    include_str!("../fixtures/minilm-reference.jsonl")
        .lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            (case["text"].as_str().unwrap().to_owned(), floats(&case["embedding"]))
        })
        .collect()
}

#[test]
fn vectors_are_those_of_the_reference() {
    let cases = cases();
    let input: String = cases.iter().map(|(text, _)| format!("{}\n", json!({"text": text}))).collect();
    let rows = Place::new().run_with(MODEL, &[], input).vectors();
    assert_eq!(rows.len(), cases.len());
    for (row, (text, expected)) in rows.iter().zip(&cases) {
        let cosine = cosine(row, expected);
        assert!(cosine >= 0.99999, "{cosine}: {text}");
        let length: f32 = row.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}: {text}");
    }
}

#[test]
fn a_row_of_a_batch_is_the_row_alone() {
    let cases = cases();
    let place = Place::new();
    let input: String = cases.iter().map(|(text, _)| format!("{text}\n")).collect();
    let batch = place.run_with(MODEL, &[], input).vectors();
    for at in [0, 5, 11] {
        let alone = place.run_with(MODEL, &[], &cases[at].0).vectors();
        assert!(furthest(&alone[0], &batch[at]) <= 1e-5, "{}", cases[at].0);
    }
}
