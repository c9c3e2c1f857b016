//! The whole way with a real model: init, scrape, oxidize, scry, status, doctor; then the project changes.

use serde_json::Value;

use crate::harness::Place;

const INDEX: &str = ".patina/data/embeddings/all-MiniLM-L6-v2/base.usearch";

fn project() -> Place {
    let place = Place::new();
    place.write("docs/cache.md", "# The cache\n\nModels are kept on disk under their own names, each with the hash of its files.\n\n## Cleaning up\n\nDelete a folder to free its room; the next import brings it again.\n");
    place.write("docs/search.md", "# Search\n\nTwo lists are fused: one by keywords, one by the meaning of the question.\n\n## Snippets\n\nA snippet shows the lines around the best match.\n");
    place.write("docs/kitchen.txt", "Bread needs flour, water, salt and a long night of rest before it is baked.\n");
    place.write(
        "src/lock.rs",
        "//! One writer at a time.\n\n/// Takes the lock of a project, or says who holds it.\npub fn acquire_lock(path: &Path) -> Result<Lock> {\n    let file = File::create(path)?;\n    file.try_lock()?;\n    Ok(Lock { file })\n}\n",
    );
    place.write(
        "notes/2025-03-01.md",
        "# Session: why the first search was slow\n\n**Started**: 2025-03-01T09:30:00Z\n\n## Findings\n\nThe library was loaded twice; loading it once saved three hundred milliseconds.\n\n## Key Decisions\n\nA question uses one thread more than a batch does.\n\n## Key Decisions\n\nWarm starts are measured apart from cold ones.\n",
    );
    place.git(&["init", "-q", "-b", "main"]);
    place.git(&["add", "-A"]);
    place.git(&["commit", "-q", "-m", "Add documents, notes and the lock\n\nThe lock belongs to the system, so that a crash releases it."]);
    place
}

/// Paths of the hits, best first.
fn paths(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap()).collect()
}

