//! The suite of `patina-backend` over ONNX Runtime, and what only this backend can get wrong.
#![cfg(feature = "enabled")]
#![allow(clippy::disallowed_methods)] // Tests write their inputs as they like.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use patina_backend::{DerivedKind, EngineError, Keep, Model, Precision, Runtime, TokenBatch, WeightsOrigin};
use patina_onnx::Options;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden")
}

/// The library that `ci/test` installs; a test that cannot find it fails, since it would prove nothing.
fn library() -> PathBuf {
    let path = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH must name ONNX Runtime; ci/test sets it");
    PathBuf::from(path)
}

#[test]
fn conformance_with_two_threads() {
    let options = Options { library: library(), threads: 2, precision: Precision::F32, keep: None };
    patina_backend::conformance::run(&golden(), &|model| patina_onnx::load(model, &options));
}

#[test]
fn conformance_with_one_thread() {
    let options = Options { library: library(), threads: 1, precision: Precision::F32, keep: None };
    patina_backend::conformance::run(&golden(), &|model| patina_onnx::load(model, &options));
}

#[test]
fn cross_encoders_give_their_logits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/cross-encoder");
    for threads in [1, 2] {
        let options = Options { library: library(), threads, precision: Precision::F32, keep: None };
        patina_backend::conformance::cross_encoders::run(&folder, &|model| patina_onnx::load(model, &options));
    }
}

/// Every golden model in eight bits; they are small, with random weights, and forgive less than a trained one.
#[test]
fn conformance_in_int8() {
    let options = Options { library: library(), threads: 2, precision: Precision::Int8, keep: None };
    let worst = patina_backend::conformance::run_to_cosine(&golden(), &|model| patina_onnx::load(model, &options), 0.99);
    assert!(worst < 1.0 - 1e-6, "the worst cosine is {worst}: nothing was computed in eight bits");
}

/// Keeps in a folder, and counts what it is given.
struct Folder {
    path: PathBuf,
    written: AtomicUsize,
}

impl Keep for Folder {
    fn find(&self, kind: DerivedKind) -> Option<PathBuf> {
        Some(self.path.join(kind.name)).filter(|path| path.exists())
    }

    fn keep(&self, kind: DerivedKind, write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>) -> Option<PathBuf> {
        self.written.fetch_add(1, Ordering::SeqCst);
        let mut bytes = Vec::new();
        write(&mut bytes).expect("written to memory");
        std::fs::write(self.path.join(kind.name), bytes).ok()?;
        self.find(kind)
    }
}

/// Weights in eight bits are made once: from then on they are what was kept, and give the same vectors to the bit.
#[test]
fn weights_in_eight_bits_are_made_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row: Vec<u32> = (1..40).collect();
    let batch = TokenBatch::from_rows([&row[..], &row[3..9]]);
    // A decoder, a head of its own, and a weight of queries, keys and values in one.
    for name in ["qwen3-lasttoken", "bert-mean-dense-labse", "modernbert-cls-gte"] {
        let kept = Arc::new(Folder { path: folder.path().join(name), written: AtomicUsize::new(0) });
        std::fs::create_dir(&kept.path).expect("a folder");
        let vectors = |keep: Option<Arc<dyn Keep>>, origin| {
            let options = Options { library: library(), threads: 1, precision: Precision::Int8, keep };
            let model = Arc::new(Model::open(&golden().join(name)).expect("a model"));
            let mut engine = patina_onnx::load(model, &options).expect("an engine");
            assert_eq!(engine.info().weights, origin, "{name}");
            let bits = engine.embed(&batch).expect("vectors").values().iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
            (bits, kept.written.load(Ordering::SeqCst))
        };
        let (expected, _) = vectors(None, WeightsOrigin::Derived);
        assert_eq!(vectors(Some(kept.clone()), WeightsOrigin::Derived), (expected.clone(), 1), "{name}: made and kept");
        assert_eq!(vectors(Some(kept.clone()), WeightsOrigin::Kept), (expected.clone(), 1), "{name}: as kept");
        // What is no file of this kind is made anew.
        std::fs::write(kept.path.join("onnx-int8"), b"damaged").expect("write");
        assert_eq!(vectors(Some(kept.clone()), WeightsOrigin::Derived), (expected.clone(), 2), "{name}: made anew");
        assert_eq!(vectors(Some(kept.clone()), WeightsOrigin::Kept), (expected, 2), "{name}: as kept anew");
    }
    let options = Options { library: library(), threads: 1, precision: Precision::F32, keep: None };
    let model = Arc::new(Model::open(&golden().join("bert-mean")).expect("a model"));
    assert_eq!(patina_onnx::load(model, &options).expect("an engine").info().weights, WeightsOrigin::Model);
}

