//! Scraping real folders and real git repositories, hostile ones among them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::error::ErrorKind;
use crate::progress::{Cancel, Progress, Silent};
use crate::store::Chunk;
use crate::threads::tests::with_only;

struct Project {
    folder: tempfile::TempDir,
    data: tempfile::TempDir,
}

impl Project {
    fn new() -> Project {
        let folder = || tempfile::tempdir().expect("temporary folder");
        Project { folder: folder(), data: folder() }
    }

    fn git() -> Project {
        let project = Project::new();
        git(project.root(), &["init", "-q", "-b", "main"]);
        project
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn store(&self) -> Store {
        Store::open(&self.data.path().join("patina.db")).expect("store")
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root().join(path);
        crate::fs::write_atomic(&path, |out| out.write_all(bytes.as_ref())).expect("written");
        path
    }

    fn remove(&self, path: &str) {
        crate::fs::remove_file(&self.root().join(path)).expect("removed");
    }

    fn commit(&self, message: &str) {
        git(self.root(), &["add", "-A"]);
        git(self.root(), &["commit", "-q", "--allow-empty", "--allow-empty-message", "-m", message]);
    }

    /// Makes all files old enough for their stamps to be trusted.
    fn age(&self) {
        let past = SystemTime::now() - Duration::from_secs(3600);
        for entry in ignore::WalkBuilder::new(self.root()).standard_filters(false).build().flatten() {
            if entry.file_type().is_some_and(|kind| kind.is_file()) && !entry.path().components().any(|part| part.as_os_str() == ".git") {
                std::fs::OpenOptions::new().write(true).open(entry.path()).and_then(|file| file.set_modified(past)).expect("aged");
            }
        }
    }
}

fn git(root: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    for (name, value) in
        [("AUTHOR_NAME", "Ada"), ("AUTHOR_EMAIL", "a@example.org"), ("COMMITTER_NAME", "Ada"), ("COMMITTER_EMAIL", "a@example.org")]
    {
        command.env(format!("GIT_{name}"), value);
    }
    command.env("GIT_AUTHOR_DATE", "2026-03-01T10:00:00+01:00").env("GIT_COMMITTER_DATE", "2026-03-01T10:00:00+01:00");
    command.env("GIT_CONFIG_GLOBAL", "").env("GIT_CONFIG_NOSYSTEM", "1").arg("-C").arg(root).args(args);
    let out = command.output().expect("git runs");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn run(project: &Project, store: &mut Store, options: &Options) -> Report {
    scrape(project.root(), store, options, Job::silent()).expect("scrape")
}

fn paths(store: &Store, kind: Kind) -> Vec<String> {
    let chunks = store.chunks().expect("chunks");
    chunks.into_iter().filter(|chunk| chunk.kind == kind).map(|chunk| chunk.path).collect::<BTreeSet<_>>().into_iter().collect()
}

fn of<'a>(chunks: &'a [Chunk], path: &str) -> Vec<&'a Chunk> {
    let mut out: Vec<&Chunk> = chunks.iter().filter(|chunk| chunk.path == path).collect();
    out.sort_by_key(|chunk| chunk.line);
    out
}

fn reason<'a>(report: &'a Report, path: &str) -> &'a str {
    report.left_out.iter().find(|left| left.path == path).map_or("", |left| left.reason.as_str())
}

fn sample(project: &Project) {
    project.write("notes/20250728-182427.md", include_bytes!("../../tests/fixtures/scrape/session.md"));
    project.write("README.md", "# Top\nintro\n\n## Use\nrun it\n");
    project.write("src/lib.rs", "pub fn answer() -> u32 {\n    42\n}\n");
    project.write(".gitignore", "target/\n*.log.txt\n");
    project.write("target/doc.md", "# not read\n");
    project.write("a.log.txt", "not read");
    project.write(".hidden.md", "# not read\n");
    project.write(".patina/oxidize.yaml", "version: 1\n");
    project.write("photo.png", "png");
}

