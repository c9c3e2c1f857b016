//! `runtime: measured` and `patina calibrate`: measured once, recorded, and never taken from another machine.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Place, Ran};

const RECIPE: &str = ".patina/oxidize.yaml";
const LOCK: &str = ".patina/oxidize.lock";

/// A project whose runtime is measured, with a cache of its own: the shared one knows nothing of these tests.
struct Project {
    place: Place,
    library: String,
}

impl Project {
    fn new() -> Project {
        let place = Place::tiny_project();
        let doctor = place.run(["doctor", "--json"]).json();
        let library = doctor["libraries"].as_array().unwrap().iter().find(|library| library["used"] == true).unwrap();
        let library = library["path"].as_str().unwrap().to_owned();
        place.write(RECIPE, "version: 1\nembedding_model: ./model/\nruntime: measured\n");
        let project = Project { place, library };
        project.run(["scrape"]).success();
        project
    }

    fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        self.place.run_with(arguments, &[("PATINA_CACHE_DIR", "cache"), ("ORT_DYLIB_PATH", &self.library)], "")
    }

    /// A run for which ONNX Runtime is nowhere.
    fn without_onnx<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        let variables = [("PATINA_CACHE_DIR", "cache"), ("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")];
        self.place.run_with(arguments, &variables, "")
    }

    /// The records of the cache.
    fn records(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.place.path("cache/calibration")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
    }

    fn lock(&self) -> Value {
        serde_json::from_slice(&self.place.read(LOCK)).unwrap()
    }

    /// Changes the lockfile.
    fn edit_lock(&self, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut lock = self.lock();
        change(&mut lock);
        let mut bytes = serde_json::to_vec_pretty(&lock).unwrap();
        bytes.push(b'\n');
        self.place.write(LOCK, &bytes);
        bytes
    }
}

#[test]
fn the_first_run_measures_and_the_second_does_not() {
    let project = Project::new();
    let status = project.run(["status", "--json"]).json();
    assert!(status["runtime"]["reason"].as_str().unwrap().starts_with("not measured on this machine: `patina oxidize`"), "{status}");
    assert_eq!(status["runtime"].get("measured"), None);
    assert_eq!(project.records(), Vec::<PathBuf>::new());

    let first = project.run(["oxidize"]);
    first.success();
    assert!(first.err.contains("measuring runtimes, token budgets and threads"), "{first}");
    assert!(first.text().contains("ONNX Runtime (") && first.text().contains("measured on this machine: "), "{first}");
    assert!(!first.err.contains("measured on this machine: "), "it is told once: {first}");
    let [record] = &project.records()[..] else { panic!("one record") };
    let recorded = std::fs::read(record).unwrap();

    // The lockfile has what was measured, on which machine, and what was chosen.
    let lock = project.lock();
    let pins = &lock["calibration"];
    assert_eq!(pins["measured"], serde_json::from_slice::<Value>(&recorded).unwrap());
    assert_eq!((&pins["measured"]["machine"], &pins["measured"]["model"]), (&lock["made"]["machine"], &lock["model"]["identity"]));
    assert_eq!((&pins["measured"]["texts"], &pins["chosen"]["runtime"]), (&json!("the project's"), &lock["runtime"]["name"]));
    let comparisons = pins["measured"]["comparisons"].as_array().unwrap();
    assert!(!comparisons.is_empty(), "{pins}");
    for row in comparisons.iter().flat_map(|comparison| comparison["rows"].as_array().unwrap()) {
        let rates = row["tokens_per_second"].as_array().unwrap();
        assert!(rates.iter().all(|rate| rate.as_u64().unwrap() > 0), "{row}");
    }

    let pinned = project.place.read(LOCK);
    let second = project.run(["oxidize"]);
    second.success();
    assert!(!second.err.contains("measuring"), "{second}");
    let report = project.run(["oxidize", "--json"]).json();
    assert_eq!((&report["embedded"], &report["index"], &report["lockfile"]), (&json!(0), &json!("up to date"), &json!("held")));
    assert_eq!(report["runtime"]["measured"], pins["chosen"]);
    assert_eq!((&report["threads"], &report["token_budget"]), (&pins["chosen"]["threads"], &pins["chosen"]["token_budget"]));
    assert_eq!((project.place.read(LOCK), std::fs::read(record).unwrap()), (pinned, recorded));

    // Every command says what was chosen and why.
    for command in ["status", "doctor"] {
        let text = project.run([command]).success().text();
        assert!(text.contains("measured on this machine: "), "{command}: {text}");
    }
    assert!(project.run(["scry", "the cache"]).success().text().contains("cache.md"));
    project.run(["lock", "--check"]).success();
    project.run(["oxidize", "--locked"]).success();
    // What is said is stronger than what was measured, and changes no pin.
    let asked = project.run(["oxidize", "--threads", "1", "--token-budget", "77", "--json"]).json();
    assert_eq!((&asked["threads"], &asked["token_budget"], &asked["lockfile"]), (&json!(1), &json!(77), &json!("held")));
}

