//! Moving bytes from a source to a sink while hashing, counting and bounding them, with progress and a way to stop.

use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::fs;
use crate::progress::Job;

const BLOCK: usize = 1 << 18;

/// What was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Bytes.
    pub(super) size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub(super) sha256: String,
}

/// How many bytes a source may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// As many as it has.
    Any,
    /// Neither more nor fewer.
    Exactly(u64),
}

/// Why a transfer failed; the caller knows what the source is called.
#[derive(Debug)]
pub(super) enum Fault {
    /// The source could not be read.
    Read(io::Error),
    /// The source has more bytes than it must.
    TooLong,
    /// The source has only so many bytes.
    TooShort(u64),
    /// The sink failed, or a stop was asked for.
    Other(Error),
}

/// Hashes a source.
pub(super) fn digest(from: &mut dyn Read, bytes: Bytes, job: Job<'_>) -> Result<Moved, Fault> {
    pump(from, &mut io::sink(), bytes, job).map_err(|stop| match stop {
        Stop::Fault(fault) => fault,
        Stop::Write(error) => Fault::Other(Error::bug(format!("the sink failed: {error}"))),
    })
}

/// Writes a source to a file, atomically: on any failure there is no file, or the old one.
pub(super) fn save(from: &mut dyn Read, to: &Path, bytes: Bytes, job: Job<'_>) -> Result<Moved, Fault> {
    let mut outcome = None;
    let written = fs::write_atomic(to, |out| match pump(from, out, bytes, job) {
        Ok(moved) => {
            outcome = Some(Ok(moved));
            Ok(())
        }
        Err(Stop::Write(error)) => Err(error),
        Err(Stop::Fault(fault)) => {
            outcome = Some(Err(fault));
            Err(io::Error::other("the source failed"))
        }
    });
    match (outcome, written) {
        (Some(Err(fault)), _) => Err(fault),
        (_, Err(error)) => Err(Fault::Other(error)),
        (Some(Ok(moved)), Ok(())) => Ok(moved),
        (None, Ok(())) => Err(Fault::Other(Error::bug("nothing was written"))),
    }
}

enum Stop {
    Fault(Fault),
    Write(io::Error),
}

fn pump(from: &mut dyn Read, to: &mut dyn Write, bytes: Bytes, job: Job<'_>) -> Result<Moved, Stop> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut size: u64 = 0;
    loop {
        job.check().map_err(|stop| Stop::Fault(Fault::Other(stop)))?;
        let n = match from.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stop::Fault(Fault::Read(error))),
        };
        size += n as u64;
        if matches!(bytes, Bytes::Exactly(most) if size > most) {
            return Err(Stop::Fault(Fault::TooLong));
        }
        hash.update(&block[..n]);
        to.write_all(&block[..n]).map_err(Stop::Write)?;
        job.progress.advance(n as u64);
    }
    if matches!(bytes, Bytes::Exactly(least) if size < least) {
        return Err(Stop::Fault(Fault::TooShort(size)));
    }
    let sha256 = hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        use std::fmt::Write;
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Ok(Moved { size, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_hashes_bounds_and_cleans_up() {
        let folder = tempfile::tempdir().expect("folder");
        let to = folder.path().join("a");
        let moved = save(&mut &b"abc"[..], &to, Bytes::Exactly(3), Job::silent()).expect("three bytes");
        assert_eq!((moved.size, &moved.sha256[..8]), (3, "ba7816bf"));
        assert_eq!(digest(&mut &b"abc"[..], Bytes::Any, Job::silent()).expect("digest"), moved);
        assert!(matches!(save(&mut &b"abcd"[..], &to, Bytes::Exactly(3), Job::silent()), Err(Fault::TooLong)));
        assert!(matches!(save(&mut &b"ab"[..], &to, Bytes::Exactly(3), Job::silent()), Err(Fault::TooShort(2))));
        assert_eq!(std::fs::read(&to).expect("the old file"), b"abc");
        let cancel = crate::progress::Cancel::default();
        cancel.raise();
        let job = Job::new(&crate::progress::Silent, &cancel);
        assert!(
            matches!(save(&mut &b"abcd"[..], &to, Bytes::Any, job), Err(Fault::Other(error)) if error.kind() == crate::error::ErrorKind::Interrupted)
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);
    }
}
