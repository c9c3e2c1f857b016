//! Which index file was hashed before and has not been touched since, so that a search need not read all of it first.
//!
//! Beside `NAME.usearch` lies `NAME.stamp` once somebody hashed the index and found what its manifest says: the hash, and how the file
//! looked (size, times, inode). It vouches for nothing when any of it differs, and is only ever a reason not to read again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fs::{self, Stamp};

/// A larger file is none of ours.
const MAX_BYTES: u64 = 4 << 10;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    sha256: String,
    stamp: Stamp,
}

/// Where the stamp of the index at `index` is.
pub fn stamp_path(index: &Path) -> PathBuf {
    index.with_extension("stamp")
}

/// Whether the file that looks so had this hash when it was last read.
pub(super) fn is_known(index: &Path, sha256: &str, stamp: &Stamp) -> bool {
    let known = fs::read_limited(&stamp_path(index), MAX_BYTES).ok().and_then(|bytes| serde_json::from_slice::<Known>(&bytes).ok());
    known.is_some_and(|known| known.sha256 == sha256 && known.stamp == *stamp)
}

/// Keeps for the next time that the file has this hash. Where nothing can be written it is hashed again next time.
pub(super) fn remember(index: &Path, sha256: &str, stamp: &Stamp) {
    // One that was written just now could be written again without looking otherwise.
    if !stamp.is_settled() {
        return;
    }
    let known = Known { sha256: sha256.to_owned(), stamp: stamp.clone() };
    if let Ok(json) = serde_json::to_vec(&known) {
        let _ = fs::write_atomic(&stamp_path(index), |out| out.write_all(&json));
    }
}
