//! Configs with every value replaced by what does not belong there, for tests: whatever stands there comes to an error or a model.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Load;
use crate::engine::TokenBatch;
use crate::model::Model;

/// One case of so many is loaded: a runtime takes its time for each, and the neighbours of a case are its like.
const SAMPLE: u32 = 40;
/// The longest that any case may take.
const TIME: Duration = Duration::from_secs(2);

/// Opens every golden model with every value of its configs replaced, and embeds two rows with a sample of those that are still models: an
/// error or finite vectors within two seconds. A runtime that ends the process fails whoever calls this.
pub fn run(golden: &Path, load: Load<'_>) {
    let (mut models, mut loaded, mut embedded) = (0u32, 0u32, 0u32);
    for golden in folders(golden) {
        let place = tempfile::tempdir().expect("a folder");
        let name = golden.file_name().expect("a name").to_string_lossy().into_owned();
        for file in copy(&golden, place.path()) {
            let text = fs::read(&file).expect("read");
            let whole: Value = serde_json::from_slice(&text).expect("JSON");
            for value in values().iter().map(Some).chain([None]) {
                replaced(&whole, value, &mut |changed, path| {
                    // What changes nothing is the golden test's matter.
                    if *changed == whole {
                        return;
                    }
                    fs::write(&file, changed.to_string()).expect("write");
                    let Ok(model) = Model::open(place.path()) else { return };
                    models += 1;
                    if !models.is_multiple_of(SAMPLE) {
                        return;
                    }
                    let begun = Instant::now();
                    loaded += 1;
                    let longest = model.max_tokens().min(5);
                    let batch = TokenBatch::from_rows([&[1u32, 2, 3, 1, 2][..longest], &[1]]);
                    let vectors = load(Arc::new(model)).and_then(|mut engine| engine.embed(&batch));
                    let case = format!("{name}: {path} = {:.60}", value.map_or("nothing".to_owned(), Value::to_string));
                    assert!(begun.elapsed() < TIME, "{case} takes {:?}", begun.elapsed());
                    if let Ok(vectors) = vectors {
                        embedded += 1;
                        assert!(vectors.rows() == 2 && vectors.values().iter().all(|value| value.is_finite()), "{case}");
                    }
                });
            }
            fs::write(&file, text).expect("write");
        }
    }
    assert!(loaded > 60 && embedded > loaded / 2, "{embedded} of {loaded} models gave vectors");
}

/// The golden models.
pub fn folders(golden: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(golden).expect("golden models").map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.join("modules.json").exists()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "{} holds no model", golden.display());
    folders
}

/// A folder with the same files, whose configs can be replaced, and their paths; the weights are linked.
pub fn copy(from: &Path, to: &Path) -> Vec<PathBuf> {
    let mut configs = Vec::new();
    copy_folder(from, to, &mut configs);
    configs.sort();
    configs
}

fn copy_folder(from: &Path, to: &Path, configs: &mut Vec<PathBuf>) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target, configs);
        } else if path.extension().is_some_and(|kind| kind == "safetensors") {
            fs::hard_link(&path, &target).or_else(|_| fs::copy(&path, &target).map(|_| ())).expect("a link");
        } else {
            fs::copy(&path, &target).expect("a copy");
            if target.file_name().is_some_and(|name| name == "config.json" || name == "modules.json") {
                configs.push(target);
            }
        }
    }
}

/// What does not belong anywhere, or is as great or as small as can be written.
pub fn values() -> Vec<Value> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    vec![
        json!(0),
        json!(1),
        json!(2),
        json!(7),
        json!(1u64 << 16),
        json!(1u64 << 31),
        json!((1u64 << 31) - 1),
        json!(1u64 << 53),
        json!(i64::MAX),
        json!(1u64 << 63),
        json!(u64::MAX),
        json!(-1),
        json!(i64::MIN),
        json!(1.5),
        json!(0.0),
        json!(-0.5),
        json!(1e300),
        json!(1e-300),
        json!(1e39),
        json!(null),
        json!(true),
        json!(false),
        json!("x"),
        json!(""),
        json!("../x"),
        json!("\0"),
        json!("x".repeat(100_000)),
        json!([]),
        json!([1, 2]),
        json!(["full_attention"]),
        json!(vec!["sliding_attention"; 5000]),
        json!({}),
        json!({"full_attention": {"rope_theta": -1}}),
        json!({"rope_theta": "x", "rope_type": 3}),
        deep,
    ]
}

/// Calls `visit` with every value of `whole` replaced by `with`, or left out where there is none.
pub fn replaced(whole: &Value, with: Option<&Value>, visit: &mut dyn FnMut(&Value, &str)) {
    let mut paths = Vec::new();
    collect(whole, String::new(), &mut paths);
    for path in paths {
        let mut changed = whole.clone();
        match with {
            Some(value) => *changed.pointer_mut(&path).expect("a place") = value.clone(),
            None => {
                let (parent, key) = path.rsplit_once('/').unwrap_or_default();
                match changed.pointer_mut(parent).expect("a place above") {
                    Value::Object(map) => drop(map.remove(key)),
                    Value::Array(list) => drop(list.remove(key.parse::<usize>().expect("a number"))),
                    _ => continue,
                }
            }
        }
        visit(&changed, &path);
    }
}

fn collect(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| collect(inner, format!("{path}/{key}"), paths)),
        // The lists are of layers or modules: the first few stand for all.
        Value::Array(list) => list.iter().enumerate().take(4).for_each(|(at, inner)| collect(inner, format!("{path}/{at}"), paths)),
        _ => {}
    }
    if !path.is_empty() {
        paths.push(path);
    }
}
