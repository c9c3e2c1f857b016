//! `patina embed`: every form of input, every form of output.

use std::process::Stdio;

use serde_json::json;

use crate::harness::{Place, Ran, furthest, golden, tiny_model, vectors};

/// A folder with the tiny model in it.
fn place() -> Place {
    let place = Place::new();
    tiny_model(&place.path("model"));
    place
}

fn embed(place: &Place, input: impl AsRef<[u8]>) -> Ran {
    place.run_with(["embed", "--model", "./model"], &[], input)
}

#[test]
fn every_form_of_input_gives_the_same_vector() {
    let place = place();
    // The tokenizer gives every byte the id 5 + byte, after a first token of its own.
    let ids: Vec<u32> = std::iter::once(2).chain("cache".bytes().map(|byte| u32::from(byte) + 5)).collect();
    let input = format!("cache\n{}\n{}\ncache", json!({"text": "cache", "id": 7}), json!({"input_ids": ids}));
    let rows = embed(&place, input).vectors();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0].len(), 64);
    for row in &rows {
        assert!(furthest(row, &rows[0]) < 1e-6);
    }
}

#[test]
fn the_order_is_kept_whatever_the_lengths() {
    let place = place();
    let lines: Vec<String> = (0..700).map(|n| format!("{n} {}", "x".repeat(n * 37 % 120))).collect();
    let all = embed(&place, lines.join("\n")).vectors();
    assert_eq!(all.len(), lines.len());
    for n in [0, 1, 127, 128, 129, 350, 699] {
        let alone = embed(&place, &lines[n]).vectors();
        assert!(furthest(&alone[0], &all[n]) < 1e-5, "line {}", n + 1);
    }
}

#[test]
fn any_token_budget_gives_the_same_vectors_within_rounding() {
    let place = place();
    let lines: Vec<String> = (0..40).map(|n| format!("{n} {}", "x".repeat(n * 37 % 120))).collect();
    place.write("lines.txt", lines.join("\n"));
    let with = |budget: &str| {
        let arguments = ["embed", "--model", "./model", "--input", "lines.txt", "--token-budget", budget];
        place.run(arguments).vectors()
    };
    let usual = embed(&place, lines.join("\n")).vectors();
    assert_eq!(with("1024"), usual);
    for budget in ["1", "300", "131072"] {
        for (row, expected) in with(budget).iter().zip(&usual) {
            assert!(furthest(row, expected) < 1e-5, "{budget}");
        }
    }
}

