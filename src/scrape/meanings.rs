//! What calls of real source files come to, from the text to the callee.

use super::{Options, scrape};
use crate::progress::Job;
use crate::store::{Call, MAX_RELATED, Related, Store, Symbol};

struct Project {
    folder: tempfile::TempDir,
    data: tempfile::TempDir,
}

impl Project {
    fn with(files: &[(&str, &str)]) -> (Project, Store) {
        let folder = || tempfile::tempdir().expect("temporary folder");
        let project = Project { folder: folder(), data: folder() };
        for (path, text) in files {
            crate::fs::write_atomic(&project.folder.path().join(path), |out| out.write_all(text.as_bytes())).expect("written");
        }
        let mut store = Store::open(&project.data.path().join("patina.db")).expect("store");
        scrape(project.folder.path(), &mut store, &Options::default(), Job::silent()).expect("scrape");
        (project, store)
    }
}

/// Each call as `receiver.name`, with its line and what it means: `path:line`, or how it was left.
fn meanings(store: &Store) -> Vec<String> {
    let symbols = store.symbols().expect("symbols");
    let place = |id: u64| symbols.iter().find(|s| s.id == id).map(|s| format!("{}:{}", s.path, s.line)).expect("a symbol");
    let meaning = |call: &Call| call.callee.map_or_else(|| format!("{:?}", call.resolution), place);
    let calls = store.calls().expect("calls");
    calls.iter().map(|call| format!("{}:{} {}.{} {}", call.path, call.line, call.receiver, call.name, meaning(call))).collect()
}

