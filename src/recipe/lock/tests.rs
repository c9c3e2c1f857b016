//! The lockfile's promises: one text for one state, every field told apart, and nothing believed that is not whole.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;

fn hash(byte: char) -> String {
    byte.to_string().repeat(64)
}

fn index(byte: char) -> IndexPins {
    let sketch = |from: i32| (0..8).map(|n| f64::from(n + from) / 7.0).collect();
    IndexPins { vectors: 12, dimensions: 64, bytes: 4096, sha256: hash(byte), sketch: sketch(1), history_sketch: sketch(-9) }
}

fn machine() -> Machine {
    Machine { os: "linux".into(), arch: "x86_64".into(), cpu: Some("a processor".into()), threads: 2, instruction_set: vec!["avx2".into()] }
}

fn calibration() -> CalibrationPins {
    let setting = |token_budget| Setting { runtime: "onnx".into(), threads: 2, token_budget };
    let row = |token_budget, rate| Timed { setting: setting(token_budget), tokens_per_second: vec![rate, rate + 7], problem: None };
    CalibrationPins {
        chosen: setting(512),
        measured: Calibration {
            machine: machine(),
            model: hash('b'),
            precision: "f32".into(),
            group_size: Some(64),
            runtimes: vec![RuntimeVersion { name: "onnx".into(), version: Some("1.31.0".into()), graph: Some(1) }],
            texts: "the project's".into(),
            other_load: Some(3),
            comparisons: vec![Comparison { of: Compared::TokenBudget, tokens: 2048, rows: vec![row(1024, 5000), row(512, 6000)] }],
            left_out: vec!["threads".into()],
        },
    }
}

fn sample() -> Lock {
    let file = |path: &str, byte| FilePins { path: path.into(), size: 10, sha256: hash(byte) };
    Lock {
        version: LOCK_VERSION,
        recipe: RecipePins { sha256: hash('a') },
        model: ModelPins {
            name: "m".into(),
            hub_id: Some("o/m".into()),
            revision: Some("main".into()),
            identity: hash('b'),
            architecture: "bert".into(),
            pooling: "mean".into(),
            normalized: true,
            dimensions: 64,
            max_tokens: 128,
            lower_case: false,
            query_prompt: "query: ".into(),
            document_prompt: String::new(),
            files: vec![file("config.json", '1'), file("model.safetensors", '2')],
        },
        reranker: Some(RerankerPins {
            name: "r".into(),
            hub_id: Some("o/r".into()),
            revision: Some("main".into()),
            identity: hash('5'),
            architecture: "bert".into(),
            activation: "sigmoid".into(),
            max_tokens: 512,
            lower_case: false,
            files: vec![file("config.json", '6'), file("model.safetensors", '7')],
        }),
        runtime: RuntimePins {
            name: "onnx".into(),
            version: "1.31.0".into(),
            device: "cpu".into(),
            precision: "f32".into(),
            group_size: Some(64),
        },
        calibration: Some(calibration()),
        versions: Versions {
            vectors: 1,
            graph: Some(1),
            training: 1,
            tokenizers: "0.23.2".into(),
            ort: "2".into(),
            usearch: "2".into(),
            sqlite: "3".into(),
            patina: "0.1.0".into(),
        },
        seeds: vec![Seed { projection: "semantic".into(), seed: 42 }],
        source: Some(SourcePins { sha256: hash('c'), chunks: 10, history_sha256: hash('d'), commits: 2 }),
        made: Some(Made {
            machine: machine(),
            index: index('e'),
            projections: vec![ProjectionPins {
                name: "semantic".into(),
                published: true,
                reason: "published: it beats raw vectors".into(),
                sides: None,
                dimensions: 32,
                sha256: Some(hash('f')),
                index: Some(index('0')),
                metrics: Some(Metrics {
                    queries: 40,
                    groups: 9,
                    ndcg: Some(0.5),
                    mrr: Some(0.4),
                    recall: Some(0.7),
                    raw_ndcg: Some(0.3),
                    gain: Some([0.2, 0.1, 0.3]),
                    against: vec![AgainstPins { system: "bm25".into(), ndcg: 0.25, gain: [0.25, 0.125, 0.5] }],
                }),
            }],
            fusion: Some(FusionPins {
                chosen: true,
                lexical: 1.0,
                vector: 0.25,
                projection: 0.25,
                queries: 120,
                gain: Some([0.02, 0.01, 0.03]),
            }),
        }),
    }
}

fn parse(bytes: &[u8]) -> Result<Lock> {
    Lock::parse(bytes, Path::new("oxidize.lock"))
}

