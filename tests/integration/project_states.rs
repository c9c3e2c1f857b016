//! Folders that are no project, no repository, empty, or cannot be written.

use crate::harness::Place;

#[test]
fn no_project() {
    let place = Place::new();
    for command in [&["scrape"][..], &["oxidize"], &["status"], &["scry", "x"], &["embed"]] {
        assert_eq!(place.run(command.iter().copied()).code, 2);
    }
    snap!(place.run(["status"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]: there is no project here: no .patina/oxidize.yaml in this folder or above it
    hint: run `patina init` in the project's folder
    "#);
}

#[test]
fn init_writes_a_recipe_once() {
    let place = Place::new();
    snap!(place.run(["init"]), @r#"
    exit 0
    --- stdout
    wrote [FOLDER]/.patina/oxidize.yaml
    next: patina scrape, then patina oxidize, then patina scry "a question"
    .patina belongs into git: the recipe, and oxidize.lock, which oxidize writes; data/ is made from them and ignored
    "#);
    let recipe = place.read(".patina/oxidize.yaml");
    snap!(place.run(["init"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml: the project has a recipe already
    hint: edit it, or replace it with `patina init --force`
    "#);
    assert_eq!(place.read(".patina/oxidize.yaml"), recipe);
    place.write(".patina/oxidize.yaml", "mine");
    place.run(["init", "--force"]).success();
    assert_eq!(place.read(".patina/oxidize.yaml"), recipe);
    assert_eq!(place.read(".patina/.gitignore"), b"data/\n");
    snap!(Place::new().run(["init", "--model", "a b"]), @r#"
    exit 2
    --- stderr
    error: `a b` cannot be a model: `a b` is no name
    hint: a name has letters, digits, `.`, `_` and `-`; a folder is written with `./` before it
    "#);
}

#[test]
fn nothing_was_scraped_yet() {
    let place = Place::project("all-MiniLM-L6-v2");
    snap!(place.run(["status"]), @r#"
    exit 0
    --- stdout
    project      [FOLDER]
    model        all-MiniLM-L6-v2, 384 dimensions
    runtime      ONNX Runtime (it runs on every platform)
    store        nothing yet: run `patina scrape`
    index        unknown (the model or the store is not here)
    "#);
    snap!(place.run(["oxidize"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/data/patina.db: nothing has been scraped here yet
    hint: run `patina scrape`
    "#);
    snap!(place.run(["scry", "x"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/data/patina.db: nothing has been scraped here yet
    hint: run `patina scrape`
    "#);
    // A question leaves nothing behind.
    assert!(!place.path(".patina/data/patina.db").exists());
}

#[test]
fn a_project_with_nothing_to_read() {
    let place = Place::project("all-MiniLM-L6-v2");
    snap!(place.run(["scrape"]), @r#"
    exit 0
    --- stdout
    sessions         0   nothing new
    commits          0   nothing new
    documents        0   nothing new
    code             0   nothing new
    chunks           0   to search
    note: this is no git repository: there are no commits to read
    "#);
    snap!(place.run(["oxidize"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/data/patina.db: there is nothing to embed: the store has no chunks
    hint: run `patina scrape`; if it found nothing, look at `scrape` in the recipe
    "#);
    snap!(place.run(["scry", "--mode", "lexical", "x"]), @r#"
    exit 0
    --- stdout
    nothing found
    "#);
}

#[test]
fn no_repository() {
    let place = Place::tiny_project();
    snap!(place.run(["scrape"]), @r#"
    exit 0
    --- stdout
    sessions         0   nothing new
    commits          0   nothing new
    documents        2   2 new
    code             1   1 new
    chunks           3   to search
    note: this is no git repository: there are no commits to read
    "#);
}

#[test]
fn a_repository_without_commits() {
    let place = Place::tiny_project();
    place.git(&["init", "-q"]);
    snap!(place.run(["scrape"]), @r#"
    exit 0
    --- stdout
    sessions         0   nothing new
    commits          0   nothing new
    documents        2   2 new
    code             1   1 new
    chunks           3   to search
    note: the git repository has no commits yet
    "#);
}

#[test]
fn the_project_is_found_from_below_and_named_from_afar() {
    let place = Place::tiny_oxidized();
    let below = place.path("src");
    let mut command = place.command(["scry", "--mode", "lexical", "recipe", "-n", "1"]);
    let inside = place.ran(command.current_dir(below).output().unwrap());
    let elsewhere = Place::new();
    let folder = place.path("src").to_str().unwrap().to_owned();
    let afar = elsewhere.run(["-C", &folder, "scry", "--mode", "lexical", "recipe", "-n", "1"]);
    assert_eq!(inside.success().text(), afar.success().text());
    assert!(afar.text().contains("src/parse.rs:1"), "{afar}");
}

#[test]
fn the_data_folder_is_a_file() {
    let place = Place::tiny_project();
    place.write(".patina/data", "in the way");
    for command in ["scrape", "oxidize"] {
        let ran = place.run([command]);
        assert_eq!(ran.code, 1, "{ran}");
    }
    snap!(place.run(["scrape"]), @r#"
    exit 1
    --- stderr
    error: [FOLDER]/.patina/data: a folder is needed here, and a file is in its way
    hint: move the file away
    "#);
    assert_eq!(place.read(".patina/data"), b"in the way");
}

#[test]
fn a_recipe_that_cannot_be_read() {
    let place = Place::new();
    std::fs::create_dir_all(place.path(".patina/oxidize.yaml")).unwrap();
    snap!(place.run(["scrape"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]: there is no project here: no .patina/oxidize.yaml in this folder or above it
    hint: run `patina init` in the project's folder
    "#);
    snap!(place.run(["init"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml: the project has a recipe already
    hint: edit it, or replace it with `patina init --force`
    "#);
}

#[test]
fn the_database_is_none() {
    let place = Place::tiny_project();
    place.write(".patina/data/patina.db", "this is no database, and it is long enough that nobody could take it for one".repeat(20));
    for command in [&["scrape"][..], &["oxidize"], &["status"], &["scry", "x"]] {
        assert_eq!(place.run(command.iter().copied()).code, 3, "{command:?}");
    }
    snap!(place.run(["scrape"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/patina.db: cannot open the database: it is damaged (file is not a database)
    hint: move the file away, then run `patina scrape`: everything in it can be made again
    "#);
    // The advice helps.
    std::fs::rename(place.path(".patina/data/patina.db"), place.path("away.db")).unwrap();
    place.run(["scrape"]).success();
}

#[test]
fn the_database_is_cut_short() {
    let place = Place::tiny_oxidized();
    let bytes = place.read(".patina/data/patina.db");
    place.write(".patina/data/patina.db", &bytes[..bytes.len() / 2]);
    for command in [&["scrape"][..], &["scry", "--mode", "lexical", "cache"]] {
        let ran = place.run(command.iter().copied());
        assert!(ran.code == 3 || ran.code == 0, "{ran}");
        assert!(!ran.err.contains("panicked"), "{ran}");
    }
}

#[test]
fn somebody_else_s_database() {
    let place = Place::tiny_project();
    place.run(["scrape"]).success();
    let mut bytes = place.read(".patina/data/patina.db");
    bytes[68..72].copy_from_slice(&[0; 4]); // SQLite's application id.
    place.write(".patina/data/patina.db", bytes);
    snap!(place.run(["scry", "--mode", "lexical", "x"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/patina.db: the file is an SQLite database, but not one of Patina's
    hint: move it away, then run `patina scrape`
    "#);
}

#[test]
fn a_database_of_a_later_version() {
    let place = Place::tiny_project();
    place.run(["scrape"]).success();
    let mut bytes = place.read(".patina/data/patina.db");
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes()); // SQLite's user version.
    place.write(".patina/data/patina.db", bytes);
    snap!(place.run(["scrape"]), @"
    exit 1
    --- stderr
    error: [FOLDER]/.patina/data/patina.db: the database has format 99; this Patina knows formats up to 3
    hint: a newer Patina wrote it: update this one
    ");
}
