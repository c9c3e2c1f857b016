//! Every golden model with every value of its JSON files replaced by what does not belong there: an error or a model, at once, in little
//! memory, and never a panic.

#![cfg(feature = "conformance")]
#![allow(clippy::disallowed_methods)] // Tests write their inputs as they like.
#![allow(unsafe_code)] // An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use patina_backend::conformance::hostile::{copy, folders, replaced, values};
use patina_backend::{Activation, Attention, Averaging, Bias, LayerNorm, Linear, Model, Ops, Param, Result, RmsNorm, Token};
use serde_json::{Map, Value, json};

/// The most memory that any case may take at once beyond what was taken before it; the longest file has a few hundred kilobytes.
const MEMORY: isize = 16 << 20;
/// The longest that any case may take.
const TIME: Duration = Duration::from_secs(2);

thread_local! {
    /// Bytes that this thread holds, and the most that it held.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(bytes: isize) {
    // A thread that ends has no counter any more.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are held while it moves.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A runtime that computes nothing: the forward pass is gone through once.
struct Nothing;

impl Ops for Nothing {
    type Tensor = ();

    fn token_embedding(&mut self, _: &Param, _: Option<&[u32]>) -> Result<()> {
        Ok(())
    }
    fn token_weights(&mut self, _: &(), _: &Param) -> Result<()> {
        Ok(())
    }
    fn position_embedding(&mut self, _: &Param, _: usize) -> Result<()> {
        Ok(())
    }
    fn segment_embedding(&mut self, _: &Param) -> Result<()> {
        Ok(())
    }
    fn add(&mut self, _: &(), _: &()) -> Result<()> {
        Ok(())
    }
    fn add_row(&mut self, _: &(), _: &Param, _: usize) -> Result<()> {
        Ok(())
    }
    fn multiply(&mut self, _: &(), _: &()) -> Result<()> {
        Ok(())
    }
    fn scale(&mut self, _: &(), _: f32) -> Result<()> {
        Ok(())
    }
    fn columns(&mut self, _: &(), _: usize, _: usize) -> Result<()> {
        Ok(())
    }
    fn concat(&mut self, _: &[()]) -> Result<()> {
        Ok(())
    }
    fn linear(&mut self, _: &(), _: &Linear) -> Result<()> {
        Ok(())
    }
    fn layer_norm(&mut self, _: &(), _: Option<&()>, _: &LayerNorm) -> Result<()> {
        Ok(())
    }
    fn rms_norm(&mut self, _: &(), _: &RmsNorm) -> Result<()> {
        Ok(())
    }
    fn activation(&mut self, _: &(), _: Activation) -> Result<()> {
        Ok(())
    }
    fn attention_bias(&mut self, _: &Bias, _: usize) -> Result<()> {
        Ok(())
    }
    fn attention(&mut self, _: &(), _: &(), _: &(), attention: &Attention, _: Option<&()>, _: Option<Token>) -> Result<()> {
        // What a runtime asks for each pair of places.
        for distance in [i64::MIN, -1, 0, 1, i64::MAX] {
            attention.reach.sees(distance);
        }
        Ok(())
    }
    fn take(&mut self, _: &(), _: Token) -> Result<()> {
        Ok(())
    }
    fn single(&mut self, _: &()) -> Result<()> {
        Ok(())
    }
    fn average(&mut self, _: &(), _: Averaging) -> Result<()> {
        Ok(())
    }
    fn max(&mut self, _: &()) -> Result<()> {
        Ok(())
    }
    fn normalize(&mut self, _: &()) -> Result<()> {
        Ok(())
    }
}

fn golden_folders() -> Vec<PathBuf> {
    let folders = folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden"));
    assert!(folders.len() > 30, "{} golden models", folders.len());
    folders
}

/// Opens the folder and goes through its forward pass; whether there is one.
fn open(folder: &Path, case: &dyn Fn() -> String) -> bool {
    let begun = Instant::now();
    let before = HELD.with(|held| {
        let (now, _) = held.get();
        held.set((now, now));
        now
    });
    let result = catch_unwind(AssertUnwindSafe(|| {
        let model = Model::open(folder)?;
        assert!(model.dimensions() > 0 && (1..=1 << 16).contains(&model.max_tokens()));
        model.forward(&mut Nothing)
    }));
    let memory = HELD.with(|held| held.get().1) - before;
    let result = result.unwrap_or_else(|_| panic!("{} panics", case()));
    assert!(begun.elapsed() < TIME, "{} takes {:?}", case(), begun.elapsed());
    assert!(memory < MEMORY, "{} takes {memory} bytes", case());
    if let Err(error) = &result {
        assert!(!error.message().is_empty() && error.message().len() < 4096, "{}: {} bytes of message", case(), error.message().len());
    }
    result.is_ok()
}

#[test]
fn whatever_a_config_says_is_an_error_or_a_model() {
    let (mut cases, mut models) = (0u32, 0u32);
    for golden in golden_folders() {
        let place = tempfile::tempdir().expect("a folder");
        let files = copy(&golden, place.path());
        let name = golden.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(open(place.path(), &|| name.clone()), "{name} as it is");
        for file in files {
            let text = std::fs::read(&file).expect("read");
            let whole: Value = serde_json::from_slice(&text).expect("JSON");
            let short = file.strip_prefix(place.path()).expect("inside").display().to_string();
            for value in values().iter().map(Some).chain([None]) {
                replaced(&whole, value, &mut |changed, path| {
                    std::fs::write(&file, changed.to_string()).expect("write");
                    let shown = value.map_or("nothing".to_owned(), |value| value.to_string().chars().take(60).collect());
                    cases += 1;
                    models += u32::from(open(place.path(), &|| format!("{name}/{short}: {path} = {shown}")));
                });
            }
            // What no value can say.
            for raw in
                ["", "{", "null", "NaN", "[]", "3", "{\"a\": NaN}", "{\"hidden_size\": 1e999}", "\u{feff}{}", "{\"model_type\": \"bert\"}"]
            {
                std::fs::write(&file, raw).expect("write");
                cases += 1;
                open(place.path(), &|| format!("{name}/{short}: {raw}"));
            }
            std::fs::write(&file, "[".repeat(1 << 20)).expect("write");
            let is_model = open(place.path(), &|| format!("{name}/{short}: deep nesting"));
            // A static model has no use for its config, and a norm none for its own.
            let unread = name.starts_with("static") && short == "config.json" || short.contains("Normalize");
            assert!(!is_model || unread, "{name}/{short}");
            std::fs::write(&file, text).expect("write");
        }
    }
    // Most changes are errors, and those that change nothing that counts are none.
    assert!(cases > 20_000 && models > cases / 20 && models < cases / 2 + cases / 4, "{models} models of {cases} cases");
}

#[test]
fn two_changes_at_once_are_an_error_or_a_model() {
    // Numerical Recipes' generator: the same cases every time.
    let mut state = 20_261_125u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let values = values();
    for golden in golden_folders() {
        let place = tempfile::tempdir().expect("a folder");
        let files = copy(&golden, place.path());
        let Some(file) = files.iter().find(|file| file.ends_with("config.json") && file.parent() == Some(place.path())) else { continue };
        let whole: Map<String, Value> = serde_json::from_slice(&std::fs::read(file).expect("read")).expect("an object");
        let keys: Vec<&String> = whole.keys().collect();
        for _ in 0..300 {
            let mut changed = whole.clone();
            for _ in 0..2 {
                changed.insert(keys[random(keys.len())].clone(), values[random(values.len())].clone());
            }
            std::fs::write(file, Value::Object(changed.clone()).to_string()).expect("write");
            open(place.path(), &|| format!("{}: {changed:?}", golden.display()).chars().take(2000).collect());
        }
    }
}

#[test]
fn as_many_modules_as_a_file_may_name_are_refused_or_read_at_once() {
    let golden = golden_folders().into_iter().find(|path| path.ends_with("bert-mean-dense-labse")).expect("a model with a dense head");
    let place = tempfile::tempdir().expect("a folder");
    copy(&golden, place.path());
    let first: Vec<Value> = serde_json::from_slice(&std::fs::read(place.path().join("modules.json")).expect("read")).expect("a list");
    let dense = first.iter().find(|module| module["path"] == "2_Dense").expect("the head").clone();
    for (name, more) in [
        ("norms", json!({"idx": 9, "name": "9", "path": "", "type": "Normalize"})),
        // Each is the same folder again, by another name.
        ("heads", json!({"idx": 9, "name": "9", "path": "2_Dense/.", "type": "Dense"})),
        ("heads", dense),
        ("transformers", json!({"idx": 9, "name": "9", "path": "", "type": "Transformer"})),
    ] {
        for count in [1, 2000, 100_000] {
            let modules: Vec<&Value> = first.iter().chain(std::iter::repeat_n(&more, count)).collect();
            std::fs::write(place.path().join("modules.json"), serde_json::to_string(&modules).expect("JSON")).expect("write");
            open(place.path(), &|| format!("{count} {name}"));
        }
    }
}