#[test]
fn a_projection_of_questions_alone_has_no_index() {
    let with = |sides: Option<&str>, index: Option<IndexPins>| {
        let mut lock = sample();
        let projection = &mut lock.made.as_mut().expect("made").projections[0];
        (projection.sides, projection.index) = (sides.map(str::to_owned), index);
        parse(&lock.to_bytes().expect("bytes"))
    };
    let lock = with(Some("query"), None).expect("sound");
    assert_eq!(lock.made.expect("made").projections[0].sides.as_deref(), Some("query"));
    with(None, Some(index('0'))).expect("sound");
    for (sides, pins, fault) in [
        (Some("query"), Some(index('0')), "published without its files"),
        (None, None, "published without its files"),
        (Some("document"), None, "sides that there are none of"),
    ] {
        let error = with(sides, pins).expect_err(fault);
        assert!(error.kind() == ErrorKind::Corrupt && error.message().contains(fault), "{error}");
    }
}

#[test]
fn the_same_state_is_the_same_bytes_and_is_read_back() {
    let bytes = sample().to_bytes().expect("bytes");
    assert_eq!(bytes, sample().to_bytes().expect("bytes"));
    assert_eq!(parse(&bytes).expect("its own bytes"), sample());
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.starts_with("{\n  \"version\": 2,\n  \"recipe\": {\n    \"sha256\": \"aaaa") && text.ends_with("}\n"), "{text}");
    // One field a line: a change is a line of a diff.
    let mut other = sample();
    other.model.max_tokens = 256;
    let other = String::from_utf8(other.to_bytes().expect("bytes")).expect("text");
    assert_eq!(text.lines().zip(other.lines()).filter(|(a, b)| a != b).count(), 1);
    assert!(sample().differences(&sample(), false).is_empty());
}

/// The places of all values that are no object and no list, as JSON pointers.
fn leaves(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| leaves(value, format!("{at}/{name}"), out)),
        Value::Array(values) => values.iter().enumerate().for_each(|(n, value)| leaves(value, format!("{at}/{n}"), out)),
        _ => out.push(at),
    }
}

/// Another value of the same type that a lockfile may have there.
fn another(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!(!value),
        Value::Number(n) if n.is_f64() => json!(n.as_f64().expect("a number") + 1.0),
        Value::Number(n) => json!(n.as_u64().expect("a whole number") + 1),
        Value::String(text) if text.len() == 64 => json!("9".repeat(64)),
        Value::String(text) => json!(format!("{text}x")),
        other => panic!("{other}"),
    }
}

