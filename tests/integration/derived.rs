//! Weights in eight bits, which are made of a model's own once and kept in the cache.
#![cfg(unix)]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::{Place, Ran, cache, tiny_model};

/// A folder with the tiny model, some texts, and a cache of its own that has nothing but a runtime.
fn place() -> Place {
    let place = Place::new();
    tiny_model(&place.path("model"));
    place.write("texts.txt", "one\ntwo and two\nthree, which is longer than the others\n");
    std::fs::create_dir(place.path("cache")).unwrap();
    std::os::unix::fs::symlink(std::fs::canonicalize(cache().join("runtime")).unwrap(), place.path("cache/runtime")).unwrap();
    place
}

const EMBED: [&str; 7] = ["embed", "--model", "./model", "--precision", "int8", "--input", "texts.txt"];

fn embed(place: &Place) -> Ran {
    place.run_with(EMBED, &[("PATINA_CACHE_DIR", "cache")], "")
}

/// The files that are kept, without the seals beside them.
fn kept(place: &Place) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(place.path("cache/derived")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")).collect()
}

/// What changes when a file is written again.
fn written(path: &Path) -> (u64, i64, i64) {
    let meta = path.metadata().unwrap();
    (meta.ino(), meta.mtime(), meta.mtime_nsec())
}

#[test]
fn they_are_made_once() {
    let place = place();
    let first = embed(&place);
    assert_eq!((first.code, first.vectors().len(), first.err.as_str()), (0, 3, ""), "{first}");
    let [path] = &kept(&place)[..] else { panic!("one file is kept: {:?}", kept(&place)) };
    assert_eq!(path.file_name().unwrap(), "onnx-int8-v1.safetensors");
    let identity = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let shown = place.run(["model", "show", "./model", "--json"]).json();
    assert!(shown.to_string().contains(identity), "{identity} is not the model's: {shown}");
    let before = written(path);
    for _ in 0..2 {
        let again = embed(&place);
        assert_eq!((&again.out, again.err.as_str()), (&first.out, ""), "the same vectors to the bit");
        assert_eq!(written(path), before, "it is not written again");
    }
    // Every matrix has integers, scales and sums, and the names are those that the documentation has.
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let header = header.as_object().unwrap();
    let matrices: Vec<&str> = header.keys().filter_map(|name| name.strip_prefix("int8/")).collect();
    assert!(matrices.contains(&"encoder.layer.0.intermediate.dense.weight"), "{matrices:?}");
    for name in matrices {
        let shape = header[&format!("int8/{name}")]["shape"].as_array().unwrap().clone();
        for (tensor, dtype, shape) in [
            (format!("int8/{name}"), "I8", &shape[..]),
            (format!("int8 scales/{name}"), "F32", &shape[1..]),
            (format!("int8 sums/{name}"), "I32", &shape[1..]),
        ] {
            assert_eq!((header[&tensor]["dtype"].as_str(), header[&tensor]["shape"].as_array().unwrap().as_slice()), (Some(dtype), shape));
        }
    }
}

#[test]
fn damaged_ones_are_made_anew() {
    let place = place();
    let first = embed(&place);
    let path = kept(&place).remove(0);
    let name = path.strip_prefix(place.path("")).unwrap().to_str().unwrap().to_owned();
    let whole = place.read(&name);
    place.tamper(&name);
    let again = embed(&place);
    assert_eq!((again.code, &again.out), (0, &first.out), "{again}");
    assert!(again.err.contains("onnx-int8-v1.safetensors are damaged and are made anew"), "{again}");
    assert_eq!(place.read(&name), whole);
    // Cut off, and without its seal: neither is believed.
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!((&embed(&place).out, place.read(&name)), (&first.out, whole.clone()));
    std::fs::remove_file(path.with_extension("json")).unwrap();
    place.tamper(&name);
    let again = embed(&place);
    assert_eq!((&again.out, again.err.as_str(), place.read(&name)), (&first.out, "", whole));
}

/// Whoever loads the model says so: the processes of a benchmark through the one that started them.
#[test]
fn damaged_ones_are_told_by_benchmarks_too() {
    let place = place();
    embed(&place).success();
    let path = kept(&place).remove(0);
    let name = path.strip_prefix(place.path("")).unwrap().to_str().unwrap().to_owned();
    let bench =
        ["bench", "--model", "./model", "--runtime", "onnx", "--precision", "int8", "--rounds", "1", "--threads", "1", "--queries", "5"];
    let bench: Vec<&str> = bench.into_iter().chain(["--corpus", "texts.txt"]).collect();
    for arguments in [bench, vec!["calibrate", "--model", "./model", "--precision", "int8"], vec!["parity", "--model", "./model"]] {
        place.tamper(&name);
        let ran = place.run_with(arguments, &[("PATINA_CACHE_DIR", "cache")], "");
        assert_eq!(ran.err.matches("onnx-int8-v1.safetensors are damaged and are made anew").count(), 1, "{ran}");
    }
}

#[test]
fn where_nothing_can_be_kept_they_are_made_each_time() {
    let place = place();
    place.write("cache/derived", "a file in the way of the folder");
    let ran = embed(&place);
    assert_eq!((ran.code, ran.vectors().len(), ran.err.as_str()), (0, 3, ""), "{ran}");
    assert_eq!(place.read("cache/derived"), b"a file in the way of the folder");
    std::fs::remove_file(place.path("cache/derived")).unwrap();
    assert_eq!(embed(&place).out, ran.out);
    // Another precision derives nothing.
    std::fs::remove_dir_all(place.path("cache/derived")).unwrap();
    place.run_with(["embed", "--model", "./model", "--input", "texts.txt"], &[("PATINA_CACHE_DIR", "cache")], "").success();
    assert!(!place.path("cache/derived").exists());
}

#[test]
fn two_at_once_are_fine() {
    let place = place();
    let start = || {
        let mut command = place.command(EMBED);
        command.env("PATINA_CACHE_DIR", "cache").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let running = [start(), start(), start()];
    let ran = running.map(|child| place.ran(child.wait_with_output().unwrap()));
    assert!(ran.iter().all(|ran| ran.code == 0 && ran.err.is_empty() && ran.out == ran_of(&place)), "{} {} {}", ran[0], ran[1], ran[2]);
    assert_eq!((kept(&place).len(), place.left_behind()), (1, Vec::<PathBuf>::new()));
}

/// What a run by itself gives.
fn ran_of(place: &Place) -> Vec<u8> {
    let ran = embed(place);
    ran.success();
    ran.out
}

/// A folder whose model is another one now leaves nothing of the former behind.
#[test]
fn what_was_derived_from_a_former_model_is_removed() {
    let place = place();
    embed(&place).success();
    let former = kept(&place).remove(0);
    let name = "model/model.safetensors";
    let mut bytes = place.read(name);
    // The last bits of the last weight.
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    place.write(name, bytes);
    embed(&place).success();
    let [now] = &kept(&place)[..] else { panic!("one file is kept: {:?}", kept(&place)) };
    assert!(*now != former && !former.exists());
}
