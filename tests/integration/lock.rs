//! The lockfile: who writes it, that the same state gives the same bytes, and what `--locked` refuses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Place, Ran, tiny_model};
use crate::hub_server::sha256;
use crate::projections;

const LOCK: &str = ".patina/oxidize.lock";
const INDEX: &str = ".patina/data/embeddings/model/base.usearch";
const PROJECTION: &str = ".patina/data/embeddings/model/projections/semantic.safetensors";
const RECIPE: &str = ".patina/oxidize.yaml";

/// A project with a projection that is published whatever the gate says.
fn projected() -> Place {
    let place = projections::oxidized("    gate: off\n");
    assert!(place.path(PROJECTION).exists());
    place
}

fn lock(place: &Place) -> Value {
    serde_json::from_slice(&place.read(LOCK)).unwrap()
}

/// Changes the lockfile by hand.
fn edit(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut value = lock(place);
    change(&mut value);
    place.write(LOCK, value.to_string());
}

/// The bytes of everything in `.patina` but the lock that a process holds, and what SQLite keeps beside its file.
fn contents(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(folder: &Path, out: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                walk(&path, out);
            } else if name != "lock" && !name.ends_with("-wal") && !name.ends_with("-shm") {
                out.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(&place.path(".patina"), &mut out);
    out
}

/// Fails unless everything is as it was before. A command that read an index may have kept its stamp, once the file had not been written
/// for two seconds: that one must be of the bytes that are there.
fn is_unchanged(place: &Place, before: &BTreeMap<PathBuf, Vec<u8>>, what: &str) {
    let after = contents(place);
    let is_true_stamp = |path: &Path| {
        let Some(bytes) = after.get(path).filter(|_| path.extension().is_some_and(|end| end == "stamp")) else { return false };
        serde_json::from_slice::<Value>(bytes).unwrap()["sha256"] == sha256(&after[&path.with_extension("usearch")])
    };
    let paths = before.keys().chain(after.keys());
    let changed: Vec<&PathBuf> = paths.filter(|path| before.get(*path) != after.get(*path) && !is_true_stamp(path)).collect();
    assert!(changed.is_empty(), "{what}: {changed:?}");
}

/// The commands that hold a project to its lockfile.
const LOCKED: [&[&str]; 4] = [
    &["oxidize", "--locked"],
    &["scry", "--locked", "the cache"],
    &["scry", "--locked", "--mode", "lexical", "cache"],
    &["lock", "--check"],
];

fn holds(place: &Place) {
    for command in LOCKED {
        place.run(command.iter().copied()).success();
    }
    place.run(["scrape", "--locked"]).success();
}

/// Every command refuses with 3, names the field, and changes nothing.
fn refused(place: &Place, field: &str) {
    let before = contents(place);
    for command in LOCKED {
        let ran = place.run(command.iter().copied());
        assert!(ran.exit(3).err.contains(&format!("{field} is not what the lockfile pins: expected ")), "{command:?} {field}: {ran}");
        assert!(ran.err.contains(", found ") && ran.err.contains("hint: "), "{command:?}: {ran}");
    }
    is_unchanged(place, &before, field);
}

/// A copy of a project as git would bring it: without what is made.
fn cloned(place: &Place) -> Place {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            match entry.path().is_dir() {
                true if entry.file_name() == "data" => {}
                true => copy(&entry.path(), &to.join(entry.file_name())),
                false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
            }
        }
    }
    let clone = Place::new();
    copy(&place.path(""), &clone.path(""));
    clone
}

