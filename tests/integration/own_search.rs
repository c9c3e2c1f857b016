//! The project's own search, judged on its history, its notes, its doc comments and on labels by hand; and the fusion that is chosen by it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::harness::{Place, Ran};

/// Words of which no file has the same.
const SUBJECTS: [&str; 24] = [
    "anchor", "basalt", "cobalt", "dynamo", "ember", "fjord", "galley", "harbor", "ingot", "jasper", "kettle", "lantern", "magnet",
    "nickel", "osprey", "pewter", "quarry", "rudder", "saffron", "timber", "umber", "velvet", "walnut", "zephyr",
];
const FUSION: &str = ".patina/data/embeddings/model/fusion.json";

/// The tiny project in a repository: a file for each subject, and a commit for each that changes it.
fn history(place: &Place) {
    place.git(&["init", "-q", "-b", "main"]);
    for subject in SUBJECTS {
        place.write(&format!("docs/{subject}.md"), format!("# About {subject}s\n\nThe {subject} weighs more than it seems.\n"));
    }
    for n in 0..31 {
        place.write(&format!("data/{n}.md"), format!("# Number {n}\n\nNothing of note stands under number {n}.\n"));
    }
    place.write("CHANGELOG.md", "# Changes\n");
    commit(place, "Everything that there is to begin with");
    for subject in SUBJECTS {
        let line = format!("The {subject} turns at once now");
        place.write(&format!("docs/{subject}.md"), format!("# About {subject}s\n\nAt every turn the {subject} waits for nobody.\n"));
        let changes = String::from_utf8(place.read("CHANGELOG.md")).unwrap();
        place.write("CHANGELOG.md", format!("{changes}- {line}.\n"));
        commit(place, &format!("fix({subject}): {line} (#12)"));
    }
    place.write("docs/anchor.md", "# About anchors\n\nAt every turn the anchor waits for nobody. Never.\n");
    commit(place, "Bump anchor from 1.0.0 to 1.0.1");
    place.write("docs/basalt.md", "# About basalts\n\nAt every turn the basalt waits for nobody. Never.\n");
    commit(place, "Tidy up");
    place.git(&["revert", "--no-edit", "HEAD"]);
    place.git(&["rm", "-q", "docs/zephyr.md"]);
    commit(place, "Remove what the zephyr was for");
}

fn commit(place: &Place, subject: &str) {
    place.git(&["add", "--all"]);
    place.git(&["commit", "-q", "-m", subject]);
}

fn oxidized() -> Place {
    let place = Place::tiny_project();
    history(&place);
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    place
}

fn system<'a>(set: &'a Value, name: &str) -> &'a Value {
    set["systems"].as_array().unwrap().iter().find(|system| system["name"] == name).unwrap_or_else(|| panic!("no {name}: {set}"))
}

fn left_out(set: &Value) -> BTreeMap<String, u64> {
    let left = set["left_out"].as_array().unwrap().iter();
    left.map(|left| (format!("{}: {}", left["what"].as_str().unwrap(), left["reason"].as_str().unwrap()), left["count"].as_u64().unwrap()))
        .collect()
}

/// MRR@10 and recall@10 of a run and judgements as they were written, by their definitions.
fn by_hand(run: &str, qrels: &str) -> (f64, f64) {
    let mut relevant: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in qrels.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!((fields.len(), fields[1], fields[3]), (4, "0", "1"));
        relevant.entry(fields[0]).or_default().push(fields[2]);
    }
    let mut ranked: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
    for line in run.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        ranked.entry(fields[0]).or_default().push((-fields[4].parse::<i64>().unwrap(), fields[2]));
    }
    let (mut mrr, mut recall) = (0.0, 0.0);
    for (query, relevant) in &relevant {
        let mut found = ranked.remove(query).unwrap_or_default();
        found.sort_unstable();
        let places: Vec<usize> =
            found.iter().take(10).enumerate().filter(|(_, found)| relevant.contains(&found.1)).map(|(at, _)| at + 1).collect();
        mrr += places.first().map_or(0.0, |place| 1.0 / *place as f64);
        recall += places.len() as f64 / relevant.len() as f64;
    }
    (mrr / relevant.len() as f64, recall / relevant.len() as f64)
}

