//! One file: fetched from where an earlier try stopped, held to its size and hashes, and renamed when it is whole.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::address::Address;
use super::answer::Oid;
use super::client::{Ask, Client, Fault, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::fs::Partial;
use crate::model::git_hash::GitHash;
use crate::model::record::HashedFile;
use crate::model::registry::KnownFile;
use crate::progress::Job;

const BLOCK: usize = 1 << 18;
/// How the name of a file ends that is not whole yet; the hub's other clients write it so too.
const INCOMPLETE: &str = "incomplete";

/// A file and what it must be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The path in the repository.
    pub(super) name: String,
    /// Bytes.
    pub(super) size: u64,
    /// What the hub says.
    pub(super) oid: Oid,
    /// What the registry says.
    pub(super) known: Option<&'static KnownFile>,
}

impl Wanted {
    /// That bytes with these hashes are the file. `git` is asked for only if it is needed.
    fn verify(&self, size: u64, sha256: &str, git: impl FnOnce() -> Result<String>) -> Result<()> {
        let (expected, found) = match &self.oid {
            Oid::Sha256(expected) => (expected, sha256.to_owned()),
            Oid::Git(expected) => (expected, git()?),
        };
        let wrong = |what: &str, expected: &str, found: &str| {
            let message = format!("{} is not what the hub says: its {what} must be {expected} and is {found}", self.name);
            Err(Error::corrupt(message).hint(NOT_KEPT))
        };
        if size != self.size {
            return wrong("size", &self.size.to_string(), &size.to_string());
        }
        if *expected != found {
            return wrong(self.oid.name(), expected, &found);
        }
        Ok(())
    }

    /// That the file is the one that the registry knows.
    fn verify_known(&self, sha256: &str) -> Result<()> {
        match self.known {
            Some(known) if known.sha256 != sha256 => Err(Error::corrupt(format!(
                "{} is not the one that Patina knows: its SHA-256 must be {} and is {sha256}",
                self.name, known.sha256
            ))
            .hint(NOT_THE_KNOWN)),
            _ => Ok(()),
        }
    }

    fn hashed(&self, sha256: String) -> HashedFile {
        HashedFile { path: self.name.clone(), size: self.size, sha256 }
    }
}

/// What to do if a file is not what the hub says.
const NOT_KEPT: &str = "nothing of it was kept; run the command again, and check HF_ENDPOINT and the proxy";
/// What to do if the hub has other files than the registry.
pub(super) const NOT_THE_KNOWN: &str = "the model was changed on the hub; `patina model fetch NAME@REVISION` fetches a revision as it is";

/// Tells the progress how far a file is; bytes that come twice are told once.
pub(super) struct Meter<'a> {
    job: Job<'a>,
    told: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(job: Job<'a>) -> Meter<'a> {
        Meter { job, told: 0 }
    }

    fn reached(&mut self, length: u64) {
        self.job.progress.advance(length.saturating_sub(self.told));
        self.told = self.told.max(length);
    }
}

