//! `--json`: errors that a script can read.

use serde_json::json;

use crate::harness::{Place, Ran};

/// An error has these four keys and a known kind, and standard output stays empty.
fn kind(ran: &Ran, code: i32) -> String {
    ran.exit(code);
    assert!(ran.out.is_empty(), "{ran}");
    let error = ran.json_error();
    let keys: Vec<&String> = error.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["hint", "kind", "message", "place"], "{ran}");
    assert!(!error["message"].as_str().unwrap().is_empty());
    error["kind"].as_str().unwrap().to_owned()
}

#[test]
fn a_place_has_path_line_and_column() {
    let place = Place::new();
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: all-MiniLM-L6-v2\nruntim: onnx\n");
    let ran = place.run(["--json", "scrape"]);
    assert_eq!(kind(&ran, 2), "recipe");
    let error = ran.json_error();
    assert_eq!((&error["place"]["line"], &error["place"]["column"]), (&json!(3), &json!(1)));
    assert!(error["place"]["path"].as_str().unwrap().ends_with("oxidize.yaml"));
    assert!(error["hint"].as_str().unwrap().contains("runtime"), "{error}");
}

#[test]
fn every_kind_has_its_exit_code() {
    let place = Place::new();
    assert_eq!(kind(&place.run(["--json", "status"]), 2), "missing");
    assert_eq!(kind(&place.run(["--json", "embed", "--model", "a b"]), 2), "usage");
    assert_eq!(kind(&place.run(["embed", "--json", "--model", "all-MiniLM-L6-v2", "--input", "nothing"]), 1), "failed");
    let place = Place::tiny_oxidized();
    place.tamper(".patina/data/embeddings/model/base.usearch");
    assert_eq!(kind(&place.run(["--json", "scry", "cache"]), 3), "corrupt");
    place.write("new.md", "# New\n\nSomething that the index does not know yet.\n");
    place.run(["scrape"]).success();
    assert_eq!(kind(&place.run(["--json", "scry", "cache"]), 3), "stale");
}

#[test]
fn usage_errors_are_json_too() {
    let place = Place::new();
    snap!(place.run(["--json", "oxidise"]), @r#"
    exit 2
    --- stderr
    {"error":{"hint":"`patina --help` tells what there is","kind":"usage","message":"unrecognized subcommand 'oxidise'","place":null}}
    "#);
    snap!(place.run(["scry", "--json"]), @r#"
    exit 2
    --- stderr
    {"error":{"hint":"`patina --help` tells what there is","kind":"usage","message":"the following required arguments were not provided: <QUESTION>...","place":null}}
    "#);
    snap!(place.run(["scry", "--json", "--limit", "many", "x"]), @r#"
    exit 2
    --- stderr
    {"error":{"hint":"`patina --help` tells what there is","kind":"usage","message":"invalid value 'many' for '--limit <N>': invalid digit found in string","place":null}}
    "#);
    // Help is no error.
    assert!(place.run(["--json", "scry", "--help"]).success().text().starts_with("Search the project"));
}
