//! A model hub on this machine, which misbehaves as it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit of every repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Headers of an answer.
pub type Headers = Vec<(&'static str, String)>;

/// What happens to an answer.
#[derive(Clone, Debug)]
pub enum Act {
    /// The file's bytes end at this one, counted from the file's beginning, and the connection with them.
    CutAt(usize),
    /// The connection ends before the answer.
    Hang,
    /// The whole file is sent, whatever part was asked for.
    IgnoreRange,
    /// A part is sent that begins some bytes too early, and says so.
    WrongRange,
    /// A part is sent that says it is the right one, and is not.
    LyingRange,
    /// At most so many bytes of the part that was asked for are sent, as a server may.
    ShortPart(usize),
    /// The file has so many bytes more or fewer, and the answer says so.
    Longer(isize),
    /// No length is told, and these bytes come after the file's.
    Unending(&'static [u8]),
    /// One byte in the middle is another.
    WrongByte,
    /// One byte in the middle is another, and an answer from the beginning ends at this byte.
    WrongAndCutAt(usize),
    /// The whole file is sent, whatever part was asked for, and ends at this byte.
    WholeAndCutAt(usize),
    /// A refusal or a redirect with these headers.
    Status(u16, Headers),
    /// Sent on to this address, with the same path after it.
    Redirect(String),
    /// Nothing more comes from this byte on, and the connection stays.
    StallAt(usize),
    /// So many bytes at a time, with a rest between them.
    Slowly(usize, Duration),
    /// These bytes instead.
    Instead(Vec<u8>),
}

struct Rule {
    path: String,
    times: usize,
    act: Act,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub range: Option<usize>,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Names of revisions other than `main` and the commit.
    revisions: Vec<String>,
    /// Extra entries of lists, as JSON.
    siblings: Vec<serde_json::Value>,
    /// Whether lists leave sizes and hashes out, as some mirrors do.
    bare_lists: bool,
    rules: Vec<Rule>,
    log: Vec<Request>,
}

/// The server; it ends with the test's process.
#[derive(Clone)]
pub struct Hub {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub fn new() -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Hub { address: format!("http://{}", listener.local_addr().unwrap()), state: Arc::default() };
        let serving = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = serving.clone();
                // A client that goes away in the middle is what is tested.
                std::thread::spawn(move || drop(hub.answer(stream)));
            }
        });
        hub
    }

    /// A hub with the golden model `bert-mean` and what lies beside models on the hub, as `me/tiny`.
    pub fn with_tiny() -> Hub {
        let hub = Hub::new();
        hub.add("me/tiny", Path::new(&crate::harness::golden("bert-mean")));
        for (name, bytes) in
            [("README.md", "# Tiny"), ("pytorch_model.bin", "pickle"), ("onnx/model.onnx", "onnx"), (".gitattributes", "*")]
        {
            hub.put("me/tiny", name, bytes);
        }
        hub
    }

    /// Adds the files of a folder.
    pub fn add(&self, id: &str, folder: &Path) {
        let mut folders = vec![(folder.to_path_buf(), String::new())];
        while let Some((folder, before)) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{before}{}", entry.file_name().into_string().unwrap());
                if entry.path().is_dir() {
                    folders.push((entry.path(), format!("{name}/")));
                } else {
                    self.put(id, &name, std::fs::read(entry.path()).unwrap());
                }
            }
        }
    }

    /// Adds or replaces a file.
    pub fn put(&self, id: &str, name: &str, bytes: impl Into<Vec<u8>>) {
        self.state().repositories.entry(id.into()).or_default().insert(name.into(), bytes.into());
    }

    /// Removes a file.
    pub fn remove(&self, id: &str, name: &str) {
        self.state().repositories.get_mut(id).unwrap().remove(name).unwrap();
    }

    /// The bytes of a file.
    pub fn bytes(&self, id: &str, name: &str) -> Vec<u8> {
        self.state().repositories[id][name].clone()
    }

    /// Adds a tag to every repository.
    pub fn tag(&self, name: &str) {
        self.state().revisions.push(name.into());
    }

    /// Adds an entry to every list of files.
    pub fn list_also(&self, sibling: serde_json::Value) {
        self.state().siblings.push(sibling);
    }

    /// Leaves sizes and hashes out of lists.
    pub fn list_names_only(&self) {
        self.state().bare_lists = true;
    }

    /// The next so many requests whose path holds `path` are answered like this; rules are used up in their order.
    pub fn next(&self, path: &str, times: usize, act: Act) {
        self.state().rules.push(Rule { path: path.into(), times, act });
    }

    /// All of them.
    pub fn always(&self, path: &str, act: Act) {
        self.next(path, usize::MAX, act);
    }

    /// Well-behaved from now on.
    pub fn behave(&self) {
        self.state().rules.clear();
    }

    /// The requests so far whose path holds `path`.
    pub fn asked(&self, path: &str) -> Vec<Request> {
        self.state().log.iter().filter(|request| request.path.contains(path)).cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state().log.clear();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let Some(first) = lines.next().transpose()? else { return Ok(()) };
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let (mut range, mut authorization) = (None, None);
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("range", value) => range = value.strip_prefix("bytes=").and_then(|value| value.strip_suffix('-')?.parse().ok()),
                ("authorization", value) => authorization = Some(value.to_owned()),
                _ => {}
            }
        }
        let act = {
            let mut state = self.state();
            state.log.push(Request { method: method.clone(), path: path.clone(), range, authorization });
            let rule = state.rules.iter_mut().find(|rule| rule.times > 0 && path.contains(&rule.path));
            rule.map(|rule| {
                rule.times -= 1;
                rule.act.clone()
            })
        };
        let body = self.find(&path);
        self.send(&mut stream, &method, &path, range, body, act)?;
        stream.shutdown(Shutdown::Write)
    }

    /// The bytes of an answer and the hub's headers about them.
    fn find(&self, path: &str) -> Result<(Vec<u8>, Headers), Headers> {
        let state = self.state();
        let missing = |code: &str| vec![("X-Error-Code", code.to_owned())];
        let is_revision = |name: &str| name == "main" || name == COMMIT || state.revisions.iter().any(|tag| tag == name);
        let parts: Vec<&str> = path.split('?').next().unwrap().trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", "models", owner, name, rest @ ..] => {
                let files = state.repositories.get(&format!("{owner}/{name}")).ok_or_else(|| missing("RepoNotFound"))?;
                if let ["revision", revision] = rest
                    && !is_revision(revision)
                {
                    return Err(missing("RevisionNotFound"));
                }
                let mut siblings: Vec<_> = files.iter().map(|(name, bytes)| sibling(name, bytes, state.bare_lists)).collect();
                siblings.extend(state.siblings.iter().cloned());
                Ok((json!({"id": format!("{owner}/{name}"), "sha": COMMIT, "siblings": siblings}).to_string().into_bytes(), vec![]))
            }
            [owner, name, "resolve", revision, file @ ..] => {
                let files = state.repositories.get(&format!("{owner}/{name}")).ok_or_else(|| missing("RepoNotFound"))?;
                let file = file.join("/");
                let bytes = files.get(&file).filter(|_| is_revision(revision)).ok_or_else(|| missing("EntryNotFound"))?;
                let headers = match is_large(&file) {
                    true => vec![("X-Linked-ETag", format!("\"{}\"", sha256(bytes))), ("X-Linked-Size", bytes.len().to_string())],
                    false => vec![("ETag", format!("\"{}\"", git_sha1(bytes)))],
                };
                Ok((bytes.clone(), headers))
            }
            _ => Err(vec![]),
        }
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        method: &str,
        path: &str,
        range: Option<usize>,
        found: Result<(Vec<u8>, Headers), Headers>,
        act: Option<Act>,
    ) -> std::io::Result<()> {
        let mut head = |status: u16, headers: &[(&str, String)]| {
            let mut text = format!("HTTP/1.1 {status} Answer\r\nConnection: close\r\n");
            for (name, value) in headers {
                text += &format!("{name}: {value}\r\n");
            }
            stream.write_all(format!("{text}\r\n").as_bytes())
        };
        match &act {
            Some(Act::Hang) => return Ok(()),
            Some(Act::Status(status, headers)) => return head(*status, headers),
            Some(Act::Redirect(to)) => {
                let mut headers = found.map(|(_, headers)| headers).unwrap_or_default();
                headers.push(("Location", format!("{to}{path}")));
                return head(302, &headers);
            }
            _ => {}
        }
        let (mut bytes, mut headers) = match found {
            Ok(found) => found,
            Err(headers) => return head(404, &headers),
        };
        match &act {
            Some(Act::WrongByte | Act::WrongAndCutAt(_)) => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Some(Act::Longer(more)) => bytes.resize(bytes.len().checked_add_signed(*more).unwrap(), 0),
            Some(Act::Instead(other)) => bytes = other.clone(),
            Some(Act::Unending(more)) => bytes.extend_from_slice(more),
            _ => {}
        }
        let mut first = match act {
            Some(Act::IgnoreRange | Act::WholeAndCutAt(_)) => 0,
            _ => range.unwrap_or(0),
        };
        if matches!(act, Some(Act::WrongRange)) {
            first = first.saturating_sub(3);
        }
        let whole = bytes.len();
        let mut end = whole;
        if let Some(Act::ShortPart(most)) = act
            && first > 0
        {
            end = end.min(first + most);
        }
        if first > 0 {
            headers.push(("Content-Range", format!("bytes {first}-{}/{whole}", end - 1)));
        }
        if !matches!(act, Some(Act::Unending(_))) {
            headers.push(("Content-Length", (end - first).to_string()));
        }
        head(if first > 0 { 206 } else { 200 }, &headers)?;
        if method == "HEAD" {
            return Ok(());
        }
        if matches!(act, Some(Act::LyingRange)) && first > 0 {
            return stream.write_all(&vec![0; end - first]);
        }
        match act {
            Some(Act::WrongAndCutAt(at)) if first == 0 => stream.write_all(&bytes[..at.min(end)]),
            Some(Act::WholeAndCutAt(at)) => stream.write_all(&bytes[..at.min(end)]),
            Some(Act::CutAt(at)) => stream.write_all(&bytes[first..at.clamp(first, end)]),
            Some(Act::StallAt(at)) => {
                stream.write_all(&bytes[first..at.clamp(first, end)])?;
                stream.flush()?;
                std::thread::sleep(Duration::from_secs(60));
                Ok(())
            }
            Some(Act::Slowly(piece, rest)) => {
                for piece in bytes[first..end].chunks(piece) {
                    stream.write_all(piece)?;
                    stream.flush()?;
                    std::thread::sleep(rest);
                }
                Ok(())
            }
            _ => stream.write_all(&bytes[first..end]),
        }
    }
}

/// Whether the hub keeps a file apart from git.
fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

fn sibling(name: &str, bytes: &[u8], bare: bool) -> serde_json::Value {
    match (bare, is_large(name)) {
        (true, _) => json!({"rfilename": name}),
        (false, true) => {
            let lfs = json!({"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
            json!({"rfilename": name, "size": bytes.len(), "blobId": "0".repeat(40), "lfs": lfs})
        }
        (false, false) => json!({"rfilename": name, "size": bytes.len(), "blobId": git_sha1(bytes)}),
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Git's name of a blob.
pub fn git_sha1(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