#[test]
fn every_kind_is_read_and_a_second_run_adds_nothing() {
    let project = Project::git();
    sample(&project);
    project.commit("Begin: the answer\n\nIt is 42.");
    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    assert_eq!((report.sessions.added, report.documents.added, report.code.added, report.commits.added), (1, 1, 1, 1), "{report:?}");
    assert_eq!((report.events, report.other_files), (4, 1));
    assert!(report.left_out.is_empty() && report.notes.is_empty(), "{report:?}");

    let chunks = store.chunks().expect("chunks");
    let session = of(&chunks, "notes/20250728-182427.md");
    let decisions: Vec<&str> = session.iter().filter(|c| c.title.ends_with("> Key Decisions")).map(|c| c.text.as_str()).collect();
    assert_eq!(decisions, ["- Keep raw notes", "- Distil later"], "both sections of the name are kept");
    assert!(session.iter().all(|c| c.kind == Kind::Session && c.date.as_deref() == Some("2025-07-28T22:24:27Z")));
    assert!(session.iter().any(|c| c.text.contains("cafÃ© – naïve") && c.text.contains('\u{fffd}')), "mojibake survives");
    let readme = of(&chunks, "README.md");
    assert_eq!(
        readme.iter().map(|c| (c.title.as_str(), c.text.as_str(), c.line, c.end_line)).collect::<Vec<_>>(),
        [("Top", "intro", 1, 2), ("Top > Use", "run it", 4, 5)]
    );
    let commit = chunks.iter().find(|c| c.kind == Kind::Commit).expect("commit");
    assert_eq!(commit.title, "Begin: the answer");
    assert_eq!(
        commit.text,
        "It is 42.\n\nFiles:\n.gitignore\n.hidden.md\n.patina/oxidize.yaml\nREADME.md\nnotes/20250728-182427.md\nphoto.png\nsrc/lib.rs"
    );
    assert_eq!(
        (commit.path.as_str(), commit.date.as_deref(), commit.line),
        (&*git(project.root(), &["rev-parse", "HEAD"]), Some("2026-03-01T10:00:00+01:00"), 0)
    );
    assert!(chunks.iter().all(|c| c.group == c.path));

    // Freshly written files are read again and found the same; aged ones are recognised by how they look.
    for _ in 0..2 {
        let again = run(&project, &mut store, &Options::default());
        assert!(again.is_unchanged(), "{again:?}");
        assert_eq!((again.sessions.unchanged, again.documents.unchanged, again.code.unchanged, again.commits.unchanged), (1, 1, 1, 1));
        project.age();
    }
}

#[test]
fn ids_depend_neither_on_the_place_nor_on_the_time() {
    let ids = |name: &str| {
        let project = Project::new();
        sample(&project);
        project.write("twice.md", "# A\nsame\n# A\nsame\n");
        let mut store = Store::open(&project.data.path().join(name)).expect("store");
        run(&project, &mut store, &Options::default());
        store.chunks().expect("chunks")
    };
    let (here, there) = (ids("a.db"), ids("b.db"));
    assert_eq!(here, there);
    assert_eq!(of(&here, "twice.md").len(), 2, "the same text twice in a file is two chunks");
}

#[test]
fn changes_and_deletions_are_followed_and_full_gives_the_same() {
    let project = Project::git();
    sample(&project);
    project.write("guide.md", "# Guide\none\n\n## Two\ntwo\n");
    project.commit("one");
    let mut store = project.store();
    run(&project, &mut store, &Options::default());
    project.age();
    run(&project, &mut store, &Options::default());

    let before = store.chunks().expect("chunks");
    let kept = of(&before, "guide.md")[0].id;
    project.write("guide.md", "\n# Guide\none\n\n## Two\nanother\n");
    project.remove("src/lib.rs");
    project.write("README.md", "");
    project.commit("two");
    let report = run(&project, &mut store, &Options::default());
    assert_eq!((report.documents.changed, report.documents.removed, report.code.removed, report.commits.added), (1, 1, 1, 1), "{report:?}");
    assert_eq!((report.events, report.empty_files), (4, 1));
    let chunks = store.chunks().expect("chunks");
    let guide = of(&chunks, "guide.md");
    assert_eq!(guide.iter().map(|c| c.text.as_str()).collect::<Vec<_>>(), ["one", "another"]);
    assert_eq!((guide[0].id, guide[0].line), (kept, 2), "a chunk that only moved keeps its id");
    assert!(of(&chunks, "src/lib.rs").is_empty() && of(&chunks, "README.md").is_empty());
    assert!(store.lexical("answer AND path: lib", 9).expect("search").is_empty(), "the words leave too");

    // It comes back with the same bytes.
    project.write("src/lib.rs", "pub fn answer() -> u32 {\n    42\n}\n");
    assert_eq!(run(&project, &mut store, &Options::default()).code.added, 1);

    let (hash, chunks) = (store.content_hash().expect("hash"), store.chunks().expect("chunks"));
    let derived = crate::store::dump_derived(&store);
    let full = run(&project, &mut store, &Options { full: true, ..Options::default() });
    assert!(full.is_unchanged(), "{full:?}");
    assert_eq!(crate::store::dump_derived(&store), derived);
    let fresh = Project::new();
    let mut fresh_store = fresh.store();
    scrape(project.root(), &mut fresh_store, &Options::default(), Job::silent()).expect("scrape");
    assert_eq!(fresh_store.chunks().expect("chunks"), chunks);
    assert_eq!(fresh_store.content_hash().expect("hash"), hash);
    assert_eq!(fresh_store.commits().expect("commits"), store.commits().expect("commits"));
}

