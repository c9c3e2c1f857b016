//! `patina embed --shard` and `patina merge`: Parquet, JSON lines, everything that must not be merged, and what is left when it stops.

use std::path::Path;

use serde_json::json;

use crate::harness::{Place, Ran, furthest, tiny_model, vectors};

const ROWS: usize = 200;

/// A folder with the tiny model, and 200 texts of many lengths as JSON lines.
fn place() -> Place {
    let place = Place::new();
    tiny_model(&place.path("model"));
    place.write("texts.jsonl", lines(ROWS));
    place
}

fn lines(rows: usize) -> String {
    (0..rows).map(|n| format!("{}\n", json!({"id": format!("key-{n}"), "text": format!("{n} {}", "x".repeat(n * 37 % 90))}))).collect()
}

fn fixture(place: &Place, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet").join(name);
    place.write(name, std::fs::read(path).unwrap());
}

fn embed(place: &Place, more: &[&str]) -> Ran {
    place.run(["embed", "--model", "./model"].into_iter().chain(more.iter().copied()))
}

/// All shards of the texts, and their names.
fn shards(place: &Place, of: usize, form: &str) -> Vec<String> {
    let name = |index: usize| format!("shard-{index}.{form}");
    for index in 0..of {
        let shard = format!("{index}/{of}");
        embed(place, &["--input", "texts.jsonl", "--id-column", "id", "--shard", &shard, "--output", &name(index)]).success();
    }
    (0..of).map(name).collect()
}

fn merge<'a>(place: &Place, output: &'a str, shards: &'a [String]) -> Ran {
    place.run(["merge", "--output", output].into_iter().chain(shards.iter().map(String::as_str)))
}

fn text(place: &Place, name: &str) -> String {
    String::from_utf8(place.read(name)).unwrap()
}

