//! `patina bench`: tiny models in processes of their own, what they bring, what becomes of those that fail, and results that are compared.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Place, copy_model, tiny_model};

const TEXTS: [&str; 7] = [
    "a short one",
    "another text, which is somewhat longer than the first one was",
    "x",
    "the cache keeps every model under its own name, and its hash tells what it is; this text is longer than the model takes, so that it is cut",
    "four words are here",
    "vectors are compared by cosine similarity",
    "the second process is told who holds the lock",
];

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval").join(name).to_str().unwrap().to_owned()
}

/// A folder with the tiny model and a corpus in it.
fn place() -> Place {
    let place = Place::new();
    tiny_model(&place.path("model"));
    let lines: Vec<String> = TEXTS.iter().map(|text| json!({ "text": text }).to_string()).collect();
    place.write("texts.jsonl", lines.join("\n"));
    place
}

/// The tiny model with weights that are no numbers: whoever opens it finds every tensor, and no vector comes of it.
fn broken_model(place: &Place, name: &str) {
    tiny_model(&place.path(name));
    let path = format!("{name}/model.safetensors");
    let mut bytes = place.read(&path);
    let half = bytes.len() / 2;
    bytes[half..].fill(0xff);
    place.write(&path, bytes);
}

/// The tokens of a text: one a byte and one before them, cut where the model cuts.
fn tokens(text: &str) -> usize {
    (text.len() + 1).min(128)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_cell_is_measured_in_every_round() {
    let place = place();
    let set = fixture("beir");
    let arguments = ["bench", "--model", "./model", "--runtime", "onnx", "--precision", "f32", "--threads", "1,2"];
    let more = ["--mix", "mixed", "--mix", "16", "--rounds", "2", "--corpus", "texts.jsonl", "--quality", &set];
    let more = more.into_iter().chain(["--output", "out/result.json", "--json"]);
    let ran = place.run(arguments.into_iter().chain(more));
    let result = ran.json();
    assert_eq!(serde_json::from_slice::<Value>(&place.read("out/result.json")).unwrap(), result);
    assert_eq!((&result["format"], &result["rounds"], &result["interrupted"]), (&json!(1), &json!(2), &json!(false)));
    assert_eq!((&result["corpus"]["name"], &result["corpus"]["texts"]), (&json!("texts.jsonl"), &json!(7)));
    assert_eq!(result["quality_set"], json!({"name": "beir", "queries": 4, "documents": 7}));
    assert!(result["peak"]["flops_per_second"].as_array().unwrap().iter().all(|peak| number(&peak["flops_per_second"]) > 1e8));
    let cells = result["cells"].as_array().unwrap();
    let asked: Vec<(u64, &str)> =
        cells.iter().map(|cell| (cell["asked"]["threads"].as_u64().unwrap(), cell["asked"]["mix"].as_str().unwrap())).collect();
    assert_eq!(asked, [(1, "mixed"), (1, "16"), (2, "mixed"), (2, "16")]);
    assert_eq!(cells.iter().map(|cell| cell["reference"].as_bool().unwrap()).collect::<Vec<_>>(), [true, false, false, false]);
    let quality =
        number(&place.run(["eval", "beir", "--model", "./model", &fixture("beir"), "--json"]).json()["metrics"]["ndcg_at_10"]["value"]);

    // The definitions, by hand: lengths, their squares, and the shapes that the config tells.
    let config: Value = serde_json::from_slice(&place.read("model/config.json")).unwrap();
    let size = |key: &str| number(&config[key]);
    let (layers, hidden, inner) = (size("num_hidden_layers"), size("hidden_size"), size("intermediate_size"));
    for cell in cells {
        let measured = &cell["measured"];
        assert_eq!(cell["failed"], Value::Null, "{cell}");
        for figure in ["cold_start_ms", "first_query_ms", "texts_per_second", "tokens_per_second", "cpu_seconds", "peak_memory_bytes"] {
            let figure = &measured[figure];
            let rounds: Vec<f64> = figure["rounds"].as_array().unwrap().iter().map(number).collect();
            assert_eq!(rounds.len(), 2, "{cell}");
            assert!(rounds.iter().all(|&value| value > 0.0), "{cell}");
            let [min, median, max] = ["min", "median", "max"].map(|key| number(&figure[key]));
            assert!(min <= median && median <= max, "{cell}");
        }
        assert!(number(&measured["cold_start_ms"]["min"]) > number(&measured["first_query_ms"]["min"]), "{cell}");
        let query = &measured["query"];
        let [p50, p95, p99] = ["p50_ms", "p95_ms", "p99_ms"].map(|key| number(&query[key]));
        assert!(0.0 < p50 && p50 <= p95 && p95 <= p99, "{cell}");
        assert_eq!((query["samples_ms"].as_array().unwrap().len(), query["rounds_p50_ms"].as_array().unwrap().len()), (400, 2));
        let uniform = cell["asked"]["mix"] == "16";
        let lengths: Vec<usize> = TEXTS.iter().map(|text| if uniform { 16 } else { tokens(text) }).collect();
        let all: usize = lengths.iter().sum();
        let squares: usize = lengths.iter().map(|length| length * length).sum();
        assert_eq!(measured["tokens"], json!(all), "{cell}");
        let flops = 2.0 * layers * (4.0 * hidden * hidden + 2.0 * hidden * inner) * all as f64 + 4.0 * layers * hidden * squares as f64;
        assert!((number(&measured["flops"]) / flops - 1.0).abs() < 1e-12, "{cell}");
        let rates = measured["tokens_per_second"]["rounds"].as_array().unwrap();
        let seconds = rates.iter().map(|rate| all as f64 / number(rate)).sum::<f64>() / 2.0;
        let threads = cell["asked"]["threads"].as_u64().unwrap();
        let peak = result["peak"]["flops_per_second"].as_array().unwrap().iter().find(|peak| peak["threads"] == threads).unwrap();
        let share = number(&measured["flops"]) / seconds / number(&peak["flops_per_second"]);
        assert!((number(&measured["share_of_peak"]) / share - 1.0).abs() < 1e-6, "{cell}");
        assert_eq!(query["tokens"], json!(if uniform { 16 } else { 42 }), "{cell}");
        // All in one batch: the places are rows times the longest.
        let waste = 1.0 - all as f64 / (lengths.len() * lengths.iter().max().unwrap()) as f64;
        assert!((number(&measured["padding_waste"]) - waste).abs() < 1e-9, "{cell}");
        assert!(number(&measured["parity"]["worst_cosine"]) > 0.999999, "{cell}");
        assert!((number(&measured["quality"]["ndcg10"]) - quality).abs() < 1e-6, "{cell}");
        assert_eq!(measured["dimensions"], 64);
    }
    let weights = place.read("model/model.safetensors").len() as f64;
    assert!((number(&cells[0]["measured"]["model_bytes"]) / weights - 1.0).abs() < 0.1);
    assert_eq!(result["pins"]["models"][0]["identity"], cells[0]["measured"]["model_sha256"]);
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_cell_that_fails_says_why_and_the_rest_goes_on() {
    let place = place();
    broken_model(&place, "broken");
    let common = ["bench", "--runtime", "onnx", "--precision", "f32", "--rounds", "1", "--corpus", "texts.jsonl", "--model", "./broken"];
    let arguments = common.into_iter().chain(["--model", "./model"]);
    let result = place.run(arguments.clone().chain(["--json"])).json();
    assert_eq!(result["cells"].as_array().unwrap().len(), 2);
    let reason = result["cells"][0]["failed"].as_str().unwrap();
    assert!(reason.contains("is not finite"), "{reason}");
    assert_eq!(result["cells"][0]["measured"], Value::Null);
    assert!(number(&result["cells"][1]["measured"]["texts_per_second"]["median"]) > 0.0);
    let ran = place.run(arguments);
    assert!(ran.success().text().contains("failed: "), "{ran}");
    // None is left that could be told of.
    let ran = place.run(common.into_iter().chain(["--output", "r.json"]));
    assert!(ran.exit(1).err.contains("error: every cell failed; the first one: "), "{ran}");
    assert!(place.path("r.json").exists());
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is() {
    let place = place();
    copy_model("bert-mean", &place.path("bare"));
    place.write("empty.txt", "\n \n");
    tiny_model(&place.path("hollow"));
    std::fs::remove_file(place.path("hollow/model.safetensors")).unwrap();
    let bench = |more: &[&str]| {
        let begun = ["bench", "--model", "./model", "--precision", "f32", "--corpus", "texts.jsonl"];
        place.run(begun.into_iter().chain(more.iter().copied()))
    };
    snap!(bench(&["--runtime", "onx"]), @r#"
    exit 2
    --- stderr
    error: --runtime has "onx", which is no runtime
    hint: runtimes are onnx, mlx
    "#);
    snap!(bench(&["--precision", "q4", "--runtime", "onnx"]), @r#"
    exit 2
    --- stderr
    error: no cell can be made of onnx and q4
    hint: onnx has f32, int8
    "#);
    snap!(bench(&["--mix", "short"]), @r#"
    exit 2
    --- stderr
    error: "short" is no mix of lengths
    hint: write `mixed` for the texts as they are, or a number of tokens from 3 to 131072
    "#);
    snap!(bench(&["--mix", "129"]), @r#"
    exit 2
    --- stderr
    error: the mix 129 is longer than ./model takes: 128 tokens
    hint: leave it out, or take at most 128
    "#);
    snap!(bench(&["--model", "./hollow"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/hollow/model.safetensors: the weights are not there
    hint: a model has model.safetensors, or a list of shards and the shards
    "#);
    snap!(bench(&["--model", "no-such-model"]), @r#"
    exit 2
    --- stderr
    error: the model no-such-model is not on this machine
    hint: `patina model list` shows what there is; bring a model of your own with `patina model import FOLDER --name no-such-model`
    "#);
    snap!(bench(&["--model", "./bare"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/bare: the model ./bare has no tokenizer.json, so that it embeds no texts
    hint: get the model's tokenizer.json
    "#);
    snap!(bench(&["--quality", "nothing"]), @r#"
    exit 2
    --- stderr
    error: nothing: there is no such folder
    hint: a BEIR data set is a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv
    "#);
    snap!(bench(&["--quality-queries", "5"]), @r#"
    exit 2
    --- stderr
    error: --quality-queries has no meaning without --quality
    hint: name the labelled set too
    "#);
    snap!(bench(&["--output", "model"]), @r#"
    exit 2
    --- stderr
    error: model: the output is a folder
    hint: name a file in it
    "#);
    snap!(place.run(["bench", "--model", "./model", "--corpus", "empty.txt"]), @r#"
    exit 2
    --- stderr
    error: empty.txt: the corpus holds no text
    hint: a .jsonl file has a JSON object with `text` on each line, a .txt file a text on each line
    "#);
    snap!(place.run(["bench"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]: no model is named, and there is no project here whose model it could be
    hint: name one with --model; `patina model list` shows what there is
    "#);
    // An unlabelled set is an error and never a zero.
    for name in ["corpus.jsonl", "queries.jsonl"] {
        place.write(&format!("set/{name}"), std::fs::read(fixture(&format!("beir/{name}"))).unwrap());
    }
    place.write("set/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t0\nq2\td2\t0\n");
    snap!(bench(&["--quality", "set"]), @r#"
    exit 2
    --- stderr
    error: set/qrels/test.tsv: no document is judged relevant for any query, so that every measure would be 0
    hint: an unlabelled split cannot be evaluated; take one whose judgements are published
    "#);
    place.write("set/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t0\nq2\td2\t1\n");
    snap!(bench(&["--quality", "set", "--quality-queries", "1"]), @r#"
    exit 2
    --- stderr
    error: set: no document is judged relevant for any of the first 1 queries
    hint: take more of them
    "#);
    for alone in ["cell", "peak"] {
        assert!(place.run(["bench", alone]).text().contains("this command is run by `patina bench` alone"));
    }
}

#[test]
fn a_recipe_says_what_is_measured() {
    let place = Place::tiny_project();
    place.write("texts.txt", TEXTS.join("\n"));
    place.write(
        ".patina/oxidize.yaml",
        "version: 1\nembedding_model: ./model/\nbench:\n  precisions: [f32]\n  threads: [1, 2]\n  token_budgets: [64]\n  mixes: [16]\n  rounds: 1\n  queries: 5\n  corpus: texts.txt\n",
    );
    // Neither it nor the command line names a runtime: all that this build carries are measured.
    let carried: &[&str] = if cfg!(backend_mlx) { &["onnx", "mlx"] } else { &["onnx"] };
    let result = place.run(["bench", "--json", "--threads", "1"]).json();
    let cells = result["cells"].as_array().unwrap();
    assert_eq!(cells.len(), carried.len(), "the command line comes first: {result}");
    assert_eq!(result["rounds"], 1);
    assert_eq!(result["pins"]["queries"], 5);
    for (cell, runtime) in cells.iter().zip(carried) {
        let asked = json!({"model": "./model/", "runtime": runtime, "precision": "f32", "threads": 1, "token_budget": 64, "mix": "16"});
        assert_eq!((&cell["asked"], &cell["measured"]["tokens"]), (&asked, &json!(16 * 7)), "{cell}");
    }
    let ran = place.run(["bench"]);
    let begins = format!("{} cells, 1 round, texts.txt (7 texts)\n", 2 * carried.len());
    assert!(ran.success().text().starts_with(&begins), "{ran}");
    for runtime in carried {
        assert!(ran.text().contains(&format!("{runtime} f32 2 threads")), "{ran}");
    }
    assert!(ran.text().contains("fewer than 3 rounds say nothing about noise"), "{ran}");
    // Without a corpus of its own the project's texts are measured, once there are some; of the runtimes the one that it names.
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\nbench: {runtimes: [onnx], precisions: [f32], rounds: 1}\n");
    place.run(["scrape"]).success();
    let result = place.run(["bench", "--json", "--threads", "1"]).json();
    assert_eq!((&result["corpus"]["name"], result["cells"].as_array().unwrap().len()), (&json!("project"), 1));
    assert_eq!(result["cells"][0]["asked"]["runtime"], "onnx");
}

#[test]
fn two_results_are_compared_and_one_is_run_again() {
    let place = place();
    let common = ["bench", "--model", "./model", "--runtime", "onnx", "--precision", "f32", "--rounds", "4", "--corpus", "texts.jsonl"];
    let set = fixture("beir");
    place.run(common.into_iter().chain(["--threads", "1,2", "--quality", &set, "--output", "a.json"])).success();
    place.run(common.into_iter().chain(["--threads", "1", "--output", "b.json"])).success();

    let same = place.run(["bench", "compare", "a.json", "a.json", "--json"]).json();
    assert_eq!((&same["differs"], &same["only_a"], &same["only_b"]), (&json!([]), &json!([]), &json!([])));
    for cell in same["cells"].as_array().unwrap() {
        let figures = cell["figures"].as_array().unwrap();
        assert_eq!(figures.len(), 8);
        assert!(figures.iter().all(|figure| figure["verdict"] == "same" && figure["ratio"] == 1.0), "{cell}");
    }
    // Ten times the rate in every round is no noise.
    let mut faster: Value = serde_json::from_slice(&place.read("a.json")).unwrap();
    let rate = &mut faster["cells"][0]["measured"]["texts_per_second"];
    for key in ["min", "median", "max"] {
        rate[key] = json!(10.0 * number(&rate[key]));
    }
    for round in rate["rounds"].as_array_mut().unwrap() {
        *round = json!(10.0 * number(round));
    }
    faster["machine"]["threads"] = json!(4096);
    place.write("faster.json", faster.to_string());
    let found = place.run(["bench", "compare", "a.json", "faster.json", "--json"]).json();
    let changed: Vec<&Value> = found["cells"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|cell| cell["figures"].as_array().unwrap())
        .filter(|figure| figure["verdict"] != "same")
        .collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!((&changed[0]["figure"], &changed[0]["verdict"]), (&json!("texts_per_second"), &json!("better")));
    assert_eq!(found["differs"][0]["what"], "machine");
    if cfg!(any(target_os = "linux", target_os = "macos")) {
        let text = place.run(["bench", "compare", "a.json", "a.json"]).success().text();
        assert!(text.contains("peak_memory MiB") && !text.contains("peak_memory_bytes"), "{text}");
    }
    let ran = place.run(["bench", "compare", "a.json", "b.json"]);
    assert!(ran.success().text().contains("only in the first: ./model onnx f32, 2 threads"), "{ran}");

    let again = ["bench", "recipe", "a.json", "--corpus", "texts.jsonl", "--quality", &set, "--rounds", "1"];
    let found = place.run(again.into_iter().chain(["--json"])).json();
    assert_eq!((&found["reproduced"], found["cells"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(found["cells"][0]["quality_reproduces"], true);
    assert_eq!((&found["cells"][0]["parity_reproduces"], &found["cells"][1]["parity_reproduces"]), (&Value::Null, &json!(true)));
    assert_eq!(found["quality"], "measured");
    // What is not checked is said: the rest is what is reproduced.
    let without = ["bench", "recipe", "a.json", "--corpus", "texts.jsonl", "--rounds", "1"];
    let ran = place.run(without);
    assert!(ran.success().text().contains("parity reproduced; quality was not checked: name the labelled set with --quality"), "{ran}");
    let found = place.run(without.into_iter().chain(["--json"])).json();
    assert_eq!((&found["reproduced"], &found["quality"]), (&json!(true), &json!("not measured")));
    // A result from before there were pins was made with the usual number of single queries.
    let mut old: Value = serde_json::from_slice(&place.read("a.json")).unwrap();
    old.as_object_mut().unwrap().remove("pins");
    place.write("old.json", old.to_string());
    place.run(["bench", "recipe", "old.json", "--corpus", "texts.jsonl", "--rounds", "1", "--output", "again.json"]).success();
    let made: Value = serde_json::from_slice(&place.read("again.json")).unwrap();
    assert_eq!(made["pins"]["queries"], 200);
    // A file that cannot be written does not take with it what took so long: no system has names of so many letters.
    let name = format!("{}.json", "r".repeat(300));
    let ran = place.run(without.into_iter().chain(["--output", name.as_str()]));
    assert!(ran.exit(1).text().contains("parity reproduced"), "{ran}");
    let ran = place.run(common.into_iter().chain(["--threads", "1", "--output", name.as_str()]));
    assert!(ran.exit(1).text().contains("texts/s"), "{ran}");
    // Another quality there: it does not come out here.
    let mut other: Value = serde_json::from_slice(&place.read("a.json")).unwrap();
    let quality = &mut other["cells"][1]["measured"]["quality"];
    (quality["low"], quality["ndcg10"], quality["high"]) = (json!(0.98), json!(0.99), json!(1.0));
    place.write("a.json", other.to_string());
    let ran = place.run(again);
    assert!(ran.exit(1).text().contains("does not reproduce"), "{ran}");
    // Other texts, another set, another model: told before anything runs.
    place.write("other.jsonl", "{\"text\": \"other\"}\n");
    assert!(place.run(["bench", "recipe", "a.json", "--corpus", "other.jsonl"]).exit(3).err.contains("these are not the result's texts"));
    assert!(place.run(["bench", "recipe", "a.json"]).exit(2).err.contains("name their file with --corpus"));
    let path = "model/config.json";
    let mut config: Value = serde_json::from_slice(&place.read(path)).unwrap();
    config["layer_norm_eps"] = json!(1e-3);
    place.write(path, config.to_string());
    assert!(place.run(again).exit(3).err.contains("is not the one of the result"));
}

#[test]
fn what_is_no_result_is_said_so() {
    let place = Place::new();
    place.write("cut.json", "{\"format\": 1, \"patina\": \"0.1");
    place.write("later.json", "{\"format\": 2}");
    snap!(place.run(["bench", "compare", "cut.json", "cut.json"]), @r#"
    exit 3
    --- stderr
    error: cut.json:1:28: this is no result of a benchmark: EOF while parsing a string
    hint: `patina bench --output FILE.json` writes one
    "#);
    snap!(place.run(["bench", "compare", "later.json", "later.json"]), @r#"
    exit 3
    --- stderr
    error: later.json: the result has format 2; this Patina reads format 1
    hint: use the Patina that wrote it
    "#);
    snap!(place.run(["bench", "recipe", "none.json"]), @r#"
    exit 2
    --- stderr
    error: none.json: there is no such result
    hint: `patina bench --output FILE.json` writes one
    "#);
}

/// Processes that are stopped, and what they leave.
#[cfg(target_os = "linux")]
mod stops {
    use std::collections::BTreeSet;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// The processes that `parent` has started and not waited for.
    fn children(parent: u32) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_child = |id: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // After the name, which may hold anything: the state, and the parent.
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
            fields.get(1).is_some_and(|word| word.parse() == Ok(parent)) && fields[0] != "Z"
        };
        ids.filter(is_child).collect()
    }

    fn lives(id: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn signal(name: &str, id: u32) {
        assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
    }

    fn start(place: &Place, arguments: &[&str]) -> Child {
        let begun = ["bench", "--runtime", "onnx", "--precision", "f32", "--corpus", "texts.jsonl"];
        let mut command = place.command(begun.into_iter().chain(arguments.iter().copied()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Whether the process runs its own program by now: one that is stopped before stops the one that starts it, too.
    fn is_cell(id: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|words| words.split('\0').any(|word| word == "cell"))
    }

    /// Waits for the `n`-th process that `parent` starts.
    fn nth_child(parent: u32, n: usize) -> u32 {
        let begun = Instant::now();
        let mut seen = BTreeSet::new();
        loop {
            for id in children(parent).into_iter().filter(|&id| is_cell(id)) {
                seen.insert(id);
                if seen.len() == n {
                    return id;
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "only {} processes were started", seen.len());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_process_that_is_killed_is_one_cell() {
        let place = place();
        let child = start(&place, &["--model", "all-MiniLM-L6-v2", "--model", "./model", "--rounds", "1", "--json"]);
        signal("-KILL", nth_child(child.id(), 1));
        let result = place.ran(child.wait_with_output().unwrap()).json();
        assert_eq!(result["cells"][0]["failed"], "the process ended by signal 9 (out of memory?)");
        assert!(number(&result["cells"][1]["measured"]["texts_per_second"]["median"]) > 0.0);
    }

    #[test]
    fn ctrl_c_keeps_the_rounds_that_are_over() {
        let place = place();
        let child = start(&place, &["--model", "./model", "--threads", "1,2", "--rounds", "100", "--output", "r.json", "--json"]);
        let id = child.id();
        // Two checks, then a whole round, then the first process of the second.
        let last = nth_child(id, 5);
        signal("-INT", id);
        let ran = place.ran(child.wait_with_output().unwrap());
        assert_eq!(ran.exit(130).json_error()["kind"], "interrupted");
        assert!(!lives(last), "a process was left");
        let result: Value = serde_json::from_slice(&place.read("r.json")).unwrap();
        assert_eq!((&result["interrupted"], &result["rounds"]), (&json!(true), &json!(100)));
        for cell in result["cells"].as_array().unwrap() {
            let rounds = cell["measured"]["texts_per_second"]["rounds"].as_array().unwrap().len();
            assert!((1..100).contains(&rounds), "{rounds} rounds");
        }
        assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
    }

    #[test]
    fn no_process_outlives_the_one_that_started_it() {
        let place = place();
        let mut child = start(&place, &["--model", "all-MiniLM-L6-v2", "--rounds", "100"]);
        let own = nth_child(child.id(), 2);
        child.kill().unwrap();
        child.wait().unwrap();
        let begun = Instant::now();
        while lives(own) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the process lives on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_process_that_says_nothing_is_ended() {
        let place = place();
        let child = start(&place, &["--model", "all-MiniLM-L6-v2", "--model", "./model", "--rounds", "1", "--timeout", "5", "--json"]);
        let stopped = nth_child(child.id(), 1);
        signal("-STOP", stopped);
        let result = place.ran(child.wait_with_output().unwrap()).json();
        assert_eq!(result["cells"][0]["failed"], "the process said nothing for 5 s and was ended");
        assert!(!lives(stopped));
        assert!(result["cells"][1]["measured"].is_object());
    }

    /// The address space, in KiB, that the greatest process of a cell of `model` takes.
    fn address_space(place: &Place, model: &str) -> u64 {
        let mut command = place.command(CELL.into_iter().chain(["--model", model]));
        let mut child = command.env(ONE_ARENA.0, ONE_ARENA.1).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            for id in children(child.id()) {
                let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
                let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")?.trim().strip_suffix(" kB")?.parse().ok());
                most = most.max(peak.unwrap_or(0));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(child.wait().unwrap().success());
        most
    }

    const CELL: [&str; 12] =
        ["bench", "--runtime", "onnx", "--precision", "f32", "--threads", "1", "--rounds", "1", "--corpus", "texts.jsonl", "--json"];

    /// glibc reserves address space for each thread that asks for memory, as it happens to come: not where it is counted.
    const ONE_ARENA: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

    #[test]
    fn a_process_without_memory_is_one_cell() {
        // As much address space as the tiny model needs and the other one, of 90 MB, does not have. How much that is depends on what
        // this build carries: both are asked.
        let place = place();
        let [large, tiny] = ["all-MiniLM-L6-v2", "./model"].map(|model| address_space(&place, model));
        assert!(large > tiny + 80_000, "{large} and {tiny} KiB");
        let limit = tiny + (large - tiny) / 4 * 3;
        let line = format!(
            "ulimit -v {limit} && {}={} \"$PATINA\" {} --model all-MiniLM-L6-v2 --model ./model",
            ONE_ARENA.0,
            ONE_ARENA.1,
            CELL.join(" ")
        );
        let result = place.shell(&line).json();
        let cells = result["cells"].as_array().unwrap();
        assert_eq!(cells.len(), 2);
        let reason = cells[0]["failed"].as_str().unwrap_or_else(|| panic!("{limit} KiB are enough: {result}"));
        assert!(reason.contains("memory"), "{reason}");
        assert!(cells[1]["measured"].is_object(), "{result}");
    }
}
