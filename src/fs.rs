//! The only place that writes files: atomically, beside the target, synced, then renamed; and the project's lock.

#![allow(clippy::disallowed_methods)] // The doorman of `std::fs` writes; see .clippy.toml.

mod stamp;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

pub use stamp::Stamp;

use crate::error::{Error, ErrorKind, Result};

/// How often a lock that somebody holds is looked at again.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
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

/// Like [`write_atomic`]; gives the SHA-256 of what was written.
pub fn write_hashed(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<String> {
    struct Hashed<'a>(&'a mut dyn Write, &'a mut Sha256);
    impl Write for Hashed<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let written = self.0.write(bytes)?;
            self.1.update(&bytes[..written]);
            Ok(written)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    let mut hash = Sha256::new();
    write_atomic(path, |out| fill(&mut Hashed(out, &mut hash)))?;
    Ok(hex(&hash.finalize()))
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

/// Makes a file of so many zeros: whether there is room for them, in the system's own words.
pub fn claim(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    std::io::copy(&mut std::io::repeat(0).take(bytes), &mut file)?;
    file.sync_all()
}

/// Removes what a process that was killed left beside the files of a folder. Only for whoever holds the lock on it.
pub fn sweep(folder: &Path) {
    sweep_if(folder, |_| true);
}

/// The same without a lock: of what was not touched for so long, of which no process is still writing.
pub fn sweep_older(folder: &Path, age: Duration) {
    sweep_if(folder, |path| is_older(path, age));
}

fn sweep_if(folder: &Path, gone: impl Fn(&Path) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with(ASIDE) && name.ends_with(".tmp") && path.is_file() && gone(&path) {
            // What cannot be removed only takes room.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a file or folder was not changed for so long. Not if that cannot be told, nor if it was in a future that the clock left since.
pub fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|since| since > age))
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

/// A file that grows over several runs before it takes its name: what a cut-off run wrote is the next one's beginning.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Partial {
    /// Opens the unfinished file at `path`, or makes an empty one.
    pub fn open(path: &Path) -> Result<Partial> {
        create_folder(parent(path))?;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(|e| Error::io("open", path, e))?;
        let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        Ok(Partial { path: path.to_path_buf(), file, length })
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Gives what is there to `each`, block by block, and stands at the end after it.
    pub fn read_back(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let failed = |e| Error::io("read", &self.path, e);
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut block = vec![0; 1 << 20];
        let mut length = 0;
        loop {
            let n = self.file.read(&mut block).map_err(failed)?;
            if n == 0 {
                self.length = length;
                return Ok(());
            }
            length += n as u64;
            each(&block[..n])?;
        }
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(bytes));
        written.map_err(|e| Error::io("write", &self.path, e))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Empties it.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|e| Error::io("write", &self.path, e))?;
        self.length = 0;
        Ok(())
    }

    /// Syncs it and gives it the name `to`, in the same file system.
    pub fn finish(self, to: &Path) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io("sync", &self.path, e))?;
        drop(self.file);
        rename(&self.path, to)
    }

    /// Removes it.
    pub fn discard(self) -> Result<()> {
        drop(self.file);
        remove_file(&self.path)
    }
}

/// Renames a file within a file system, over what has that name.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    create_folder(parent(to))?;
    fs::rename(from, to).map_err(|e| Error::io("rename", to, e))?;
    sync_folder(parent(to));
    Ok(())
}

