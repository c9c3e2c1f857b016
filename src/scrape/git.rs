//! The git history, asked from the `git` program with everything that a user's or a repository's settings could change pinned down.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::threads::start_in;

/// Only this many commits, the newest, are read.
pub const MAX_COMMITS: usize = 100_000;

/// A commit message is cut to this many bytes.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// A commit begins with this in what git is asked to print; the fields end with NUL, which no message can hold.
const FORMAT: &str = "--format=tformat:%x01%H%x00%aI%x00%an%x00%s%x00%b%x00";
const MARK: u8 = 1;
const FIELDS: usize = 5;

/// What git says, or a sentence about why it says nothing.
pub(super) type Answer<T> = Result<T, String>;

/// What there is to ask.
#[derive(Debug)]
pub(super) enum Asked {
    /// A repository.
    Found(Repository),
    /// The project is in no repository.
    None,
    /// git is not here, or refuses to look; what it says.
    Unable(String),
}

/// A git repository that the project is in.
#[derive(Debug)]
pub(super) struct Repository {
    root: PathBuf,
    /// The project is not the top of the work tree but this folder in it.
    below: bool,
}

/// A commit as git prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    pub hash: String,
    pub date: String,
    pub author: String,
    pub subject: String,
    pub body: String,
    /// New path, and the old one if it was renamed; sorted.
    pub files: Vec<(String, Option<String>)>,
}

/// Why git gave no answer.
#[derive(Debug)]
enum Failure {
    NotInstalled,
    /// It failed without a word.
    Silent,
    /// The first line of what it wrote to its error stream.
    Said(String),
}

impl Failure {
    fn into_text(self) -> String {
        match self {
            Failure::NotInstalled => "the program `git` is not on this machine's PATH".to_owned(),
            Failure::Silent => "git failed without a word".to_owned(),
            Failure::Said(line) => line,
        }
    }
}

/// Looks for the repository that the project is in.
pub(super) fn find(root: &Path) -> Asked {
    match run(root, &["rev-parse", "--is-inside-work-tree", "--show-prefix"], None) {
        Ok(out) => {
            let out = String::from_utf8_lossy(&out).into_owned();
            let mut lines = out.lines();
            match lines.next() {
                Some("true") => {
                    Asked::Found(Repository { root: root.to_path_buf(), below: lines.next().is_some_and(|prefix| !prefix.is_empty()) })
                }
                _ => Asked::None,
            }
        }
        Err(Failure::Said(line)) if line.contains("not a git repository") => Asked::None,
        Err(failure) => Asked::Unable(failure.into_text()),
    }
}

impl Repository {
    /// The hash of the commit that is checked out, if there is any commit yet.
    pub fn head(&self) -> Answer<Option<String>> {
        // `HEAD` and not `HEAD^{commit}`: a commit whose object is lost must not look like a branch without commits.
        match run(&self.root, &["rev-parse", "--verify", "--quiet", "HEAD"], None) {
            Ok(out) => Ok(Some(String::from_utf8_lossy(&out).trim().to_owned())),
            // A branch without commits makes git fail without a word.
            Err(Failure::Silent) => Ok(None),
            Err(failure) => Err(failure.into_text()),
        }
    }

    /// The hashes of all commits that lead to `head`, newest first, at most [`MAX_COMMITS`]; if the project is a folder of the repository, of
    /// those that touch it.
    pub fn reachable(&self, head: &str) -> Answer<Vec<String>> {
        let most = format!("--max-count={MAX_COMMITS}");
        let mut args = vec!["rev-list", &most, head, "--"];
        if self.below {
            args.push(".");
        }
        let out = run(&self.root, &args, None).map_err(Failure::into_text)?;
        Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
    }

    /// Whether commits are missing because the clone was made without them.
    pub fn is_shallow(&self) -> bool {
        run(&self.root, &["rev-parse", "--is-shallow-repository"], None).is_ok_and(|out| out.trim_ascii() == b"true")
    }

