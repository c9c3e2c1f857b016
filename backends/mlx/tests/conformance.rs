//! The suite of `patina-backend` over MLX in every precision, and what only this backend can get wrong.
#![cfg(feature = "enabled")]
#![allow(clippy::disallowed_methods, reason = "tests spoil files of their own in temporary folders")]

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

#[test]
fn cross_encoders_give_their_logits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/cross-encoder");
    for threads in [1, 2, 3] {
        let options = Options { threads, ..at(Precision::F32) };
        conformance::cross_encoders::run(&folder, &|model| patina_mlx::load(model, &options));
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

/// No tolerance is promised for 4 bits; random weights are the hard case, and one token's vector harder than a mean.
#[test]
fn conformance_in_q4() {
    let least = |name: &str| if name.starts_with("qwen3-") { 0.85 } else { 0.9 };
    conformance::run_to_cosines(&golden(), &|model| patina_mlx::load(model, &at(Precision::Q4)), &least);
}

#[test]
fn the_engine_says_what_it_is() {
    let version = patina_mlx::runtime_version().expect("MLX");
    assert_eq!(version, patina_mlx::VERSION);
    for &precision in patina_mlx::PRECISIONS {
        let engine = load(&Options { device: Device::Cpu, ..at(precision) }).expect("an engine");
        let info = engine.info();
        assert_eq!((info.runtime, info.runtime_version.as_str(), info.device.as_str()), (Runtime::Mlx, version.as_str(), "cpu"));
        assert_eq!((info.precision, info.dimensions, info.max_tokens, info.architecture.as_str()), (precision, 64, 128, "bert"));
    }
}

/// A model in a folder of its own, so that its file can be spoiled.
fn own_copy() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let from = golden().join("bert-mean");
    std::fs::create_dir(folder.path().join("1_Pooling")).expect("a folder");
    for file in ["config.json", "modules.json", "1_Pooling/config.json", "model.safetensors"] {
        std::fs::write(folder.path().join(file), std::fs::read(from.join(file)).expect("a file")).expect("write");
    }
    let weights = folder.path().join("model.safetensors");
    (folder, weights)
}

fn cut(file: &Path, length: u64) {
    std::fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(length)).expect("cut the file");
}

#[cfg(unix)]
#[test]
fn a_file_cut_off_between_open_and_load_is_an_error() {
    for keep in [0, 8, 100_000] {
        for &precision in patina_mlx::PRECISIONS {
            let (folder, weights) = own_copy();
            let model = Arc::new(Model::open(folder.path()).expect("whole yet"));
            cut(&weights, keep);
            match patina_mlx::load(model, &at(precision)) {
                Err(error @ EngineError::Weights { .. }) => {
                    assert_eq!(error.path(), Some(weights.as_path()));
                    assert!(error.to_string().contains("cut off"), "{error}");
                }
                Err(other) => panic!("{keep} bytes in {precision}: {other:?}"),
                Ok(_) => panic!("{keep} bytes were loaded in {precision}"),
            }
        }
    }
}

#[test]
fn a_file_cut_off_after_the_load_changes_nothing() {
    let batch = TokenBatch::from_rows([vec![1, 2, 3], vec![4; 50]]);
    for &precision in patina_mlx::PRECISIONS {
        let (folder, weights) = own_copy();
        let mut engine = patina_mlx::load(Arc::new(Model::open(folder.path()).expect("a model")), &at(precision)).expect("an engine");
        cut(&weights, 0);
        let found = engine.embed(&batch).expect("vectors");
        assert_eq!(found, load(&at(precision)).expect("an engine").embed(&batch).expect("vectors"));
    }
}

