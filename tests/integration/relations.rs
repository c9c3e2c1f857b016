//! What changes together and who calls whom: answered from tables, without a model.

use crate::harness::Place;

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

#[test]
fn what_changes_with_a_file() {
    let place = shop();
    place.run(["scrape"]).success();
    snap!(place.run(["scry", "--file", "src/cart.rs"]), @"");
    let answer = place.run(["--json", "scry", "--file", "src/cart.rs"]).json();
    let file = &answer["files"][0];
    assert_eq!((answer["commits"].as_u64(), answer["touching"].as_u64()), (Some(9), Some(4)));
    assert_eq!((file["path"].as_str(), file["together"].as_u64(), file["touching"].as_u64()), (Some("src/price.rs"), Some(4), Some(4)));
    // 4 * 9 / (4 * 4), and its logarithm.
    assert_eq!(file["lift"].as_f64(), Some(2.25));
    assert!((file["pmi"].as_f64().unwrap() - 2.25_f64.log2()).abs() < 1e-12);
    snap!(place.run(["scry", "--file", "src/shelf.rs"]), @"");
    snap!(place.run(["scry", "--file", "cart.rs"]), @"");
    snap!(place.run(["scry", "--file", "src/catr.rs"]), @"");
}

#[test]
fn who_calls_whom() {
    let place = shop();
    place.run(["scrape"]).success();
    snap!(place.run(["scry", "--callers", "Cart::add"]), @"");
    snap!(place.run(["scry", "--callees", "add"]), @"");
    snap!(place.run(["scry", "--callees", "sell", "--depth", "3"]), @"");
    snap!(place.run(["scry", "--callers", "src/price.rs:round", "--depth", "2"]), @"");
    snap!(place.run(["scry", "--callers", "round"]), @"");
    snap!(place.run(["scry", "--callers", "totl"]), @"");
    snap!(place.run(["scry", "--callers", "Shop::add"]), @"");
    let answer = place.run(["--json", "scry", "--callers", "Cart::add"]).json();
    assert_eq!((answer["direction"].as_str(), answer["found"].as_u64()), (Some("callers"), Some(1)));
    let call = &answer["calls"][0];
    assert_eq!((call["symbol"]["qualified"].as_str(), call["resolution"].as_str()), (Some("sell"), Some("imported")));
    assert_eq!(call["lines"], serde_json::json!([4, 5]));
}

#[test]
fn relations_that_cannot_be_told() {
    let place = Place::project("./model/");
    place.write("notes.md", "# Notes\n\nNothing else.\n");
    snap!(place.run(["scry", "--file", "notes.md"]), @"");
    place.run(["scrape"]).success();
    snap!(place.run(["scry", "--file", "notes.md"]), @"");
    snap!(place.run(["scry", "--callers", "main"]), @"");
    snap!(place.run(["scry", "--callers", "main", "a question"]), @"");
    snap!(place.run(["scry", "--callers", "main", "--callees", "main"]), @"");
    snap!(place.run(["scry", "--callers", "main", "--depth", "0"]), @"");
    snap!(place.run(["scry", "--file", "notes.md", "--limit", "0"]), @"");
}

#[test]
fn a_project_that_an_older_patina_scraped_gets_its_facts_with_the_next_scrape() {
    let place = shop();
    place.run(["scrape"]).success();
    let first = place.run(["--json", "status"]).json();
    assert_eq!((first["store"]["symbols"].as_u64(), first["store"]["calls"].as_u64()), (Some(7), Some(6)));
    place.run(["scrape", "--full"]).success();
    let again = place.run(["--json", "status"]).json();
    assert_eq!((&first["store"]["symbols"], &first["store"]["calls"]), (&again["store"]["symbols"], &again["store"]["calls"]));
}
