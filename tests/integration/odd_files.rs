//! Files of a project that are empty, binary, huge, not UTF-8 or not what they seem: each has a stated policy, and scrape shows it.

use crate::harness::Place;

#[test]
fn odd_files_are_told_of_and_the_rest_is_read() {
    let place = Place::project("all-MiniLM-L6-v2");
    place.write("good.md", "# Good\n\nA document like any other, with a sentence in it.\n");
    place.write("empty.md", "");
    place.write("blank.txt", " \n\n\t\n");
    place.write("binary.md", b"# Not text\n\0\x01\x02");
    place.write("latin1.txt", b"caf\xe9 au lait is written in Latin-1 here\n");
    place.write("picture.png", b"\x89PNG\r\n\x1a\n\0\0");
    place.write("package-lock.json", "{}");
    place.write("bundle.js", format!("var a={};\n", "1+".repeat(20_000)));
    let huge = std::fs::File::create(place.path("huge.md")).unwrap();
    huge.set_len(100 << 20).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("good.md", place.path("link.md")).unwrap();
    snap!(place.run(["scrape"]), @r#"
    exit 0
    --- stdout
    sessions         0   nothing new
    commits          0   nothing new
    documents        2   2 new
    code             0   nothing new
    chunks           2   to search
    left out: binary.md (binary (a NUL byte near its beginning))
    left out: bundle.js (looks generated or minified (very long lines))
    left out: huge.md (larger than 1024 KiB (100 MiB))
    left out: link.md (a symbolic link; links are not followed)
    left out: package-lock.json (a lock file)
    note: this is no git repository: there are no commits to read
    "#);
    let report = place.run(["scrape", "--full", "--json"]).json();
    assert_eq!(report["empty_files"], 2);
    assert_eq!(report["other_files"], 1);
    assert_eq!(report["events"], 0);
    // What is not UTF-8 is kept, with a mark in place of each bad byte.
    snap!(place.run(["scry", "--mode", "lexical", "lait"]), @r#"
    exit 0
    --- stdout
     1. latin1.txt:1  document
        | caf� au lait is written in Latin-1 here
    "#);
}

#[test]
fn a_file_name_is_data() {
    let place = Place::project("all-MiniLM-L6-v2");
    place.write("a 'quoted' \"name\" ; $(touch pwned) -- .md", "# Quoted\n\nA strange name, and nothing happens.\n");
    place.write("--help.md", "# Help\n\nA name that looks like an option.\n");
    place.git(&["init", "-q"]);
    place.git(&["add", "-A"]);
    place.git(&["commit", "-q", "-m", "$(touch pwned) \"; DROP TABLE chunks; --"]);
    place.run(["scrape"]).success();
    snap!(place.run(["scry", "--mode", "lexical", "strange name"]), @r#"
    exit 0
    --- stdout
     1. a 'quoted' "name" ; $(touch pwned) -- .md:3  document
        Quoted
        | A strange name, and nothing happens.
     2. --help.md:3  document
        Help
        | A name that looks like an option.
     3. 3192a48a3a53  commit  2025-03-04
        $(touch pwned) "; DROP TABLE chunks; --
        | a 'quoted' "name" ; $(touch pwned) -- .md
    "#);
    for question in ["\"", "NEAR(", "a AND", "*", "col:x", "-", "DROP TABLE", "'; --", "(((("] {
        let ran = place.run(["scry", "--mode", "lexical", "--", question]);
        assert_eq!(ran.code, 0, "{question:?}: {ran}");
    }
    assert!(!place.path("pwned").exists());
}