#[test]
fn a_change_that_looks_the_same_is_seen_while_the_file_is_fresh() {
    let project = Project::new();
    let mut store = project.store();
    let path = project.write("a.md", "aaaa");
    run(&project, &mut store, &Options::default());
    let modified = std::fs::metadata(&path).and_then(|m| m.modified()).expect("time");
    project.write("a.md", "bbbb");
    std::fs::OpenOptions::new().write(true).open(&path).and_then(|f| f.set_modified(modified)).expect("time");
    assert_eq!(run(&project, &mut store, &Options::default()).documents.changed, 1);
    // Once it is old, how it looks is trusted; `full` is not fooled.
    project.age();
    run(&project, &mut store, &Options::default());
    let modified = std::fs::metadata(&path).and_then(|m| m.modified()).expect("time");
    project.write("a.md", "cccc");
    std::fs::OpenOptions::new().write(true).open(&path).and_then(|f| f.set_modified(modified)).expect("time");
    assert_eq!(run(&project, &mut store, &Options::default()).documents.unchanged, 1);
    assert_eq!(run(&project, &mut store, &Options { full: true, ..Options::default() }).documents.changed, 1);
}

#[test]
fn hostile_files_follow_the_stated_policies() {
    let project = Project::new();
    project.write("empty.md", "");
    project.write("blank.md", " \n\t\n\n");
    project.write("binary.txt", b"text\0more");
    project.write("late-nul.txt", [&b"word ".repeat(2_000)[..], b"\0tail"].concat());
    project.write("latin1.txt", b"caf\xe9 au lait");
    project.write("bom.md", b"\xef\xbb\xbf# Title\nbody\n");
    project.write("utf16.txt", b"\xff\xfeh\0i\0");
    project.write("large.txt", "large ".repeat(400_000));
    project.write("data.json", format!("[{}]", "1,\n".repeat(20_000)));
    project.write("small.json", "{\"name\": \"x\"}");
    project.write("app.min.js", "x");
    project.write("package-lock.json", "{}");
    project.write("made.js", format!("var a=\"{}\";", "x".repeat(6_000)));
    project.write("crlf.md", "# A\r\none\r\n\r\n## B\r\ntwo\r\n");
    project.write("one-line.txt", "word ".repeat(3_000));
    // A sparse file of 100 MB: reading it would be seen in the time and memory.
    let huge = project.write("huge.md", "");
    std::fs::OpenOptions::new().write(true).open(huge).and_then(|file| file.set_len(100 << 20)).expect("sparse");
    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    assert_eq!(report.empty_files, 2);
    for (path, part) in [
        ("binary.txt", "binary"),
        ("utf16.txt", "binary"),
        ("large.txt", "larger than 2048 KiB (2343 KiB)"),
        ("huge.md", "larger than"),
        ("data.json", "larger than 32 KiB"),
        ("app.min.js", "minified"),
        ("package-lock.json", "lock file"),
        ("made.js", "generated"),
    ] {
        assert!(reason(&report, path).contains(part), "{path}: {report:?}");
    }
    assert_eq!(report.left_out.len(), 8, "{report:?}");
    let chunks = store.chunks().expect("chunks");
    assert_eq!(of(&chunks, "latin1.txt")[0].text, "caf\u{fffd} au lait");
    assert_eq!(of(&chunks, "bom.md")[0].title, "Title");
    assert_eq!(of(&chunks, "crlf.md").iter().map(|c| c.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(of(&chunks, "late-nul.txt").iter().any(|c| c.text.ends_with("\u{fffd}tail")));
    let words: usize = of(&chunks, "one-line.txt").iter().map(|c| c.text.matches("word").count()).sum();
    assert_eq!(words, 3_000);
    assert_eq!(store.lexical("caf", 9).expect("search").len(), 1);
    assert_eq!(run(&project, &mut store, &Options::default()).events, 0);
    // A limit of one's own, also for what has not changed.
    project.age();
    run(&project, &mut store, &Options::default());
    let report = run(&project, &mut store, &Options { max_file_bytes: 5, ..Options::default() });
    assert!(reason(&report, "bom.md").contains("larger than 5 bytes"), "{report:?}");
    assert_eq!(store.counts().expect("counts").chunks_total(), 0);
}

#[cfg(unix)]
#[test]
fn strange_names_and_links() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let project = Project::git();
    let names = ["new\nline.md", "quo\"te.md", "tab\tand space.md", "ünï/日本.md", "back\\slash.md", "-dash.md", "a => b.md", "(was x).md"];
    for name in names {
        project.write(name, format!("# Title\ntext of {}\n", name.len()));
    }
    project.commit("strange names");
    std::os::unix::fs::symlink(project.root().join("-dash.md"), project.root().join("link.md")).expect("link");
    std::os::unix::fs::symlink(project.root(), project.root().join("loop")).expect("loop");
    std::os::unix::fs::symlink("/nowhere", project.root().join("broken.md")).expect("broken");
    let latin = project.root().join(OsStr::from_bytes(b"caf\xe9.md"));
    crate::fs::write_atomic(&latin, |out| out.write_all(b"# A\n")).expect("written");
    let status = Command::new("mkfifo").arg(project.root().join("pipe.md")).status().expect("mkfifo");
    assert!(status.success());

    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    let expected: BTreeSet<&str> = names.into();
    assert_eq!(paths(&store, Kind::Document), expected.iter().copied().collect::<Vec<_>>());
    assert_eq!(store.commits().expect("commits")[0].files, expected.into_iter().collect::<Vec<_>>());
    assert!(reason(&report, "link.md").contains("symbolic link") && reason(&report, "broken.md").contains("symbolic link"));
    assert!(reason(&report, "pipe.md").contains("no regular file"));
    assert!(reason(&report, "caf\u{fffd}.md").contains("not UTF-8"), "{report:?}");
    assert_eq!(run(&project, &mut store, &Options::default()).events, 0);
}

#[test]
fn a_file_that_vanished_and_one_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    assert_eq!(read::read(&folder.path().join("gone.md"), 9), read::Outcome::Gone);
    // Opening or reading a folder as a file fails on every system, for any user.
    assert!(matches!(read::read(folder.path(), 1 << 20), read::Outcome::Unreadable(_)));
}