fn near(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

#[test]
fn commits_ask_for_the_files_that_they_touched() {
    let place = oxidized();
    let report = place.run(["eval", "project", "--kind", "commits", "--run", "runs", "--json"]).json();
    assert_eq!((&report["task"], &report["version"]), (&json!("project"), &json!(1)));
    let set = &report["sets"][0];
    // Of 24 commits one touched a file that is gone: its CHANGELOG holds the subject, so that nothing is left to find.
    assert_eq!((&set["name"], &set["queries"], &set["groups"], &set["relevant"]), (&json!("commits"), &json!(23), &json!(23), &json!(23)));
    let left = left_out(set);
    let expected = [
        ("commits: more than 30 files", 1),
        ("commits: no file that it touched is searched now", 2),
        ("commits: reverts", 1),
        ("commits: subjects of fewer than 3 words", 1),
        ("commits: version bumps", 1),
        ("files of commits: every piece holds the subject", 24),
        ("files of commits: gone, renamed or not searched", 2),
    ];
    assert_eq!(left, expected.into_iter().map(|(what, count)| (what.to_owned(), count)).collect());
    // The commit itself and the CHANGELOG.
    assert_eq!(set["hidden_chunks"], 46);
    let names: Vec<&str> = set["systems"].as_array().unwrap().iter().map(|system| system["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lexical", "vector", "hybrid"]);
    assert_eq!(set["notes"], Value::Null, "nothing was chosen");
    // The subject's word is in one file's text and path alone.
    near(&system(set, "lexical")["figures"]["mrr_at_10"]["value"], 1.0);
    assert_eq!(system(set, "hybrid")["against_hybrid"], Value::Null);
    let qrels = String::from_utf8(place.read("runs/commits.qrels")).unwrap();
    assert!(!qrels.contains("CHANGELOG.md") && qrels.contains(" 0 docs/anchor.md 1\n"), "{qrels}");
    let mut hybrid = 0.0;
    for name in ["hybrid", "lexical", "vector"] {
        let run = String::from_utf8(place.read(&format!("runs/commits.{name}.run"))).unwrap();
        assert!(!run.contains("CHANGELOG.md"), "what holds the subject is not found: {run}");
        let (mrr, recall) = by_hand(&run, &qrels);
        near(&system(set, name)["figures"]["mrr_at_10"]["value"], mrr);
        near(&system(set, name)["figures"]["recall_at_10"]["value"], recall);
        match name {
            "hybrid" => hybrid = mrr,
            _ => near(&system(set, name)["against_hybrid"]["mrr_at_10"]["value"], mrr - hybrid),
        }
    }
    assert_eq!(place.run(["eval", "project", "--kind", "commits", "--json"]).json()["sets"], report["sets"], "the same again");
    // A sample is the same every time, and says so.
    let few = place.run(["eval", "project", "--kind", "commits", "--limit", "20", "--worst", "1", "--json"]).json();
    assert_eq!((&few["sets"][0]["queries"], left_out(&few["sets"][0])["commits: not drawn, see --limit"]), (&json!(20), 3));
    let text = place.run(["eval", "project", "--kind", "commits", "--worst", "3"]).success().text();
    for part in ["23 questions of 23 groups", "\nlexical ", "\nhybrid ", "left out: 1 commits: reverts", "minus hybrid"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    snap!(place.run(["eval", "project", "--limit", "3"]), @r#"
    exit 2
    --- stderr
    error: --limit is 3; fewer than 20 questions say nothing
    "#);
}

#[test]
fn too_little_history_is_an_error_and_no_zero() {
    let place = Place::tiny_oxidized();
    let error = place.run(["--json", "eval", "project", "--kind", "commits"]).exit(2).json_error();
    assert_eq!(
        (&error["kind"], &error["message"]),
        (&json!("missing"), &json!("the set \"commits\" has 0 questions, and at least 20 are needed"))
    );
    let ran = place.run(["eval", "project"]);
    assert!(ran.exit(2).err.contains("and at least 20 are needed"), "{ran}");
    assert!(ran.out.is_empty());
    // A project that changed since it was indexed is told so, and not measured by half.
    place.write("new.md", "# New\n\nSomething that is in no index yet.\n");
    place.run(["scrape"]).success();
    let ran = place.run(["eval", "project"]);
    assert!(ran.exit(3).err.contains("patina oxidize"), "{ran}");
}

#[test]
fn labels_by_hand_may_be_files_places_and_commits() {
    let place = oxidized();
    let hash = place.run(["scry", "--mode", "lexical", "--kind", "commit", "-n", "1", "--json", "zephyr for"]).json();
    let hash = hash["hits"][0]["path"].as_str().unwrap()[..9].to_owned();
    let labels = json!({"name": "by hand", "queries": [
        {"id": "q1", "query": "who waits for the anchor?", "relevant_docs": ["docs/anchor.md", "docs/basalt.md"]},
        {"id": "q2", "query": "cobalt", "relevant_docs": ["docs/cobalt.md:3"]},
        {"id": "q3", "query": "dynamo", "relevant_docs": ["docs/dynamo.md#About dynamos"]},
        {"id": "q 4", "query": "what the zephyr was for", "relevant_docs": [hash]},
    ]});
    place.write("labels.json", labels.to_string());
    let report = place.run(["eval", "queries", "labels.json", "--run", "runs", "--output", "out/report.json", "--json"]).json();
    assert_eq!(serde_json::from_slice::<Value>(&place.read("out/report.json")).unwrap(), report);
    let set = &report["sets"][0];
    assert_eq!(
        (&report["task"], &set["name"], &set["queries"], &set["relevant"]),
        (&json!("queries"), &json!("by hand"), &json!(4), &json!(5))
    );
    let note = "only 4 questions: fewer than 20 say little, and their intervals are narrower than what is not known";
    assert_eq!(set["notes"], json!([note]));
    assert!(place.run(["eval", "queries", "labels.json"]).success().text().contains(&format!("\nnote: {note}\n")));
    let qrels = String::from_utf8(place.read("runs/by-hand.qrels")).unwrap();
    assert!(
        qrels.contains("q2 0 docs/cobalt.md:3 1\n")
            && qrels.contains("q3 0 docs/dynamo.md#About%20dynamos 1\n")
            && qrels.contains("q%204 0 "),
        "{qrels}"
    );
    for name in ["hybrid", "lexical", "vector"] {
        let run = String::from_utf8(place.read(&format!("runs/by-hand.{name}.run"))).unwrap();
        near(&system(set, name)["figures"]["mrr_at_10"]["value"], by_hand(&run, &qrels).0);
    }
}

#[test]
fn labels_that_are_wrong_are_refused_with_their_place() {
    let place = Place::tiny_oxidized();
    let refused = |labels: &str| -> Ran {
        place.write("labels.json", labels);
        place.run(["eval", "queries", "labels.json"])
    };
    let query = |rest: &str| {
        format!("{{\"name\": \"n\", \"queries\": [\n{{\"id\": \"a\", \"query\": \"cache\", \"relevant_docs\": [\"cache.md\"]}},\n{rest}]}}")
    };
    for (labels, part) in [
        ("[]".to_owned(), "labels.json:1:"),
        ("{\"name\": \"n\"".to_owned(), "EOF while parsing"),
        ("{\"name\": \"n\"}".to_owned(), "missing field `queries`"),
        (
            query("{\"id\": \"b\", \"query\": \"index\", \"relevant\": [\"index.md\"]}"),
            "the labels do not have the form that is expected: unknown field `relevant`",
        ),
        (query("{\"id\": \"b\", \"query\": \"index\", \"relevant_docs\": \"index.md\"}"), "invalid type: string"),
        ("{\"name\": \"n\", \"queries\": []}".to_owned(), "`queries` is empty"),
        ("{\"name\": \" \", \"queries\": []}".to_owned(), "`name` is empty"),
        (query("{\"id\": \"a\", \"query\": \"index\", \"relevant_docs\": [\"index.md\"]}"), "query 2 (\"a\"): query 1 has the same id"),
        (query("{\"id\": \"b\", \"query\": \" \", \"relevant_docs\": [\"index.md\"]}"), "query 2 (\"b\"): `query` is empty"),
        (query("{\"id\": \"b\", \"query\": \"index\", \"relevant_docs\": []}"), "query 2 (\"b\"): `relevant_docs` is empty"),
        (query("{\"id\": \"b\", \"query\": \"x\", \"relevant_docs\": [\"index.md\", \"index.md\"]}"), "\"index.md\" stands twice"),
        (
            query("{\"id\": \"b\", \"query\": \"x\", \"relevant_docs\": [\"index.md\", \"./index.md\"]}"),
            "is what another label says already",
        ),
        (
            query("{\"id\": \"b\", \"query\": \"x\", \"relevant_docs\": [\"index.md\", \"index.md:3\"]}"),
            "is a place in a file that is there as a whole",
        ),
        (
            query("{\"id\": \"b\", \"query\": \"x\", \"relevant_docs\": [\"index.md:3\", \"index.md\"]}"),
            "is a file that another label has a place in",
        ),
    ] {
        let ran = refused(&labels);
        assert!(ran.exit(2).err.contains(part), "{part}: {ran}");
        assert!(ran.err.contains("error: labels.json:") && ran.err.contains("\nhint: "), "{ran}");
    }
    let ran = refused(&query(
        "{\"id\": \"b\", \"query\": \"x\", \"relevant_docs\": [\"indexx.md\", \"index.md:900\", \"cache.md#No such\", \"0123abcd\"]}",
    ));
    snap!(ran, @r#"
    exit 2
    --- stderr
    error: labels.json: labels that point nowhere: query 2 ("b"): "indexx.md"; query 2 ("b"): "index.md:900"; query 2 ("b"): "cache.md#No such"; query 2 ("b"): "0123abcd"
    hint: did you mean `index.md`? labels are paths relative to the project (`docs/DESIGN.md`, `src/main.rs:12`, `docs/DESIGN.md#Search`) or hashes of commits; `patina scrape` reads what is new
    "#);
    assert!(place.run(["eval", "queries", "none.json"]).exit(2).err.contains("none.json"));
}

/// Forty notes of two subjects each; their sections say the same of all but these.
fn notes(place: &Place) {
    for n in 0..40 {
        let (one, other) = (SUBJECTS[n % 24], SUBJECTS[(n * 5 + 7 + n / 24 * 4) % 24]);
        let mut note = format!("# Session: the {one} and the {other}\n\n**Started**: 2025-02-{:02}T10:00:00Z\n", n % 28 + 1);
        for (heading, text) in
            [("Goals", "shall turn without a sound"), ("Activity", "was taken apart and cleaned"), ("Problems", "broke when it met water")]
        {
            write!(note, "\n## {heading}\n\nOur {one} beside the {other} {text}, as it was planned.\n").unwrap();
        }
        place.write(&format!("notes/{n:02}.md"), note);
    }
}

#[test]
fn vectors_that_know_nothing_lose_their_weight_and_the_choice_is_told() {
    let place = Place::tiny_project();
    notes(&place);
    place.run(["scrape"]).success();
    let record = place.run(["oxidize", "--json"]).json()["fusion"].take();
    // The tiny model's weights are random numbers.
    assert_eq!((&record["chosen"], &record["projection"]), (&json!(true), &Value::Null), "{record}");
    assert!(record["weights"]["vector"].as_f64().unwrap() < 0.5, "{record}");
    let (choosing, judging) = (&record["choosing"], &record["judging"]);
    assert_eq!(
        choosing["queries"].as_u64().unwrap() + judging["queries"].as_u64().unwrap(),
        record["questions"]["sentences"].as_u64().unwrap()
    );
    assert_eq!(choosing["groups"].as_u64().unwrap() + judging["groups"].as_u64().unwrap(), 40);
    assert!(record["figures"]["gain"]["low"].as_f64().unwrap() > 0.0, "{record}");

    let kept = place.read(FUSION);
    assert_eq!(place.run(["oxidize", "--json"]).json()["fusion"], record, "the same inputs choose once");
    assert_eq!(place.read(FUSION), kept);
    let status = place.run(["status", "--json"]).json();
    assert_eq!((&status["fusion"]["state"], &status["fusion"]["record"]), (&json!("current"), &record));
    let text = place.run(["status"]).success().text();
    assert!(text.contains("chosen: better than the usual weights on questions that did not choose them"), "{text}");
    let lock: Value = serde_json::from_slice(&place.read(".patina/oxidize.lock")).unwrap();
    assert_eq!((&lock["made"]["fusion"]["chosen"], &lock["made"]["fusion"]["vector"]), (&json!(true), &record["weights"]["vector"]));
    let scry = |place: &Place| place.run(["scry", "--explain", "--json", "the anchor turns"]).json();
    assert_eq!(scry(&place)["fusion"], record["weights"]);
    assert_eq!(place.run(["scry", "--json", "the anchor turns"]).json()["fusion"], Value::Null);

    // What chose does not judge, and both sides are told.
    let set = place.run(["eval", "project", "--kind", "sentences", "--json"]).json()["sets"][0].take();
    assert_eq!(
        (&set["queries"], left_out(&set)["questions: they chose the weights of the fusion"]),
        (&judging["queries"], choosing["queries"].as_u64().unwrap())
    );
    // What accepted is not what was looked at afterwards, and the reader is told so.
    assert!(set["notes"][0].as_str().unwrap().starts_with("these questions accepted the weights of the fusion"), "{set}");
    let text = place.run(["eval", "project", "--kind", "sentences"]).success().text();
    assert!(text.contains("\nnote: these questions accepted the weights of the fusion"), "{text}");
    let of = |name: &str| system(&set, name)["figures"]["ndcg_at_10"]["value"].as_f64().unwrap();
    assert!(of("lexical") > of("vector"), "{set}");

    // Of a project in which little changed it stays, and says so; where much did it is chosen anew.
    let note = String::from_utf8(place.read("notes/00.md")).unwrap();
    place.write("notes/00.md", format!("{note}\n## Later\n\nOur anchor was weighed.\n"));
    place.run(["scrape"]).success();
    assert_eq!(place.run(["status", "--json"]).json()["fusion"]["state"], "stale");
    let ran = place.run(["oxidize", "--json"]);
    let after = ran.json()["fusion"].take();
    assert_eq!((&after["weights"], &after["figures"], &after["changed"]), (&record["weights"], &record["figures"], &json!(1)), "{ran}");
    assert_eq!(place.run(["status", "--json"]).json()["fusion"]["state"], "current");
    assert!(place.run(["oxidize"]).success().text().contains("\n  of an earlier state: 1 came or went since, of "));
    assert_eq!(scry(&place)["fusion"], record["weights"]);
    // An index that was updated by a run which did not come to the choice is not the one that it was made with.
    let known = String::from_utf8(place.read(FUSION)).unwrap();
    let index = after["index"].as_str().unwrap().to_owned();
    place.write(FUSION, known.replace(&index, &"0".repeat(64)));
    place.write("notes/00.md", format!("{note}\n## Later\n\nOur anchor was weighed again.\n"));
    place.run(["scrape"]).success();
    assert_eq!(place.run(["oxidize", "--json"]).json()["fusion"]["changed"], json!(0));
    for n in 1..6 {
        let path = format!("notes/{n:02}.md");
        let note = String::from_utf8(place.read(&path)).unwrap().replace("turn without a sound", "turn with a sound");
        place.write(&path, format!("{note}\n## Later\n\nOur anchor was weighed {n} times.\n\n## At last\n\nIt was {n} pounds.\n"));
    }
    place.run(["scrape"]).success();
    let after = place.run(["oxidize", "--json"]).json()["fusion"].take();
    assert_eq!(after["changed"], json!(0), "{after}");
    assert_ne!(after["figures"], record["figures"]);
    notes(&place);
    place.run(["scrape"]).success();
    let again = place.run(["oxidize", "--json"]).json()["fusion"].take();
    assert_eq!((&again["weights"], &again["figures"], &again["changed"]), (&record["weights"], &record["figures"], &json!(0)));
    let kept = place.read(FUSION);

    // A damaged record promises nothing, and is made again.
    place.write(FUSION, "{\"inputs\": 1");
    assert_eq!(place.run(["status", "--json"]).json()["fusion"]["state"], "corrupt");
    assert_eq!(scry(&place)["fusion"]["vector"], 0.5);
    let absurd = String::from_utf8(kept.clone()).unwrap().replace("\"lexical\": 1.0", "\"lexical\": -1.0");
    place.write(FUSION, absurd);
    assert_eq!(scry(&place)["fusion"]["vector"], 0.5);
    place.run(["oxidize"]).success();
    assert_eq!(place.read(FUSION), kept);

    // The recipe's own weights need no record.
    let recipe = String::from_utf8(place.read(".patina/oxidize.yaml")).unwrap();
    place.write(".patina/oxidize.yaml", format!("{recipe}\nfusion: {{lexical: 1, vector: 2, by: ranks, k: 10}}\n"));
    assert_eq!(scry(&place)["fusion"], json!({"lexical": 1.0, "vector": 2.0, "projection": 0.5, "by": {"ranks": {"k": 10.0}}}));
    assert_eq!(place.run(["oxidize", "--json"]).json()["fusion"], Value::Null);
    assert!(!place.path(FUSION).exists());
    assert!(
        place
            .run(["status"])
            .success()
            .text()
            .contains("fusion       lexical 1, vector 2, projection 0.5, by ranks with k 10 (as the recipe says)")
    );
}

/// So many notes, a day apart, whose sections are pairs. A short one is in none, and asks all the same.
fn diary(place: &Place, notes: usize) {
    for n in 0..notes {
        let (one, other) = (SUBJECTS[n % 24], SUBJECTS[(n + 1 + n / 24) % 24]);
        let mut note = format!("# Session: the {one} and the {other}\n\n**Started**: 2024-{:02}-{:02}T10:00:00Z\n", n / 28 + 1, n % 28 + 1);
        for (heading, text) in
            [("Goals", "shall turn without a sound"), ("Activity", "was taken apart and cleaned"), ("Problems", "broke when it met water")]
        {
            write!(note, "\n## {heading}\n\nOur {one} beside the {other} {text}, as it was planned.\n").unwrap();
        }
        write!(note, "\n## Next\n\nThe {one} waits for a {other}.\n").unwrap();
        place.write(&format!("notes/{n:03}.md"), note);
    }
    place.run(["scrape"]).success();
}

const FUSED: &str = "fusion: {lexical: 1, vector: 0.5, projection: 0.5}\n";

/// A recipe with a projection, or without any.
fn recipe(place: &Place, fusion: &str, projection: Option<&str>) {
    let projections =
        projection.map(|more| format!("projections:\n  semantic:\n    architecture: linear\n    epochs: 2\n{more}")).unwrap_or_default();
    place.write(".patina/oxidize.yaml", format!("version: 1\nembedding_model: ./model/\n{fusion}{projections}"));
}

/// Puts into the record that the gate let it pass: so it joins hybrid search.
fn passes_the_gate(place: &Place) {
    let verdict = ".patina/data/embeddings/model/projections/semantic.verdict.json";
    let mut record: Value = serde_json::from_slice(&place.read(verdict)).unwrap();
    record["verdict"]["published"] = json!(true);
    place.write(verdict, record.to_string());
}

/// The numbers of the notes that a set asks for.
fn notes_asked(place: &Place) -> Vec<usize> {
    let qrels = String::from_utf8(place.read("runs/sentences.qrels")).unwrap();
    let mut notes: Vec<usize> = qrels.lines().filter_map(|line| line.split("notes/").nth(1)?.split(".md").next()?.parse().ok()).collect();
    notes.dedup();
    notes
}

/// By the session, not by the row: what stands beside a pair in the same note was taught to be near it.
#[test]
fn what_a_projection_was_trained_on_asks_nothing() {
    let place = Place::tiny_project();
    diary(&place, 200);
    recipe(&place, FUSED, Some("    layers: [32]\n    gate: off\n"));
    let outcome = place.run(["oxidize", "--json"]).json()["projections"][0].take();
    assert_eq!((&outcome["published"], &outcome["folds"]), (&json!(true), &Value::Null), "{outcome}");
    let groups: Vec<u64> = outcome["groups"].as_array().unwrap().iter().map(|groups| groups.as_u64().unwrap()).collect();
    let [train, validation, test] = groups[..] else { panic!("{outcome}") };
    assert_eq!(train + validation + test, 200);

    let set = place.run(["eval", "project", "--kind", "sentences", "--run", "runs", "--json"]).json()["sets"][0].take();
    assert_eq!(left_out(&set)["files: a projection was trained on pairs of them"], train + validation, "{set}");
    // The latest notes judged the projection, so they alone ask.
    assert_eq!(notes_asked(&place), ((train + validation) as usize..200).collect::<Vec<_>>());
    assert_eq!(system(&set, "projection:semantic")["note"], "published");
    assert_eq!(set["notes"], Value::Null, "{set}");

    // Nor does it choose the projection's share.
    let place = Place::tiny_project();
    diary(&place, 200);
    recipe(&place, "", Some("    layers: [32]\n    gate: off\n"));
    place.run(["oxidize"]).success();
    passes_the_gate(&place);
    let choice = place.run(["oxidize", "--json"]).json()["fusion"].take();
    assert_eq!(choice["projection"], "semantic", "{choice}");
    let asked = choice["choosing"]["groups"].as_u64().unwrap() + choice["judging"]["groups"].as_u64().unwrap();
    assert_eq!(asked, test, "{choice}");
}

/// Of a small project every group has trained what was published in the end: nothing is left that could judge it.
#[test]
fn a_projection_that_was_trained_on_everything_is_not_shown() {
    let place = Place::tiny_project();
    diary(&place, 40);
    recipe(&place, FUSED, Some("    layers: [32]\n    gate: off\n"));
    let outcome = place.run(["oxidize", "--json"]).json()["projections"][0].take();
    assert_eq!((&outcome["published"], &outcome["folds"]), (&json!(true), &json!(5)), "{outcome}");
    passes_the_gate(&place);
    let set = place.run(["eval", "project", "--kind", "sentences", "--run", "runs", "--json"]).json()["sets"][0].take();
    let names: Vec<&str> = set["systems"].as_array().unwrap().iter().map(|system| system["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lexical", "vector", "hybrid"]);
    let note = set["notes"][0].as_str().unwrap();
    assert!(note.contains("no projection answers them: 0 would be left") && note.contains("at least 20 are needed"), "{note}");
    assert_eq!(notes_asked(&place).len(), 40);
    assert_eq!(system(&set, "hybrid")["note"], "lexical 1, vector 0.5", "it is without the projection too");
    let text = place.run(["eval", "project", "--kind", "sentences"]).success().text();
    assert!(text.contains("\nnote: these are all questions of the kind, and no projection answers them"), "{text}");
    // Questions of one's own are asked of it.
    let labels = json!({"name": "own", "queries": [{"id": "q", "query": "who waits?", "relevant_docs": ["notes/003.md"]}]});
    place.write("labels.json", labels.to_string());
    let own = place.run(["eval", "queries", "labels.json", "--json"]).json()["sets"][0].take();
    assert_eq!(system(&own, "projection:semantic")["note"], "published");
}

/// A projection that is refused is kept to be looked at: beside the published ones, of no use to search and in no lockfile.
#[test]
fn a_refused_projection_is_shown_and_never_searched_with() {
    const PUBLISHED: &str = ".patina/data/embeddings/model/projections/semantic.safetensors";
    const REFUSED: &str = ".patina/data/embeddings/model/projections/refused/semantic.safetensors";
    let place = Place::tiny_project();
    diary(&place, 200);
    // Two numbers cannot do what sixty-four do.
    let refused = || recipe(&place, FUSED, Some("    layers: [2]\n"));
    refused();
    let outcome = place.run(["oxidize", "--json"]).json()["projections"][0].take();
    assert_eq!((&outcome["published"], outcome["verdict"].is_object()), (&json!(false), true), "{outcome}");
    assert!(place.path(REFUSED).exists() && !place.path(PUBLISHED).exists());
    let kept = place.read(REFUSED);

    let shown = |place: &Place| place.run(["eval", "project", "--kind", "sentences", "--json"]).json()["sets"][0].take();
    let set = shown(&place);
    assert_eq!(system(&set, "projection:semantic")["note"], "not published");
    assert_ne!(system(&set, "projection:semantic")["figures"], system(&set, "vector")["figures"], "it is asked");
    assert_eq!(system(&set, "hybrid")["note"], "lexical 1, vector 0.5", "it joins nothing");
    // What it was trained on asks it as little as it would if it were published.
    let seen = outcome["groups"][0].as_u64().unwrap() + outcome["groups"][1].as_u64().unwrap();
    assert_eq!(left_out(&set)["files: a projection was trained on pairs of them"], seen);
    let text = place.run(["eval", "project", "--kind", "sentences"]).success().text();
    let line = text.lines().find(|line| line.starts_with("projection:semantic")).unwrap();
    assert!(line.ends_with("not published"), "{text}");

    assert_eq!(place.run(["scry", "--json", "the anchor turns"]).json()["projection"], Value::Null);
    place.run(["scry", "--projection", "semantic", "the anchor turns"]).exit(2);
    let lock = String::from_utf8(place.read(".patina/oxidize.lock")).unwrap();
    assert!(!lock.contains(outcome["refused_sha256"].as_str().unwrap()), "{lock}");
    place.run(["oxidize", "--locked"]).success();

    // It is what its record says, or it is made again.
    place.tamper(REFUSED);
    assert!(place.run(["eval", "project"]).exit(3).err.contains("refused/semantic.safetensors: the projection has SHA-256"));
    place.run(["scry", "the anchor turns"]).success();
    place.run(["oxidize"]).success();
    assert_eq!(place.read(REFUSED), kept);
    std::fs::remove_file(place.path(REFUSED)).unwrap();
    assert!(place.run(["eval", "project"]).exit(3).err.contains("the projection's file is gone"));
    place.run(["oxidize"]).success();
    assert_eq!(place.read(REFUSED), kept);

    // Published it is not refused, and out of the recipe it is neither.
    recipe(&place, FUSED, Some("    layers: [2]\n    gate: off\n"));
    assert!(place.run(["eval", "project"]).exit(3).err.contains("changed since the projection \"semantic\" was trained"));
    place.run(["oxidize"]).success();
    assert!(place.path(PUBLISHED).exists() && !place.path(REFUSED).exists());
    refused();
    place.run(["oxidize"]).success();
    assert_eq!((place.read(REFUSED), place.path(PUBLISHED).exists()), (kept, false));
    recipe(&place, FUSED, None);
    place.run(["oxidize"]).success();
    assert!(!place.path(REFUSED).exists());
}

/// Of a small project what is kept is the first of the parts, and the last fifth of the groups has not taught it.
#[test]
fn a_small_project_s_refused_projection_is_asked_by_what_was_held_out() {
    let place = Place::tiny_project();
    diary(&place, 50);
    recipe(&place, FUSED, Some("    layers: [2]\n"));
    let outcome = place.run(["oxidize", "--json"]).json()["projections"][0].take();
    assert_eq!((&outcome["published"], &outcome["folds"]), (&json!(false), &json!(5)), "{outcome}");
    let set = place.run(["eval", "project", "--kind", "sentences", "--run", "runs", "--json"]).json()["sets"][0].take();
    assert_eq!(system(&set, "projection:semantic")["note"], "not published");
    assert_eq!(notes_asked(&place).len() as u64, outcome["groups"][2].as_u64().unwrap(), "{set}");
}

/// Half of the comments share a word with their code, half share none: what they say is in no code that is searched.
#[test]
fn doc_comments_ask_for_their_functions_in_code_without_comments() {
    let place = Place::tiny_project();
    for (at, subject) in SUBJECTS.iter().enumerate() {
        let doc = if at % 2 == 0 {
            format!("Turns the {subject} around by itself alone")
        } else {
            format!("Whispers about {subject}ology reach nobody tonight")
        };
        place.write(
            &format!("src/{at}.rs"),
            format!("/// {doc}. More of it.\npub fn spin_{subject}(much: u32) -> u32 {{\n    much + {at}\n}}\n"),
        );
    }
    place.write("src/bare.rs", "pub fn bare(much: u32) -> u32 {\n    much\n}\n");
    place.write(
        "src/twins.rs",
        "/// Says the same as its twin does.\npub fn one() {}\n\n/// Says the same as its twin does.\npub fn two() {}\n",
    );
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    let index = place.read(".patina/data/embeddings/model/base.usearch");
    let report = place.run(["eval", "project", "--kind", "docs", "--run", "runs", "--json"]).json();
    let set = &report["sets"][0];
    assert_eq!((&set["name"], &set["queries"], &set["groups"], &set["relevant"]), (&json!("docs"), &json!(24), &json!(24), &json!(24)));
    let left = left_out(set);
    assert_eq!(left["functions: without a doc comment"], 1);
    assert_eq!(left["functions: first sentences of fewer than 4 words"], 1);
    assert_eq!(left["functions: first sentences that several functions have"], 2);
    near(&system(set, "lexical")["figures"]["mrr_at_10"]["value"], 0.5);
    let qrels = String::from_utf8(place.read("runs/docs.qrels")).unwrap();
    assert!(qrels.contains("src/0.rs:2 0 src/0.rs:2 1\n"), "{qrels}");
    for name in ["hybrid", "lexical", "vector"] {
        let run = String::from_utf8(place.read(&format!("runs/docs.{name}.run"))).unwrap();
        near(&system(set, name)["figures"]["mrr_at_10"]["value"], by_hand(&run, &qrels).0);
    }
    assert_eq!(place.read(".patina/data/embeddings/model/base.usearch"), index, "the project's own index is not touched");
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new(), "the copy is gone");
    // With too few commits and sentences the others are measured, and what is missing is told.
    let all = place.run(["eval", "project", "--json"]).json();
    assert_eq!((all["sets"].as_array().unwrap().len(), all["too_few"].as_array().unwrap().len()), (1, 2));
    assert_eq!(all["sets"][0]["systems"], set["systems"]);
}

/// Ctrl-C in the middle: nothing is written, nothing is left.
#[cfg(unix)]
#[test]
fn an_interrupted_judgement_leaves_nothing() {
    use std::process::{Command, Stdio};
    let place = Place::tiny_project();
    for (at, subject) in SUBJECTS.iter().enumerate() {
        let functions: String =
            (0..60).map(|n| format!("/// Turns the {subject} around {n} times by itself.\npub fn spin_{subject}_{n}(much: u32) -> u32 {{\n    much + {n}\n}}\n\n")).collect();
        place.write(&format!("src/{at}.rs"), functions);
    }
    place.run(["scrape"]).success();
    place.run(["oxidize"]).success();
    place.write("tmp/.keep", "");
    let mut command = place.command(["eval", "project", "--kind", "docs", "--run", "runs", "--output", "report.json", "--json"]);
    command.env("TMPDIR", place.path("tmp")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let begun = std::time::Instant::now();
    while !place.left_behind().iter().any(|path| path.starts_with(place.path("tmp"))) {
        assert!(begun.elapsed().as_secs() < 60 && child.try_wait().unwrap().is_none(), "no scratch folder was made");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ran = place.ran(child.wait_with_output().unwrap());
    assert_eq!((ran.exit(130).json_error()["kind"].as_str(), ran.out.len()), (Some("interrupted"), 0), "{ran}");
    assert!(!place.path("report.json").exists() && !place.path("runs").exists());
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new(), "the scratch folder is gone");
}