#[test]
fn the_same_vectors_in_every_form_of_output() {
    let place = place();
    let input = "one\ntwo\nthree\n";
    let rows = embed(&place, input).vectors();
    place.write("lines.txt", input);
    snap!(place.run(["embed", "--model", "./model", "--input", "lines.txt", "--output", "out/v.jsonl"]), @r#"
    exit 0
    "#);
    assert_eq!(vectors(&String::from_utf8(place.read("out/v.jsonl")).unwrap()), rows);
    place.run(["embed", "--model", "./model", "--input", "lines.txt", "--output", "v.npy"]).success();
    assert_eq!(npy(&place.read("v.npy")), (3, 64, rows.concat()));
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
}

/// Rows, columns and values of a .npy file, read as its format says.
fn npy(bytes: &[u8]) -> (usize, usize, Vec<f32>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..header]).unwrap();
    assert!(text.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': ("), "{text}");
    let shape = text.split(['(', ')']).nth(1).unwrap();
    let (rows, columns) = shape.split_once(", ").unwrap();
    let values = bytes[header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    (rows.parse().unwrap(), columns.parse().unwrap(), values)
}

#[test]
fn no_input_gives_no_vector() {
    let place = place();
    snap!(embed(&place, ""), @r#"
    exit 0
    "#);
    place.run(["embed", "--model", "./model", "--output", "v.npy"]).success();
    assert_eq!(npy(&place.read("v.npy")), (0, 64, Vec::new()));
    place.run(["embed", "--model", "./model", "--output", "v.jsonl"]).success();
    assert_eq!(place.read("v.jsonl"), b"");
}

#[test]
fn an_empty_line_is_an_empty_text() {
    let rows = embed(&place(), "a\n\nb\n").vectors();
    assert_eq!(rows.len(), 3);
    assert!(rows[1] != rows[0] && rows[1] != rows[2]);
}

#[test]
fn a_line_ends_with_or_without_a_carriage_return() {
    let place = place();
    let unix = embed(&place, "one\n{\"text\": \"two\"}\n").vectors();
    let windows = embed(&place, "one\r\n{\"text\": \"two\"}\r\n").vectors();
    assert_eq!(unix, windows);
}

#[test]
fn a_text_beyond_the_model_s_limit_is_cut() {
    let rows = embed(&place(), format!("{}\n{}\n", "x".repeat(127), "x".repeat(100_000))).vectors();
    assert!(furthest(&rows[0], &rows[1]) < 1e-6);
}

#[test]
fn a_line_that_is_not_utf_8() {
    let place = place();
    snap!(embed(&place, b"good\nbad \xff\n"), @r#"
    exit 2
    --- stderr
    error: <standard input>:2:5: the line is not UTF-8
    hint: convert the input to UTF-8
    "#);
    place.write("latin1.txt", b"caf\xe9\n");
    snap!(place.run(["embed", "--model", "./model", "--input", "latin1.txt"]), @r#"
    exit 2
    --- stderr
    error: latin1.txt:1:4: the line is not UTF-8
    hint: convert the input to UTF-8
    "#);
}

#[test]
fn a_binary_file() {
    let place = place();
    place.write("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01");
    snap!(place.run(["embed", "--model", "./model", "--input", "picture.png"]), @r#"
    exit 2
    --- stderr
    error: picture.png:1:1: the line is not UTF-8
    hint: convert the input to UTF-8
    "#);
}

#[test]
fn inputs_that_are_not_there_or_no_file() {
    let place = place();
    snap!(place.run(["embed", "--model", "./model", "--input", "nothing.txt"]), @r#"
    exit 1
    --- stderr
    error: nothing.txt: cannot read the file: No such file or directory (os error 2)
    "#);
    snap!(place.run(["embed", "--model", "./model", "--input", "model"]), @r#"
    exit 1
    --- stderr
    error: model: cannot read the file: Is a directory (os error 21)
    "#);
}

#[test]
fn token_ids_that_the_model_does_not_have() {
    let place = place();
    place.write("ids.jsonl", "{\"input_ids\": [1]}\n{\"input_ids\": [1, 300]}\n");
    let input = ["embed", "--model", "./model", "--input", "ids.jsonl"];
    let ran = place.run(input);
    snap!(ran, @r#"
    exit 2
    --- stderr
    error: line 2 of ids.jsonl cannot be embedded: it has the token id 300 and the model has 300 tokens
    "#);
}

#[test]
fn no_token_ids() {
    snap!(embed(&place(), "{\"input_ids\": []}"), @r#"
    exit 2
    --- stderr
    error: line 1 of <standard input> cannot be embedded: it has no tokens
    "#);
}

#[test]
fn more_token_ids_than_the_model_takes() {
    let place = place();
    let row = |n: usize| format!("{}\n", json!({"input_ids": vec![9; n]}));
    assert_eq!(embed(&place, row(128)).vectors().len(), 1);
    snap!(embed(&place, row(3) + &row(129)), @r#"
    exit 2
    --- stderr
    error: line 2 of <standard input> cannot be embedded: it has 129 tokens and the model takes 128
    "#);
}

#[test]
fn objects_that_say_nothing_or_too_much() {
    let place = place();
    snap!(embed(&place, "{\"txt\": \"a\"}"), @r#"
    exit 2
    --- stderr
    error: <standard input>:1:1: the line has neither `text` nor `input_ids`
    hint: a JSON line has `text` (a string) or `input_ids` (a list of token ids)
    "#);
    snap!(embed(&place, "{\"text\": \"a\", \"input_ids\": [1]}"), @r#"
    exit 2
    --- stderr
    error: <standard input>:1:1: the line has both `text` and `input_ids`
    hint: a JSON line has `text` (a string) or `input_ids` (a list of token ids)
    "#);
    snap!(embed(&place, "fine\n{\"input_ids\": [-1]}"), @r#"
    exit 2
    --- stderr
    error: <standard input>:2:1: the line does not fit: invalid value: integer `-1`, expected u32 at line 1 column 17
    hint: a JSON line has `text` (a string) or `input_ids` (a list of token ids)
    "#);
}

#[test]
fn an_error_leaves_the_old_output() {
    let place = place();
    for name in ["v.npy", "v.jsonl"] {
        place.write(name, "old");
        let lines = "good\n".repeat(3000) + "{\"input_ids\": [999]}\n";
        place.run_with(["embed", "--model", "./model", "--output", name], &[], lines).exit(2);
        assert_eq!(place.read(name), b"old");
    }
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_output_of_an_unknown_kind() {
    snap!(place().run(["embed", "--model", "./model", "--output", "v.csv"]), @r#"
    exit 2
    --- stderr
    error: v.csv: the output's name must end with .npy, .jsonl or .parquet, or be `-`
    "#);
}

#[test]
fn a_model_without_tokenizer_takes_token_ids_alone() {
    let place = Place::new();
    snap!(place.run_with(["embed", "--model", &golden("bert-mean")], &[], "text"), @r#"
    exit 2
    --- stderr
    error: [GOLDEN]/bert-mean: the model has no tokenizer.json, so that it embeds token ids alone
    hint: give it `input_ids`, or get the model's tokenizer.json
    "#);
}

#[test]
fn without_a_model_the_project_s_is_taken() {
    let place = Place::tiny_project();
    let rows = place.run_with(["embed"], &[], "cache").vectors();
    assert_eq!(rows, place.run_with(["embed", "--model", "./model"], &[], "cache").vectors());
    snap!(Place::new().run(["embed"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]: there is no project here: no .patina/oxidize.yaml in this folder or above it
    hint: run `patina init` in the project's folder
    "#);
}

#[test]
fn whoever_reads_may_stop_reading() {
    let place = place();
    place.write("lines.txt", "a line of text\n".repeat(5000));
    // `head` closes the pipe after the first line, long before the program is through: it ends quietly, as if that was all.
    let ran = place.shell("{ \"$PATINA\" embed --model ./model --input lines.txt; echo \"exit $?\" >&2; } | head -n 1 | cut -c 1-13");
    snap!(ran, @r#"
    exit 0
    --- stdout
    {"embedding":
    --- stderr
    exit 0
    "#);
}

#[test]
fn a_full_disk_under_standard_output() {
    let place = place();
    let mut command = place.command(["embed", "--model", "./model"]);
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        return; // Only Linux has it.
    };
    place.write("line.txt", "a\n");
    command.args(["--input", "line.txt"]).stdin(Stdio::null()).stdout(full);
    snap!(place.ran(command.output().unwrap()), @r#"
    exit 1
    --- stderr
    error: cannot write to standard output: No space left on device (os error 28)
    hint: the disk is full; free some room and run the command again
    "#);
}

/// ONNX Runtime keeps a number of the device and a queue of what it would send below the home folder once it has begun to; it does not begin where it
/// finds the marks of continuous integration.
#[test]
fn the_runtime_sends_nothing_home() {
    let place = Place::new();
    let home = place.path("home");
    std::fs::create_dir(&home).expect("a folder");
    let mut command = place.command(["embed", "--model", &golden("bert-mean"), "--input", "texts.jsonl"]);
    for mark in ["CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY"] {
        command.env_remove(mark);
    }
    place.write("texts.jsonl", "{\"input_ids\": [1, 2, 3]}\n");
    let output = command.env("HOME", &home).output().expect("patina runs");
    place.ran(output).success();
    let left: Vec<_> = std::fs::read_dir(&home).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