/// Every value of a lockfile is changed, one at a time: it must match, or it is told, or it follows from another one and says nothing by
/// itself. A field that is new is in none of the lists, and fails here until the rule has a place for it.
#[test]
fn every_field_has_its_place_in_the_rule() {
    let must = [
        "/recipe/sha256",
        "/model/identity",
        "/model/architecture",
        "/model/pooling",
        "/model/normalized",
        "/model/dimensions",
        "/model/max_tokens",
        "/model/lower_case",
        "/model/query_prompt",
        "/model/document_prompt",
        "/model/files/0/path",
        "/model/files/0/size",
        "/model/files/0/sha256",
        "/model/files/1/path",
        "/model/files/1/size",
        "/model/files/1/sha256",
        "/reranker/identity",
        "/reranker/architecture",
        "/reranker/activation",
        "/reranker/max_tokens",
        "/reranker/lower_case",
        "/reranker/files/0/path",
        "/reranker/files/0/size",
        "/reranker/files/0/sha256",
        "/reranker/files/1/path",
        "/reranker/files/1/size",
        "/reranker/files/1/sha256",
        "/runtime/name",
        "/runtime/version",
        "/runtime/precision",
        "/runtime/group_size",
        "/versions/vectors",
        "/versions/graph",
        "/versions/training",
        "/versions/tokenizers",
        "/seeds/0/projection",
        "/seeds/0/seed",
        "/source/sha256",
        "/source/chunks",
        "/made/index/dimensions",
        "/made/projections/0/dimensions",
        "/made/projections/0/sha256",
        "/made/projections/0/index/dimensions",
    ];
    let told = [
        "/model/name",
        "/model/hub_id",
        "/model/revision",
        "/reranker/name",
        "/reranker/hub_id",
        "/reranker/revision",
        "/runtime/device",
        "/calibration/chosen/runtime",
        "/calibration/chosen/threads",
        "/calibration/chosen/token_budget",
        "/versions/ort",
        "/versions/usearch",
        "/versions/sqlite",
        "/versions/patina",
        "/source/history_sha256",
        "/source/commits",
        "/made/machine/os",
        "/made/machine/arch",
        "/made/machine/cpu",
        "/made/machine/threads",
        "/made/machine/instruction_set/0",
        // The vectors come to the same sketch: the links of the graph differ, no more.
        "/made/index/sha256",
        "/made/projections/0/index/sha256",
        "/made/projections/0/reason",
        "/made/projections/0/metrics/queries",
        "/made/projections/0/metrics/ndcg",
        "/made/fusion/chosen",
        "/made/fusion/lexical",
        "/made/fusion/vector",
        "/made/fusion/projection",
        "/made/fusion/queries",
    ];
    let value = serde_json::to_value(sample()).expect("JSON");
    let mut all = Vec::new();
    leaves(&value, String::new(), &mut all);
    let mut silent = BTreeSet::new();
    for at in all {
        let mut changed = value.clone();
        let leaf = changed.pointer_mut(&at).expect("a leaf");
        *leaf = another(leaf);
        match parse(changed.to_string().as_bytes()) {
            Ok(lock) => {
                for differences in [lock.differences(&sample(), false), sample().differences(&lock, false)] {
                    let holds = !differences.iter().any(|difference| difference.must_match);
                    assert_eq!(!holds, must.contains(&at.as_str()), "{at}: {differences:?}");
                    assert_eq!(holds && !differences.is_empty(), told.contains(&at.as_str()), "{at}: {differences:?}");
                    if differences.is_empty() {
                        silent.insert(at.clone());
                    }
                }
            }
            // What no lockfile says: another version, a projection that is not published and has files, a runtime that was not compared.
            Err(error) => {
                let known = ["/version", "/made/projections/0/published"].contains(&&*at);
                let of_runtimes = at.starts_with("/calibration/") && (at.ends_with("/runtime") || at.ends_with("/runtimes/0/name"));
                assert!(known || of_runtimes || at.ends_with("/of"), "{at}: {error}");
            }
        }
    }
    let follows = |at: &String| {
        // What was measured says nothing to another reader; what was chosen by it is told.
        if at.starts_with("/calibration/measured/") {
            return true;
        }
        // The size and the sketches of an index count where its hash differs; a projection is the recipe's.
        at.contains("sketch/")
            || at.ends_with("/bytes")
            || at.ends_with("/vectors")
            || at.contains("/metrics/")
            || at.contains("/gain/")
            || at.ends_with("/0/name")
    };
    assert!(silent.iter().all(follows), "{silent:?}");
}

#[test]
fn a_lockfile_from_before_calibration_is_read_and_stays_as_it_is() {
    let old = Lock { calibration: None, ..sample() };
    let text = String::from_utf8(old.to_bytes().expect("bytes")).expect("text");
    assert!(!text.contains("calibration"));
    assert_eq!(parse(text.as_bytes()).expect("an older lockfile"), old);
    // One of the two is no difference: whoever has none has nothing to compare.
    assert!(old.differences(&sample(), false).is_empty() && sample().differences(&old, false).is_empty());
}

#[test]
fn a_lockfile_from_before_fusion_was_chosen_is_read_and_holds() {
    let mut old = sample();
    old.made.as_mut().expect("made").fusion = None;
    let text = String::from_utf8(old.to_bytes().expect("bytes")).expect("text");
    assert!(!text.contains("fusion"));
    assert_eq!(parse(text.as_bytes()).expect("an older lockfile"), old);
    assert!(old.differences(&sample(), false).is_empty() && sample().differences(&old, false).is_empty());
}

#[test]
fn a_reranker_is_pinned_where_there_is_one() {
    let without = Lock { reranker: None, ..sample() };
    let text = String::from_utf8(without.to_bytes().expect("bytes")).expect("text");
    assert!(!text.contains("reranker"));
    assert_eq!(parse(text.as_bytes()).expect("a lockfile without one"), without);
    for (here, there) in [(&without, &sample()), (&sample(), &without)] {
        let wrong: Vec<String> = here.differences(there, false).into_iter().filter(|d| d.must_match).map(|d| d.field).collect();
        assert_eq!(wrong, ["reranker.identity"]);
    }
    let found = [FilePins { path: "config.json".into(), size: 10, sha256: hash('6') }];
    let fields: Vec<String> = sample().reranker_file_differences(&found).into_iter().map(|d| d.field).collect();
    assert_eq!(fields, ["reranker.files.model.safetensors"]);
    let mut broken = sample();
    broken.reranker.as_mut().expect("one").files.swap(0, 1);
    assert_eq!(parse(&broken.to_bytes().expect("bytes")).expect_err("out of order").kind(), ErrorKind::Corrupt);
}

