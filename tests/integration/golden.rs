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
fn bert_cls_gelu_new() {
    check("bert-cls-gelu-new");
}

#[test]
fn bert_cls_relu() {
    check("bert-cls-relu");
}

#[test]
fn distilbert_mean_prefixed() {
    check("distilbert-mean-prefixed");
}

#[test]
fn gemma3_mean_dense_embeddinggemma() {
    check("gemma3-mean-dense-embeddinggemma");
}

#[test]
fn gemma3_mean_new_keys() {
    check("gemma3-mean-new-keys");
}

#[test]
fn gte_new_cls() {
    check("gte-new-cls");
}

#[test]
fn gte_new_multilingual() {
    check("gte-new-multilingual");
}

#[test]
fn gte_new_ntk_mixed() {
    check("gte-new-ntk-mixed");
}

#[test]
fn gte_new_unpacked() {
    check("gte-new-unpacked");
}

#[test]
fn jina_bert_code() {
    check("jina-bert-code");
}

#[test]
fn jina_bert_mean() {
    check("jina-bert-mean");
}

#[test]
fn jina_bert_mean_6heads() {
    check("jina-bert-mean-6heads");
}

#[test]
fn jina_bert_reglu() {
    check("jina-bert-reglu");
}

#[test]
fn modernbert_cls_gte() {
    check("modernbert-cls-gte");
}

#[test]
fn modernbert_cls_prefixed() {
    check("modernbert-cls-prefixed");
}

#[test]
fn modernbert_mean_new_keys() {
    check("modernbert-mean-new-keys");
}

#[test]
fn mpnet_mean() {
    check("mpnet-mean");
}

#[test]
fn mpnet_mean_prefixed() {
    check("mpnet-mean-prefixed");
}

#[test]
fn nomic_bert_half_rotary() {
    check("nomic-bert-half-rotary");
}

#[test]
fn nomic_bert_hub() {
    check("nomic-bert-hub");
}

#[test]
fn nomic_bert_mean() {
    check("nomic-bert-mean");
}

#[test]
fn nomic_bert_native() {
    check("nomic-bert-native");
}

#[test]
fn qwen3_lasttoken() {
    check("qwen3-lasttoken");
}

#[test]
fn qwen3_lasttoken_bf16() {
    check("qwen3-lasttoken-bf16");
}

#[test]
fn qwen3_prefixed_window() {
    check("qwen3-prefixed-window");
}

#[test]
fn static_model2vec() {
    check("static-model2vec");
}

#[test]
fn static_model2vec_mapped() {
    check("static-model2vec-mapped");
}

#[test]
fn static_model2vec_weights() {
    check("static-model2vec-weights");
}

#[test]
fn static_sentence_transformers() {
    check("static-sentence-transformers");
}

#[test]
fn xlm_roberta_cls_prefixed() {
    check("xlm-roberta-cls-prefixed");
}

/// As their libraries have it: such a text is a vector of zeros and stops nothing.
#[test]
fn static_models_have_zeros_for_texts_without_tokens() {
    for name in ["static-model2vec", "static-model2vec-mapped", "static-model2vec-weights", "static-sentence-transformers"] {
        let folder = golden(name);
        let read = |file: &str| -> Vec<Value> { serde_json::from_slice(&std::fs::read(format!("{folder}/{file}")).unwrap()).unwrap() };
        let (empty, full) = (read("no_tokens.json"), read("cases.json"));
        assert!(!empty.is_empty());
        let mixed: Vec<&Value> = full.iter().zip(empty.iter().cycle()).flat_map(|(full, empty)| [full, empty]).collect();
        let input: String = mixed.iter().map(|case| format!("{}\n", json!({"text": case["text"]}))).collect();
        let rows = Place::new().run_with(["embed", "--model", &folder], &[], input).vectors();
        assert_eq!(rows.len(), mixed.len());
        for (row, case) in rows.iter().zip(mixed) {
            assert!(furthest(row, &floats(&case["embedding"])) <= TOLERANCE, "{name}: {}", case["text"]);
        }
    }
}

#[test]
fn every_golden_model_is_checked_here() {
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // How they were made.
        if name == "make" {
            continue;
        }
        assert!(include_str!("golden.rs").contains(&format!("check(\"{name}\")")), "{name}");
    }
}