#[test]
fn what_cannot_be_looked_into_is_not_forgotten() {
    let project = Project::new();
    project.write("a/one.md", "one");
    project.write("b/two.md", "two");
    let mut store = project.store();
    run(&project, &mut store, &Options::default());
    let walked =
        |unreadable: &[&str]| walk::Found { unreadable: unreadable.iter().map(|s| (*s).to_owned()).collect(), ..Default::default() };
    let mut report = Report::default();
    files::scrape(&walked(&["a"]), &mut store, &Options::default(), &mut report, Job::silent()).expect("scrape");
    assert_eq!(paths(&store, Kind::Document), ["a/one.md"]);
    files::scrape(&walked(&[""]), &mut store, &Options::default(), &mut report, Job::silent()).expect("scrape");
    assert_eq!(paths(&store, Kind::Document), ["a/one.md"]);
    assert_eq!(report.documents.removed, 1);
}

#[test]
fn listed_folders_are_read_although_hidden_or_ignored_and_patterns_narrow() {
    let project = Project::new();
    project.write(".gitignore", "private/\n");
    project.write(".notes/deep/one.md", "# Plain\ntext\n");
    project.write("private/two.md", "# Plain\ntext\n");
    project.write("docs/three.md", "# Plain\ntext\n");
    project.write("docs/four.txt", "text");
    project.write("lib.rs", "fn a() {}");
    let mut store = project.store();
    let options = Options { sessions: vec!["./.notes/".to_owned(), "private".to_owned(), "nowhere".to_owned()], ..Options::default() };
    let report = run(&project, &mut store, &options);
    assert_eq!(paths(&store, Kind::Session), [".notes/deep/one.md", "private/two.md"]);
    assert_eq!(paths(&store, Kind::Document), ["docs/four.txt", "docs/three.md"]);
    assert!(report.notes.iter().any(|note| note.contains("nowhere")), "{report:?}");

    let all = Options { sessions: vec![".".to_owned()], ..Options::default() };
    run(&project, &mut store, &all);
    assert_eq!(
        paths(&store, Kind::Session),
        ["docs/four.txt", "docs/three.md"],
        "an unlisted hidden folder leaves, a listed one changes kind"
    );

    let narrow = Options { include: vec!["*.md".to_owned(), "*.rs".to_owned()], exclude: vec!["docs/".to_owned()], ..Options::default() };
    run(&project, &mut store, &narrow);
    assert_eq!(
        (paths(&store, Kind::Session), paths(&store, Kind::Document), paths(&store, Kind::Code)),
        (vec![], vec![], vec!["lib.rs".to_owned()])
    );

    for bad in ["../x", "/etc", ".patina/data", "a/../../b"] {
        let options = Options { sessions: vec![bad.to_owned()], ..Options::default() };
        assert_eq!(scrape(project.root(), &mut store, &options, Job::silent()).expect_err(bad).kind(), ErrorKind::Usage);
    }
    let options = Options { exclude: vec!["a{b".to_owned()], ..Options::default() };
    assert_eq!(scrape(project.root(), &mut store, &options, Job::silent()).expect_err("pattern").kind(), ErrorKind::Usage);
    let missing = project.root().join("missing");
    assert_eq!(scrape(&missing, &mut store, &Options::default(), Job::silent()).expect_err("folder").kind(), ErrorKind::Missing);
}

