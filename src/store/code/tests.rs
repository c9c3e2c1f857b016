//! What calls mean, and that the tables follow the events.

use super::*;
use crate::store::{Change, Content, Kind, Piece, Source, Store};

/// A file of one chunk a symbol. Symbols are `kind qualified`, calls `caller-index receiver.name`, imports `target as name`.
fn file(
    path: &str,
    language: &str,
    symbols: &[(SymbolKind, &str)],
    imports: &[(&str, &str)],
    calls: &[(Option<u32>, &str, &str)],
) -> Source {
    let symbols: Vec<SymbolFact> = symbols
        .iter()
        .zip(1..)
        .map(|((kind, qualified), line)| SymbolFact {
            kind: *kind,
            name: qualified.rsplit([':', '.']).next().expect("a name").to_owned(),
            qualified: (*qualified).to_owned(),
            signature: format!("fn {qualified}"),
            doc: String::new(),
            line: line * 10,
            end_line: line * 10 + 5,
            doc_line: 0,
            doc_end_line: 0,
            declared: false,
        })
        .collect();
    let pieces = symbols.iter().map(|symbol| Piece {
        title: format!("{path} > {}", symbol.qualified),
        text: format!("body of {}", symbol.qualified),
        line: symbol.line - 3,
        end_line: symbol.end_line,
    });
    let content = Content {
        kind: Kind::Code,
        path: path.to_owned(),
        hash: format!("{path}{calls:?}"),
        date: None,
        commit: None,
        pieces: pieces.collect(),
        code: Some(CodeFacts {
            language: language.to_owned(),
            symbols,
            imports: imports
                .iter()
                .zip(1..)
                .map(|((target, name), line)| ImportFact { target: (*target).to_owned(), name: (*name).to_owned(), line })
                .collect(),
            calls: calls
                .iter()
                .zip(100..)
                .map(|((caller, receiver, name), line)| CallFact {
                    caller: *caller,
                    name: (*name).to_owned(),
                    receiver: (*receiver).to_owned(),
                    line,
                })
                .collect(),
        }),
    };
    Source { key: format!("file:{path}"), content }
}

struct Place(tempfile::TempDir);

impl Place {
    fn with(sources: &[Source]) -> (Place, Store) {
        let place = Place(tempfile::tempdir().expect("temporary folder"));
        let mut store = Store::open(&place.0.path().join("patina.db")).expect("store");
        for source in sources {
            assert_eq!(store.put_source(source, None).expect("put"), Change::Added);
        }
        (place, store)
    }
}

/// `receiver.name` of each call, with what it came to: `path:qualified` or how it was left.
fn meanings(store: &Store) -> Vec<String> {
    let symbols = store.symbols().expect("symbols");
    let name = |id: u64| symbols.iter().find(|s| s.id == id).map(|s| format!("{}:{}", s.path, s.qualified)).expect("a symbol");
    let calls = store.calls().expect("calls");
    let meaning =
        |call: &Call| call.callee.map_or_else(|| format!("{:?}", call.resolution), |id| format!("{:?} {}", call.resolution, name(id)));
    calls.iter().map(|call| format!("{}.{} {}", call.receiver, call.name, meaning(call))).collect()
}

use SymbolKind::{Function, Method, Struct};

#[test]
fn calls_in_rust_mean_what_scopes_and_imports_say() {
    let (_place, store) = Place::with(&[
        file(
            "src/a.rs",
            "rust",
            &[
                (Function, "run"),
                (Struct, "Shop"),
                (Method, "Shop::open"),
                (Method, "Shop::lock"),
                (Function, "tests::run"),
                (Function, "tests::t"),
            ],
            &[("crate::b::weigh", "weigh"), ("std::mem::swap", "swap"), ("std::fs", "fs"), ("crate::b", "b")],
            &[
                (Some(2), "self", "lock"),
                (Some(0), "Shop::", "open"),
                (Some(0), "Vec::", "open"),
                (Some(0), "", "weigh"),
                (Some(0), "", "swap"),
                (Some(0), "fs::", "read_all"),
                (Some(0), "b::", "read_all"),
                (Some(0), "b", "read_all"),
                (Some(0), "crate::b::", "read_all"),
                (Some(0), "super::", "read_all"),
                (Some(0), "shop", "len"),
                (Some(5), "", "run"),
                (Some(0), "", "alone"),
                (Some(0), "place", "open_wide"),
                (Some(0), "x", "len"),
                (Some(0), "", "twice"),
                (None, "", "nowhere"),
            ],
        ),
        file(
            "src/b.rs",
            "rust",
            &[
                (Function, "weigh"),
                (Function, "swap"),
                (Function, "read_all"),
                (Method, "Shop::open_wide"),
                (Method, "Shop::len"),
                (Function, "twice"),
            ],
            &[],
            &[(Some(3), "self", "lock")],
        ),
        file("src/c.rs", "rust", &[(Function, "weigh"), (Function, "alone"), (Function, "twice")], &[], &[]),
        file("c.py", "python", &[(Function, "nowhere")], &[], &[]),
    ]);
    assert_eq!(
        meanings(&store),
        [
            "self.lock SameFile src/a.rs:Shop::lock",
            "Shop::.open SameFile src/a.rs:Shop::open",
            "Vec::.open Unknown",
            ".weigh Imported src/b.rs:weigh",
            ".swap Unknown",
            "fs::.read_all Unknown",
            "b::.read_all Imported src/b.rs:read_all",
            "b.read_all Unknown",
            "crate::b::.read_all Imported src/b.rs:read_all",
            "super::.read_all Imported src/b.rs:read_all",
            "shop.len Imported src/b.rs:Shop::len",
            ".run SameFile src/a.rs:tests::run",
            ".alone Unique src/c.rs:alone",
            "place.open_wide Unique src/b.rs:Shop::open_wide",
            "x.len Unknown",
            ".twice Ambiguous",
            ".nowhere Unknown",
            "self.lock Imported src/a.rs:Shop::lock",
        ]
    );
}