#[test]
fn an_index_matches_by_its_file_or_by_its_vectors() {
    let changed = |change: &dyn Fn(&mut Lock)| {
        let mut lock = sample();
        change(&mut lock);
        lock
    };
    let wrong = |found: &Lock| {
        let differences = sample().differences(found, false);
        differences.into_iter().filter(|difference| difference.must_match).map(|difference| difference.field).collect::<Vec<_>>()
    };
    fn made(lock: &mut Lock) -> &mut Made {
        lock.made.as_mut().expect("made")
    }
    let other_file = |lock: &mut Lock| made(lock).index.sha256 = hash('7');
    // Linked anew: the projection may then be of other bits too, but must still be published.
    let relinked = changed(&|lock| {
        other_file(lock);
        made(lock).projections[0].sha256 = Some(hash('8'));
    });
    assert_eq!(wrong(&relinked), Vec::<String>::new());
    let noise = SKETCH_NOISE * (10.0f64 * 64.0).sqrt();
    let rounded = changed(&|lock| {
        other_file(lock);
        made(lock).index.sketch[3] += 0.9 * noise;
    });
    assert_eq!(wrong(&rounded), Vec::<String>::new());
    let other_vectors = changed(&|lock| {
        other_file(lock);
        made(lock).index.sketch[3] += 1.5 * noise;
    });
    assert_eq!(wrong(&other_vectors), ["made.index.sha256"]);
    let other_commits = changed(&|lock| {
        other_file(lock);
        made(lock).index.history_sketch[7] -= 1.0;
    });
    assert_eq!(wrong(&other_commits), ["made.index.sha256"]);
    // With another history, its vectors are others by right, and so may the verdict be.
    let later = changed(&|lock| {
        other_file(lock);
        made(lock).index.history_sketch[7] -= 1.0;
        made(lock).index.vectors += 1;
        let source = lock.source.as_mut().expect("a source");
        (source.history_sha256, source.commits) = (hash('9'), 3);
        let projection = &mut made(lock).projections[0];
        (projection.published, projection.sha256, projection.index) = (false, None, None);
    });
    assert_eq!(wrong(&later), Vec::<String>::new());
    let unpublished = changed(&|lock| {
        other_file(lock);
        let projection = &mut made(lock).projections[0];
        (projection.published, projection.sha256, projection.index) = (false, None, None);
    });
    assert_eq!(wrong(&unpublished), ["made.projections.semantic.published"]);
    // Another source explains everything that follows from it.
    let elsewhere = changed(&|lock| {
        *lock = other_vectors.clone();
        lock.source.as_mut().expect("a source").sha256 = hash('3');
    });
    assert_eq!(wrong(&elsewhere), ["source.sha256"]);
    // A runtime that is certified is none other, whatever its version and graphs are.
    let mlx = changed(&|lock| {
        (lock.runtime.name, lock.runtime.version, lock.versions.graph) = ("mlx".into(), "0.32.2".into(), None);
    });
    assert_eq!(wrong(&mlx), ["runtime.name"]);
    assert!(sample().differences(&mlx, true).iter().all(|difference| !difference.must_match));
}

#[test]
fn what_is_not_pinned_yet_is_not_compared() {
    let mut early = sample();
    (early.source, early.made) = (None, None);
    assert!(early.differences(&sample(), false).is_empty());
    assert!(sample().differences(&early, false).is_empty());
    let bytes = early.to_bytes().expect("bytes");
    assert_eq!(parse(&bytes).expect("no source yet"), early);
    early.made = sample().made;
    assert_eq!(parse(&early.to_bytes().expect("bytes")).expect_err("made of nothing").kind(), ErrorKind::Corrupt);
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let bytes = sample().to_bytes().expect("bytes");
    let whole = bytes.len() - 1; // The last line feed says nothing.
    for length in 0..whole {
        let error = parse(&bytes[..length]).expect_err("cut off");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}");
        assert!(error.hint_text().is_some() && error.place().is_some(), "{length}");
    }
    assert_eq!(parse(&bytes[..whole]).expect("whole"), sample());
}

#[test]
fn a_changed_byte_is_refused_or_told() {
    let bytes = sample().to_bytes().expect("bytes");
    for at in 0..bytes.len() {
        for bit in [1, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            // It must not panic, and never be taken for what it was. The last digit of a sketch's number may be beyond its precision.
            let line_end = bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length);
            let in_fraction = bytes[..at].iter().rev().take_while(|&&byte| byte != b'\n').any(|&byte| byte == b'.');
            if let Ok(lock) = parse(&changed) {
                assert!(lock != sample() || (in_fraction && line_end - at <= 3), "{at}");
            }
        }
    }
}

