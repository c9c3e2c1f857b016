//! Running the program: a folder of its own, a clean environment, and output that reads the same on every machine.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// The program under test.
pub const PATINA: &str = env!("CARGO_BIN_EXE_patina");

/// Compares what a run printed and its exit code with an inline snapshot, after making paths, times, hashes and versions neutral.
macro_rules! snap {
    ($ran:expr, @$expected:literal) => {{
        let ran = &$ran;
        let mut settings = insta::Settings::clone_current();
        for (pattern, instead) in $crate::harness::FILTERS {
            settings.add_filter(pattern, *instead);
        }
        let text = ran.to_string();
        settings.bind(|| insta::assert_snapshot!(text, @$expected));
    }};
}

/// What differs between machines and moments, as regular expressions. Folders are replaced before, as they are known.
pub const FILTERS: &[(&str, &str)] = &[
    (r"\b[0-9a-f]{64}\b", "[SHA-256]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[TIME]"),
    (r"\(process \d+\)", "(process [ID])"),
    (r"onnxruntime-[\d.]+-[a-z0-9_-]+", "onnxruntime-[VERSION]"),
    (r"(lib)?onnxruntime[\d.]*\.(so|dylib|dll)[\d.]*", "[LIBRARY]"),
    (r"\.patina-\w+\.tmp", "[ASIDE]"),
    (r"#(\d+) -?\d+\.\d+", "#$1 [SCORE]"),
    (r#"("?score"?:?) -?\d+\.\d+(e-\d+)?"#, "$1 [SCORE]"),
    (r"version \d+\.\d+\.\d+", "version [VERSION]"),
    (r"onnx \d+\.\d+\.\d+ on", "onnx [VERSION] on"),
    (r"(\d+) files \([0-9a-f]{12}\)", "$1 files ([IDENTITY])"),
    (r"(?m)^(    (?:pinned|found ) )\w+ \w+, .*, \d+ threads, .*$", "$1[MACHINE]"),
];

/// A temporary folder to run the program in.
pub struct Place {
    folder: tempfile::TempDir,
}

/// What came of a run.
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
    folder: PathBuf,
}

impl Place {
    /// An empty folder.
    pub fn new() -> Place {
        Place { folder: tempfile::Builder::new().prefix("patina-test-").tempdir().expect("a temporary folder") }
    }

    /// A folder with a recipe that names `model`, and nothing else.
    pub fn project(model: &str) -> Place {
        let place = Place::new();
        place.write(".patina/oxidize.yaml", format!("version: 1\nembedding_model: {model}\n"));
        place
    }

    /// A project with the tiny model in `./model` and three documents; its vectors mean nothing, but they are quick.
    pub fn tiny_project() -> Place {
        let place = Place::project("./model/");
        place.write(".gitignore", "/model/\n");
        tiny_model(&place.path("model"));
        place.write("cache.md", "# The cache\n\nThe cache keeps every model under its own name, and its hash tells what it is.\n");
        place.write("index.md", "# The index\n\nThe index is derived: delete it, and one command makes it again.\n");
        place.write("src/parse.rs", "/// Parses a recipe.\npub fn parse_recipe(text: &str) -> Recipe {\n    todo(text)\n}\n");
        place
    }

    /// A tiny project that was scraped and oxidized.
    pub fn tiny_oxidized() -> Place {
        let place = Place::tiny_project();
        place.run(["scrape"]).success();
        place.run(["oxidize"]).success();
        place
    }

    /// A path in the folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// The bytes of a file.
    pub fn read(&self, relative: &str) -> Vec<u8> {
        let path = self.path(relative);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Changes one byte in the middle of a file.
    pub fn tamper(&self, relative: &str) {
        let mut bytes = self.read(relative);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        self.write(relative, bytes);
    }

    /// The files below a folder whose names are those of files being written.
    pub fn left_behind(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let entry = entry.expect("an entry");
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(".patina-") || name.ends_with(".tmp") {
                    found.push(entry.path());
                } else if entry.file_type().expect("a type").is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        found
    }

    /// The program with arguments, ready to run here.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        self.prepared(PATINA, arguments)
    }

    /// A line of the shell, in which `"$PATINA"` is the program.
    pub fn shell(&self, line: &str) -> Ran {
        let mut command = self.prepared("sh", ["-c", line]);
        command.env("PATINA", PATINA).stdin(Stdio::null());
        self.ran(command.output().expect("sh"))
    }

