//! What changes together and who calls whom: answered from tables, without a model.

use crate::harness::{Place, Ran};

/// A project of a few Rust files with a history in which `cart.rs` and `price.rs` change together.
fn shop() -> Place {
    let place = Place::project("./model/");
    place.git(&["init", "-q", "-b", "main"]);
    let commit = |message: &str| {
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", message]);
    };
    place.write("src/cart.rs", "use crate::price::total;\n\npub struct Cart;\n\nimpl Cart {\n    /// Adds a line.\n    pub fn add(&self) {\n        self.check();\n        total(1);\n        vec_of(2);\n    }\n\n    fn check(&self) {}\n}\n");
    place.write("src/price.rs", "/// The sum.\npub fn total(n: u32) -> u32 {\n    round(n)\n}\n\nfn round(n: u32) -> u32 {\n    n\n}\n");
    commit("one");
    place.write("src/shelf.rs", "pub fn round() {}\n\npub fn sell(cart: &Cart) {\n    cart.add();\n    cart.add();\n}\n");
    commit("two");
    for n in 0..3 {
        place.write("src/cart.rs", [place.read("src/cart.rs"), format!("// {n}\n").into_bytes()].concat());
        place.write("src/price.rs", [place.read("src/price.rs"), format!("// {n}\n").into_bytes()].concat());
        commit("both");
    }
    for n in 0..4 {
        place.write("notes.md", format!("# Notes\n\n{n}\n"));
        commit("notes");
    }
    place
}