#[test]
fn from_init_to_an_answer() {
    let place = project();
    snap!(place.run(["init"]), @r#"
    exit 0
    --- stdout
    wrote [FOLDER]/.patina/oxidize.yaml
    next: patina scrape, then patina oxidize, then patina scry "a question"
    .patina belongs into git: the recipe, and oxidize.lock, which oxidize writes; data/ is made from them and ignored
    "#);
    snap!(place.run(["scrape"]), @r#"
    exit 0
    --- stdout
    sessions         1   1 new
    commits          1   1 new
    documents        3   3 new
    code             1   1 new
    chunks          11   to search
    "#);
    snap!(place.run(["oxidize"]), @"
    exit 0
    --- stdout
    all-MiniLM-L6-v2 on ONNX Runtime (f32), 384 dimensions
    11 chunks, 11 texts embedded
    index built
    projection semantic (linear): not published
      not trained: there are 4 separate groups (sessions, documents, files) with pairs, and at least 10 are needed
    fusion lexical 1, vector 0.5
      the usual weights: too few questions to choose by (6 choose, 2 judge; at least 30 of 8 groups each)
    lockfile written: .patina/oxidize.lock
    ");

    // What was asked for is found, in words and in meaning.
    snap!(place.run(["scry", "-n", "2", "how do I free disk space?"]), @r#"
    exit 0
    --- stdout
     1. docs/cache.md:7  document
        The cache > Cleaning up
        | Delete a folder to free its room; the next import brings it again.
     2. docs/cache.md:3  document
        The cache
        | Models are kept on disk under their own names, each with the hash of its files.
    "#);
    snap!(place.run(["scry", "--explain", "--limit", "2", "acquire lock"]), @"
    exit 0
    --- stdout
    fusion: lexical 1, vector 0.5, the usual
     1. src/lock.rs:4  code
        | pub fn acquire_lock(path: &Path) -> Result<Lock> {
        |     let file = File::create(path)?;
        |     file.try_lock()?;
        score [SCORE]
          lexical    #1    score [SCORE]    weight 1    adds 1.00000
          vector     #2    score [SCORE]    weight 0.5  adds 0.45053
     2. ec0ded041437  commit  2025-03-04
        Add documents, notes and the lock
        | The lock belongs to the system, so that a crash releases it.
        | Files:
        score [SCORE]
          lexical    #2    score [SCORE]    weight 1    adds 0.48569
          vector     #1    score [SCORE]    weight 0.5  adds 0.50000
    lexical gave 2 (weight 1), vector gave 11 (weight 0.5)
    ");
    snap!(place.run(["scry", "--mode", "lexical", "-n", "1", "--explain", "acquireLock"]), @"
    exit 0
    --- stdout
     1. src/lock.rs:4  code
        | pub fn acquire_lock(path: &Path) -> Result<Lock> {
        |     let file = File::create(path)?;
        |     file.try_lock()?;
        score [SCORE]
          lexical    #1    score [SCORE]    weight 1    adds 1.00000
    lexical gave 2 (weight 1)
    ");
    snap!(place.run(["scry", "--mode", "vector", "-n", "1", "--explain", "baking a loaf"]), @"
    exit 0
    --- stdout
     1. docs/kitchen.txt:1  document
        kitchen.txt
        | Bread needs flour, water, salt and a long night of rest before it is baked.
        score [SCORE]
          vector     #1    score [SCORE]    weight 0.5  adds 0.50000
    vector gave 11 (weight 0.5)
    ");
    snap!(place.run(["scry", "--kind", "session", "-n", "3", "what did we decide?"]), @r#"
    exit 0
    --- stdout
     1. notes/2025-03-01.md:15  session  2025-03-01
        Session: why the first search was slow > Key Decisions
        | Warm starts are measured apart from cold ones.
     2. notes/2025-03-01.md:11  session  2025-03-01
        Session: why the first search was slow > Key Decisions
        | A question uses one thread more than a batch does.
     3. notes/2025-03-01.md:3  session  2025-03-01
        Session: why the first search was slow
        | **Started**: [TIME]
    "#);
    snap!(place.run(["scry", "--kind", "commit,code", "-n", "5", "a crash releases the lock"]), @r#"
    exit 0
    --- stdout
     1. ec0ded041437  commit  2025-03-04
        Add documents, notes and the lock
        | The lock belongs to the system, so that a crash releases it.
        | Files:
     2. src/lock.rs:3  code
        | /// Takes the lock of a project, or says who holds it.
        | pub fn acquire_lock(path: &Path) -> Result<Lock> {
        |     let file = File::create(path)?;
    "#);
    snap!(place.run(["scry", "--mode", "lexical", "zeppelin"]), @r#"
    exit 0
    --- stdout
    nothing found
    "#);
    let answer = place.run(["scry", "--json", "--limit", "1", "--explain", "baking a loaf of bread"]).json();
    snap!(place.run(["scry", "--json", "--limit", "1", "--mode", "lexical", "loaf of bread"]), @r#"
    exit 0
    --- stdout
    {
      "question": "loaf of bread",
      "mode": "lexical",
      "projection": null,
      "reranker": null,
      "hits": [
        {
          "id": "417c098d6a57a0fe",
          "kind": "document",
          "path": "docs/kitchen.txt",
          "line": 1,
          "end_line": 1,
          "date": null,
          "title": "kitchen.txt",
          "snippet": "Bread needs flour, water, salt and a long night of rest before it is baked.",
          "score": [SCORE],
          "duplicates": 0
        }
      ],
      "retrievers": [
        {
          "retriever": "lexical",
          "weight": 1.0,
          "found": 1
        }
      ],
      "filter": null,
      "reranked": null
    }
    "#);
    assert_eq!(paths(&answer), ["docs/kitchen.txt"]);
    let hits = place.run(["scry", "--json", "--kind", "document", "search"]).json();
    assert!(hits["hits"].as_array().unwrap().iter().all(|hit| hit["kind"] == "document"), "{hits}");

    snap!(place.run(["status"]), @"
    exit 0
    --- stdout
    project      [FOLDER]
    model        all-MiniLM-L6-v2, 384 dimensions
    runtime      ONNX Runtime (it runs on every platform)
    chunks       11 (4 session, 1 commit, 5 document, 1 code)
    code         1 symbol, 3 calls
    scraped      [TIME]
    index        up to date
    projection   semantic: up to date
    projection semantic (linear): not published
      not trained: there are 4 separate groups (sessions, documents, files) with pairs, and at least 10 are needed
    fusion lexical 1, vector 0.5
      the usual weights: too few questions to choose by (6 choose, 2 judge; at least 30 of 8 groups each)
    lockfile     holds
    ");
    let doctor = place.run(["doctor"]).success().text();
    for expected in ["patina       0.1.0", "runtime      onnx  version ", "chosen       onnx", "model        all-MiniLM-L6-v2\n"] {
        assert!(doctor.contains(expected), "{expected}: {doctor}");
    }
    assert!(!doctor.contains("problem"), "{doctor}");

    nothing_new(&place);
    changes_are_followed(&place);
}

fn nothing_new(place: &Place) {
    let (index, recipe) = (place.read(INDEX), place.read(".patina/oxidize.yaml"));
    let report = place.run(["scrape", "--json"]).json();
    assert_eq!(report["events"], 0, "{report}");
    let summary = place.run(["oxidize", "--json"]).json();
    assert_eq!((&summary["embedded"], &summary["index"]), (&0.into(), &"up to date".into()));
    snap!(place.run(["scrape"]), @r#"
    exit 0
    --- stdout
    sessions         1   nothing new
    commits          1   nothing new
    documents        3   nothing new
    code             1   nothing new
    chunks          11   to search
    "#);
    snap!(place.run(["oxidize"]), @"
    exit 0
    --- stdout
    all-MiniLM-L6-v2 on ONNX Runtime (f32), 384 dimensions
    11 chunks, none new
    index up to date
    projection semantic (linear): not published
      not trained: there are 4 separate groups (sessions, documents, files) with pairs, and at least 10 are needed
    fusion lexical 1, vector 0.5
      the usual weights: too few questions to choose by (6 choose, 2 judge; at least 30 of 8 groups each)
    ");
    assert_eq!((place.read(INDEX), place.read(".patina/oxidize.yaml")), (index, recipe));
    // Reading everything again comes to the same.
    assert_eq!(place.run(["scrape", "--full", "--json"]).json()["events"], 0);
    assert_eq!(place.run(["oxidize", "--json"]).json()["embedded"], 0);
}

fn changes_are_followed(place: &Place) {
    place.write("docs/kitchen.txt", "Soup wants onions, carrots, and an hour on a small flame.\n");
    std::fs::remove_file(place.path("docs/search.md")).unwrap();
    place.write("docs/garden.md", "# The garden\n\nTomatoes are planted after the last frost of May.\n");
    snap!(place.run(["scrape"]), @r#"
    exit 0
    --- stdout
    sessions         1   nothing new
    commits          1   nothing new
    documents        3   1 new, 1 changed, 1 gone
    code             1   nothing new
    chunks          10   to search
    "#);
    snap!(place.run(["scry", "soup"]), @r#"
    exit 3
    --- stderr
    error: [FOLDER]/.patina/data/embeddings/all-MiniLM-L6-v2/base.usearch: the index is older than what was scraped
    hint: run `patina oxidize`
    "#);
    let summary = place.run(["oxidize", "--json"]).json();
    assert_eq!(summary["embedded"], 2, "{summary}");
    assert_ne!(summary["index"], "up to date");
    let soup = place.run(["scry", "--json", "vegetable broth"]).json();
    assert_eq!(paths(&soup)[0], "docs/kitchen.txt");
    let all = place.run(["scry", "--json", "-n", "50", "a snippet shows the lines around the best match"]).json();
    assert!(!paths(&all).contains(&"docs/search.md"), "{all}");
    let lexical = place.run(["scry", "--json", "--mode", "lexical", "flour"]).json();
    assert_eq!(paths(&lexical), Vec::<&str>::new());
    assert_eq!(paths(&place.run(["scry", "--json", "when to plant tomatoes"]).json())[0], "docs/garden.md");
}
