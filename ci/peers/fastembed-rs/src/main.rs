//! fastembed-rs in one process over one list of texts; prints figures as one line of JSON, as ci/peers/one.py does for the others:
//! `peer-fastembed-rs MODEL.onnx TEXTS.jsonl OUT.npy THREADS bulk|single BATCH`. Tokenizer files lie beside the model.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use fastembed::{InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// The version that Cargo.toml pins.
const FASTEMBED: &str = "7.7.0";

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, out, threads, way, batch] = words.as_slice() else { return Err("six arguments, see the source".into()) };
    let texts = texts_of(Path::new(texts))?;
    let mut embedding = open(Path::new(model), threads.parse()?)?;
    let batch = Some(batch.parse()?);
    embedding.embed(&texts[..1], batch)?;
    let mut figures = json!({ "first": seconds(ClockId::Monotonic), "version": FASTEMBED });
    let vectors = if way == "single" {
        let (mut vectors, mut times) = (Vec::new(), Vec::new());
        for text in &texts {
            let begin = Instant::now();
            vectors.append(&mut embedding.embed([text], batch)?);
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        figures["times"] = json!(times);
        vectors
    } else {
        let (cpu, wall) = (seconds(ClockId::ProcessCPUTime), Instant::now());
        let vectors = embedding.embed(&texts, batch)?;
        figures["wall"] = json!(wall.elapsed().as_secs_f64());
        figures["cpu"] = json!(seconds(ClockId::ProcessCPUTime) - cpu);
        vectors
    };
    write_npy(Path::new(out), &vectors)?;
    println!("{figures}");
    Ok(())
}

fn open(model: &Path, threads: usize) -> Result<TextEmbedding, Box<dyn Error>> {
    let beside = |name: &str| fs::read(model.with_file_name(name));
    let files = TokenizerFiles {
        tokenizer_file: beside("tokenizer.json")?,
        config_file: beside("config.json")?,
        special_tokens_map_file: beside("special_tokens_map.json")?,
        tokenizer_config_file: beside("tokenizer_config.json")?,
    };
    let model = UserDefinedEmbeddingModel::new(fs::read(model)?, files).with_pooling(Pooling::Mean);
    // Its length is the smaller one of its own default (512) and of tokenizer_config.json, which says what the model reads.
    Ok(TextEmbedding::try_new_from_user_defined(model, InitOptionsUserDefined::new().with_intra_threads(threads))?)
}

fn texts_of(path: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut texts = Vec::new();
    for line in fs::read_to_string(path)?.lines() {
        let value: Value = serde_json::from_str(line)?;
        texts.push(value["text"].as_str().ok_or("a line without text")?.to_string());
    }
    Ok(texts)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn write_npy(path: &Path, vectors: &[Vec<f32>]) -> std::io::Result<()> {
    let shape =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", vectors.len(), vectors.first().map_or(0, Vec::len));
    let header = format!("{shape:<117}\n");
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for value in vectors.iter().flatten() {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()
}