#[test]
fn another_machine_measures_for_itself_and_leaves_the_lockfile_alone() {
    let project = Project::new();
    project.run(["oxidize"]).success();
    let theirs = project.edit_lock(|lock| {
        let machine = json!({"os": "plan9", "arch": "mips", "cpu": "another", "threads": 99, "instruction_set": []});
        lock["calibration"]["measured"]["machine"] = machine.clone();
        lock["made"]["machine"] = machine;
        lock["calibration"]["chosen"] = json!({"runtime": "onnx", "threads": 99, "token_budget": 9});
    });
    // Nothing was measured here: their record is none.
    std::fs::remove_dir_all(project.place.path("cache/calibration")).unwrap();
    let status = project.run(["status", "--json"]).json();
    assert_eq!(status["runtime"].get("measured"), None, "{status}");
    assert_ne!(status["threads"], 99);
    let ran = project.run(["oxidize", "--locked"]);
    assert!(ran.success().err.contains("measuring"), "{ran}");
    let report = project.run(["oxidize", "--json"]).json();
    assert_eq!((&report["lockfile"], &report["embedded"]), (&json!("held"), &json!(0)));
    assert_ne!(report["threads"], 99);
    assert_eq!(project.place.read(LOCK), theirs);
    assert_eq!(project.records().len(), 1);
    let check = project.run(["lock", "--check", "--json"]).json();
    assert_eq!(check["holds"], true);
    let told: Vec<&str> = check["differences"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert!(told.contains(&"calibration.chosen"), "{told:?}");
}

#[test]
fn a_lockfile_of_this_machine_stands_in_for_a_lost_record() {
    let project = Project::new();
    project.run(["oxidize"]).success();
    let chosen = project.lock()["calibration"]["chosen"].clone();
    std::fs::remove_dir_all(project.place.path("cache/calibration")).unwrap();
    let ran = project.run(["oxidize"]);
    assert!(!ran.success().err.contains("measuring"), "{ran}");
    assert_eq!(project.run(["status", "--json"]).json()["runtime"]["measured"], chosen);
    // Of another model it says nothing.
    project.edit_lock(|lock| lock["calibration"]["measured"]["model"] = json!("0".repeat(64)));
    assert_eq!(project.run(["status", "--json"]).json()["runtime"].get("measured"), None);
}

#[test]
fn a_damaged_record_is_measured_anew() {
    let project = Project::new();
    project.run(["oxidize"]).success();
    let record = project.records().remove(0);
    std::fs::remove_file(project.place.path(LOCK)).unwrap();
    let good = std::fs::read(&record).unwrap();
    for damaged in [&good[..good.len() / 2], b"[]", b""] {
        std::fs::write(&record, damaged).unwrap();
        let status = project.run(["status"]).success().text();
        assert!(status.contains("the calibration is damaged"), "{status}");
        let ran = project.run(["oxidize"]);
        assert!(ran.success().err.contains("the calibration is damaged") && ran.err.contains("measuring"), "{ran}");
        assert!(std::fs::read(&record).unwrap().len() > 100);
        std::fs::remove_file(project.place.path(LOCK)).unwrap();
    }
}

#[test]
fn measured_anew_when_asked_and_told_as_json() {
    let project = Project::new();
    let calibrated = project.run(["calibrate", "--json"]).json();
    assert_eq!(calibrated["applies"], true);
    assert_eq!(calibrated["choice"]["runtime"], "onnx");
    let [record] = &project.records()[..] else { panic!("one record") };
    assert!(calibrated["kept"].as_str().unwrap().ends_with(record.file_name().unwrap().to_str().unwrap()), "{calibrated}");
    let first = std::fs::read(record).unwrap();
    assert_eq!(calibrated["measured"], serde_json::from_slice::<Value>(&first).unwrap());
    let ran = project.run(["oxidize"]);
    assert!(!ran.success().err.contains("measuring"), "{ran}");

    // Asked again it measures again, and the next run records that.
    let again = project.run(["calibrate"]);
    let text = again.success().text();
    for expected in ["tokens/s (", "chosen: ONNX Runtime (", "kept in ", "records it in the lockfile"] {
        assert!(text.contains(expected), "{expected}: {again}");
    }
    let second = std::fs::read(record).unwrap();
    assert_ne!(first, second);
    assert_eq!(project.run(["oxidize", "--json"]).json()["lockfile"], "written");
    assert_eq!(project.lock()["calibration"]["measured"], serde_json::from_slice::<Value>(&second).unwrap());

    // A recipe that does not ask for it is told so; a model without a project too.
    project.place.write(RECIPE, "version: 1\nembedding_model: ./model/\n");
    let text = project.run(["calibrate"]).success().text();
    assert!(text.contains("the recipe does not ask for it"), "{text}");
    let text = project.run(["calibrate", "--model", "./model/"]).success().text();
    assert!(text.contains("`--runtime measured` uses it"), "{text}");
    project.run(["embed", "--model", "./model/", "--runtime", "measured"]).success();
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let project = Project::new();
    // int8 is ONNX Runtime's alone: no other runtime is measured in its place.
    let ran = project.without_onnx(["calibrate", "--precision", "int8"]);
    snap!(ran, @r#"
    exit 2
    --- stderr
    error: /nowhere/[LIBRARY]: ORT_DYLIB_PATH names no library of ONNX Runtime: it cannot be read: No such file or directory (os error 2)
    hint: correct ORT_DYLIB_PATH, or unset it and run `patina runtime install`
    "#);
    if cfg!(not(backend_mlx)) {
        assert_eq!(project.without_onnx(["calibrate"]).to_string(), ran.to_string());
    }
    assert_eq!(project.records(), Vec::<PathBuf>::new());
    assert_eq!(project.run(["calibrate", "--precision", "q3"]).code, 2);
    std::fs::remove_file(project.place.path("model/tokenizer.json")).unwrap();
    let ran = project.run(["calibrate"]);
    assert!(ran.exit(2).err.contains("the model has no tokenizer.json"), "{ran}");
    assert_eq!(project.place.left_behind(), Vec::<PathBuf>::new());
}

/// A runtime that cannot be opened is told and not chosen, where another one can be measured.
#[cfg(backend_mlx)]
#[test]
fn a_runtime_that_fails_leaves_the_other() {
    let project = Project::new();
    let ran = project.without_onnx(["calibrate", "--json"]);
    let calibrated = ran.json();
    assert_eq!(calibrated["choice"]["runtime"], "mlx", "{ran}");
    assert_eq!(project.records().len(), 1);
    let rows = calibrated["measured"]["comparisons"][0]["rows"].as_array().unwrap();
    let onnx = rows.iter().find(|row| row["setting"]["runtime"] == "onnx").unwrap();
    assert!(onnx["problem"].as_str().unwrap().contains("ORT_DYLIB_PATH names no library of ONNX Runtime"), "{ran}");
    let text = project.without_onnx(["oxidize"]).success().text();
    assert!(text.contains("MLX (") && text.contains("measured on this machine: "), "{text}");
    assert_eq!(project.lock()["runtime"]["name"], "mlx");
}

/// Ctrl-C while it measures: nothing is kept, nothing is left, and the next run measures.
#[cfg(unix)]
#[test]
fn an_interrupted_measurement_keeps_nothing() {
    use std::process::Stdio;
    let project = Project::new();
    let mut command = project.place.command(["oxidize"]);
    command.env("PATINA_CACHE_DIR", "cache").env("ORT_DYLIB_PATH", &project.library);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let begun = std::time::Instant::now();
    // The lock of those that measure is there just before the first run.
    while !project.place.path("cache/calibration/lock").exists() {
        assert!(begun.elapsed().as_secs() < 60, "it never measured");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ran = project.place.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{ran}");
    assert_eq!(project.records(), Vec::<PathBuf>::new());
    assert_eq!(project.place.left_behind(), Vec::<PathBuf>::new());
    assert!(!project.place.path(LOCK).exists());
    assert!(project.run(["oxidize"]).success().err.contains("measuring"));
}