#[test]
fn thirty_files_make_pairs_and_thirty_one_do_not() {
    let project = Project::git();
    for n in 0..30 {
        project.write(&format!("a{n:02}.txt"), "x");
    }
    project.commit("thirty");
    for n in 0..31 {
        project.write(&format!("b{n:02}.txt"), "x");
    }
    project.commit("thirty-one");
    project.write("a00.txt", "y");
    project.write("a01.txt", "y");
    project.commit("two");
    let mut store = project.store();
    run(&project, &mut store, &Options::default());
    let pairs = store.co_changes().expect("pairs");
    assert_eq!(pairs.len(), 30 * 29 / 2);
    assert_eq!((pairs[0].a.as_str(), pairs[0].b.as_str(), pairs[0].count), ("a00.txt", "a01.txt", 2));
    assert!(pairs.iter().all(|pair| pair.a < pair.b && pair.a.starts_with('a')));
    let chunks = store.chunks().expect("chunks");
    let large = chunks.iter().find(|c| c.title == "thirty-one").expect("chunk");
    assert!(large.text.ends_with("b29.txt\nand 1 more"), "{}", large.text);
    assert_eq!(store.commits().expect("commits").iter().map(|c| c.files.len()).max(), Some(31));
}

#[test]
fn without_threads_files_are_an_error_and_git_says_so() {
    let project = Project::git();
    sample(&project);
    project.commit("first");
    let mut store = project.store();
    let mut only = |left| with_only(left, || scrape(project.root(), &mut store, &Options::default(), Job::silent()));
    let error = only(0).expect_err("no thread");
    assert!(error.message().starts_with("a thread cannot be started to read files: "), "{error}");
    // One for the few files there are, none to talk to git with.
    let report = only(1).expect("without git");
    assert_eq!(report.commits.added, 0);
    assert!(report.notes.iter().any(|note| note.contains("a thread cannot be started to write to git")), "{:?}", report.notes);
    assert_eq!(run(&project, &mut store, &Options::default()).commits.added, 1);
}

#[test]
fn git_outputs_are_understood_whatever_they_hold() {
    let project = Project::git();
    project.write("old name.txt", "line\n".repeat(50));
    project.commit("a\x01b\n\nM\n\x01deadbeef\n\nSigned: x");
    git(project.root(), &["mv", "old name.txt", "new\nname.txt"]);
    project.commit("rename");
    project.remove("new\nname.txt");
    project.commit("");
    git(project.root(), &["checkout", "-q", "-b", "side", "HEAD~1"]);
    project.write("side.txt", "x");
    project.commit(&format!("{}\n\nbody", "long subject ".repeat(40)));
    git(project.root(), &["checkout", "-q", "main"]);
    git(project.root(), &["merge", "-q", "--no-ff", "-m", "merge side", "side"]);
    // Settings that change what git prints.
    for (key, value) in [
        ("color.ui", "always"),
        ("log.showSignature", "true"),
        ("core.quotePath", "true"),
        ("log.date", "relative"),
        ("diff.renames", "false"),
        ("log.diffMerges", "on"),
        ("format.pretty", "%H"),
    ] {
        git(project.root(), &["config", key, value]);
    }
    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    assert_eq!(report.commits.added, 5, "{report:?}");
    let commits = store.commits().expect("commits");
    let by = |subject: &str| commits.iter().find(|c| c.subject.starts_with(subject)).unwrap_or_else(|| panic!("{subject}: {commits:?}"));
    assert_eq!(
        (by("a\x01b").body.as_str(), by("a\x01b").files.as_slice()),
        ("M\n\x01deadbeef\n\nSigned: x", ["old name.txt".to_owned()].as_slice())
    );
    assert_eq!(by("rename").files, ["new\nname.txt"]);
    assert_eq!(by("merge side").files, Vec::<String>::new());
    assert!(commits.iter().all(|c| c.author == "Ada" && c.date == "2026-03-01T10:00:00+01:00"));
    let chunks = store.chunks().expect("chunks");
    let text = |title: &str| chunks.iter().find(|c| c.title.starts_with(title)).map(|c| c.text.as_str()).unwrap_or_default();
    assert_eq!(text("rename"), "Files:\nnew\nname.txt (was old name.txt)");
    assert_eq!(text("merge side"), "merge side");
    assert_eq!(text("commit "), "Files:\nnew\nname.txt", "a commit without a message has a title");
    assert!(text("long subject").starts_with(&"long subject ".repeat(40).trim_end().to_owned()));
}

