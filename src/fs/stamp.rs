//! How a file looked when it was read: as long as it looks so, it need not be read again to know what is in it.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A file that was changed this shortly before it was hashed is hashed again next time: some file systems count time in steps of
/// two seconds, so that a second change may leave no trace.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What the system says about a file; if any of it differs, the file may be another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: u64,
    /// When the entry itself was last changed, which a program cannot set back (0 where the system does not tell).
    pub changed: u64,
    /// The device of the file (0 where the system does not tell).
    pub device: u64,
    /// The number of the file on it (0 where the system does not tell).
    pub inode: u64,
}

impl Stamp {
    /// How a file looks now.
    pub fn of(meta: &Metadata) -> Stamp {
        let modified = meta.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| time.as_nanos() as u64);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let changed = (meta.ctime() as u64).wrapping_mul(1_000_000_000).wrapping_add(meta.ctime_nsec() as u64);
            Stamp { size: meta.len(), modified, changed, device: meta.dev(), inode: meta.ino() }
        }
        #[cfg(not(unix))]
        Stamp { size: meta.len(), modified, changed: 0, device: 0, inode: 0 }
    }

    /// Whether the file has been left alone for long enough that another change would show.
    pub fn is_settled(&self) -> bool {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(self.modified);
        self.modified != 0 && SystemTime::now().duration_since(time).is_ok_and(|age| age >= SETTLED_AFTER)
    }
}