#[test]
fn oxidize_writes_it_and_the_same_state_is_the_same_bytes() {
    let place = projected();
    let bytes = place.read(LOCK);
    assert_eq!(place.run(["oxidize", "--json"]).json()["lockfile"], "held");
    assert_eq!(place.read(LOCK), bytes);
    place.run(["lock"]).success();
    assert_eq!(place.read(LOCK), bytes, "what is pinned anew is what was pinned");
    holds(&place);
    assert_eq!(place.left_behind(), Vec::<PathBuf>::new());
    // Another folder, another time. An index of so many vectors is linked by several threads, each time in another way; all else is equal.
    let other = projected();
    let unlinked = |place: &Place| {
        let mut value = lock(place);
        for index in ["/made/index/sha256", "/made/projections/0/index/sha256"] {
            *value.pointer_mut(index).unwrap() = Value::Null;
        }
        value
    };
    assert_eq!(unlinked(&other), unlinked(&place));
    other.write(LOCK, bytes);
    holds(&other);
    // A few vectors are one thread's work: the same bytes.
    let few = || String::from_utf8(Place::tiny_oxidized().read(LOCK)).unwrap();
    assert_eq!(few(), few());
}

#[test]
fn it_says_what_decides_the_results() {
    let place = projected();
    let lock = lock(&place);
    let sha256 = |path: &str| {
        let out = std::process::Command::new("sha256sum").arg(place.path(path)).output().unwrap();
        String::from_utf8(out.stdout).unwrap()[..64].to_owned()
    };
    assert_eq!((&lock["version"], &lock["model"]["pooling"], &lock["model"]["dimensions"]), (&json!(2), &json!("mean"), &json!(64)));
    assert_eq!((&lock["model"]["max_tokens"], &lock["model"]["query_prompt"]), (&json!(128), &json!("")));
    for file in lock["model"]["files"].as_array().unwrap() {
        let path = format!("model/{}", file["path"].as_str().unwrap());
        assert_eq!(file["sha256"], sha256(&path), "{path}");
        assert_eq!(file["size"], place.read(&path).len());
    }
    assert_eq!(lock["model"]["files"].as_array().unwrap().len(), 5);
    assert_eq!((&lock["runtime"]["name"], &lock["runtime"]["precision"]), (&json!("onnx"), &json!("f32")));
    assert_eq!(lock["seeds"], json!([{"projection": "semantic", "seed": 42}]));
    let made = &lock["made"];
    assert_eq!((&made["index"]["sha256"], &made["index"]["bytes"]), (&json!(sha256(INDEX)), &json!(place.read(INDEX).len())));
    let projection = &made["projections"][0];
    assert_eq!((&projection["published"], &projection["sha256"]), (&json!(true), &json!(sha256(PROJECTION))));
    assert_eq!(projection["index"]["sha256"], sha256(&PROJECTION.replace(".safetensors", ".usearch")));
    let verdict: Value = serde_json::from_slice(&place.read(&PROJECTION.replace(".safetensors", ".verdict.json"))).unwrap();
    assert_eq!(projection["metrics"]["ndcg"], verdict["verdict"]["projection"]["ndcg"]["mean"]);
    assert_eq!(made["machine"]["arch"], std::env::consts::ARCH);
    for version in ["tokenizers", "ort", "usearch", "sqlite", "patina"] {
        let version = lock["versions"][version].as_str().unwrap();
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
    }
    // Nothing in it is a path or a time of this machine.
    let text = String::from_utf8(place.read(LOCK)).unwrap();
    assert!(!text.contains(&*place.path("").to_string_lossy()), "{text}");
}

#[test]
fn any_byte_of_the_model() {
    let place = Place::tiny_oxidized();
    holds(&place);
    let files: Vec<String> =
        lock(&place)["model"]["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap().to_owned()).collect();
    assert!(files.iter().any(|file| file == "tokenizer.json"));
    for file in &files {
        let path = format!("model/{file}");
        let good = place.read(&path);
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            place.write(&path, bytes);
            let ran = place.run(["oxidize", "--locked"]);
            // The list of modules says which files there are: one that does not parse is told as such.
            let told = ran.err.contains(&format!("model.files.{file}.sha256 is not what the lockfile pins"));
            assert!(ran.exit(3).err.contains("model/") || told, "{file} {at}: {ran}");
            assert!(told || file == "modules.json" || file.contains("1_Pooling"), "{file} {at}: {ran}");
            place.run(["scry", "--locked", "cache"]).exit(3);
        }
        place.write(&path, good);
    }
    holds(&place);
    std::fs::remove_file(place.path("model/tokenizer.json")).unwrap();
    refused(&place, "model.files.tokenizer.json");
}

