//! Opening, creating and migrating the database, and what SQLite's errors mean to a user.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// How long a write waits for another process before it gives up with [`ErrorKind::Busy`].
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Scripts that lead from format `n` to format `n + 1`; a format is never changed once released.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];

/// The format that this build writes (SQLite's `user_version`).
pub const FORMAT: i64 = MIGRATIONS.len() as i64;

/// SQLite's `application_id`: "Ptna".
const APPLICATION_ID: i64 = 0x50_74_6e_61;

/// Memory for pages of the file, in KiB (negative, as SQLite wants it).
const CACHE_KIB: i64 = -32 * 1024;

impl Store {
    /// Opens the database for reading and writing, creating it (and the folders above it) and bringing an older one up to date.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the file is no database or not Patina's, [`ErrorKind::Busy`] if another process holds it for more than
    /// [`BUSY_TIMEOUT`], [`ErrorKind::Failed`] if a newer Patina wrote it or the disk is full or read-only.
    pub fn open(path: &Path) -> Result<Store> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_folder(folder)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut store = Store::connect(path, Connection::open_with_flags(path, flags))?;
        store.migrate()?;
        Ok(store)
    }

    /// Opens a database that must be there, for a command that only reads; it works on a read-only disk too.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if there is none; else as [`Store::open`].
    pub fn open_existing(path: &Path) -> Result<Store> {
        if !path.is_file() {
            return Err(Error::missing("nothing has been scraped here yet").at(path).hint("run `patina scrape`"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // SQLite opens a file that it may not write read-only by itself; but then the log beside it may be out of its reach.
        let opened = Store::connect(path, Connection::open_with_flags(path, flags)).and_then(|mut store| {
            if store.format()? != FORMAT {
                store.migrate()?;
            }
            Ok(store)
        });
        match opened {
            Err(error) if error.kind() == ErrorKind::Failed && log_is_empty(path) => Store::open_immutable(path).map_err(|_| error),
            opened => opened,
        }
    }

    /// Opens a file that nobody can write to, without the files that SQLite otherwise keeps beside it.
    pub(super) fn open_immutable(path: &Path) -> Result<Store> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let store = Store::connect(path, Connection::open_with_flags(immutable_uri(path), flags))?;
        match store.format()? {
            FORMAT => Ok(store),
            _ => Err(Error::failed("the database has another format and cannot be written").at(path)),
        }
    }

    fn connect(path: &Path, opened: rusqlite::Result<Connection>) -> Result<Store> {
        let connection = opened.map_err(|e| explain(path, "open", e))?;
        let store = Store { connection, path: path.to_path_buf() };
        store.connection.busy_timeout(BUSY_TIMEOUT).map_err(|e| store.explain("open", e))?;
        // `synchronous = NORMAL` (1): a power cut can lose the last transactions of a scrape, which the next one makes again, but
        // never tears the file.
        for (pragma, value) in [("foreign_keys", 1), ("cache_size", CACHE_KIB), ("synchronous", 1)] {
            store.connection.pragma_update(None, pragma, value).map_err(|e| store.explain("open", e))?;
        }
        store.connection.set_prepared_statement_cache_capacity(64);
        Ok(store)
    }

    fn number(&self, pragma: &str) -> Result<i64> {
        self.connection.pragma_query_value(None, pragma, |row| row.get(0)).map_err(|e| self.explain("read", e))
    }

    /// The format of the file, after checking that it is one that this build can read or migrate.
    fn format(&self) -> Result<i64> {
        let format = self.number("user_version")?;
        let tables: i64 =
            self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(|e| self.explain("read", e))?;
        if tables > 0 && self.number("application_id")? != APPLICATION_ID {
            return Err(Error::corrupt("the file is an SQLite database, but not one of Patina's")
                .at(&self.path)
                .hint("move it away, then run `patina scrape`"));
        }
        if !(0..=FORMAT).contains(&format) {
            return Err(Error::failed(format!("the database has format {format}; this Patina knows formats up to {FORMAT}"))
                .at(&self.path)
                .hint("a newer Patina wrote it: update this one"));
        }
        Ok(format)
    }

    /// Brings the file to [`FORMAT`], all of it or nothing.
    fn migrate(&mut self) -> Result<()> {
        if self.format()? == FORMAT {
            return Ok(());
        }
        let path = self.path.clone();
        let fail = |e| explain(&path, "create", e);
        // The write-ahead log lets commands search while another one scrapes.
        self.connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).map_err(fail)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        // Another process may have been faster.
        let format: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
        for script in MIGRATIONS.iter().skip(usize::try_from(format).unwrap_or(usize::MAX)) {
            transaction.execute_batch(script).map_err(fail)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fail)?;
        transaction.pragma_update(None, "user_version", FORMAT).map_err(fail)?;
        transaction.commit().map_err(fail)
    }

    /// What an error of SQLite means; `doing` is a verb such as "read".
    pub(super) fn explain(&self, doing: &str, error: rusqlite::Error) -> Error {
        explain(&self.path, doing, error)
    }
}

/// What an error of SQLite means for the database at `path`; `doing` is a verb such as "read".
fn explain(path: &Path, doing: &str, error: rusqlite::Error) -> Error {
    use rusqlite::Error as Sql;
    let (kind, what, hint) = match (&error, error.sqlite_error_code()) {
        (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            (ErrorKind::Busy, "another process is writing to it".to_owned(), Some("wait for it to end, then run the command again"))
        }
        (_, Some(ErrorCode::DiskFull)) => {
            (ErrorKind::Failed, "the disk is full".to_owned(), Some("free some room and run the command again; what was finished is kept"))
        }
        (_, Some(ErrorCode::SystemIoFailure)) => (
            ErrorKind::Failed,
            error.to_string(),
            Some("check that the disk has room and works, then run the command again; what was finished is kept"),
        ),
        (_, Some(ErrorCode::ReadOnly)) => (
            ErrorKind::Failed,
            "the file or its disk is read-only".to_owned(),
            Some("check who owns the file and its permissions; nothing was changed"),
        ),
        (_, Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied)) => {
            (ErrorKind::Failed, error.to_string(), Some("check that the folder is there, who owns it and its permissions"))
        }
        (_, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
        | (Sql::FromSqlConversionFailure(..) | Sql::InvalidColumnType(..) | Sql::IntegralValueOutOfRange(..) | Sql::Utf8Error(..), _) => (
            ErrorKind::Corrupt,
            format!("it is damaged ({error})"),
            Some("move the file away, then run `patina scrape`: everything in it can be made again"),
        ),
        (_, Some(ErrorCode::ConstraintViolation)) => (ErrorKind::Bug, error.to_string(), None),
        _ => (ErrorKind::Failed, error.to_string(), None),
    };
    let out = Error::new(kind, format!("cannot {doing} the database: {what}")).at(path).caused_by(error);
    match hint {
        Some(hint) => out.hint(hint),
        None => out,
    }
}

/// Whether all that was written is in the main file, so that it can be read alone.
fn log_is_empty(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(PathBuf::from(log)).map_or(true, |log| log.len() == 0)
}

/// A `file:` URI that tells SQLite that nothing can change the file. `?`, `#` and `%` have a meaning in a URI.
fn immutable_uri(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut text = absolute.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    if cfg!(windows) {
        text = format!("/{}", text.replace('\\', "/"));
    }
    format!("file:{text}?immutable=1")
}