#[test]
fn rewritten_history_is_followed() {
    let project = Project::git();
    project.write("a.txt", "1");
    project.commit("first");
    project.write("a.txt", "2");
    project.commit("second");
    let second = git(project.root(), &["rev-parse", "HEAD"]);
    let mut store = project.store();
    run(&project, &mut store, &Options::default());
    git(project.root(), &["commit", "-q", "--amend", "-m", "second, better"]);
    let report = run(&project, &mut store, &Options::default());
    assert_eq!((report.commits.added, report.commits.removed, report.commits.unchanged), (1, 1, 1));
    let subjects = |store: &Store| store.commits().expect("commits").into_iter().map(|c| c.subject).collect::<BTreeSet<_>>();
    assert_eq!(subjects(&store), ["first".to_owned(), "second, better".to_owned()].into());
    assert!(store.lexical("\"second\" NOT \"better\"", 9).expect("search").is_empty());
    git(project.root(), &["reset", "-q", "--hard", &second]);
    assert_eq!(run(&project, &mut store, &Options::default()).commits.added, 1);
    assert_eq!(subjects(&store), ["first".to_owned(), "second".to_owned()].into());
    let full = run(&project, &mut store, &Options { full: true, ..Options::default() });
    assert!(full.is_unchanged() && full.commits.unchanged == 2, "{full:?}");

    // Without its repository the project has no history; with it again, all of it.
    let aside = project.data.path().join("git");
    let move_folder = |from: &Path, to: &Path| assert!(Command::new("mv").arg(from).arg(to).status().expect("mv").success());
    move_folder(&project.root().join(".git"), &aside);
    let report = run(&project, &mut store, &Options::default());
    assert_eq!(report.commits.removed, 2);
    assert!(report.notes.iter().any(|note| note.contains("no git repository")), "{report:?}");
    move_folder(&aside, &project.root().join(".git"));
    assert_eq!(run(&project, &mut store, &Options::default()).commits.added, 2);
}