#[test]
fn hostile_files_are_refused() {
    let text = String::from_utf8(sample().to_bytes().expect("bytes")).expect("text");
    let deep = "[".repeat(100_000);
    let cases = [
        ("empty", String::new()),
        ("a list", "[]".into()),
        ("null", "null".into()),
        ("nested", deep),
        ("two documents", format!("{text}{text}")),
        ("a merge conflict", format!("<<<<<<< HEAD\n{text}")),
        ("an unknown field", text.replacen("\"recipe\"", "\"recipes\": 1,\n  \"recipe\"", 1)),
        ("a field twice", text.replacen("\"max_tokens\": 128,", "\"max_tokens\": 128,\n    \"max_tokens\": 128,", 1)),
        ("the version twice", text.replacen("\"version\": 2,", "\"version\": 2,\n  \"version\": 2,", 1)),
        ("a field is missing", text.replacen("\"pooling\": \"mean\",", "", 1)),
        ("a size below zero", text.replacen("\"size\": 10", "\"size\": -10", 1)),
        ("a number without bounds", text.replacen("\"size\": 10", "\"size\": 1e999", 1)),
        ("a hash that is too short", text.replacen(&hash('2'), &hash('2')[1..], 1)),
        ("a hash in upper case", text.replacen(&hash('a'), &hash('A'), 1)),
        ("a hash that is none", text.replacen(&hash('1'), &"é".repeat(32), 1)),
        ("files out of order", text.replacen("config.json", "z.json", 1)),
        ("a file twice", text.replacen("config.json", "model.safetensors", 1)),
        ("a calibration without a round", text.replacen("5000,", "", 1)),
        ("a calibration of no speed", text.replacen("5000", "0", 1)),
        ("a calibration with a field that is not known", text.replacen("\"chosen\"", "\"made_up\": 1, \"chosen\"", 1)),
        ("a sketch that is too short", text.replacen("0.14285714285714285,", "", 1)),
    ];
    for (fault, text) in cases {
        let error = parse(text.as_bytes()).expect_err(fault);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{fault}: {error}");
        assert!(error.hint_text().is_some(), "{fault}");
    }
    let later = parse(text.replacen("\"version\": 2", "\"version\": 3,\n  \"new\": 5", 1).as_bytes()).expect_err("a later version");
    assert_eq!(later.kind(), ErrorKind::Stale);
    assert!(later.message().contains("version 3, of a later Patina") && later.hint_text().is_some(), "{later:?}");
}

/// It is not blamed for fields that it could not have.
#[test]
fn a_lockfile_of_an_earlier_version_is_called_that() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("oxidize.lock");
    assert!(!Lock::is_of_earlier_version(&path), "there is none");
    sample().write(&path).expect("written");
    assert!(!Lock::is_of_earlier_version(&path));
    let text = String::from_utf8(sample().to_bytes().expect("bytes")).expect("UTF-8");
    let first = text.replacen("\"version\": 2", "\"version\": 1", 1).replacen("\"reason\": \"published: it beats raw vectors\",", "", 1);
    crate::fs::write_atomic(&path, |out| out.write_all(first.as_bytes())).expect("written");
    assert!(Lock::is_of_earlier_version(&path));
    let error = Lock::read(&path).expect_err("an earlier version");
    assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Stale, 3));
    assert!(error.message().contains("version 1, of an earlier Patina; this one reads version 2"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("`patina oxidize` (without `--locked`)")), "{error:?}");
    crate::fs::write_atomic(&path, |out| out.write_all(b"{")).expect("written");
    assert!(!Lock::is_of_earlier_version(&path), "it is damaged");
}

#[test]
fn a_file_that_is_far_too_large_is_not_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("oxidize.lock");
    sample().write(&path).expect("written");
    assert_eq!(Lock::read(&path).expect("read"), sample());
    // Sparse: it takes no room.
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(100 << 20).expect("made long");
    let begun = std::time::Instant::now();
    let error = Lock::read(&path).expect_err("too large");
    assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Corrupt, 3));
    assert!(begun.elapsed() < std::time::Duration::from_secs(1));
    assert_eq!(Lock::read(&folder.path().join("none")).expect_err("none").kind(), ErrorKind::Missing);
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("oxidize.lock");
    sample().write(&path).expect("written");
    let before = path.metadata().and_then(|meta| meta.modified()).expect("a time");
    std::thread::sleep(std::time::Duration::from_millis(20));
    sample().write(&path).expect("nothing to do");
    assert_eq!(path.metadata().and_then(|meta| meta.modified()).expect("a time"), before);
}