#[test]
fn a_precision_that_it_does_not_have_is_refused() {
    match load(&at(Precision::Int8)) {
        Err(error @ EngineError::Precision { .. }) => assert!(error.to_string().contains("int8") && error.hint().is_some(), "{error}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("int8 was loaded"),
    }
}

#[test]
fn groups_that_do_not_fit_are_refused() {
    for (group_size, precision) in [(48, Precision::Q8), (0, Precision::Q4), (128, Precision::Q8)] {
        match load(&Options { group_size, ..at(precision) }) {
            Err(error @ EngineError::Precision { .. }) => assert!(error.hint().is_some(), "{error}"),
            Err(other) => panic!("{group_size}: {other:?}"),
            Ok(_) => panic!("{group_size} was loaded"),
        }
    }
}

#[cfg(not(target_os = "macos"))]
#[test]
fn a_device_that_is_not_there_is_refused() {
    match load(&Options { device: Device::Gpu, ..at(Precision::F32) }) {
        Err(error @ EngineError::RuntimeMissing { .. }) => assert!(error.hint().is_some(), "{error}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("there is no GPU that MLX can use here"),
    }
    assert_eq!(load(&at(Precision::F32)).expect("the CPU").info().device, "cpu");
}

/// An engine belongs to one thread at a time, and may be sent.
#[test]
fn an_engine_may_be_sent_to_another_thread() {
    let batch = TokenBatch::from_rows([vec![1, 2, 3], vec![4; 50]]);
    for &precision in patina_mlx::PRECISIONS {
        let mut engine = load(&at(precision)).expect("an engine");
        let here = engine.embed(&batch).expect("vectors");
        let there = std::thread::scope(|scope| scope.spawn(|| engine.embed(&batch)).join().expect("the thread"));
        assert_eq!(here, there.expect("vectors"), "{precision}");
    }
}

/// Values beyond half precision's range.
#[test]
fn what_overflows_is_an_error_and_no_vector() {
    let (folder, weights) = own_copy();
    let mut bytes = std::fs::read(&weights).expect("the weights");
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    for value in bytes[header..].chunks_exact_mut(4) {
        let scaled = f32::from_le_bytes(value.try_into().expect("4 bytes")) * 1e6;
        value.copy_from_slice(&scaled.to_le_bytes());
    }
    std::fs::write(&weights, bytes).expect("write");
    let mut engine = patina_mlx::load(Arc::new(Model::open(folder.path()).expect("a model")), &at(Precision::F16)).expect("an engine");
    match engine.embed(&TokenBatch::from_rows([[1, 2, 3]])) {
        Err(EngineError::NonFinite { row: 0 }) => {}
        other => panic!("{other:?}"),
    }
}

/// Runs an ignored test of this file in a process of its own.
fn alone(test: &str, environment: &[(&str, &std::ffi::OsStr)]) {
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", test])
        .envs(environment.iter().copied())
        .output()
        .expect("run this test again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// MLX compiles some of its functions with g++ at run time, if it is asked to.
#[test]
fn no_compiler_is_needed_at_run_time() {
    alone("embed_every_golden_model", &[("PATH", "".as_ref())]);
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn embed_every_golden_model() {
    assert_eq!(std::env::var("PATH").as_deref(), Ok(""));
    conformance::run(&golden(), &|model| patina_mlx::load(model, &at(Precision::F32)));
}

/// A library that says another version, put before MLX's own.
#[cfg(target_os = "linux")]
#[test]
fn a_library_of_another_version_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (source, library) = (folder.path().join("other.c"), folder.path().join("libother.so"));
    // mlx::core::version()
    std::fs::write(&source, "const char *_ZN3mlx4core7versionEv(void) { return \"0.31.0\"; }\n").expect("write");
    let compiled = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.expect("cc, which MLX on Linux needs to be built").success());
    alone("refuse_the_other_version", &[("LD_PRELOAD", library.as_os_str())]);
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn refuse_the_other_version() {
    for error in [patina_mlx::runtime_version().expect_err("another version"), load(&at(Precision::F32)).err().expect("another version")] {
        assert!(matches!(error, EngineError::RuntimeMissing { .. }), "{error:?}");
        assert!(error.to_string().contains("0.31.0") && error.to_string().contains(patina_mlx::VERSION), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_what_was_embedded() {
    alone("the_second_ten_thousand_texts_take_no_more_memory_than_the_first", &[]);
}

/// `PATINA_TEST_MODEL` names the folder of another model than the golden one.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by the test above, in a process of its own"]
#[allow(clippy::print_stdout, reason = "the figures are for whoever asks with --nocapture")]
fn the_second_ten_thousand_texts_take_no_more_memory_than_the_first() {
    /// Kilobytes at most since the last call.
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("the system's own figures");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the peak");
        std::fs::write("/proc/self/clear_refs", "5").expect("forget the peak");
        line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse().ok()).expect("a number")
    }
    let folder = std::env::var_os("PATINA_TEST_MODEL").map_or_else(|| golden().join("bert-mean"), PathBuf::from);
    let model = Arc::new(Model::open(&folder).expect("a model"));
    let mut engine = patina_mlx::load(model, &at(Precision::F32)).expect("an engine");
    let (longest, vocabulary) = (engine.info().max_tokens.min(64) as u32, engine.info().vocabulary as u32);
    let mut pass = || {
        peak();
        let mut random = 1u32;
        let mut batch = TokenBatch::new();
        for _ in 0..10_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let length = 1 + (random >> 8) % longest;
            batch.push(&(0..length).map(|at| (random >> 4).wrapping_add(at * 7) % vocabulary).collect::<Vec<u32>>());
            if batch.tokens() > 1024 {
                engine.embed(&batch).expect("vectors");
                batch = TokenBatch::new();
            }
        }
        peak()
    };
    let (first, second) = (pass(), pass());
    println!("peak of the first pass {first} kB, of the second {second} kB");
    assert!(second as f64 <= first as f64 * 1.1, "{first} kB became {second} kB");
}