/// Whether the file at `path` is the one that is wanted: its hashes, or `None` if it is another. An error if it is the hub's and not the
/// registry's.
pub(super) fn check(path: &Path, wanted: &Wanted, client: &Client<'_>, meter: &mut Meter<'_>) -> Result<Option<HashedFile>> {
    use std::io::Read;
    let failed = |e| Error::io("read", path, e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() != wanted.size {
        return Ok(None);
    }
    let (mut sha256, mut git) = (Sha256::new(), GitHash::new(wanted.size));
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    loop {
        client.check()?;
        let n = file.read(&mut block).map_err(failed)?;
        if n == 0 {
            break;
        }
        length += n as u64;
        sha256.update(&block[..n]);
        if matches!(wanted.oid, Oid::Git(_)) {
            git.update(&block[..n]);
        }
        meter.reached(length);
    }
    let sha256 = hex(sha256);
    if wanted.verify(length, &sha256, || Ok(git.finish())).is_err() {
        return Ok(None);
    }
    wanted.verify_known(&sha256)?;
    Ok(Some(wanted.hashed(sha256)))
}

/// Fetches a file to `blob`. What an earlier try left in `blob.incomplete` is not fetched again. The caller holds the lock on it.
///
/// Fails with [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if it is not what it must be, with what was expected and found;
/// nothing of it is kept then. After any other failure, and when interrupted, the next run goes on where this one stopped.
pub(super) fn download(
    client: &Client<'_>,
    address: &Address,
    wanted: &Wanted,
    subject: Subject<'_>,
    blob: &Path,
    meter: &mut Meter<'_>,
) -> Result<HashedFile> {
    let mut transfer = Transfer::open(blob, client)?;
    // Bytes of an earlier run may be another's, and a server that knows ranges may give wrong ones: only a whole answer convicts a file.
    let mut patched = transfer.partial.length() > 0;
    // Once: a server whose answers are cut would have its wrong file asked for again without end.
    let mut again = true;
    loop {
        if transfer.partial.length() > wanted.size {
            transfer.restart()?;
        }
        meter.reached(transfer.partial.length());
        if let Err(error) = client.persist(&wanted.name, || transfer.go_on(client, address, wanted, subject, &mut patched, meter)) {
            if error.kind() == ErrorKind::Corrupt {
                transfer.partial.discard()?;
            }
            return Err(error);
        }
        let sha256 = hex(transfer.sha256.clone());
        let length = transfer.partial.length();
        let verdict = wanted.verify(length, &sha256, || transfer.git()).and_then(|()| wanted.verify_known(&sha256));
        match verdict {
            Ok(()) => {
                transfer.partial.finish(blob)?;
                return Ok(wanted.hashed(sha256));
            }
            Err(_) if patched && again => {
                transfer.restart()?;
                (patched, again) = (false, false);
            }
            Err(error) => {
                transfer.partial.discard()?;
                return Err(error);
            }
        }
    }
}

struct Transfer {
    partial: Partial,
    /// Of what `partial` holds.
    sha256: Sha256,
    /// The most bytes that it ever held: what is fetched again is no gain.
    furthest: u64,
}

impl Transfer {
    fn open(blob: &Path, client: &Client<'_>) -> Result<Transfer> {
        let mut partial = Partial::open(&incomplete(blob))?;
        let mut sha256 = Sha256::new();
        partial.read_back(|block| {
            client.check()?;
            sha256.update(block);
            Ok(())
        })?;
        let furthest = partial.length();
        Ok(Transfer { partial, sha256, furthest })
    }

    fn restart(&mut self) -> Result<()> {
        self.sha256 = Sha256::new();
        self.partial.restart()
    }

    /// One try, after which all bytes are there.
    fn go_on(
        &mut self,
        client: &Client<'_>,
        address: &Address,
        wanted: &Wanted,
        subject: Subject<'_>,
        patched: &mut bool,
        meter: &mut Meter<'_>,
    ) -> Result<(), Fault> {
        let first = self.partial.length();
        if first == wanted.size {
            return Ok(());
        }
        let mut reply = client.send(address, Ask::From(first), subject)?;
        match (reply.status, reply.range) {
            (206, Some((from, size))) if first > 0 && from == first && size.is_none_or(|size| size == wanted.size) => *patched = true,
            (200, _) if first == 0 => {}
            // The server knows no ranges.
            (200, _) => self.restart()?,
            // The server's file is another one than that which the beginning is of.
            (206 | 416, _) if first > 0 => {
                self.restart()?;
                return Err(Fault::Again { reason: "its beginning does not fit".to_owned(), after: None, gained: false });
            }
            (status, _) => return Err(Fault::again(format!("an answer {status} was not asked for"))),
        }
        let left = wanted.size - self.partial.length();
        // A part may be shorter than what was asked for; the next try asks for the rest.
        let is_wrong = |length: u64| if reply.status == 206 { length > left } else { length != left };
        if let Some(length) = reply.length.filter(|&length| is_wrong(length)) {
            return Err(of_another_size(wanted, &(self.partial.length() + length).to_string()));
        }
        let before = self.furthest;
        let mut block = vec![0; BLOCK];
        while self.partial.length() < wanted.size {
            client.check()?;
            let n = match reply.read(&mut block) {
                Ok(0) => Err(Fault::again(format!("it ended after {} of {} bytes", self.partial.length(), wanted.size))),
                read => read,
            };
            let gained = self.furthest > before;
            let n = n.map_err(|fault| match fault {
                Fault::Again { reason, after, .. } => Fault::Again { reason, after, gained },
                fault => fault,
            })?;
            if self.partial.length() + n as u64 > wanted.size {
                return Err(of_another_size(wanted, "more"));
            }
            self.partial.append(&block[..n])?;
            self.sha256.update(&block[..n]);
            self.furthest = self.furthest.max(self.partial.length());
            meter.reached(self.partial.length());
        }
        // An answer that does not say its length may have more.
        if reply.length.is_none() && reply.read(&mut block).is_ok_and(|n| n > 0) {
            return Err(of_another_size(wanted, "more"));
        }
        Ok(())
    }

    fn git(&mut self) -> Result<String> {
        let mut hash = GitHash::new(self.partial.length());
        self.partial.read_back(|block| {
            hash.update(block);
            Ok(())
        })?;
        Ok(hash.finish())
    }
}

/// The server has a file of another size than the hub says.
fn of_another_size(wanted: &Wanted, found: &str) -> Fault {
    let message = format!("{} is not what the hub says: it must have {} bytes and has {found}", wanted.name, wanted.size);
    Error::corrupt(message).hint(NOT_KEPT).into()
}

/// Where a blob grows.
fn incomplete(blob: &Path) -> PathBuf {
    blob.with_extension(INCOMPLETE)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