/// The one symbol at a place.
fn at(store: &Store, path: &str, line: u32) -> Symbol {
    let mut found = store.symbols().expect("symbols");
    found.retain(|symbol| symbol.path == path && symbol.line == line);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

/// The certain ones among callers or callees, as `qualified depth`.
fn certain(related: &[Related]) -> Vec<String> {
    let sure = related.iter().filter(|related| related.resolution.is_resolved());
    sure.filter_map(|related| related.symbol.as_ref().map(|symbol| format!("{} {}", symbol.qualified, related.depth))).collect()
}

#[test]
fn a_method_of_an_unknown_value_is_not_the_files_own_for_certain() {
    let (_project, store) = Project::with(&[
        ("page.py", "class Page:\n    def render(self):\n        pass\n\n\ndef show(w):\n    w.render()\n    w.flip()\n"),
        ("widget.py", "class Widget:\n    def render(self):\n        pass\n\n    def flip(self):\n        pass\n"),
    ]);
    assert_eq!(meanings(&store), ["page.py:7 w.render Ambiguous", "page.py:8 w.flip widget.py:5"]);
    let callers = store.callers(&at(&store, "widget.py", 2), 1).expect("callers").found;
    assert_eq!(callers.len(), 1, "it is possible: {callers:#?}");
}

#[test]
fn a_method_of_the_super_type_is_not_the_callers_own() {
    let (_project, store) = Project::with(&[
        ("Base.java", "class Base {\n  void refresh() {}\n  void mend() {}\n}\n"),
        (
            "Kid.java",
            "class Kid extends Base {\n  void refresh() {\n    super.refresh();\n  }\n  void mend() {\n    super.mend();\n  }\n}\n",
        ),
        ("Other.java", "class Other {\n  void mend() {}\n}\n"),
        ("base.py", "class Base:\n    def prepare(self):\n        pass\n"),
        (
            "kid.py",
            "class Kid(Base, dict):\n    def prepare(self):\n        super().prepare()\n        super(Kid, self).prepare()\n\n    def update(self):\n        super().update()\n",
        ),
        ("a.py", "class A:\n    def update(self):\n        pass\n"),
        ("Base.php", "<?php\nclass Base {\n  function open() {}\n}\n"),
        ("Kid.php", "<?php\nclass Kid extends Base {\n  function load() {}\n  function unpack() {\n    parent::unpack();\n  }\n}\n"),
        ("Base.cs", "class Base {\n  void Mount() {}\n}\n"),
        ("Kid.cs", "class Kid : Base {\n  void Mount() {\n    base.Mount();\n  }\n}\n"),
        // A value that is called so.
        ("tree.js", "class Tree {\n  grow(parent) {\n    parent.grow();\n  }\n}\nclass Bush {\n  grow() {}\n}\n"),
    ]);
    assert_eq!(
        meanings(&store).into_iter().filter(|line| !line.contains(" .super ")).collect::<Vec<_>>(),
        [
            "Kid.cs:3 base.Mount Base.cs:2",
            "Kid.java:3 super.refresh Base.java:2",
            "Kid.java:6 super.mend Ambiguous",
            "Kid.php:5 parent::.unpack Unknown",
            "kid.py:3 super.prepare base.py:2",
            "kid.py:4 super.prepare base.py:2",
            "kid.py:7 super.update Unknown",
            "tree.js:3 parent.grow Ambiguous",
        ]
    );
    let callers = store.callers(&at(&store, "Base.java", 2), 1).expect("callers").found;
    assert_eq!(certain(&callers), ["Kid.refresh 1"]);
    // What its own `super` call could mean is not the method itself.
    assert!(store.callers(&at(&store, "Kid.java", 5), 1).expect("callers").found.is_empty());
    assert_eq!(store.callers(&at(&store, "Other.java", 2), 1).expect("callers").found.len(), 1);
}

#[test]
fn a_declaration_and_its_definition_in_another_folder_are_one() {
    let (_project, store) = Project::with(&[
        ("include/proj/foo.h", "int foo(int n);\nint twice(int n);\nstruct foo { int n; };\n"),
        ("src/foo.c", "#include <proj/foo.h>\n\nint bar(int n);\n\nint foo(int n)\n{\n\treturn bar(n);\n}\n"),
        ("src/bar.c", "int bar(int n)\n{\n\treturn n;\n}\n"),
        ("src/main.c", "#include <proj/foo.h>\n\nint main(void)\n{\n\ttwice(1);\n\treturn foo(1);\n}\n"),
        ("src/one.c", "int twice(int n)\n{\n\treturn 1;\n}\n"),
        ("src/two.c", "int twice(int n)\n{\n\treturn 2;\n}\n"),
        ("include/cart.hpp", "class Cart {\npublic:\n  int add(int n);\n};\n"),
        ("src/cart.cpp", "#include \"cart.hpp\"\n\nint Cart::add(int n) {\n  return n;\n}\n"),
        ("src/shop.cpp", "#include \"cart.hpp\"\n\nint sell(Cart *cart) {\n  return cart->add(1);\n}\n"),
    ]);
    assert_eq!(
        meanings(&store),
        [
            "src/foo.c:7 .bar src/bar.c:1",
            // Two define it, and the header does not say which is meant: what it declares is.
            "src/main.c:5 .twice include/proj/foo.h:2",
            "src/main.c:6 .foo src/foo.c:5",
            "src/shop.cpp:4 cart.add src/cart.cpp:3",
        ]
    );
    for (path, line) in [("include/proj/foo.h", 1), ("src/foo.c", 5)] {
        assert_eq!(certain(&store.callers(&at(&store, path, line), 1).expect("callers").found), ["main 1"], "{path}");
    }
    let callees = store.callees(&at(&store, "src/main.c", 3), 2).expect("callees").found;
    assert!(certain(&callees).contains(&"bar 2".to_owned()), "{callees:#?}");
    assert!(store.symbols().expect("symbols").iter().any(|symbol| symbol.declared && symbol.path == "include/cart.hpp"));
}

#[test]
fn a_class_and_its_constructor_are_one() {
    let (_project, store) = Project::with(&[
        ("j/Cart.java", "class Cart {\n  Cart() {\n    check();\n  }\n  void check() {}\n}\n"),
        ("j/Shop.java", "class Shop {\n  void open() {\n    new Cart();\n  }\n}\n"),
        ("c/Cart.cs", "class Cart {\n  Cart() {}\n  Cart(int n) {}\n}\n"),
        ("c/Shop.cs", "class Shop {\n  void Open() {\n    new Cart();\n  }\n}\n"),
        ("include/till.hpp", "class Till {\npublic:\n  Till(int n);\n};\n"),
        ("src/till.cpp", "#include \"till.hpp\"\n\nTill::Till(int n) { }\n"),
        ("src/shop.cpp", "#include \"till.hpp\"\n\nvoid sell() {\n  new Till(1);\n}\n"),
    ]);
    assert_eq!(
        meanings(&store),
        [
            "c/Shop.cs:3 .Cart c/Cart.cs:1",
            "j/Cart.java:3 .check j/Cart.java:5",
            "j/Shop.java:3 .Cart j/Cart.java:1",
            "src/shop.cpp:4 .Till include/till.hpp:1",
        ]
    );
    assert_eq!(certain(&store.callers(&at(&store, "src/till.cpp", 3), 1).expect("callers").found), ["sell 1"]);
    for line in [1, 2] {
        assert_eq!(certain(&store.callers(&at(&store, "j/Cart.java", line), 1).expect("callers").found), ["Shop.open 1"]);
        assert_eq!(certain(&store.callees(&at(&store, "j/Cart.java", line), 1).expect("callees").found), ["Cart.check 1"]);
    }
    let meant = |name: &str| store.meant_by(name).expect("symbols").iter().map(|s| format!("{}:{}", s.path, s.line)).collect::<Vec<_>>();
    assert_eq!(meant("Cart"), ["c/Cart.cs:1", "j/Cart.java:1"]);
    assert_eq!(meant("j/Cart.java:Cart"), ["j/Cart.java:1"]);
    assert_eq!(meant("Cart.Cart"), ["c/Cart.cs:1", "j/Cart.java:1"]);
}

#[test]
fn what_is_said_with_its_place_is_what_is_called_exactly_so() {
    let (_project, store) = Project::with(&[
        ("a.py", "def open():\n    pass\n\n\nclass Shop:\n    def open(self):\n        pass\n"),
        ("deep/a.py", "def open():\n    pass\n"),
    ]);
    let meant = |name: &str| store.meant_by(name).expect("symbols").iter().map(|s| format!("{}:{}", s.path, s.line)).collect::<Vec<_>>();
    assert_eq!(meant("open"), ["a.py:1", "a.py:6", "deep/a.py:1"]);
    assert_eq!(meant("a.py:open"), ["a.py:1"]);
    assert_eq!(meant("a.py:Shop.open"), ["a.py:6"]);
    assert_eq!(meant("deep/a.py:open"), ["deep/a.py:1"]);
}

#[test]
fn an_inherited_method_of_a_common_name_is_not_guessed() {
    let (_project, store) = Project::with(&[
        ("a.py", "class A(dict):\n    def set_all(self):\n        self.update()\n        self.refill()\n"),
        ("b.py", "class B:\n    def update(self):\n        self.update()\n\n    def refill(self):\n        pass\n"),
    ]);
    assert_eq!(meanings(&store), ["a.py:3 self.update Unknown", "a.py:4 self.refill b.py:5", "b.py:3 self.update b.py:2"]);
}

#[test]
fn exports_prototypes_and_private_methods_of_javascript() {
    let (_project, store) = Project::with(&[
        (
            "m.js",
            "exports.openShop = function () {\n  exports.closeShop();\n};\nmodule.exports.closeShop = () => 1;\nfunction Till() {}\nTill.prototype.ring = function () {\n  this.count();\n};\nTill.prototype.count = function () {};\n",
        ),
        ("a.js", "const { openShop } = require(\"./m\");\nconst m = require(\"./m\");\nopenShop();\nm.openShop();\nm.closeShop();\n"),
        ("b.js", "class Door {\n  #check() {}\n  open() {\n    this.#check();\n  }\n}\nclass Gate {\n  #check() {}\n}\n"),
    ]);
    assert_eq!(
        meanings(&store).into_iter().filter(|line| !line.contains("require")).collect::<Vec<_>>(),
        [
            "a.js:3 .openShop m.js:1",
            "a.js:4 m.openShop m.js:1",
            "a.js:5 m.closeShop m.js:4",
            "b.js:4 this.check b.js:2",
            "m.js:2 exports.closeShop m.js:4",
            "m.js:7 this.count m.js:9",
        ]
    );
    assert_eq!(at(&store, "m.js", 6).qualified, "Till.ring");
}

#[test]
fn functions_of_the_shell_keep_their_whole_word() {
    let (_project, store) = Project::with(&[
        ("lib.sh", "take-lock() {\n  ns::go\n}\n\nfunction ns::go {\n  take-lock\n}\n"),
        ("main.sh", "source lib.sh\ntake-lock\nns::go\n"),
    ]);
    assert_eq!(
        meanings(&store).into_iter().filter(|line| !line.contains("source")).collect::<Vec<_>>(),
        ["lib.sh:2 .ns::go lib.sh:5", "lib.sh:6 .take-lock lib.sh:1", "main.sh:2 .take-lock lib.sh:1", "main.sh:3 .ns::go lib.sh:5"]
    );
    for (name, line) in [("take-lock", 1), ("ns::go", 5), ("lib.sh:ns::go", 5)] {
        let found = store.meant_by(name).expect("symbols");
        assert_eq!(found.iter().map(|symbol| symbol.line).collect::<Vec<_>>(), [line], "{name}");
    }
}

#[test]
fn a_constant_that_a_call_made_can_be_called() {
    let (_project, store) = Project::with(&[
        ("a.js", "export const Row = memo((x) => x);\nexport const size = 3;\nconst old = require(\"./old\");\n"),
        ("b.js", "import { Row, size } from \"./a\";\nRow();\nsize();\nold();\n"),
    ]);
    let calls = meanings(&store).into_iter().filter(|line| line.starts_with("b.js")).collect::<Vec<_>>();
    assert_eq!(calls, ["b.js:2 .Row a.js:1", "b.js:3 .size Unknown", "b.js:4 .old Unknown"]);
}

#[test]
fn callees_that_are_not_known_differ_by_what_stands_before_them() {
    let (_project, store) = Project::with(&[("a.py", "def run(a, b):\n    a.flip()\n    b.flip()\n    a.flip()\n")]);
    let callees = store.callees(&at(&store, "a.py", 1), 1).expect("callees").found;
    let told: Vec<_> = callees.iter().map(|related| (related.receiver.as_str(), related.lines.as_slice())).collect();
    assert_eq!(told, [("a", &[2, 4][..]), ("b", &[3])]);
}

#[test]
fn more_than_can_be_gathered_is_told() {
    let body = |count: usize| (0..count).fold(String::from("def run():\n"), |text, n| text + &format!("    call_{n}()\n"));
    for (count, complete) in [(MAX_RELATED, true), (MAX_RELATED + 1, false)] {
        let (_project, store) = Project::with(&[("a.py", &body(count))]);
        let callees = store.callees(&at(&store, "a.py", 1), 1).expect("callees");
        assert_eq!((callees.found.len(), callees.complete), (MAX_RELATED, complete));
    }
}

#[test]
fn a_class_that_is_possible_counts_once_with_its_constructors() {
    let cart = "class Cart {\n  Cart() {}\n  Cart(int n) {}\n}\n";
    let shop = "class Shop {\n  void open() {\n    new Cart();\n  }\n}\n";
    let (_project, store) = Project::with(&[("a/Cart.java", cart), ("b/Cart.java", cart), ("c/Shop.java", shop)]);
    let callees = store.callees(&at(&store, "c/Shop.java", 2), 1).expect("callees").found;
    assert_eq!((callees.len(), callees[0].resolution, callees[0].candidates), (1, crate::store::Resolution::Ambiguous, 2));
}
