//! Where the time goes: ONNX Runtime's own profile of a model of the reader's choice, summed up by operator.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use patina_backend::{EmbeddingEngine, Model, Precision, TokenBatch};

use super::{Options, open};

/// What one kind of operator took.
#[derive(Default)]
struct Sum {
    microseconds: f64,
    calls: usize,
    /// Of matrix products.
    operations: f64,
}

fn variable<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[test]
#[ignore = "figures: PATINA_FIGURES_MODEL=FOLDER cargo test --release -p patina-onnx --features enabled --lib profile -- --ignored --nocapture"]
#[allow(clippy::print_stdout)]
fn figures() {
    let folder = PathBuf::from(std::env::var_os("PATINA_FIGURES_MODEL").expect("PATINA_FIGURES_MODEL names a model's folder"));
    let library = PathBuf::from(std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH names ONNX Runtime"));
    let (threads, rows, tokens) =
        (variable("PATINA_FIGURES_THREADS", 2), variable("PATINA_FIGURES_ROWS", 4), variable("PATINA_FIGURES_TOKENS", 256));
    let precision =
        if std::env::var("PATINA_FIGURES_PRECISION").is_ok_and(|name| name == "int8") { Precision::Int8 } else { Precision::F32 };
    let times = variable("PATINA_FIGURES_TIMES", 20);
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let options = Options { library, threads, precision, keep: None };
    let model = Arc::new(Model::open(&folder).expect("the model opens"));
    let mut engine = open(model, &options, Some(&scratch.path().join("profile"))).expect("the model loads");
    // Ids that every table has.
    let row = |row: u32| (0..tokens as u32).map(|at| 1 + (row * 7919 + at * 104_729) % 900).collect::<Vec<_>>();
    let batch = TokenBatch::from_rows((0..rows as u32).map(row));
    for _ in 0..=times {
        engine.embed(&batch).expect("vectors");
    }
    let file = engine.session.end_profiling().expect("a profile");
    println!("{}: {rows} rows of {tokens} tokens, {threads} threads, {times} times", folder.display());
    tell(Path::new(&file), times);
}

/// Prints the sums, without the first run, which makes room for everything.
#[allow(clippy::print_stdout)]
fn tell(file: &Path, times: usize) {
    let text = std::fs::read_to_string(file).expect("the profile is there");
    let events: Vec<serde_json::Value> = serde_json::from_str(&text).expect("the profile is JSON");
    let runs: Vec<f64> =
        events.iter().filter(|event| event["name"] == "model_run").map(|event| event["ts"].as_f64().expect("a time")).collect();
    let begin = runs.get(1).copied().expect("more than one run");
    let whole: f64 = events.iter().filter(|event| event["name"] == "model_run").filter_map(|event| event["dur"].as_f64()).skip(1).sum();
    let mut sums = BTreeMap::<String, Sum>::new();
    for event in &events {
        let named = event["name"].as_str().is_some_and(|name| name.ends_with("_kernel_time"));
        let Some(operator) = event["args"]["op_name"].as_str().filter(|_| named && event["ts"].as_f64() >= Some(begin)) else { continue };
        let shapes: Vec<Vec<f64>> = event["args"]["input_type_shape"].as_array().into_iter().flatten().filter_map(shape).collect();
        let (name, operations) = match (operator, &shapes[..]) {
            ("Gemm" | "Linear" | "LinearBf16", [x, weight, ..]) => {
                (format!("{operator} {} x {}", x[1], weight[0]), 2.0 * x[0] * x[1] * weight[0])
            }
            ("MatMul" | "MatMulInteger", [x, weight, ..]) => {
                (format!("{operator} {} x {}", x[1], weight[1]), 2.0 * x[0] * x[1] * weight[1])
            }
            _ => (operator.to_owned(), 0.0),
        };
        let sum = sums.entry(name).or_default();
        sum.microseconds += event["dur"].as_f64().unwrap_or(0.0);
        sum.calls += 1;
        sum.operations += operations;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.microseconds.total_cmp(&a.1.microseconds));
    println!("a run takes {:.2} ms", whole / times as f64 / 1e3);
    println!("{:<28} {:>8} {:>7} {:>7} {:>10}", "operator", "ms a run", "share", "calls", "GFLOP/s");
    for (name, Sum { microseconds, calls, operations }) in &sums {
        let rate = if *operations > 0.0 { format!("{:.0}", operations / microseconds / 1e3) } else { String::new() };
        let share = format!("{:.1} %", 100.0 * microseconds / whole);
        println!("{name:<28} {:>8.3} {share:>7} {:>7} {rate:>10}", microseconds / times as f64 / 1e3, calls / times);
    }
    let inside: f64 = sums.iter().map(|(_, sum)| sum.microseconds).sum();
    println!(
        "{:<28} {:>8.3} {:>7}",
        "between operators",
        (whole - inside) / times as f64 / 1e3,
        format!("{:.1} %", 100.0 * (1.0 - inside / whole))
    );
}

/// The sizes of `{"float":[4,8]}`.
fn shape(value: &serde_json::Value) -> Option<Vec<f64>> {
    value.as_object()?.values().next()?.as_array()?.iter().map(serde_json::Value::as_f64).collect()
}