#[test]
fn packages_headers_and_renamed_imports() {
    let (_place, store) = Place::with(&[
        file("go/cart/cart.go", "go", &[(Function, "Add")], &[], &[(Some(0), "", "sum")]),
        file("go/cart/sum.go", "go", &[(Function, "sum")], &[], &[]),
        file("go/other/sum.go", "go", &[(Function, "sum")], &[], &[]),
        file("go/main.go", "go", &[(Function, "main")], &[("example.org/shop/cart", "cart")], &[(Some(0), "cart", "Add")]),
        file("c/main.c", "c", &[(Function, "main")], &[("list.h", "")], &[(Some(0), "", "push_front")]),
        file("c/list.h", "c", &[(Function, "push_front")], &[], &[]),
        file("c/list.c", "c", &[(Function, "push_front")], &[], &[]),
        file("c/ring.c", "c", &[(Function, "push_front")], &[], &[]),
        file(
            "js/a.js",
            "javascript",
            &[(Function, "first")],
            &[("./b#plus", "plus"), ("lodash/fp#b", "b")],
            &[(None, "", "plus"), (None, "", "b")],
        ),
        file("js/b.js", "javascript", &[(Function, "plus"), (Function, "b")], &[], &[]),
        file(
            "py/a.py",
            "python",
            &[(Function, "first")],
            &[("shop.cart", "c"), ("shop.cart.total", "total")],
            &[(None, "c", "total"), (None, "", "total")],
        ),
        file("py/shop/cart.py", "python", &[(Function, "total")], &[], &[]),
    ]);
    let found = meanings(&store);
    for expected in [
        ".sum Imported go/cart/sum.go:sum",
        "cart.Add Imported go/cart/cart.go:Add",
        ".plus Imported js/b.js:plus",
        ".b Unknown",
        "c.total Imported py/shop/cart.py:total",
        ".total Imported py/shop/cart.py:total",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected} in {found:#?}");
    }
    assert!(found.iter().any(|line| line.starts_with(".push_front Imported c/list.")), "{found:#?}");
}

#[test]
fn edges_are_counted_and_recursion_is_none() {
    let calls: &[(Option<u32>, &str, &str)] = &[(Some(0), "", "b"), (Some(0), "", "b"), (Some(0), "", "a"), (None, "", "a")];
    let (_place, store) = Place::with(&[file("a.rs", "rust", &[(Function, "a"), (Function, "b")], &[], calls)]);
    let symbols = store.symbols().expect("symbols");
    assert_eq!(store.call_edges().expect("edges"), [CallEdge { caller: symbols[0].id, callee: symbols[1].id, count: 2 }]);
    assert_eq!(store.calls_of("a").expect("calls").len(), 2);
    assert_eq!(store.calls_in(symbols[0].id).expect("calls").len(), 3);
}