/// Makes `link` a symbolic link with this text, in place of what is there. `false` where the file system or the user's rights know no
/// such links; nothing was changed then.
pub fn symbolic_link(text: &Path, link: &Path) -> Result<bool> {
    let folder = parent(link);
    create_folder(folder)?;
    let aside = folder.join(format!("{ASIDE}{}.tmp", std::process::id()));
    remove_file(&aside)?;
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(text, &aside);
    #[cfg(windows)]
    let made = std::os::windows::fs::symlink_file(text, &aside);
    #[cfg(not(any(unix, windows)))]
    let made = Err::<(), _>(std::io::Error::from(std::io::ErrorKind::Unsupported));
    // Windows: 1 is "no such function", 1314 "a required privilege is not held".
    let unknown = |e: &std::io::Error| {
        matches!(e.kind(), std::io::ErrorKind::Unsupported | std::io::ErrorKind::PermissionDenied)
            || (cfg!(windows) && matches!(e.raw_os_error(), Some(1 | 1314)))
    };
    match made {
        Ok(()) => {}
        Err(e) if unknown(&e) => return Ok(false),
        Err(e) => return Err(Error::io("link", link, e)),
    }
    fs::rename(&aside, link).map_err(|e| Error::io("link", link, e))?;
    sync_folder(folder);
    Ok(true)
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
    let too_large = || Error::failed(format!("the file has more than {limit} bytes, the most that is read here")).at(path);
    let meta = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    // To open a pipe would wait for whoever writes to it.
    if !meta.is_file() {
        return Err(Error::failed("this is no file").at(path));
    }
    if meta.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(|e| Error::io("read", path, e))?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
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

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
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
        match Lock::attempt(path, doing)? {
            Ok(lock) => Ok(lock),
            Err(holder) => Err(Error::new(ErrorKind::Busy, format!("the project is in use by {holder}"))
                .at(path)
                .hint("wait for it to end, or stop it, then run the command again")),
        }
    }

    /// Takes the lock at `path` as soon as it is free. While it is not, `taken` is called with who holds it, some times a second; an
    /// error of it ends the waiting.
    pub fn wait(path: &Path, doing: &str, mut taken: impl FnMut(&str) -> Result<()>) -> Result<Lock> {
        loop {
            match Lock::attempt(path, doing)? {
                Ok(lock) => return Ok(lock),
                Err(holder) => taken(&holder)?,
            }
            std::thread::sleep(LOCK_INTERVAL);
        }
    }

    /// The lock, or who holds it.
    fn attempt(path: &Path, doing: &str) -> Result<Result<Lock, String>> {
        create_folder(parent(path))?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(|e| Error::io("open", path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(200).read_to_string(&mut holder);
                let holder = holder.trim();
                return Ok(Err(if holder.is_empty() { "another process".to_owned() } else { holder.to_owned() }));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
        }
        // Advice for whoever finds the lock taken; the lock itself is the system's.
        let told = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "patina {doing} (process {})", std::process::id()));
        told.map_err(|e| Error::io("write", path, e))?;
        Ok(Ok(Lock { _file: file }))
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
    fn who_waits_for_the_lock_gets_it_or_gives_up() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("lock");
        let mut first = Some(Lock::acquire(&path, "fetch").expect("free"));
        let mut holders = Vec::new();
        Lock::wait(&path, "fetch", |holder| {
            holders.push(holder.to_owned());
            first = None;
            Ok(())
        })
        .expect("free after one look");
        assert!(holders.len() == 1 && holders[0].starts_with("patina fetch (process "), "{holders:?}");
        let held = Lock::acquire(&path, "fetch").expect("free again");
        let error = Lock::wait(&path, "fetch", |_| Err(Error::interrupted())).expect_err("gives up");
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        drop(held);
    }

    #[test]
    fn a_partial_file_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (path, whole) = (folder.path().join("a.incomplete"), folder.path().join("b/a"));
        let mut partial = Partial::open(&path).expect("new");
        partial.append(b"one ").expect("append");
        drop(partial);
        let mut partial = Partial::open(&path).expect("again");
        assert_eq!(partial.length(), 4);
        let mut seen = Vec::new();
        partial
            .read_back(|block| {
                seen.extend_from_slice(block);
                Ok(())
            })
            .expect("read back");
        partial.append(b"two").expect("append");
        assert_eq!(seen, b"one ");
        partial.finish(&whole).expect("finish");
        assert_eq!((fs::read(&whole).expect("whole"), path.exists()), (b"one two".to_vec(), false));
        let mut partial = Partial::open(&path).expect("new");
        partial.append(b"x").expect("append");
        partial.restart().expect("restart");
        assert_eq!((partial.length(), fs::metadata(&path).expect("file").len()), (0, 0));
        partial.discard().expect("discard");
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_replaces_what_is_there() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let link = folder.path().join("a/link");
        for text in ["../one", "../two"] {
            assert!(symbolic_link(Path::new(text), &link).expect("link"));
            assert_eq!(fs::read_link(&link).expect("link"), Path::new(text));
        }
        assert_eq!(fs::read_dir(folder.path().join("a")).expect("folder").count(), 1);
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
