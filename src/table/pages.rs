//! The bytes of a Parquet file as the library gets them: nothing beyond the file's end, and no page that asks for more room than a
//! page may have.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length, SerializedPageReader};
use parquet::schema::types::ColumnDescPtr;

use super::look;

/// The most bytes of a page, compressed or not. Writers aim at one megabyte, and DuckDB fills pages of up to a hundred.
const PAGE_LIMIT: usize = 128 << 20;
/// The most values of a dictionary: each takes some 40 bytes, however short it is in the file.
const DICTIONARY_LIMIT: usize = 4 << 20;
/// The most bytes and values of the pages that one batch of rows may need; a few bytes can stand for a million values.
const BATCH_BYTES: usize = 512 << 20;
const BATCH_VALUES: usize = 32 << 20;
/// Bytes of a page's header that are read at once.
const HEADER_BLOCK: u64 = 4096;

/// A file or bytes in memory.
#[derive(Clone)]
pub(super) struct Source(Arc<Inner>);

struct Inner {
    kind: Kind,
    length: u64,
}

enum Kind {
    File(File),
    Memory(Bytes),
}

impl Source {
    pub fn file(file: File) -> io::Result<Source> {
        let length = file.metadata()?.len();
        Ok(Source(Arc::new(Inner { kind: Kind::File(file), length })))
    }

    pub fn memory(bytes: Bytes) -> Source {
        let length = bytes.len() as u64;
        Source(Arc::new(Inner { kind: Kind::Memory(bytes), length }))
    }

    /// Bytes of the file; an error, and no room made, where it has fewer.
    pub fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let fits = start.checked_add(length as u64).is_some_and(|end| end <= self.0.length);
        if !fits {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it goes beyond the end of the file"));
        }
        match &self.0.kind {
            Kind::Memory(bytes) => Ok(bytes.slice(start as usize..start as usize + length)),
            Kind::File(file) => {
                let mut file: &File = file;
                file.seek(SeekFrom::Start(start))?;
                let mut bytes = vec![0; length];
                file.read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for Source {
    type T = Header;

    fn get_read(&self, start: u64) -> Result<Header> {
        Ok(Header { source: self.clone(), at: start, block: Bytes::new(), looked: false })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length > PAGE_LIMIT {
            return Err(too_large());
        }
        Ok(self.read(start, length)?)
    }
}

fn too_large() -> ParquetError {
    ParquetError::General(format!("a page has more than {} MiB", PAGE_LIMIT >> 20))
}

/// Reads a page's header. The library asks for a reader where it has read the header already, too, and then reads nothing: what
/// stands there is looked at when the first byte is read.
pub(super) struct Header {
    source: Source,
    at: u64,
    block: Bytes,
    looked: bool,
}

impl Read for Header {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            let left = self.source.len().saturating_sub(self.at);
            if left == 0 {
                return Ok(0);
            }
            let length = left.min(HEADER_BLOCK);
            self.block = self.source.read(self.at, length as usize)?;
            self.at += length;
        }
        if !self.looked {
            self.looked = true;
            match look::page(&self.block) {
                Some((plain, packed)) if plain.max(packed) <= PAGE_LIMIT as i64 => {}
                Some(_) => return Err(io::Error::other(too_large())),
                None => return Err(io::Error::other("a page's header is damaged")),
            }
        }
        let n = buffer.len().min(self.block.len());
        buffer[..n].copy_from_slice(&self.block.split_to(n));
        Ok(n)
    }
}

/// What the pages of one batch of rows may take.
#[derive(Clone, Default)]
pub(super) struct Budget(Arc<[AtomicUsize; 2]>);

impl Budget {
    /// A batch begins.
    pub fn renew(&self) {
        self.0.iter().for_each(|spent| spent.store(0, Ordering::Relaxed));
    }

    fn spend(&self, bytes: usize, values: usize) -> Result<()> {
        let bytes = self.0[0].fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let values = self.0[1].fetch_add(values, Ordering::Relaxed).saturating_add(values);
        if bytes > BATCH_BYTES || values > BATCH_VALUES {
            let limit = format!("{} MiB or {BATCH_VALUES} values", BATCH_BYTES >> 20);
            return Err(ParquetError::General(format!("a few rows of a column have more than {limit}")));
        }
        Ok(())
    }
}

/// The pages of a column, each looked at before its values are made room for.
pub(super) struct Bounded {
    pub inner: SerializedPageReader<Source>,
    pub column: ColumnDescPtr,
    pub budget: Budget,
}

impl Bounded {
    fn look(&self, page: &Page) -> Result<()> {
        let values = page.num_values() as usize;
        match page {
            Page::DictionaryPage { buf, .. } => {
                let least = match self.column.physical_type() {
                    Type::INT64 | Type::DOUBLE => 8,
                    _ => 4,
                };
                if values > DICTIONARY_LIMIT || values > buf.len() / least {
                    return Err(ParquetError::General(format!("a dictionary states {values} values in {} bytes", buf.len())));
                }
                self.budget.spend(buf.len(), values)
            }
            Page::DataPage { buf, encoding, def_level_encoding, rep_level_encoding, .. } => {
                self.budget.spend(buf.len(), values)?;
                let levels = [(self.column.max_rep_level(), *rep_level_encoding), (self.column.max_def_level(), *def_level_encoding)];
                let mut at = 0usize;
                for (_, level) in levels.into_iter().filter(|(most, _)| *most > 0) {
                    if level != Encoding::RLE {
                        return Err(ParquetError::General(format!("levels are encoded as {level}, which is not supported")));
                    }
                    let length = buf.get(at..at + 4).map_or(usize::MAX, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
                    at = at.saturating_add(4).saturating_add(length);
                }
                deltas(*encoding, buf.get(at..).unwrap_or_default(), values)
            }
            Page::DataPageV2 { buf, encoding, def_levels_byte_len, rep_levels_byte_len, .. } => {
                self.budget.spend(buf.len(), values)?;
                let at = (*def_levels_byte_len as usize).saturating_add(*rep_levels_byte_len as usize);
                deltas(*encoding, buf.get(at..).unwrap_or_default(), values)
            }
        }
    }
}

/// Texts in delta encodings begin with their lengths, as many as the bytes say: the library makes room for them.
fn deltas(encoding: Encoding, bytes: &[u8], values: usize) -> Result<()> {
    let lists = match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => 0,
    };
    let mut rest = bytes;
    for _ in 0..lists {
        match look::delta(rest) {
            Some((end, stated)) if stated <= values as u64 => rest = &rest[end..],
            _ => return Err(ParquetError::General(format!("lengths in the encoding {encoding} are damaged"))),
        }
    }
    Ok(())
}

impl Iterator for Bounded {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Bounded {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        page.iter().try_for_each(|page| self.look(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}