#[test]
fn no_repository_an_empty_one_and_a_broken_one() {
    let project = Project::new();
    project.write("a.md", "text");
    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    assert_eq!((report.documents.added, report.notes.len()), (1, 1), "{report:?}");

    git(project.root(), &["init", "-q"]);
    let report = run(&project, &mut store, &Options::default());
    assert!(report.notes[0].contains("no commits yet") && report.events == 0, "{report:?}");

    project.commit("one");
    assert_eq!(run(&project, &mut store, &Options::default()).commits.added, 1);
    // Its objects are lost: what is known stays, and the rest goes on.
    crate::fs::remove_folder(&project.root().join(".git/objects")).expect("removed");
    std::process::Command::new("mkdir").arg(project.root().join(".git/objects")).status().expect("mkdir");
    project.write("b.md", "more");
    let report = run(&project, &mut store, &Options { full: true, ..Options::default() });
    assert_eq!(report.documents.added, 1);
    assert_eq!(store.commits().expect("commits").len(), 1, "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("not read")), "{report:?}");
}

#[test]
fn a_project_in_a_folder_of_a_repository_has_that_folders_history() {
    let project = Project::git();
    project.write(".gitignore", "*.log.txt\n");
    project.write("sub/in.txt", "x");
    project.write("sub/a.log.txt", "x");
    project.write("out.txt", "x");
    project.commit("both");
    project.write("out.txt", "y");
    project.commit("outside");
    let mut store = project.store();
    let root = project.root().join("sub");
    let report = scrape(&root, &mut store, &Options::default(), Job::silent()).expect("scrape");
    assert_eq!((report.commits.added, report.documents.added), (1, 1), "{report:?}");
    assert_eq!(store.commits().expect("commits")[0].files, ["in.txt"]);
}

/// Asks to stop after some units of work.
struct StopAfter {
    left: AtomicU64,
    cancel: Cancel,
}

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: Option<u64>, _: &'static str) {}
    fn advance(&self, count: u64) {
        if self.left.fetch_sub(count, Ordering::SeqCst) == count {
            self.cancel.raise();
        }
    }
    fn end(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

#[test]
fn an_interruption_keeps_what_was_finished_and_the_next_run_goes_on() {
    let project = Project::git();
    for n in 0..10 {
        project.write(&format!("{n}.md"), format!("text {n}"));
    }
    project.commit("one");
    let mut store = project.store();
    let cancel = Cancel::default();
    let stop = StopAfter { left: AtomicU64::new(4), cancel: cancel.clone() };
    let error = scrape(project.root(), &mut store, &Options::default(), Job::new(&stop, &cancel)).expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(store.chunks().expect("chunks").len(), 4);
    let report = run(&project, &mut store, &Options::default());
    assert_eq!((report.documents.added, report.documents.unchanged, report.documents.removed, report.commits.added), (6, 4, 0, 1));
    let fresh = Project::new();
    let mut fresh_store = fresh.store();
    scrape(project.root(), &mut fresh_store, &Options::default(), Job::new(&Silent, &Cancel::default())).expect("scrape");
    assert_eq!(fresh_store.content_hash().expect("hash"), store.content_hash().expect("hash"));
}

/// Figures over real notes: run with `PATINA_TEST_DATA` naming a folder that has `sessions/` in it, and `--ignored --nocapture`.
#[test]
#[ignore = "needs PATINA_TEST_DATA"]
#[allow(clippy::print_stderr)]
fn real_sessions_are_kept_whole() {
    let Some(data) = std::env::var_os("PATINA_TEST_DATA") else { return };
    let project = Project::git();
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(Path::new(&data).join("sessions")).expect("sessions") {
        let path = entry.expect("entry").path();
        let bytes = std::fs::read(&path).expect("bytes");
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        project.write(&format!("sessions/{name}"), &bytes);
        texts.push((format!("sessions/{name}"), String::from_utf8_lossy(&bytes).into_owned()));
    }
    project.commit("sessions");
    project.age();
    let options = Options { sessions: vec!["sessions".to_owned()], ..Options::default() };
    let mut store = project.store();
    let start = Instant::now();
    let report = run(&project, &mut store, &options);
    let (first, start) = (start.elapsed(), Instant::now());
    assert_eq!(run(&project, &mut store, &options).events, 0);
    let (second, start) = (start.elapsed(), Instant::now());
    assert_eq!(run(&project, &mut store, &Options { full: true, ..options }).events, 0);
    let full = start.elapsed();
    let chunks = store.chunks().expect("chunks");
    let (mut all, mut held) = (0, 0);
    for (path, text) in &texts {
        let mine = of(&chunks, path);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let solid = line.trim_start_matches('#').trim();
            let kept = mine.iter().any(|c| c.text.contains(line) || c.title.contains(solid) || c.text.contains(solid));
            all += line.chars().count();
            held += if kept { line.chars().count() } else { 0 };
        }
    }
    let lengths: Vec<usize> = chunks.iter().map(|c| c.text.chars().count()).collect();
    eprintln!("{report:#?}\n{:?}", store.counts().expect("counts"));
    eprintln!("first {first:?}, second {second:?}, full {full:?}; {held} of {all} characters in chunks as whole lines");
    eprintln!("chunk characters: mean {}, longest {:?}", lengths.iter().sum::<usize>() / lengths.len(), lengths.iter().max());
    eprintln!("undated sessions: {}", chunks.iter().filter(|c| c.kind == Kind::Session && c.date.is_none()).count());
    assert!(held as f64 / all as f64 >= 0.99);
}

#[test]
fn other_peoples_code_and_generated_files_are_left_out_unless_named() {
    let project = Project::new();
    project.write("src/a.rs", "pub fn a() {}\n");
    project.write("node_modules/left/index.js", "module.exports = 1;\n");
    project.write("web/vendor/jquery.js", "function jquery() {}\n");
    project.write("api.pb.go", "// Code generated by protoc-gen-go. DO NOT EDIT.\npackage api\n");
    project.write("vendor.rs", "pub fn v() {}\n");
    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    assert_eq!(paths(&store, Kind::Code), ["src/a.rs", "vendor.rs"]);
    for (path, part) in [("node_modules/", "other people"), ("web/vendor/", "other people"), ("api.pb.go", "generated")] {
        assert!(reason(&report, path).contains(part), "{path}: {report:?}");
    }
    let options = Options { include: vec!["web/vendor/**".to_owned(), "src/**".to_owned()], ..Options::default() };
    let report = run(&project, &mut store, &options);
    assert_eq!(paths(&store, Kind::Code), ["src/a.rs", "web/vendor/jquery.js"]);
    assert!(reason(&report, "node_modules/").contains("other people") && reason(&report, "web/vendor/").is_empty());
}

/// Empty, blank and generated files are looked at once, as all others: their bytes are not read again while they look as they did.
#[test]
fn what_gives_no_source_is_not_read_again() {
    let project = Project::new();
    project.write("empty.rs", "");
    project.write("blank.md", " \n\n");
    project.write("made.rs", "// @generated\nfn a() {}\n");
    project.write("b.rs", "fn b() {}\n");
    project.age();
    let mut store = project.store();
    let first = run(&project, &mut store, &Options::default());
    assert_eq!((first.code.added, first.empty_files, reason(&first, "made.rs").contains("generated")), (1, 2, true), "{first:?}");
    // Other bytes that look the same are not seen: so nobody read them.
    for path in ["empty.rs", "blank.md", "made.rs"] {
        let before = std::fs::metadata(project.root().join(path)).expect("a file");
        let path = project.write(path, &"fn changed_behind_our_back() {}\n".repeat(9)[..before.len() as usize]);
        let file = std::fs::OpenOptions::new().write(true).open(path).expect("opens");
        file.set_modified(before.modified().expect("a time")).expect("aged");
    }
    let again = run(&project, &mut store, &Options::default());
    assert_eq!((again.events, again.empty_files, &again.left_out), (0, 2, &first.left_out));
    // With another look they are read, and what was empty is a source; one that became empty is none.
    project.write("empty.rs", "fn no_longer() {}\n");
    project.write("b.rs", "");
    let third = run(&project, &mut store, &Options::default());
    assert_eq!(paths(&store, Kind::Code), ["empty.rs"]);
    assert_eq!((third.code.added, third.code.removed, third.empty_files), (1, 1, 2), "{third:?}");
    project.remove("blank.md");
    assert_eq!(run(&project, &mut store, &Options::default()).empty_files, 1);
    assert!(!store.passed_over("file:").expect("stamps").contains_key("file:blank.md"));
}

#[test]
fn source_files_give_symbols_and_calls_that_follow_them() {
    let project = Project::new();
    project.write("src/a.rs", "/// Adds.\npub fn add() {\n    check();\n}\n");
    project.write("src/b.rs", "pub fn check() {}\n");
    project.write("broken.rs", ")]} what is this ([{ not Rust at all; said >< the reader ".repeat(40));
    project.write("style.css", "a { b: c }\n");
    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    assert_eq!((report.code.added, report.parsed, report.not_parsed), (4, 2, 1));
    let symbols = store.symbols().expect("symbols");
    assert_eq!(symbols.iter().map(|s| s.qualified.as_str()).collect::<Vec<_>>(), ["add", "check"]);
    assert_eq!((symbols[0].doc.as_str(), symbols[0].line, symbols[0].doc_line), ("Adds.", 2, 1));
    let chunk = store.chunks_by_id(&[symbols[0].chunk.expect("a chunk")]).expect("chunks").remove(0);
    assert!(chunk.path == "src/a.rs" && chunk.text.contains("/// Adds."));
    assert_eq!(store.call_edges().expect("edges").len(), 1);
    project.write("src/b.rs", "pub fn other() {}\n");
    run(&project, &mut store, &Options::default());
    let calls = store.calls().expect("calls");
    assert_eq!((calls[0].name.as_str(), calls[0].callee), ("check", None));
    let before = crate::store::dump_derived(&store);
    run(&project, &mut store, &Options { full: true, ..Options::default() });
    assert_eq!(crate::store::dump_derived(&store), before);
}

#[test]
fn submodules_and_shallow_clones_are_told() {
    let inner = Project::git();
    inner.write("lib.rs", "pub fn inner() {}\n");
    inner.commit("inner");
    inner.write("lib.rs", "pub fn inner() { again() }\n");
    inner.commit("again");
    let project = Project::git();
    project.write("main.rs", "fn main() {}\n");
    let url = format!("file://{}", inner.root().display());
    git(project.root(), &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "sub"]);
    project.commit("with a submodule");
    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    assert_eq!(paths(&store, Kind::Code), ["main.rs", "sub/lib.rs"]);
    assert_eq!(report.commits.added, 1);
    assert!(report.notes.iter().any(|note| note.starts_with("sub: a repository of its own")), "{:?}", report.notes);

    let shallow = Project::new();
    git(shallow.root(), &["clone", "-q", "--depth", "1", &url, "."]);
    let mut store = shallow.store();
    let report = run(&shallow, &mut store, &Options::default());
    assert_eq!(report.commits.added, 1);
    assert!(report.notes.iter().any(|note| note.contains("shallow")), "{:?}", report.notes);
}

/// Whatever lies in other threads' hands, the events stand in the order of the paths, and commits without files are commits.
#[test]
fn many_files_are_recorded_in_the_order_of_their_paths() {
    let project = Project::git();
    for n in 0..500 {
        project.write(&format!("d{}/f{n:03}.rs", n % 7), format!("pub fn f{n}() {{}}\n"));
    }
    git(project.root(), &["commit", "-q", "--allow-empty", "-m", "nothing"]);
    let mut store = project.store();
    let report = run(&project, &mut store, &Options::default());
    assert_eq!((report.code.added, report.commits.added), (500, 1));
    assert!(store.commits().expect("commits")[0].files.is_empty());
    let calls = |store: &Store| store.symbols().expect("symbols").into_iter().map(|symbol| symbol.name).collect::<Vec<_>>();
    let first = calls(&store);
    assert_eq!(first.len(), 500);
    let mut again = Store::open(&project.data.path().join("again.db")).expect("store");
    run(&project, &mut again, &Options::default());
    assert_eq!(crate::store::dump_derived(&store), crate::store::dump_derived(&again));
}