/// What one engine left in a processor's registers must not show in another's vectors: where there is AMX, both precisions use its tiles, each
/// configured in its own way, on the same threads.
#[test]
fn engines_of_two_precisions_take_turns() {
    let model = Arc::new(Model::open(&golden().join("bert-mean")).expect("a model"));
    let rows: Vec<Vec<u32>> = (0..8).map(|row| (0..40).map(|at| 1 + (row * 17 + at * 5) % 60).collect()).collect();
    let batch = TokenBatch::from_rows(&rows);
    let load = |precision| {
        let options = Options { library: library(), threads: 1, precision, keep: None };
        patina_onnx::load(model.clone(), &options).expect("an engine")
    };
    let bits = |engine: &mut dyn patina_backend::EmbeddingEngine| {
        engine.embed(&batch).expect("vectors").values().iter().map(|value| value.to_bits()).collect::<Vec<u32>>()
    };
    let (mut single, mut int8) = (load(Precision::F32), load(Precision::Int8));
    let expected = (bits(single.as_mut()), bits(int8.as_mut()));
    assert_ne!(expected.0, expected.1);
    for turn in 0..3 {
        assert_eq!((bits(single.as_mut()), bits(int8.as_mut())), expected, "turn {turn}");
    }
}

#[test]
fn configs_that_lie_are_errors_or_vectors() {
    let options = Options { library: library(), threads: 1, precision: Precision::F32, keep: None };
    patina_backend::conformance::hostile::run(&golden(), &|model| patina_onnx::load(model, &options));
}

#[test]
fn the_version_is_the_library_s_own() {
    let version = patina_onnx::runtime_version(&library()).expect("a library");
    assert!(version.starts_with("1."), "{version}");
    let model = Arc::new(Model::open(&golden().join("bert-mean")).expect("a model"));
    let options = Options { library: library(), threads: 1, precision: Precision::F32, keep: None };
    let engine = patina_onnx::load(model, &options).expect("an engine");
    assert_eq!((engine.info().runtime, engine.info().runtime_version.as_str()), (Runtime::Onnx, version.as_str()));
    assert_eq!((engine.info().dimensions, engine.info().max_tokens, engine.info().architecture.as_str()), (64, 128, "bert"));
}

#[test]
fn a_precision_that_it_does_not_have_is_refused() {
    let model = Arc::new(Model::open(&golden().join("bert-mean")).expect("a model"));
    for &precision in Precision::ALL.iter().filter(|precision| !patina_onnx::PRECISIONS.contains(precision)) {
        let options = Options { library: library(), threads: 1, precision, keep: None };
        match patina_onnx::load(model.clone(), &options) {
            Err(error @ EngineError::Precision { .. }) => {
                assert!(error.to_string().contains(precision.name()) && error.hint().is_some(), "{error}");
            }
            Err(other) => panic!("{precision}: {other:?}"),
            Ok(_) => panic!("{precision} was loaded"),
        }
    }
}

/// Each in a process of its own, since a process keeps the first library that it loads: run by name from `a_wrong_library_...`.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn load_the_library_that_the_environment_names() {
    let wrong = std::env::var_os("PATINA_WRONG_LIBRARY").expect("set by the test below");
    match patina_onnx::runtime_version(Path::new(&wrong)) {
        Err(error @ EngineError::RuntimeMissing { .. }) => {
            assert!(error.to_string().contains(&*wrong.to_string_lossy()), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("patina runtime install")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_library_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, "not a library").expect("write");
    let mut wrong = vec![text, folder.path().join("absent.so")];
    // A library that loads and is not ONNX Runtime.
    wrong.extend(
        ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"].map(PathBuf::from).into_iter().filter(|p| p.exists()),
    );
    for library in wrong {
        let status = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--ignored", "--exact", "load_the_library_that_the_environment_names"])
            .env("PATINA_WRONG_LIBRARY", &library)
            .output()
            .expect("run this test again");
        assert!(status.status.success(), "{}: {}", library.display(), String::from_utf8_lossy(&status.stdout));
    }
}