#[test]
fn a_file_that_is_new_in_the_model() {
    let place = Place::tiny_oxidized();
    place.write("model/config_sentence_transformers.json", "{\"prompts\": {\"query\": \"find: \"}}");
    snap!(place.run(["oxidize", "--locked"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/oxidize.lock: model.files.config_sentence_transformers.json is not what the lockfile pins: expected no such file, found [SHA-256]
    hint: put back what was pinned, or accept what is here with `patina lock`; `patina lock --check` names every field
    "#);
    refused(&place, "model.files.config_sentence_transformers.json");
}

#[test]
fn any_value_of_the_recipe() {
    let place = projected();
    let good = String::from_utf8(place.read(RECIPE)).unwrap();
    for (line, field) in [
        ("max_tokens: 100\n", "model.max_tokens"),
        ("prompts: {query: 'q: '}\n", "model.query_prompt"),
        ("prompts: {document: 'd: '}\n", "model.document_prompt"),
        ("scrape: {max_file_bytes: 5000}\n", "recipe.sha256"),
        ("runtime: {macos: mlx}\n", "recipe.sha256"),
        ("token_budget: 512\n", "recipe.sha256"),
    ] {
        place.write(RECIPE, format!("{good}{line}"));
        refused(&place, field);
    }
    for (value, other) in [
        ("epochs: 3", "epochs: 4"),
        ("layers: [32]", "layers: [16]"),
        ("gate: off", "gate: on"),
        ("gate: off", "gate: off\n    seed: 7"),
        ("semantic:", "other:"),
    ] {
        assert!(good.contains(value));
        place.write(RECIPE, good.replace(value, other));
        refused(&place, "recipe.sha256");
    }
    // What means the same is the same.
    place.write(RECIPE, format!("# A comment.\n{good}threads: 1\nprecision: f32\n"));
    holds(&place);
    // A budget of this run alone is no part of what is pinned, and nothing is embedded anew for it.
    let again = place.run(["oxidize", "--locked", "--token-budget", "7", "--json"]).json();
    assert_eq!((&again["embedded"], &again["lockfile"]), (&json!(0), &json!("held")));
}

#[test]
fn a_source_that_changed() {
    let place = Place::tiny_oxidized();
    let good = place.read("cache.md");
    place.write("cache.md", "# The cache\n\nThe cache keeps every model under its own name, and its hash tells what it was.\n");
    let ran = place.run(["scrape", "--locked"]);
    assert!(ran.exit(3).err.contains("source.sha256 is not what the lockfile pins"), "{ran}");
    refused(&place, "source.sha256");
    place.write("new.md", "# New\n\nA document that came later.\n");
    assert!(place.run(["scrape", "--locked"]).exit(3).err.contains("source.chunks"));
    // Put back, it holds again, and nothing is embedded for it.
    std::fs::remove_file(place.path("new.md")).unwrap();
    place.write("cache.md", good);
    place.run(["scrape", "--locked"]).success();
    assert_eq!(place.run(["oxidize", "--locked", "--json"]).json()["embedded"], 0);
    holds(&place);
    // Without `--locked` the change is made, and pinned.
    place.write("new.md", "# New\n\nA document that came later.\n");
    place.run(["scrape"]).success();
    let summary = place.run(["oxidize", "--json"]).json();
    assert_eq!(summary["lockfile"], "written");
    assert_eq!(lock(&place)["source"]["chunks"], 4);
    holds(&place);
}

#[test]
fn a_damaged_index_is_not_mended_without_a_word() {
    let place = projected();
    for path in [INDEX.to_owned(), PROJECTION.to_owned(), PROJECTION.replace(".safetensors", ".usearch")] {
        let good = place.read(&path);
        place.tamper(&path);
        let tampered = contents(&place);
        for command in LOCKED {
            let ran = place.run(command.iter().copied());
            assert!(ran.exit(3).err.contains(&path) && ran.err.contains("SHA-256"), "{command:?}: {ran}");
        }
        is_unchanged(&place, &tampered, &path);
        place.run(["oxidize"]).success();
        // Several threads link an index in another way each time, and it matches all the same.
        assert!(path != PROJECTION || place.read(&path) == good);
        holds(&place);
    }
}

/// Whoever changes an index can change its manifest too: only the lockfile knows better.
#[test]
fn an_index_with_other_vectors_and_a_manifest_that_agrees() {
    let place = Place::tiny_oxidized();
    let manifest = INDEX.replace(".usearch", ".json");
    let mut bytes = place.read(INDEX);
    // The sign of the first number of the first vector, behind the count of rows and columns.
    bytes[8 + 3] ^= 0x80;
    place.write(INDEX, &bytes);
    let hash = |text: &str| {
        let out = std::process::Command::new("sha256sum").arg(place.path(text)).output().unwrap();
        String::from_utf8(out.stdout).unwrap()[..64].to_owned()
    };
    let mut value: Value = serde_json::from_slice(&place.read(&manifest)).unwrap();
    value["sha256"] = json!(hash(INDEX));
    place.write(&manifest, value.to_string());
    place.run(["scry", "the cache"]).success();
    snap!(place.run(["scry", "--locked", "the cache"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/oxidize.lock: made.index.sha256 is not what the lockfile pins: expected [SHA-256], found [SHA-256], with other vectors
    hint: put back what was pinned, or accept what is here with `patina lock`; `patina lock --check` names every field
    "#);
    refused(&place, "made.index.sha256");
    let validated = place.run(["validate"]);
    assert!(validated.exit(3).text().contains("1 of 3 vectors in the index are not those in the store"), "{validated}");
}

#[test]
fn a_projection_that_another_record_vouches_for() {
    let place = projected();
    let record = PROJECTION.replace(".safetensors", ".verdict.json");
    let manifest = PROJECTION.replace(".safetensors", ".json");
    let old = lock(&place)["made"]["projections"][0]["sha256"].as_str().unwrap().to_owned();
    let mut bytes = place.read(PROJECTION);
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    place.write(PROJECTION, bytes);
    let out = std::process::Command::new("sha256sum").arg(place.path(PROJECTION)).output().unwrap();
    let new = &String::from_utf8(out.stdout).unwrap()[..64];
    for path in [&record, &manifest] {
        place.write(path, String::from_utf8(place.read(path)).unwrap().replace(&old, new));
    }
    place.run(["scry", "--projection", "semantic", "x"]).success();
    refused(&place, "made.projections.semantic.sha256");
}

#[test]
fn fields_that_must_match_and_fields_that_need_not() {
    let place = projected();
    let good = place.read(LOCK);
    for (pointer, value) in [
        ("/runtime/version", json!("1.24.0")),
        ("/runtime/name", json!("mlx")),
        ("/runtime/precision", json!("q8")),
        ("/runtime/group_size", json!(64)),
        ("/versions/graph", json!(999)),
        ("/versions/vectors", json!(999)),
        ("/versions/training", json!(999)),
        ("/versions/tokenizers", json!("0.1.0")),
        ("/seeds/0/seed", json!(7)),
        ("/model/pooling", json!("cls")),
        ("/model/architecture", json!("roberta")),
        ("/made/index/dimensions", json!(65)),
        ("/made/projections/0/dimensions", json!(31)),
    ] {
        edit(&place, |lock| *lock.pointer_mut(pointer).unwrap() = value);
        let field = match pointer.strip_prefix("/made/projections/0/") {
            Some(rest) => format!("made.projections.semantic.{rest}"),
            None if pointer.starts_with("/seeds") => "seeds".to_owned(),
            None => pointer[1..].replace('/', "."),
        };
        refused(&place, &field);
        place.write(LOCK, &good);
    }
    for (pointer, value) in [
        ("/made/machine/cpu", json!("another")),
        ("/made/machine/os", json!("macos")),
        ("/made/machine/instruction_set", json!(["neon"])),
        ("/made/projections/0/metrics/ndcg", json!(0.125)),
        ("/model/name", json!("elsewhere")),
        ("/model/hub_id", json!("owner/name")),
        ("/model/revision", json!("abc")),
        ("/runtime/device", json!("gpu")),
        ("/versions/patina", json!("9.9.9")),
        ("/source/commits", json!(12)),
        // Another file with the same vectors, as another machine links it.
        ("/made/index/sha256", json!("7".repeat(64))),
        ("/made", Value::Null),
    ] {
        edit(&place, |lock| *lock.pointer_mut(pointer).unwrap() = value);
        holds(&place);
        let edited = place.read(LOCK);
        if pointer != "/made" {
            // Nothing that matters differs: the first author's lockfile stays as it is.
            assert_eq!(place.run(["oxidize", "--json"]).json()["lockfile"], "held", "{pointer}");
            assert_eq!(place.read(LOCK), edited);
        }
    }
    // What was not pinned is, by the next run.
    assert_eq!(place.run(["oxidize", "--json"]).json()["lockfile"], "written");
    assert_eq!(place.read(LOCK), good);
}

#[test]
fn check_tells_both_and_fails_for_the_one() {
    let place = Place::tiny_oxidized();
    edit(&place, |lock| {
        lock["made"]["machine"]["cpu"] = json!("another");
        lock["model"]["max_tokens"] = json!(100);
        lock["versions"]["patina"] = json!("9.9.9");
    });
    snap!(place.run(["lock", "--check"]), @r#"
    exit 3
    --- stdout
    [FOLDER]/.patina/oxidize.lock does not hold
    must match, and does not:
      model.max_tokens
        pinned 100
        found  128
    differs, and need not match:
      versions.patina
        pinned 9.9.9
        found  0.1.0
      made.machine
        pinned [MACHINE]
        found  [MACHINE]
    --- stderr
    error: [FOLDER]/.patina/oxidize.lock: model.max_tokens is not what the lockfile pins: expected 100, found 128
    hint: put back what was pinned, or accept what is here with `patina lock`; `patina lock --check` names every field
    "#);
    let ran = place.run(["lock", "--check", "--json"]);
    let report: Value = serde_json::from_slice(&ran.exit(3).out).unwrap();
    assert_eq!((&report["holds"], &report["differences"][0]["field"]), (&json!(false), &json!("model.max_tokens")));
    assert_eq!(ran.json_error()["kind"], "stale");
    let text = place.run(["status"]).text();
    assert!(text.contains("lockfile     does not hold (model.max_tokens is not what the lockfile pins"), "{text}");
    place.run(["lock"]).success();
    holds(&place);
    assert!(place.run(["status"]).text().contains("lockfile     holds"));
}

#[test]
fn without_a_lockfile() {
    let place = Place::tiny_oxidized();
    std::fs::remove_file(place.path(LOCK)).unwrap();
    for command in LOCKED {
        place.run(command.iter().copied()).exit(2);
    }
    place.run(["scrape", "--locked"]).exit(2);
    snap!(place.run(["oxidize", "--locked"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.lock: there is no lockfile
    hint: `patina oxidize` and `patina lock` write one; it belongs into git
    "#);
    assert!(!place.path(LOCK).exists());
}

#[test]
fn a_lockfile_that_is_none() {
    let place = Place::tiny_oxidized();
    let good = place.read(LOCK);
    let text = String::from_utf8(good.clone()).unwrap();
    let late = text.replacen("\"version\": 2", "\"version\": 3", 1);
    let early = text.replacen("\"version\": 2", "\"version\": 1", 1);
    let twice = text.replacen("\"pooling\"", "\"pooling\": \"mean\", \"pooling\"", 1);
    for bad in ["", "{", "null", "[]", &text[..text.len() / 2], &text[..text.len() - 3], &late, &early, &twice, &text.replace(": ", " ")] {
        place.write(LOCK, bad);
        for command in LOCKED {
            let ran = place.run(command.iter().copied());
            assert!(ran.exit(3).err.contains("oxidize.lock") && ran.err.contains("hint: "), "{bad}: {ran}");
        }
        assert_eq!(place.read(LOCK), bad.as_bytes());
        // Status tells it, and a run that is not held to it writes it anew.
        assert!(place.run(["status"]).text().contains("lockfile     does not hold"));
    }
    let ran = place.run(["oxidize"]);
    assert!(ran.success().err.contains("the lockfile does not parse") && ran.err.contains("it is written anew"), "{ran}");
    assert_eq!(place.read(LOCK), good);
    let file = std::fs::OpenOptions::new().write(true).open(place.path(LOCK)).unwrap();
    file.set_len(100 << 20).unwrap();
    assert!(place.run(["oxidize", "--locked"]).exit(3).err.contains("at most 4194304 are read"));
}

/// As the first format had it: without what was added since.
#[test]
fn a_lockfile_of_the_first_format_is_written_anew() {
    let place = projected();
    let good = place.read(LOCK);
    edit(&place, |lock| {
        lock["version"] = json!(1);
        lock["made"].as_object_mut().unwrap().remove("fusion");
        let projection = lock["made"]["projections"][0].as_object_mut().unwrap();
        projection.remove("reason");
        projection["metrics"].as_object_mut().unwrap().remove("against");
    });
    let first = place.read(LOCK);
    for command in LOCKED {
        let ran = place.run(command.iter().copied());
        assert!(ran.exit(3).err.contains("the lockfile has version 1, of an earlier Patina; this one reads version 2"), "{ran}");
        assert!(ran.err.contains("hint: write it anew with `patina oxidize` (without `--locked`) or `patina lock`"), "{ran}");
    }
    assert_eq!(place.read(LOCK), first, "who is held to it does not write it");
    assert!(place.run(["status"]).text().contains("lockfile     does not hold"));
    let ran = place.run(["oxidize"]);
    assert!(ran.success().err.contains("of an earlier Patina") && ran.err.contains("it is written anew"), "{ran}");
    assert_eq!(place.read(LOCK), good);
    // One of a later Patina is not ours to replace.
    edit(&place, |lock| lock["version"] = json!(3));
    let later = place.read(LOCK);
    assert!(place.run(["oxidize"]).exit(3).err.contains("the lockfile has version 3, of a later Patina"));
    assert_eq!(place.read(LOCK), later);
}

/// What is only told is pinned as well, once it is there.
#[test]
fn a_lockfile_without_the_fusion_gets_it() {
    let place = projected();
    let good = place.read(LOCK);
    assert!(lock(&place)["made"]["fusion"].is_object());
    edit(&place, |lock| drop(lock["made"].as_object_mut().unwrap().remove("fusion")));
    holds(&place);
    assert_eq!(place.run(["oxidize", "--json"]).json()["lockfile"], "written");
    assert_eq!(place.read(LOCK), good);
}

#[test]
fn lock_pins_what_there_is() {
    let place = Place::tiny_project();
    snap!(place.run(["lock"]), @r#"
    exit 0
    --- stdout
    wrote [FOLDER]/.patina/oxidize.lock
    model        model, 5 files ([IDENTITY])
    runtime      onnx [VERSION] on cpu, f32
    source       not pinned: nothing was scraped yet
    made         not pinned: it is not up to date, `patina oxidize` makes it
    "#);
    assert_eq!((&lock(&place)["source"], &lock(&place)["made"]), (&Value::Null, &Value::Null));
    assert!(place.run(["scrape", "--locked"]).exit(3).err.contains("the lockfile pins no source"));
    place.run(["scrape"]).success();
    place.run(["lock", "--check"]).success();
    place.run(["lock"]).success();
    assert_eq!((&lock(&place)["source"]["chunks"], &lock(&place)["made"]), (&json!(3), &Value::Null));
    place.run(["oxidize", "--locked"]).success();
    assert_eq!(lock(&place)["made"], Value::Null, "who is held to a lockfile does not write it");
    place.run(["oxidize"]).success();
    assert_eq!(lock(&place)["made"]["index"]["vectors"], 3);
    holds(&place);
    // A recipe that changed since: what was made is of the old one.
    place.write(RECIPE, "version: 1\nembedding_model: ./model/\nmax_tokens: 50\n");
    place.run(["lock"]).success();
    assert_eq!((&lock(&place)["made"], &lock(&place)["model"]["max_tokens"]), (&Value::Null, &json!(50)));
}

/// The same project in another folder, built from nothing and held to the first author's lockfile.
#[test]
fn a_second_author() {
    let place = projected();
    // What the first author's index holds came in several runs: the batches, and with them the last bits, were others.
    for n in 0..5 {
        place.write(
            &format!("later/{n}.md"),
            format!("# Later {n}\n\n{}\n", "Something that was written later, and then more of it. ".repeat(n + 1)),
        );
        place.run(["scrape"]).success();
        place.run(["oxidize"]).success();
    }
    holds(&place);
    let second = cloned(&place);
    assert!(!second.path(INDEX).exists());
    second.run(["scrape", "--locked"]).success();
    second.run(["oxidize", "--locked"]).success();
    holds(&second);
    assert_eq!(second.run(["oxidize", "--json"]).json()["lockfile"], "held");
    assert_eq!(second.read(LOCK), place.read(LOCK));
}

/// The lockfile is committed itself: the commit that it is in cannot be one that it pins.
#[test]
fn it_holds_in_the_commit_that_it_is_in() {
    let place = Place::tiny_project();
    place.run(["init", "--force", "--model", "./model/"]).success();
    // ONNX Runtime keeps a number of its own in the home folder, which is this one.
    place.write(".gitignore", "/model/\n/.cache/\n");
    place.git(&["init", "-q"]);
    place.git(&["add", "."]);
    place.git(&["commit", "-q", "-m", "Begin"]);
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    place.git(&["add", "."]);
    let staged = std::process::Command::new("git").args(["status", "--porcelain"]).current_dir(place.path("")).output().unwrap();
    assert_eq!(String::from_utf8(staged.stdout).unwrap(), "A  .patina/oxidize.lock\n");
    place.git(&["commit", "-q", "-m", "Pin everything"]);
    let bytes = place.read(LOCK);
    place.run(["scrape", "--locked"]).success();
    place.run(["oxidize", "--locked"]).success();
    holds(&place);
    place.run(["oxidize"]).success();
    assert_eq!(place.read(LOCK), bytes, "git would show a change after every commit");
    let told = place.run(["lock", "--check"]).text();
    assert!(told.contains("source.history_sha256") && told.contains("oxidize.lock holds"), "{told}");
}

#[test]
fn a_run_that_fails_leaves_it_as_it_was() {
    let place = Place::tiny_project();
    place.run(["scrape"]).success();
    std::fs::write(place.path("model/tokenizer.json"), "{}").unwrap();
    place.run(["oxidize"]).exit(3);
    assert!(!place.path(LOCK).exists());
    tiny_model(&place.path("model"));
    place.run(["oxidize"]).success();
    let bytes = place.read(LOCK);
    std::fs::write(place.path("model/tokenizer.json"), "{}").unwrap();
    place.write("new.md", "# New\n\nA document that came later.\n");
    place.run(["scrape"]).success();
    place.run(["oxidize"]).exit(3);
    assert_eq!(place.read(LOCK), bytes);
}

#[test]
fn nobody_pins_what_another_process_is_making() {
    let place = Place::tiny_oxidized();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(place.path(".patina/data/lock")).unwrap();
    file.lock().unwrap();
    place.run(["lock"]).exit(4);
    let told: Ran = place.run(["lock", "--check"]);
    told.success();
    file.unlock().unwrap();
    place.run(["lock"]).success();
}
