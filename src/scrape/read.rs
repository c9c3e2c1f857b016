//! Reading one file under the stated policies: too large, binary, not UTF-8, gone, or not readable.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A NUL in this many bytes at the beginning makes a file binary, as for git.
pub const BINARY_BYTES: usize = 8 * 1024;

/// What became of reading a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its text. Bytes that are not UTF-8 became U+FFFD, so did NULs; a byte order mark is dropped.
    Text { text: String, hash: String },
    /// It has no bytes.
    Empty,
    /// It is left out; why.
    LeftOut(String),
    /// It is not there any more.
    Gone,
    /// It cannot be read now, which says nothing about what is in it; why.
    Unreadable(String),
}

/// How a file looks without reading it: size, and modification time in nanoseconds since 1970.
pub(super) fn look(path: &Path) -> Option<(u64, i64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let modified = metadata.modified().ok()?;
    let nanoseconds = match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).ok()?,
        Err(before) => -i64::try_from(before.duration().as_nanos()).ok()?,
    };
    Some((metadata.len(), nanoseconds))
}

/// Reads a file of at most `max_bytes`; of a larger or binary one no more than its beginning.
pub(super) fn read(path: &Path, max_bytes: u64) -> Outcome {
    match read_bytes(path, max_bytes) {
        Ok(Ok(bytes)) if bytes.is_empty() => Outcome::Empty,
        Ok(Ok(bytes)) => Outcome::Text { hash: crate::fs::sha256(&bytes), text: decode(&bytes) },
        Ok(Err(outcome)) => outcome,
        Err(error) if error.kind() == IoErrorKind::NotFound => Outcome::Gone,
        Err(error) => Outcome::Unreadable(format!("cannot be read: {error}")),
    }
}

fn read_bytes(path: &Path, max_bytes: u64) -> std::io::Result<Result<Vec<u8>, Outcome>> {
    let too_large = |size: u64| Outcome::LeftOut(format!("larger than {} ({})", bytes_text(max_bytes), bytes_text(size)));
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > max_bytes {
        return Ok(Err(too_large(size)));
    }
    let mut bytes = Vec::new();
    (&mut file).take(BINARY_BYTES as u64).read_to_end(&mut bytes)?;
    if bytes.contains(&0) {
        return Ok(Err(Outcome::LeftOut("binary (a NUL byte near its beginning)".to_owned())));
    }
    // The file may have grown since its size was asked.
    (&mut file).take((max_bytes + 1).saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > max_bytes { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) })
}

fn decode(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // Programs that end strings at a NUL would see half of the text.
    text.replace('\0', "\u{fffd}")
}

fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