    fn prepared<'a>(&self, program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        // The runtime is the one in the cache, and nothing of the user's own settings counts.
        for name in ["ORT_DYLIB_PATH", "LD_LIBRARY_PATH", "PATINA_RUNTIME", "NO_COLOR", "RUST_BACKTRACE", "COLUMNS", "GIT_DIR"] {
            command.env_remove(name);
        }
        for name in ["HOME", "ENDPOINT", "TOKEN", "TOKEN_PATH", "HUB_CACHE", "HUB_OFFLINE", "HUB_DOWNLOAD_TIMEOUT"] {
            command.env_remove(format!("HF_{name}"));
        }
        for name in ["XDG_CACHE_HOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name);
        }
        command.env("PATINA_CACHE_DIR", cache()).env("HOME", self.folder.path());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_CEILING_DIRECTORIES", self.folder.path().parent().expect("a folder above"));
        command
    }

    /// Runs the program without input.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        self.run_with(arguments, &[], "")
    }

    /// Runs the program with variables set and with input.
    pub fn run_with<'a>(&self, arguments: impl IntoIterator<Item = &'a str>, variables: &[(&str, &str)], input: impl AsRef<[u8]>) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.as_ref().to_vec();
        // A program that refuses its arguments reads nothing: that is no failure of the test.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("the program ends");
        writer.join().expect("the input is written");
        self.ran(output)
    }

    /// What came of a run that was started with [`Place::command`].
    pub fn ran(&self, output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: self.folder.path().to_path_buf(),
        }
    }

    /// Runs git here, with an author and a date that are always the same.
    pub fn git(&self, arguments: &[&str]) {
        self.git_at("2025-03-04T05:06:07Z", arguments);
    }

    /// The same at another time.
    pub fn git_at(&self, date: &str, arguments: &[&str]) {
        let mut command = self.prepared("git", arguments.iter().copied());
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
            command.env(format!("GIT_{who}_DATE"), date);
        }
        let output = command.output().expect("git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Ran {
    /// Fails the test unless the run ended well.
    pub fn success(&self) -> &Ran {
        self.exit(0)
    }

    /// Fails the test unless the run ended with this code.
    pub fn exit(&self, code: i32) -> &Ran {
        assert_eq!(self.code, code, "\n{self}");
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        self.success();
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("standard output is not JSON: {e}\n{self}"))
    }

    /// Standard output as lines of JSON with `embedding`.
    pub fn vectors(&self) -> Vec<Vec<f32>> {
        self.success();
        vectors(&self.text())
    }

    /// The error that `--json` writes to standard error.
    pub fn json_error(&self) -> Value {
        let mut value: Value = serde_json::from_str(&self.err).unwrap_or_else(|e| panic!("standard error is not JSON: {e}\n{self}"));
        value["error"].take()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let neutral = |text: &str| {
            let mut text = text.to_owned();
            for (folder, name) in [(self.folder.clone(), "[FOLDER]"), (cache(), "[CACHE]"), (golden_folder(), "[GOLDEN]")] {
                let real = std::fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
                text = text.replace(&*real.to_string_lossy(), name).replace(&*folder.to_string_lossy(), name);
            }
            text
        };
        writeln!(f, "exit {}", self.code)?;
        // How long something took is told only when it took long.
        let timed = |line: &&str| line.ends_with("/s)") || line.ends_with(" s");
        let err = self.err.lines().filter(|line| !timed(line)).map(|line| format!("{line}\n")).collect::<String>();
        for (name, text) in [("stdout", self.text()), ("stderr", err)] {
            if !text.is_empty() {
                writeln!(f, "--- {name}\n{}", neutral(&text).trim_end_matches('\n'))?;
            }
        }
        Ok(())
    }
}

/// Lines of JSON with `embedding`.
pub fn vectors(text: &str) -> Vec<Vec<f32>> {
    text.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            floats(&value["embedding"])
        })
        .collect()
}

/// A list of JSON numbers.
pub fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

/// Cosine similarity.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The greatest difference between two vectors of the same length.
pub fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Patina's cache with ONNX Runtime and all-MiniLM-L6-v2 in it.
pub fn cache() -> PathBuf {
    let advice = "run ci/test, or set PATINA_CACHE_DIR to a cache where `patina runtime install` and `patina model import` \
                  (all-MiniLM-L6-v2) were run";
    let folder = std::env::var_os("PATINA_CACHE_DIR").unwrap_or_else(|| panic!("PATINA_CACHE_DIR is not set: {advice}"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for needed in ["runtime", "models/all-MiniLM-L6-v2"] {
        assert!(folder.join(needed).is_dir(), "{} is not there: {advice}", folder.join(needed).display());
    }
    folder
}

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden")
}

/// The folder of a golden model.
pub fn golden(name: &str) -> String {
    golden_folder().join(name).to_str().expect("UTF-8").to_owned()
}

/// A copy of the golden model `bert-mean` with a tokenizer: a token a byte. It takes 128 tokens and gives 64 numbers.
pub fn tiny_model(folder: &Path) {
    byte_model("bert-mean", folder);
}

/// A copy of a golden model with a tokenizer: a token a byte, after one that begins every text.
pub fn byte_model(name: &str, folder: &Path) {
    copy_model(name, folder);
    // Byte-level BPE writes each byte as a letter of its own: the printable ones as themselves, the others from U+0100 on.
    let mut vocabulary = serde_json::Map::new();
    let mut other = 0x100;
    for byte in 0..=255u8 {
        let letter = match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                other += 1;
                char::from_u32(other - 1).expect("a letter")
            }
        };
        vocabulary.insert(letter.to_string(), json!(u32::from(byte) + 5));
    }
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "!", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"!": {"id": "!", "ids": [2], "tokens": ["!"]}}},
        "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []},
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("tokenizer.json");
}

/// A copy of a golden model, to be broken.
pub fn copy_model(name: &str, to: &Path) {
    copy_folder(&golden_folder().join(name), to);
}

/// A copy of a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