    /// These commits, in the order asked.
    pub fn log(&self, hashes: &[String]) -> Answer<Vec<Logged>> {
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let input = hashes.join("\n") + "\n";
        let ask = |renames: &str| {
            let mut args = vec!["log", "--no-walk=unsorted", "--stdin", "-z", FORMAT, "--name-status", renames];
            args.extend(["--diff-merges=off", "--root", "--no-color", "--no-ext-diff", "--no-textconv", "--no-show-signature"]);
            args.extend(["--no-notes", "--no-mailmap", "--no-decorate", "--encoding=UTF-8", "--date=iso-strict"]);
            if self.below {
                args.push("--relative");
            }
            run(&self.root, &args, Some(input.as_bytes()))
        };
        // Telling renames needs the contents of files, which a partial clone does not have.
        let out = ask("--find-renames").or_else(|_| ask("--no-renames")).map_err(Failure::into_text)?;
        let commits = parse(&out).ok_or("what git printed cannot be understood")?;
        if commits.iter().map(|commit| &commit.hash).ne(hashes) {
            return Err("git printed other commits than it was asked for".to_owned());
        }
        Ok(commits)
    }
}

/// Runs git in `root` and returns what it prints.
fn run(root: &Path, args: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new("git");
    // A hook or an alias of the caller must not send git elsewhere.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .args([
            "--no-pager",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "diff.renameLimit=1000",
            "-c",
            "log.follow=false",
            "-c",
            "diff.relative=false",
        ])
        .arg("-C")
        .arg(root)
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let told = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::NotInstalled,
        _ => Failure::Said(e.to_string()),
    };
    let mut child = command.spawn().map_err(told)?;
    let stdin = child.stdin.take();
    let out = std::thread::scope(|scope| {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // git may end without reading all; what it says then is what counts. Dropping the pipe ends its input.
            if let Err(error) = start_in(scope, "write to git", move || drop(stdin.write_all(input))) {
                // It may have ended by itself in the meantime.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::Said(error.to_string()));
            }
        }
        child.wait_with_output().map_err(told)
    });
    let out = out?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let line = said.lines().find(|line| line.starts_with("fatal:")).or(said.lines().next());
    Err(line.map_or(Failure::Silent, |line| Failure::Said(line.trim_start_matches("fatal: ").to_owned())))
}

/// Reads what [`Repository::log`] asks git to print. Where a token stands says what it is, so no name or message can be taken for another.
fn parse(out: &[u8]) -> Option<Vec<Logged>> {
    let mut tokens = out.split(|&byte| byte == 0);
    let mut commits: Vec<Logged> = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while let Some(token) = tokens.next() {
        let token = token.trim_ascii_start();
        match token {
            [] => {}
            [MARK, hash @ ..] => {
                let mut fields = Vec::with_capacity(FIELDS - 1);
                for _ in 1..FIELDS {
                    fields.push(tokens.next()?);
                }
                let [date, author, subject, body] = fields.as_slice() else { return None };
                commits.push(Logged {
                    hash: text(hash),
                    date: text(date),
                    author: text(author),
                    subject: clipped(subject),
                    body: clipped(body.trim_ascii_end()),
                    files: Vec::new(),
                });
            }
            [status, ..] => {
                let first = text(tokens.next()?);
                let file = match status {
                    b'R' | b'C' => (text(tokens.next()?), Some(first).filter(|_| *status == b'R')),
                    _ => (first, None),
                };
                commits.last_mut()?.files.push(file);
            }
        }
    }
    for commit in &mut commits {
        commit.files.sort();
        commit.files.dedup_by(|a, b| a.0 == b.0);
    }
    Some(commits)
}

/// At most [`MESSAGE_BYTES`] of a message, as text.
fn clipped(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MESSAGE_BYTES)]).into_owned()
}
