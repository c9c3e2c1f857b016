//! Two at once, and stopping in the middle.
#![cfg(unix)]

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::Place;

#[test]
fn the_second_is_told_who_holds_the_lock() {
    let place = Place::tiny_oxidized();
    let path = place.path(".patina/data/lock");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    file.lock().unwrap();
    std::fs::write(&path, "patina oxidize (process 4242)\n").unwrap();
    snap!(place.run(["oxidize"]), @r#"
    exit 4
    --- stderr
    error: [FOLDER]/.patina/data/lock: the project is in use by patina oxidize (process [ID])
    hint: wait for it to end, or stop it, then run the command again
    "#);
    place.run(["scrape"]).exit(4);
    assert_eq!(place.run(["--json", "oxidize"]).json_error()["kind"], "busy");
    // Reading is free.
    place.run(["scry", "cache"]).success();
    place.run(["status"]).success();
    file.unlock().unwrap();
    place.run(["oxidize"]).success();
}

/// A project whose texts keep all-MiniLM-L6-v2 busy for some seconds.
fn busy_project() -> Place {
    let place = Place::project("all-MiniLM-L6-v2");
    for file in 0..14 {
        let mut text = format!("# File {file}\n");
        for n in 0..40 {
            let number = file * 40 + n;
            let words: String = (0..16)
                .map(|at| format!("{} ", ["river", "engine", "paper", "cloud", "metal", "window"][(number + at * at) % 6]))
                .collect();
            writeln!(text, "\n## Section {number}\n\nNumber {number} begins here: {words}and so ends number {number}.").unwrap();
        }
        place.write(&format!("doc{file:02}.md"), text);
    }
    place.run(["scrape"]).success();
    place
}

#[test]
fn an_interrupted_oxidize_goes_on_where_it_stopped() {
    let place = busy_project();
    let missing = || place.run(["status", "--json"]).json()["chunks_without_vector"].as_u64().unwrap();
    let total = missing();
    let child = place.command(["--json", "oxidize"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let begun = Instant::now();
    while missing() == total {
        assert!(begun.elapsed() < Duration::from_secs(60), "no vector was stored");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Another one meanwhile is told by whom the project is used.
    let second = place.run(["oxidize"]);
    if second.code != 0 {
        assert!(second.exit(4).err.contains(&format!("in use by patina oxidize (process {id})")), "{second}");
    }
    assert!(Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap().success());
    let ran = place.ran(child.wait_with_output().unwrap());
    snap!(ran, @r#"
    exit 130
    --- stderr
    {"error":{"hint":null,"kind":"interrupted","message":"interrupted; what was finished is kept","place":null}}
    "#);
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
    let left = missing();
    assert!(0 < left && left < total, "{left} of {total}");
    let summary = place.run(["oxidize", "--json"]).json();
    assert_eq!(summary["embedded"], left);
    assert_eq!((summary["chunks"].as_u64().unwrap(), missing()), (total, 0));
    assert_eq!(place.run(["status", "--json"]).json()["index"]["state"], "current");
    place.run(["scry", "river engine"]).success();
    assert_eq!(place.run(["oxidize", "--json"]).json()["embedded"], 0);
}