#[test]
fn symbols_know_their_chunks_and_follow_their_file() {
    let one = file("a.rs", "rust", &[(Function, "a"), (Method, "S::b")], &[("x::y", "y")], &[(Some(1), "", "a")]);
    let (place, mut store) = Place::with(std::slice::from_ref(&one));
    let symbols = store.symbols().expect("symbols");
    let chunks = store.chunks_by_id(&symbols.iter().filter_map(|symbol| symbol.chunk).collect::<Vec<_>>()).expect("chunks");
    assert_eq!(chunks.iter().map(|chunk| chunk.text.as_str()).collect::<Vec<_>>(), ["body of a", "body of S::b"]);
    assert_eq!(symbols[1].enclosing(), "S");
    for (name, count) in
        [("b", 1), ("S::b", 1), ("S.b", 1), ("T::b", 0), ("a.rs:b", 1), ("b.rs:b", 0), ("a.rs:S::b", 1), ("", 0), ("::", 0)]
    {
        assert_eq!(store.symbols_named(name).expect("symbols").len(), count, "{name}");
    }
    let before = crate::store::dump_derived(&store);
    store.rebuild(crate::progress::Job::silent()).expect("rebuilt");
    assert_eq!(crate::store::dump_derived(&store), before);

    let other = file("a.rs", "rust", &[(Method, "S::b")], &[], &[]);
    assert_eq!(store.put_source(&other, None).expect("put"), Change::Changed);
    let moved = store.symbols().expect("symbols");
    assert_eq!((moved.len(), moved[0].id), (1, symbols[1].id), "an id does not depend on the line");
    assert_eq!((store.calls().expect("calls").len(), store.imports().expect("imports").len()), (0, 0));
    assert_eq!(store.remove_sources(&["file:a.rs"]).expect("removed"), 1);
    let counts = store.counts().expect("counts");
    assert_eq!((counts.symbols, counts.calls), (0, 0));
    drop(place);
}

#[test]
fn every_kind_has_its_own_name() {
    for kind in SymbolKind::ALL {
        assert_eq!(SymbolKind::parse(kind.name()), Some(kind));
    }
}

#[test]
fn a_database_of_format_2_learns_what_is_only_declared() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("patina.db");
    let old = rusqlite::Connection::open(&path).expect("opened");
    old.pragma_update(None, "foreign_keys", 0).expect("rows without their sources");
    old.execute_batch(include_str!("../schema.sql")).expect("format 1");
    old.execute_batch(include_str!("../schema_2.sql")).expect("format 2");
    old.execute_batch(
        "INSERT INTO code_files VALUES (1, 'file:a.h', 'a.h', 'c');
         INSERT INTO symbols VALUES (2, 1, NULL, 'function', 'open', 'open', 'int open(void)', '', 1, 1, 0, 0);
         PRAGMA application_id = 0x50746e61; PRAGMA user_version = 2;",
    )
    .expect("old rows");
    drop(old);
    let mut store = Store::open_existing(&path).expect("brought up to date");
    let symbols = store.symbols().expect("symbols");
    assert_eq!((symbols.len(), symbols[0].declared), (1, false));
    let mut new = file("b.h", "c", &[(Function, "shut")], &[], &[]);
    new.content.code.as_mut().expect("facts").symbols[0].declared = true;
    store.put_source(&new, None).expect("put");
    assert!(store.symbols_named("shut").expect("symbols")[0].declared);
}

#[test]
fn the_imports_of_a_file_are_found_by_its_id() {
    let (_place, store) = Place::with(&[]);
    let sql = format!("EXPLAIN QUERY PLAN {} {}", super::read::IMPORT, super::read::OF_FILE);
    let plan: Vec<String> = store.rows(&sql, [1], |row| row.get(3)).expect("plan");
    assert!(plan.iter().all(|step| step.starts_with("SEARCH") && step.contains("PRIMARY KEY")), "{plan:?}");
}

#[test]
fn a_name_that_thousands_have_is_looked_up_by_what_holds_it() {
    const MANY: usize = 4_000;
    let symbol = |n: usize| Symbol {
        id: n as u64,
        chunk: None,
        kind: Method,
        name: "new".to_owned(),
        qualified: format!("T{n}::new"),
        signature: String::new(),
        doc: String::new(),
        language: "rust".to_owned(),
        path: format!("src/t{n}.rs"),
        line: 1,
        end_line: 2,
        doc_line: 0,
        doc_end_line: 0,
        declared: false,
    };
    let symbols: Vec<Symbol> = (0..MANY).map(symbol).collect();
    let import = |n: usize| Import { path: format!("src/u{n}.rs"), target: format!("crate::t{n}::T{n}"), name: format!("T{n}"), line: 1 };
    let imports: Vec<Import> = (0..MANY).map(import).collect();
    let names = super::resolve::Names::new(&symbols, &imports);
    let begun = std::time::Instant::now();
    for n in 0..MANY {
        let call = super::resolve::Raw {
            caller: None,
            caller_qualified: String::new(),
            caller_enclosing: String::new(),
            name: "new".to_owned(),
            receiver: format!("T{n}::"),
            path: format!("src/u{n}.rs"),
            file: 0,
            language: "rust".to_owned(),
            line: 1,
        };
        let (resolution, callee) = names.resolve(&call);
        assert_eq!((resolution, callee.map(|symbol| symbol.id)), (Resolution::Imported, Some(n as u64)));
    }
    // Looking at each for each took several times as long.
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}
