//! Which runtime is used, and what is said where it is not there.

use crate::harness::{Place, cache, golden};

const IDS: &str = "{\"input_ids\": [1, 2]}";

fn embed(more: &[&str], variables: &[(&str, &str)]) -> crate::harness::Ran {
    let model = golden("bert-mean");
    let mut arguments = vec!["embed", "--model", &model];
    arguments.extend(more);
    Place::new().run_with(arguments, variables, IDS)
}

#[test]
fn an_unknown_runtime() {
    snap!(embed(&["--runtime", "tensorflow"], &[]), @r#"
    exit 2
    --- stderr
    error: --runtime is "tensorflow", which is no runtime
    hint: runtimes are auto, onnx, mlx, measured
    "#);
    snap!(embed(&[], &[("PATINA_RUNTIME", "tensorflow")]), @r#"
    exit 2
    --- stderr
    error: PATINA_RUNTIME is "tensorflow", which is no runtime
    hint: runtimes are auto, onnx, mlx, measured
    "#);
}

#[test]
fn the_command_line_is_stronger_than_the_environment() {
    embed(&["--runtime", "onnx"], &[("PATINA_RUNTIME", "tensorflow")]).success();
    embed(&[], &[("PATINA_RUNTIME", "")]).success();
}

#[test]
#[cfg(not(backend_mlx))]
fn a_runtime_that_this_build_does_not_carry() {
    snap!(embed(&["--runtime", "mlx"], &[]), @r#"
    exit 2
    --- stderr
    error: MLX was asked for, and this build of Patina does not carry it
    hint: use `runtime: onnx` or `runtime: auto`, or build with the feature `mlx` (on Linux for tests, after `ci/mlx`)
    "#);
    let place = Place::tiny_project();
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\nruntime: mlx\n");
    place.run(["scrape"]).success();
    snap!(place.run(["oxidize"]), @r#"
    exit 2
    --- stderr
    error: MLX was asked for, and this build of Patina does not carry it
    hint: use `runtime: onnx` or `runtime: auto`, or build with the feature `mlx` (on Linux for tests, after `ci/mlx`)
    "#);
    place.run(["oxidize", "--runtime", "onnx"]).success();
}

#[test]
fn a_library_that_is_not_there() {
    snap!(embed(&[], &[("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")]), @r#"
    exit 2
    --- stderr
    error: /nowhere/[LIBRARY]: ORT_DYLIB_PATH names no library of ONNX Runtime: it cannot be read: No such file or directory (os error 2)
    hint: correct ORT_DYLIB_PATH, or unset it and run `patina runtime install`
    "#);
}

#[test]
fn a_library_that_is_none() {
    let place = Place::new();
    place.write("libonnxruntime.so", "no library");
    let model = golden("bert-mean");
    snap!(place.run_with(["embed", "--model", &model], &[("ORT_DYLIB_PATH", "libonnxruntime.so")], IDS), @r#"
    exit 2
    --- stderr
    error: ONNX Runtime is not available: [LIBRARY] cannot be used (version 1.24 or later is needed): dlopen failed
    hint: correct ORT_DYLIB_PATH, or unset it and run `patina runtime install`
    "#);
}

#[test]
fn an_empty_cache_and_no_library_of_the_system() {
    let place = Place::new();
    let model = golden("bert-mean");
    let ran = place.run_with(["embed", "--model", &model], &[("PATINA_CACHE_DIR", "empty")], IDS);
    // The machine that runs this may have ONNX Runtime of its own.
    if ran.code != 0 {
        snap!(ran, @r#"
        exit 2
        --- stderr
        error: ONNX Runtime is not on this machine: ORT_DYLIB_PATH is not set, and neither Patina's cache nor the system has it
        hint: run `patina runtime install`, or set ORT_DYLIB_PATH to the library
        "#);
    }
}

#[test]
fn the_library_that_is_named_is_the_one_that_is_used() {
    let doctor = Place::new().run(["doctor", "--json"]).json();
    let library = doctor["libraries"][0]["path"].as_str().unwrap().to_owned();
    assert!(
        library.starts_with(&*std::fs::canonicalize(cache()).unwrap().to_string_lossy())
            || library.starts_with(&*cache().to_string_lossy())
    );
    let named = Place::new().run_with(["doctor", "--json"], &[("ORT_DYLIB_PATH", &library)], "").json();
    assert_eq!(named["libraries"][0]["origin"], "ORT_DYLIB_PATH");
    assert_eq!(named["libraries"].as_array().unwrap().len(), 1);
    assert_eq!(named["libraries"][0]["used"], true);
}

#[test]
fn doctor_tells_what_is_wrong() {
    let place = Place::new();
    let ran = place.run_with(["doctor"], &[("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so"), ("PATINA_CACHE_DIR", "empty")], "");
    let text = ran.success().text();
    for expected in ["problem", "patina runtime install", "none here: patina model fetch"] {
        assert!(text.contains(expected), "{expected}: {ran}");
    }
}

/// Where the build carries MLX: the whole way on it, the same vectors, and an index that is shared only once parity is certified.
#[test]
#[cfg(backend_mlx)]
fn the_whole_way_on_mlx() {
    let place = Place::tiny_project();
    // A model of its own, so that no earlier run has certified it.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_nanos();
    place.write("model/config_sentence_transformers.json", format!("{{\"made\": \"{now} {}\"}}", std::process::id()));
    place.run(["scrape"]).success();
    place.run(["oxidize", "--runtime", "mlx"]).success();
    place.run(["scry", "the cache", "--runtime", "mlx"]).success();
    let refused = place.run(["scry", "the cache", "--runtime", "onnx"]);
    refused.exit(3);
    assert!(refused.err.contains("parity of ONNX Runtime is not certified"), "{}", refused.err);
    place.run(["parity"]).success();
    place.run(["scry", "the cache", "--runtime", "onnx"]).success();
    // What is stored stays under the name of the runtime that made it.
    place.run(["oxidize", "--runtime", "onnx"]).success();
    place.run(["scry", "the cache", "--runtime", "onnx"]).success();
}
