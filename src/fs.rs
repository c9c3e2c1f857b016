//! The only place that writes files: atomically, beside the target, synced, then renamed; and the project's lock.

#![allow(clippy::disallowed_methods)] // The doorman of `std::fs` writes; see .clippy.toml.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// How the names of files and folders begin that are not whole yet.
const ASIDE: &str = ".patina-";

/// Writes a file so that a reader sees the old bytes or the new ones, never a mixture: `fill` writes a temporary file in the
/// same folder, which is synced and renamed. If anything fails the old file is as it was and the temporary one is gone.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    replace_file(path, |aside| {
        let mut out = BufWriter::new(OpenOptions::new().write(true).truncate(true).open(aside).map_err(|e| Error::io("write", path, e))?);
        fill(&mut out).map_err(|e| Error::io("write", path, e))?;
        out.flush().map_err(|e| Error::io("write", path, e))
    })
}

/// Like [`write_atomic`] for libraries that want a path of their own to write to.
pub fn replace_file(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // What a link names is replaced, not the link.
    let resolved = if path.is_symlink() { path.canonicalize().ok() } else { None };
    let path = resolved.as_deref().unwrap_or(path);
    let folder = parent(path);
    create_folder(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(ASIDE).suffix(".tmp");
    #[cfg(unix)]
    {
        // As a file made in the ordinary way: what the umask leaves of it, or what the old file had.
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_or(0o666, |old| old.permissions().mode() & 0o777);
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    let aside = builder.tempfile_in(folder).map_err(|e| Error::io("create", path, e))?.into_temp_path();
    fill(&aside)?;
    File::open(&aside).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync", path, e))?;
    aside.persist(path).map_err(|e| Error::io("rename", path, e.error))?;
    sync_folder(folder);
    Ok(())
}

/// Removes what a process that was killed left beside the files of a folder. Only for whoever holds the lock on it.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(ASIDE) && name.ends_with(".tmp") && entry.path().is_file() {
            // What cannot be removed only takes room.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes a folder whole or not at all: `fill` fills a temporary folder beside `path`, which then takes its place. An existing
/// folder at `path` is replaced.
pub fn replace_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = parent(path);
    create_folder(folder)?;
    let aside = tempfile::Builder::new().prefix(ASIDE).suffix(".tmp").tempdir_in(folder).map_err(|e| Error::io("create", path, e))?;
    fill(aside.path())?;
    if path.exists() {
        let old = tempfile::Builder::new().prefix(ASIDE).suffix(".old").tempdir_in(folder).map_err(|e| Error::io("create", path, e))?;
        fs::rename(path, old.path().join("old")).map_err(|e| Error::io("replace", path, e))?;
        if let Err(error) = fs::rename(aside.path(), path) {
            // The old folder comes back; if even that fails it is kept where it is.
            if fs::rename(old.path().join("old"), path).is_err() {
                let _ = old.keep();
            }
            return Err(Error::io("rename", path, error));
        }
    } else {
        fs::rename(aside.path(), path).map_err(|e| Error::io("rename", path, e))?;
    }
    // The folder now lives under its own name: nothing is left for the guard to remove.
    let _ = aside.keep();
    sync_folder(folder);
    Ok(())
}

/// An empty folder for what only this run needs, in the system's place for such; removed with all in it when dropped.
pub fn scratch_folder() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(ASIDE).tempdir().map_err(|e| Error::io("create", &std::env::temp_dir(), e))
}

/// Copies a file into place atomically and returns the SHA-256 of the bytes that were copied.
pub fn copy_atomic(from: &Path, to: &Path) -> Result<String> {
    let mut source = File::open(from).map_err(|e| Error::io("read", from, e))?;
    let mut hash = Sha256::new();
    write_atomic(to, |out| {
        let mut block = vec![0; 1 << 20];
        loop {
            let n = source.read(&mut block)?;
            if n == 0 {
                return Ok(());
            }
            hash.update(&block[..n]);
            out.write_all(&block[..n])?;
        }
    })?;
    Ok(hex(&hash.finalize()))
}

/// Makes a folder and the ones above it.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            Error::failed("a folder is needed here, and a file is in its way").at(path).hint("move the file away").caused_by(e)
        }
        _ => Error::io("create", path, e),
    })
}

/// Removes a file if it is there.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes a folder and all in it if it is there.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// Reads a whole file, refusing one of more than `limit` bytes before reading it.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::failed(format!("the file has more than {limit} bytes, the most that is read here")).at(path));
    }
    Ok(bytes)
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut block).map_err(|e| Error::io("read", path, e))?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&block[..n]);
    }
}

/// The SHA-256 of bytes, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Joins a relative path that came from outside (a recipe, an archive, a model's `modules.json`) to a folder, refusing
/// anything that would leave it: absolute paths, `..`, drive prefixes.
pub fn contained(folder: &Path, relative: &str) -> Result<PathBuf> {
    let path = Path::new(relative);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain || relative.contains('\\') || relative.contains('\0') {
        return Err(Error::corrupt(format!("the path {relative:?} leaves its folder")).at(folder));
    }
    Ok(folder.join(path))
}

/// A lock on a project that one process at a time can hold; released when dropped, and by the system when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock at `path`, or fails with [`ErrorKind::Busy`] and who holds it.
    pub fn acquire(path: &Path, doing: &str) -> Result<Lock> {
        create_folder(parent(path))?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(|e| Error::io("open", path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(200).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    holder => holder.to_owned(),
                };
                return Err(Error::new(ErrorKind::Busy, format!("the project is in use by {holder}"))
                    .at(path)
                    .hint("wait for it to end, or stop it, then run the command again"));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
        }
        // Advice for whoever finds the lock taken; the lock itself is the system's.
        let told = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "patina {doing} (process {})", std::process::id()));
        told.map_err(|e| Error::io("write", path, e))?;
        Ok(Lock { _file: file })
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a rename durable where the system lets a folder be synced; a failure here loses no data that was there before.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.json");
        write_atomic(&path, |out| out.write_all(b"old")).expect("first write");
        let failed = write_atomic(&path, |out| {
            out.write_all(b"ne")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        });
        let error = failed.expect_err("the write fails");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("disk is full")), "{error:?}");
        assert_eq!(fs::read(&path).expect("old file"), b"old");
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn contained_refuses_what_leaves_the_folder() {
        let folder = Path::new("/models/x");
        assert_eq!(contained(folder, "1_Pooling/config.json").expect("plain"), folder.join("1_Pooling/config.json"));
        for hostile in ["../y", "a/../../y", "/etc/passwd", "a\\..\\b", "a\0b"] {
            assert_eq!(contained(folder, hostile).expect_err(hostile).kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn the_second_lock_is_told_who_holds_the_first() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("lock");
        let first = Lock::acquire(&path, "oxidize").expect("free");
        let error = Lock::acquire(&path, "scrape").expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.message().contains("patina oxidize (process "), "{error}");
        drop(first);
        Lock::acquire(&path, "scrape").expect("free again");
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("model");
        replace_folder(&path, |aside| write_atomic(&aside.join("a"), |out| out.write_all(b"1"))).expect("new");
        replace_folder(&path, |aside| write_atomic(&aside.join("b"), |out| out.write_all(b"2"))).expect("replaced");
        assert!(path.join("b").exists() && !path.join("a").exists());
        replace_folder(&path, |_| Err(Error::failed("no"))).expect_err("fails");
        assert!(path.join("b").exists());
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