/// What a run wrote: all parts must be there.
fn says(ran: &Ran, code: i32, parts: &[&str]) {
    ran.exit(code);
    let all = ran.to_string();
    for part in parts {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
}

#[test]
fn what_changes_with_a_file() {
    let place = shop();
    place.run(["scrape"]).success();
    says(&place.run(["scry", "--file", "src/cart.rs"]), 0, &["src/cart.rs changed in 4 of 9 commits", "src/price.rs", "2.2"]);
    let answer = place.run(["--json", "scry", "--file", "src/cart.rs"]).json();
    let file = &answer["files"][0];
    assert_eq!(answer["found"].as_u64(), Some(1));
    assert_eq!((answer["commits"].as_u64(), answer["touching"].as_u64()), (Some(9), Some(4)));
    assert_eq!((file["path"].as_str(), file["together"].as_u64(), file["touching"].as_u64()), (Some("src/price.rs"), Some(4), Some(4)));
    // 4 * 9 / (4 * 4), and its logarithm.
    assert_eq!(file["lift"].as_f64(), Some(2.25));
    assert!((file["pmi"].as_f64().unwrap() - 2.25_f64.log2()).abs() < 1e-12);
    says(&place.run(["scry", "--file", "src/shelf.rs"]), 0, &["changed in 1 of 9 commits", "nothing changed with it in 2 commits or more"]);
    says(&place.run(["scry", "--file", "cart.rs"]), 2, &["no commit touches cart.rs", "did you mean src/cart.rs?"]);
    says(&place.run(["scry", "--file", "src/catr.rs"]), 2, &["did you mean src/cart.rs?"]);
}

#[test]
fn who_calls_whom() {
    let place = shop();
    place.run(["scrape"]).success();
    says(&place.run(["scry", "--callers", "Cart::add"]), 0, &["callers of Cart::add", "sell  src/shelf.rs:4,5"]);
    says(&place.run(["scry", "--callees", "add"]), 0, &["Cart::check", "total", "vec_of", "not of the project"]);
    says(&place.run(["scry", "--callees", "sell", "--depth", "3"]), 0, &["Cart::add", "depth 2", "round", "depth 3"]);
    says(&place.run(["scry", "--callers", "src/price.rs:round", "--depth", "2"]), 0, &["total", "Cart::add", "depth 2"]);
    says(&place.run(["scry", "--callers", "round"]), 2, &["round can mean 2 symbols", "src/price.rs", "src/shelf.rs", "hint:"]);
    says(&place.run(["scry", "--callers", "totl"]), 2, &["called totl", "did you mean total?"]);
    says(&place.run(["scry", "--callers", "Shop::add"]), 2, &["called Shop::add", "there is add elsewhere"]);
    let answer = place.run(["--json", "scry", "--callers", "Cart::add"]).json();
    assert_eq!((answer["direction"].as_str(), answer["found"].as_u64()), (Some("callers"), Some(1)));
    assert_eq!(answer["complete"].as_bool(), Some(true));
    let call = &answer["calls"][0];
    assert_eq!((call["symbol"]["qualified"].as_str(), call["resolution"].as_str()), (Some("sell"), Some("imported")));
    assert_eq!(call["lines"], serde_json::json!([4, 5]));
}

#[test]
fn relations_that_cannot_be_told() {
    let place = Place::project("./model/");
    place.write("notes.md", "# Notes\n\nNothing else.\n");
    says(&place.run(["scry", "--file", "notes.md"]), 2, &["run `patina scrape`"]);
    place.run(["scrape"]).success();
    says(&place.run(["scry", "--file", "notes.md"]), 2, &["no commits", "git repository"]);
    says(&place.run(["scry", "--callers", "main"]), 2, &["nothing is known about functions", "patina scrape"]);
    says(&place.run(["scry", "--callers", "main", "a question"]), 2, &["in place of a question"]);
    says(&place.run(["scry", "--callers", "main", "--callees", "main"]), 2, &["cannot be used with"]);
    says(&place.run(["scry", "--callers", "main", "--depth", "0"]), 2, &["--depth is 0; it must be 1 to 8"]);
    says(&place.run(["scry", "--file", "notes.md", "--limit", "0"]), 2, &["--limit is 0"]);
}

#[test]
fn a_full_scrape_makes_the_same_facts() {
    let place = shop();
    place.run(["scrape"]).success();
    let first = place.run(["--json", "status"]).json();
    assert_eq!((first["store"]["symbols"].as_u64(), first["store"]["calls"].as_u64()), (Some(7), Some(6)));
    place.run(["scrape", "--full"]).success();
    let again = place.run(["--json", "status"]).json();
    assert_eq!((&first["store"]["symbols"], &first["store"]["calls"]), (&again["store"]["symbols"], &again["store"]["calls"]));
}

#[test]
fn a_file_that_no_scrape_reads_is_there_all_the_same() {
    let place = Place::project("./model/");
    place.git(&["init", "-q", "-b", "main"]);
    for n in 0..2 {
        for name in ["Cargo.toml", "Cargo.lock", "gone.txt"] {
            place.write(name, format!("# {name} {n}\n"));
        }
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", "both"]);
    }
    for n in 0..3 {
        place.write("notes.md", format!("# Notes\n\n{n}\n"));
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", "notes"]);
    }
    std::fs::remove_file(place.path("gone.txt")).unwrap();
    place.run(["scrape"]).success();
    let answer = place.run(["--json", "scry", "--file", "Cargo.toml"]).json();
    let of = |path: &str| answer["files"].as_array().unwrap().iter().find(|file| file["path"] == path).unwrap().clone();
    assert_eq!((of("Cargo.lock")["present"].as_bool(), of("Cargo.lock")["indexed"].as_bool()), (Some(true), Some(false)));
    assert_eq!(of("gone.txt")["present"].as_bool(), Some(false));
    let told = place.run(["scry", "--file", "Cargo.toml"]).to_string();
    assert_eq!(told.matches("not a file of the project now").count(), 1, "{told}");
}

#[cfg(unix)]
#[test]
fn the_name_of_a_file_cannot_speak_to_the_terminal() {
    let place = Place::project("./model/");
    place.write("a\u{1b}[31mred.rs", "pub fn crimson() {}\n\npub fn dye() {\n    crimson();\n}\n");
    place.run(["scrape"]).success();
    for arguments in [["scry", "--callers", "crimson"], ["scry", "--callees", "dye"]] {
        let told = place.run(arguments).text();
        assert!(told.contains("ared.rs:") && !told.contains('\u{1b}'), "{told:?}");
    }
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    let place = Place::project("./model/");
    for ignored in [
        &["--locked"][..],
        &["--path", "nowhere/"],
        &["--mode", "lexical"],
        &["--kind", "code"],
        &["--since", "1d"],
        &["--runtime", "onnx"],
    ] {
        for asked in [["--callers", "main"], ["--file", "a.rs"]] {
            let arguments = [&["scry"], &asked[..], ignored].concat();
            says(&place.run(arguments), 2, &["cannot be used with", ignored[0]]);
        }
    }
    says(&place.run(["scry", "--depth", "2", "a question"]), 2, &["--callers <NAME>"]);
    says(&place.run(["scry", "--depth", "2", "--file", "a.rs"]), 2, &["--callers <NAME>"]);
}

#[test]
fn what_no_call_can_mean_is_told_as_what_it_is() {
    let place = Place::project("./model/");
    place.write("src/a.rs", "pub trait Sells {\n    fn sell(&self);\n}\n\npub const LIMIT: u8 = 1;\n");
    place.run(["scrape"]).success();
    says(&place.run(["scry", "--callers", "Sells"]), 2, &["no call can mean Sells: it is the trait Sells (src/a.rs:1)"]);
    says(&place.run(["scry", "--callees", "src/a.rs:LIMIT"]), 2, &["it is the constant LIMIT (src/a.rs:5)"]);
}