#[test]
fn merged_shards_are_what_one_run_gives() {
    let place = place();
    embed(&place, &["--input", "texts.jsonl", "--id-column", "id", "--output", "whole.jsonl"]).success();
    let whole = vectors(&text(&place, "whole.jsonl"));
    assert_eq!(whole.len(), ROWS);
    for form in ["parquet", "jsonl"] {
        let mut names = shards(&place, 3, form);
        names.reverse();
        merge(&place, "merged.jsonl", &names).success();
        let merged = text(&place, "merged.jsonl");
        for (n, (row, expected)) in vectors(&merged).iter().zip(&whole).enumerate() {
            assert!(furthest(row, expected) < 1e-6, "row {n}");
        }
        // All but the last digits of the vectors is the same: no row numbers, ids in their places.
        let heads = |text: &str| text.lines().map(|line| line.split("\"embedding\"").next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(heads(&merged), heads(&text(&place, "whole.jsonl")));
        // From either form to either form, the vectors are the very same.
        merge(&place, "merged.npy", &names).success();
        let bytes = place.read("merged.npy");
        let values: Vec<f32> = bytes[128..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(values, vectors(&merged).concat());
        assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn the_same_shard_is_the_same_bytes() {
    let place = place();
    for form in ["parquet", "jsonl"] {
        let name = &shards(&place, 2, form)[1];
        let first = place.read(name);
        shards(&place, 2, form);
        assert!(place.read(name) == first, "{name} differs");
    }
}

#[test]
fn several_inputs_are_one() {
    let place = place();
    let (head, tail) = (lines(ROWS).lines().take(45).map(|line| format!("{line}\n")).collect::<String>(), lines(ROWS));
    place.write("a.jsonl", head);
    place.write("b.jsonl", tail.lines().skip(45).map(|line| format!("{line}\n")).collect::<String>());
    embed(&place, &["--input", "a.jsonl", "--input", "b.jsonl", "--shard", "0/2", "--output", "two.parquet"]).success();
    embed(&place, &["--input", "texts.jsonl", "--shard", "0/2", "--output", "one.parquet"]).success();
    assert!(place.read("two.parquet") == place.read("one.parquet"));
    place.write("b.jsonl", "{\"input_ids\": [1]}\n{\"input_ids\": [999]}\n");
    snap!(embed(&place, &["--input", "a.jsonl", "--input", "b.jsonl", "--output", "v.npy"]), @r#"
    exit 2
    --- stderr
    error: line 2 of b.jsonl cannot be embedded: it has the token id 999 and the model has 300 tokens
    "#);
}

#[test]
fn parquet_gives_what_its_texts_give() {
    let place = place();
    fixture(&place, "snappy.parquet");
    embed(&place, &["--input", "snappy.parquet", "--output", "v.jsonl"]).success();
    let texts: String = (0..99).map(|n| format!("text number {n}{}\n", " again".repeat(n % 5))).collect();
    let expected = place.run_with(["embed", "--model", "./model"], &[], texts + "\n").vectors();
    for (n, (row, expected)) in vectors(&text(&place, "v.jsonl")).iter().zip(&expected).enumerate() {
        assert!(furthest(row, expected) < 1e-6, "row {n}");
    }
    assert_eq!(expected.len(), 100);
    fixture(&place, "null-text.parquet");
    snap!(embed(&place, &["--input", "null-text.parquet", "--output", "v.parquet"]), @r#"
    exit 2
    --- stderr
    error: null-text.parquet: row 70 (row group 1): the column `text` is null
    hint: fill in the empty text or leave such rows out; nothing is embedded for a null
    "#);
    fixture(&place, "zstd.parquet");
    snap!(embed(&place, &["--input", "zstd.parquet", "--output", "v.parquet"]), @r#"
    exit 2
    --- stderr
    error: zstd.parquet: the column `text` is compressed with zstd, which is not supported
    hint: write the file with snappy, gzip, lz4 or no compression
    "#);
    fixture(&place, "cut.parquet");
    snap!(embed(&place, &["--input", "cut.parquet", "--output", "v.parquet"]), @r#"
    exit 3
    --- stderr
    error: cut.parquet: this is no whole Parquet file: it does not end with PAR1, so that its end is missing
    hint: get or write the file again
    "#);
    snap!(embed(&place, &["--input", "snappy.parquet", "--text-column", "body"]), @r#"
    exit 2
    --- stderr
    error: snappy.parquet: there is no column `body`
    hint: the file's columns are `id`, `text`; --text-column and --id-column name the ones to read
    "#);
    assert!(!place.path("v.parquet").exists());
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn shards_that_are_none() {
    let place = place();
    snap!(embed(&place, &["--input", "texts.jsonl", "--shard", "4/4", "--output", "v.parquet"]), @r#"
    exit 2
    --- stderr
    error: --shard is 4/4, and there is no such shard
    hint: shards are counted from 0: the last of 4 is 3/4
    "#);
    snap!(embed(&place, &["--input", "texts.jsonl", "--shard", "0/2", "--output", "v.npy"]), @r#"
    exit 2
    --- stderr
    error: v.npy: a .npy file has no place for the numbers of a shard's rows
    hint: write shards as .parquet or .jsonl; `patina merge` puts them together, as .npy too
    "#);
    snap!(embed(&place, &["--input", "texts.jsonl", "--skip-existing", "--output", "v.npy"]), @r#"
    exit 2
    --- stderr
    error: v.npy: --skip-existing needs an output that says what is in it
    hint: write .parquet, or a shard as .jsonl
    "#);
}

#[test]
fn a_shard_without_rows() {
    let place = place();
    place.write("texts.jsonl", lines(40));
    let names = shards(&place, 3, "jsonl");
    assert_eq!(text(&place, &names[2]).lines().count(), 1);
    merge(&place, "merged.jsonl", &names).success();
    assert_eq!(vectors(&text(&place, "merged.jsonl")).len(), 40);
    place.write("texts.jsonl", "");
    let names = shards(&place, 2, "parquet");
    merge(&place, "merged.jsonl", &names).success();
    assert_eq!(place.read("merged.jsonl"), b"");
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let place = place();
    let names = shards(&place, 3, "parquet");
    snap!(merge(&place, "m.npy", &names[..1]), @r#"
    exit 2
    --- stderr
    error: 2 of 3 shards are missing: 1/3, 2/3
    hint: run `patina embed --shard` for each of them, and name all files
    "#);
    let twice = [names.clone(), vec![names[1].clone()]].concat();
    snap!(merge(&place, "m.npy", &twice), @r#"
    exit 2
    --- stderr
    error: shard-1.parquet: the shard 1/3 is there twice: shard-1.parquet is it, too
    hint: name each shard once
    "#);
    // One of another input, of as many rows.
    place.write("texts.jsonl", lines(ROWS).replace("key-7\",\"text\":\"7", "key-7\",\"text\":\"8"));
    embed(&place, &["--input", "texts.jsonl", "--id-column", "id", "--shard", "1/3", "--output", "other.parquet"]).success();
    let mixed = [names[0].clone(), "other.parquet".into(), names[2].clone()];
    snap!(merge(&place, "m.npy", &mixed), @r#"
    exit 3
    --- stderr
    error: other.parquet: the shard does not belong with shard-0.parquet: its hash of the input is [SHA-256], and there it is [SHA-256]
    hint: embed the one that is wrong again, with the same input, model and settings
    "#);
    // One of fewer dimensions, which is another fingerprint.
    let fewer = ["--input", "texts.jsonl", "--id-column", "id", "--dimensions", "32", "--shard", "1/3", "--output", "fewer.parquet"];
    embed(&place, &fewer).success();
    let mixed = [names[0].clone(), "fewer.parquet".into(), names[2].clone()];
    let ran = merge(&place, "m.npy", &mixed);
    assert!(ran.exit(3).err.contains("fewer.parquet: the shard does not belong"), "{ran}");
    // What is no shard.
    embed(&place, &["--input", "texts.jsonl", "--output", "whole.parquet"]).success();
    let ran = merge(&place, "m.npy", &["whole.parquet".into()]);
    assert!(ran.exit(2).err.contains("the file is no shard: it has all vectors of its input"), "{ran}");
    place.write("lines.jsonl", "{\"embedding\":[1.0]}\n");
    let ran = merge(&place, "m.npy", &["lines.jsonl".into()]);
    assert!(ran.exit(3).err.contains("lines.jsonl: the file's last line does not say what it is"), "{ran}");
    fixture(&place, "plain.parquet");
    let ran = merge(&place, "m.npy", &["plain.parquet".into()]);
    assert!(ran.exit(2).err.contains("the file does not say its `patina.fingerprint`"), "{ran}");
    // A shard of JSON lines in which a row is missing.
    let lines = shards(&place, 2, "jsonl");
    let cut: String = text(&place, &lines[0]).lines().enumerate().filter(|(n, _)| *n != 5).map(|(_, line)| format!("{line}\n")).collect();
    place.write(&lines[0], cut);
    snap!(merge(&place, "m.npy", &lines), @r#"
    exit 3
    --- stderr
    error: shard-0.jsonl: the shard has row 6 where row 5 must be
    hint: embed this shard again
    "#);
    assert!(!place.path("m.npy").exists());
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_is_there_and_whole_is_not_done_again() {
    let place = place();
    let arguments = |form: &str| {
        ["--input", "texts.jsonl", "--shard", "0/2", "--skip-existing", "--json", "--output", &format!("s.{form}")].map(str::to_owned)
    };
    for form in ["parquet", "jsonl"] {
        let arguments = arguments(form);
        let run = || embed(&place, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).json();
        let first = run();
        assert_eq!((&first["skipped"], &first["vectors"], &first["rows"]), (&json!(false), &json!(104), &json!(ROWS)));
        assert_eq!(run()["skipped"], true);
        // A half of it, another shard and another prompt are not it.
        let name = format!("s.{form}");
        let whole = place.read(&name);
        place.write(&name, &whole[..whole.len() / 2]);
        assert_eq!(run()["skipped"], false);
        assert!(place.read(&name) == whole);
        let other: Vec<&str> = arguments.iter().map(|a| if a == "0/2" { "1/2" } else { a }).collect();
        assert_eq!(embed(&place, &other).json()["skipped"], false);
        assert_eq!(run()["skipped"], false);
        let query: Vec<&str> = arguments.iter().map(String::as_str).chain(["--kind", "query"]).collect();
        assert_eq!(embed(&place, &query).json()["skipped"], false);
    }
}

#[test]
#[cfg(unix)]
fn an_interrupted_shard_leaves_nothing() {
    use std::process::{Command, Stdio};
    let place = place();
    place.write("texts.jsonl", lines(200_000));
    let arguments = ["embed", "--model", "./model", "--input", "texts.jsonl", "--shard", "0/2", "--output", "s.parquet"];
    let child = place.command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = std::time::Instant::now();
    while place.left_behind().is_empty() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "no file was begun");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ran = place.ran(child.wait_with_output().unwrap());
    ran.exit(130);
    assert!(!place.path("s.parquet").exists());
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
}

/// Shards are read side by side: more than the system lets a process open are an error that says so, and nothing is left behind.
#[cfg(unix)]
#[test]
fn more_shards_than_files_can_be_open() {
    let place = place();
    for form in ["jsonl", "parquet"] {
        let names = shards(&place, 10, form).join(" ");
        let ran = place.shell(&format!("ulimit -n 9; exec \"$PATINA\" merge --output merged.npy {names}"));
        assert_eq!(ran.code, 1, "{ran}");
        assert!(ran.err.contains("10 shards are read side by side, and the system lets this process open fewer files"), "{ran}");
        assert!(ran.err.contains("hint: run `ulimit -n 1024` before it, in the same shell"), "{ran}");
        assert!(!place.path("merged.npy").exists() && place.left_behind().is_empty());
        place.shell(&format!("exec \"$PATINA\" merge --output merged.npy {names}")).success();
        std::fs::remove_file(place.path("merged.npy")).unwrap();
    }
}
