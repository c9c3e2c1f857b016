//! What the hub's API says about a revision: the commit, and its files with sizes and hashes. All of it is somebody else's word: it is
//! bounded and checked here, and the bytes are held to it later.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::names;
use crate::error::{Error, Result};
use crate::model::MOST_BESIDE_WEIGHTS;

/// The most bytes of an answer; ten thousand files take some three million.
pub(super) const MAX_BYTES: u64 = 16 << 20;
/// The most files of a repository.
const MAX_FILES: usize = 50_000;
/// The most bytes of one file; the weights of the largest embedding models have some 30 GB, in shards of 5.
pub(super) const MAX_FILE: u64 = 64 << 30;

/// The most bytes of a file that holds no weights: what is read of one.
pub(super) const MAX_SETTINGS: u64 = MOST_BESIDE_WEIGHTS;

/// How the hub names a file's contents, which is also the name of the blob in its clients' cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oid {
    /// A large file: the SHA-256 of its bytes.
    Sha256(String),
    /// Any other: git's SHA-1 of the blob.
    Git(String),
}

impl Oid {
    /// Told apart by length: 64 or 40 digits. Anything else is no hash.
    pub(super) fn parse(text: &str) -> Option<Oid> {
        let hex = text.to_ascii_lowercase();
        match (hex.len(), hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            (64, true) => Some(Oid::Sha256(hex)),
            (40, true) => Some(Oid::Git(hex)),
            _ => None,
        }
    }

    /// The digits, which are safe as a file's name.
    pub(super) fn hex(&self) -> &str {
        let (Oid::Sha256(hex) | Oid::Git(hex)) = self;
        hex
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Oid::Sha256(_) => "SHA-256",
            Oid::Git(_) => "git SHA-1",
        }
    }
}

/// What is known of a file before it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Bytes.
    pub(super) size: Option<u64>,
    /// Its contents.
    pub(super) oid: Option<Oid>,
}

/// A revision of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// Forty digits.
    pub(super) commit: String,
    /// The files by name.
    pub(super) files: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: String,
    size: Option<u64>,
}

impl Listing {
    /// Reads the API's answer about a revision.
    pub(super) fn parse(bytes: &[u8]) -> Result<Listing> {
        let bad =
            |what: String| Error::corrupt(format!("the hub's answer about the model {what}")).hint("check HF_ENDPOINT; is a hub there?");
        let answer: Answer = serde_json::from_slice(bytes).map_err(|e| bad(format!("does not parse: {e}")).caused_by(e))?;
        if !is_commit(&answer.sha) {
            return Err(bad(format!("names no commit: {:?}", answer.sha.chars().take(64).collect::<String>())));
        }
        if answer.siblings.len() > MAX_FILES {
            return Err(bad(format!("names {} files; {MAX_FILES} are the most that are read here", answer.siblings.len())));
        }
        let mut files = BTreeMap::new();
        for sibling in answer.siblings {
            let name = sibling.rfilename;
            if names::is_hostile(&name) {
                return Err(bad(format!("names a file {name:?}, which leaves the model's folder")));
            }
            let oid = match &sibling.lfs {
                Some(lfs) => match Oid::parse(&lfs.sha256) {
                    Some(oid @ Oid::Sha256(_)) => Some(oid),
                    _ => return Err(bad(format!("gives no SHA-256 for {name}"))),
                },
                None => sibling.blob_id.as_deref().and_then(Oid::parse),
            };
            let size = sibling.lfs.and_then(|lfs| lfs.size).or(sibling.size);
            if let Some(size) = size.filter(|&size| size > MAX_FILE) {
                return Err(bad(format!("says that {name} has {size} bytes; {MAX_FILE} are the most that are fetched")));
            }
            files.insert(name, Entry { size, oid });
        }
        Ok(Listing { commit: answer.sha, files })
    }
}

/// Whether a text is a commit's whole name.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn sizes_and_hashes_are_read() {
        let sha256 = "ab".repeat(32);
        let json = serde_json::json!({"sha": COMMIT, "private": false, "siblings": [
            {"rfilename": "config.json", "size": 3, "blobId": COMMIT},
            {"rfilename": "a/model.safetensors", "size": 9, "blobId": COMMIT, "lfs": {"sha256": sha256, "size": 9, "pointerSize": 1}},
            {"rfilename": "plain"},
        ]});
        let listing = Listing::parse(json.to_string().as_bytes()).expect("an answer");
        assert_eq!(listing.commit, COMMIT);
        assert_eq!(listing.files["config.json"], Entry { size: Some(3), oid: Some(Oid::Git(COMMIT.into())) });
        assert_eq!(listing.files["a/model.safetensors"], Entry { size: Some(9), oid: Some(Oid::Sha256(sha256)) });
        assert_eq!(listing.files["plain"], Entry { size: None, oid: None });
    }

    #[test]
    fn answers_that_lie_are_refused() {
        let with = |sibling: &str| format!(r#"{{"sha": "{COMMIT}", "siblings": [{sibling}]}}"#);
        for (json, said) in [
            ("<html>".to_owned(), "does not parse"),
            ("[".repeat(100_000), "does not parse"),
            (r#"{"sha": "../../x", "siblings": []}"#.to_owned(), "no commit"),
            (r#"{"sha": "main", "siblings": []}"#.to_owned(), "no commit"),
            (with(r#"{"rfilename": "../x"}"#), "leaves"),
            (with(r#"{"rfilename": "/etc/x"}"#), "leaves"),
            (with(r#"{"rfilename": "a\u0000b"}"#), "leaves"),
            (with(r#"{"rfilename": "a", "size": 99999999999999}"#), "the most"),
            (with(r#"{"rfilename": "a", "size": -1}"#), "does not parse"),
            (with(r#"{"rfilename": "a", "lfs": {"sha256": "../../x"}}"#), "no SHA-256"),
        ] {
            let error = Listing::parse(json.as_bytes()).expect_err(said);
            assert!(error.kind() == crate::error::ErrorKind::Corrupt && error.message().contains(said), "{error:?}");
        }
    }
}
