//! Disks that take no more: a clear error, the old files as they were, and nothing half-written left behind.
#![cfg(unix)]

use std::fmt::Write;
use std::path::PathBuf;

use crate::harness::{Place, Ran, tiny_model};

/// Runs the program where no file may grow beyond 64 KiB: what a full disk does, without one. (SQLite needs 32 KiB for its shared
/// memory.) The signal that comes with the limit is ignored, so that writes fail instead.
fn confined(place: &Place, arguments: &str) -> Ran {
    place.shell(&format!("trap '' XFSZ; ulimit -f 128; exec \"$PATINA\" {arguments}"))
}

/// A document of several hundred sections.
fn long_document() -> String {
    let mut text = "# Long\n".to_owned();
    for n in 0..400 {
        writeln!(text, "\n## Part {n}\n\nThis is part {n} of a long document, and it says what only part {} can say: {}.", n, n * n)
            .unwrap();
    }
    text
}

fn is_whole(place: &Place) {
    assert_eq!(place.left_behind(), Vec::<PathBuf>::new());
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    place.run(["scry", "part"]).success();
}

#[test]
fn scrape_on_a_full_disk() {
    let place = Place::tiny_oxidized();
    place.write("long.md", long_document());
    let ran = confined(&place, "scrape");
    assert_eq!(ran.code, 1, "{ran}");
    snap!(ran, @r#"
    exit 1
    --- stderr
    error: [FOLDER]/.patina/data/patina.db: cannot write the database: disk I/O error
    hint: check that the disk has room and works, then run the command again; what was finished is kept
    "#);
    // What was there is still there.
    place.run(["scry", "cache"]).success();
    is_whole(&place);
}

#[test]
fn vectors_on_a_full_disk() {
    let place = Place::tiny_oxidized();
    place.write("long.md", long_document());
    place.run(["scrape"]).success();
    snap!(confined(&place, "oxidize"), @r#"
    exit 1
    --- stderr
    error: [FOLDER]/.patina/data/patina.db: cannot write the database: disk I/O error
    hint: check that the disk has room and works, then run the command again; what was finished is kept
    "#);
    is_whole(&place);
}

#[test]
fn an_index_on_a_full_disk() {
    let place = Place::tiny_project();
    place.write("long.md", long_document());
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    let index = ".patina/data/embeddings/model/base.usearch";
    assert!(place.read(index).len() > 64 << 10, "the limit must be felt");
    place.tamper(index);
    let tampered = place.read(index);
    snap!(confined(&place, "oxidize"), @r#"
    exit 1
    --- stderr
    [FOLDER]/.patina/data/embeddings/model/base.usearch: the index has SHA-256 [SHA-256], its manifest says [SHA-256]; it is built anew
    error: [FOLDER]/.patina/data/embeddings/model/base.usearch: cannot write the file: File too large (os error 27)
    hint: the system limits how much may be written here; raise the limit and run the command again
    "#);
    assert_eq!(place.read(index), tampered);
    is_whole(&place);
}

#[test]
fn vectors_of_embed_on_a_full_disk() {
    let place = Place::new();
    tiny_model(&place.path("model"));
    place.write("lines.txt", "a line\n".repeat(1000));
    for name in ["v.npy", "v.jsonl"] {
        place.write(name, "old");
        let ran = confined(&place, &format!("embed --model ./model --input lines.txt --output {name}"));
        assert!(ran.exit(1).err.contains(&format!("{name}: cannot write the file")), "{ran}");
        assert_eq!(place.read(name), b"old");
    }
    assert_eq!(place.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn a_model_on_a_full_disk() {
    let place = Place::new();
    tiny_model(&place.path("model"));
    let ran = place.shell("trap '' XFSZ; ulimit -f 128; PATINA_CACHE_DIR=cache exec \"$PATINA\" model import ./model --name mine");
    snap!(ran, @r#"
    exit 1
    --- stderr
    error: [FOLDER]/cache/models/[ASIDE]/model.safetensors: cannot write the file: File too large (os error 27)
    hint: the system limits how much may be written here; raise the limit and run the command again
    "#);
    assert!(!place.path("cache/models/mine").exists());
    assert_eq!(place.left_behind(), Vec::<PathBuf>::new());
}

/// What cannot be said is not said, and changes nothing else. (A log on a full disk; nobody is left to tell.)
#[cfg(target_os = "linux")]
#[test]
fn talk_on_a_full_disk() {
    let place = Place::new();
    let mute = |place: &Place, arguments: &str| place.shell(&format!("exec \"$PATINA\" {arguments} 2>/dev/full"));
    for arguments in ["status", "--json status", "no-such-command", "--json no-such-command"] {
        assert_eq!((mute(&place, arguments).code, place.run(arguments.split(' ')).code), (2, 2), "{arguments}");
    }
    let place = Place::tiny_oxidized();
    mute(&place, "status").success();
    // A note, and what each stage has done.
    place.tamper(".patina/data/embeddings/model/base.usearch");
    assert!(!mute(&place, "oxidize").success().out.is_empty());
    place.run(["scry", "cache"]).success();
}
