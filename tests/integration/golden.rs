//! The golden models through the program: the vectors that transformers computed.

use serde_json::{Value, json};

use crate::harness::{Place, floats, furthest, golden};

/// The most that any number may differ.
const TOLERANCE: f32 = 1e-4;

fn check(name: &str) {
    let folder = golden(name);
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(format!("{folder}/cases.json")).unwrap()).unwrap();
    let input: String = cases.iter().map(|case| format!("{}\n", json!({"input_ids": case["input_ids"]}))).collect();
    let place = Place::new();
    let rows = place.run_with(["embed", "--model", &folder], &[], input).vectors();
    assert_eq!(rows.len(), cases.len());
    assert!(!rows.is_empty());
    for (at, (row, case)) in rows.iter().zip(&cases).enumerate() {
        let away = furthest(row, &floats(&case["embedding"]));
        assert!(away <= TOLERANCE, "{name}: case {at} is {away} away");
    }
}

#[test]
fn bert_mean() {
    check("bert-mean");
}

#[test]
fn bert_cls_bge() {
    check("bert-cls-bge");
}

#[test]
fn bert_mean_dense_labse() {
    check("bert-mean-dense-labse");
}

#[test]
fn distilbert_mean() {
    check("distilbert-mean");
}

#[test]
fn roberta_mean() {
    check("roberta-mean");
}

#[test]
fn xlm_roberta_mean_e5() {
    check("xlm-roberta-mean-e5");
}

#[test]
fn every_golden_model_is_checked_here() {
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(include_str!("golden.rs").contains(&format!("check(\"{name}\")")), "{name}");
    }
}
