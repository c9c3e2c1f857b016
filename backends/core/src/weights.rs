//! The model's safetensors: validated before anything reads them, mapped into memory, one file or several shards.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, SafeTensors};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{EngineError, Result};
use crate::folder::{Disk, ShardIndex, WeightFiles};
use crate::foreign;

/// The number format in which a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredType {
    /// 32-bit IEEE.
    F32,
    /// 16-bit IEEE.
    F16,
    /// The upper half of 32-bit IEEE.
    Bf16,
    /// 64-bit IEEE.
    F64,
}

impl StoredType {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            StoredType::F16 | StoredType::Bf16 => 2,
            StoredType::F32 => 4,
            StoredType::F64 => 8,
        }
    }

    /// Appends the numbers of whole little-endian `bytes` in single precision.
    fn widen(self, bytes: &[u8], to: &mut Vec<f32>) {
        match self {
            StoredType::F32 => to.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            StoredType::F16 => to.extend(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())),
            StoredType::Bf16 => to.extend(bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())),
            StoredType::F64 => {
                to.extend(bytes.chunks_exact(8).map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32));
            }
        }
    }
}

/// One tensor where it lies in its file.
#[derive(Clone, Copy, Debug)]
pub struct StoredTensor<'a> {
    /// Its number format.
    pub stored: StoredType,
    /// Its shape, outermost first.
    pub shape: &'a [usize],
    /// Its little-endian, row-major bytes; not necessarily aligned.
    pub bytes: &'a [u8],
}

impl<'a> StoredTensor<'a> {
    /// The values in single precision: the file's own bytes where they are aligned `f32`, else a copy.
    pub fn f32(&self) -> Cow<'a, [f32]> {
        match self.f32_in_place() {
            Some(values) => Cow::Borrowed(values),
            None => {
                let mut values = Vec::with_capacity(self.bytes.len() / self.stored.size());
                self.stored.widen(self.bytes, &mut values);
                Cow::Owned(values)
            }
        }
    }

    /// The file's own bytes, if they are aligned `f32`.
    pub fn f32_in_place(&self) -> Option<&'a [f32]> {
        if self.stored == StoredType::F32 { aligned(self.bytes) } else { None }
    }

    /// The file's own bytes, if they are aligned `bf16`.
    pub fn bf16_in_place(&self) -> Option<&'a [bf16]> {
        if self.stored == StoredType::Bf16 { aligned(self.bytes) } else { None }
    }
}

/// A number of which every bit pattern is one, and which a file has as this machine has it.
trait Plain {}

impl Plain for f32 {}
impl Plain for bf16 {}

#[allow(unsafe_code)]
fn aligned<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    // SAFETY: every bit pattern is a number, and `align_to` only puts aligned, whole values into the middle.
    let (head, values, tail) = unsafe { bytes.align_to::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(values)
}

struct Shard {
    path: PathBuf,
    /// Kept for [`Weights::read`], which must not go through the map.
    #[cfg_attr(not(unix), allow(dead_code))]
    file: File,
    bytes: memmap2::Mmap,
    /// Where the tensors' data begins: 8 bytes of header length, then the header.
    data: usize,
}

impl Shard {
    #[cfg(unix)]
    fn copy(&self, start: usize, to: &mut [u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, to, (self.data + start) as u64)
    }

    /// Elsewhere a file that is mapped cannot be cut off.
    #[cfg(not(unix))]
    fn copy(&self, start: usize, to: &mut [u8]) -> std::io::Result<()> {
        to.copy_from_slice(&self.bytes[self.data + start..][..to.len()]);
        Ok(())
    }
}

struct Entry {
    shard: usize,
    stored: StoredType,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

struct Integers {
    shard: usize,
    /// Bytes of a number: 4 or 8.
    size: usize,
    start: usize,
    end: usize,
}

/// Every tensor of a model by name. Header length, offsets, overlaps, shapes and types are checked when it is opened, before any
/// byte of a tensor is read.
///
/// The files are mapped, so that only what is touched takes memory. They must not be changed in place while the weights are
/// open; a file that is replaced by renaming another over it, as Patina does, is safe.
pub struct Weights {
    shards: Vec<Shard>,
    entries: BTreeMap<String, Entry>,
    /// Tensors of integers, by their place.
    integers: BTreeMap<String, Integers>,
    /// Tensors of other types, which no forward pass reads.
    unread: BTreeMap<String, Dtype>,
}

/// Limit of a file's header; the largest embedding models' have some hundred kilobytes. The format itself allows 100 MB, which take
/// seconds and a gigabyte to parse.
const HEADER_LIMIT: u64 = 16 << 20;
/// The most numbers of a tensor of whole numbers, which are read into memory: far above every vocabulary. A file can have a hole in it
/// and be larger than any memory.
const MOST_INTEGERS: usize = 1 << 24;

/// The names of a header, none of them twice: of two the format's own parser would take one and not say which.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unambiguous, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Unambiguous;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unambiguous, A::Error> {
                let mut names = HashSet::new();
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if names.contains(&name) {
                        return Err(A::Error::custom(format!("the name {name} stands twice")));
                    }
                    names.insert(name);
                }
                Ok(Unambiguous)
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// The gate that every safetensors file goes through: the header's length, and its tensors, if all of them are sound.
pub(crate) fn header(bytes: &[u8], path: &Path) -> Result<(usize, Metadata)> {
    let unsound = |reason: String| match foreign::format(bytes) {
        Some(format) => EngineError::Foreign { path: path.to_path_buf(), what: format.what, hint: format.hint },
        None => EngineError::weights(path, format!("not a sound safetensors file: {reason}")),
    };
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(unsound("it is shorter than the 8 bytes of its header's length".into()));
    };
    let length = u64::from_le_bytes(*length);
    if length > HEADER_LIMIT {
        return Err(unsound(format!("its header says that it has {length} bytes; the most that are read are {HEADER_LIMIT}")));
    }
    if let Some(text) = rest.get(..length as usize) {
        serde_json::from_slice::<Unambiguous>(text).map_err(|e| unsound(format!("its header: {e}")))?;
    }
    SafeTensors::read_metadata(bytes).map_err(|e| unsound(e.to_string()))
}

impl Weights {
    /// The weights of a model folder: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub fn open(folder: &Path) -> Result<Weights> {
        let mut weights = Weights { shards: Vec::new(), entries: BTreeMap::new(), integers: BTreeMap::new(), unread: BTreeMap::new() };
        weights.add_folder(folder, "")?;
        Ok(weights)
    }

    /// Adds the weights of the folder `before` (empty, or with a slash at its end) inside `folder`, such as a dense head's; its name
    /// comes before the tensors'.
    pub(crate) fn add_folder(&mut self, folder: &Path, before: &str) -> Result<()> {
        let found = WeightFiles::find(&mut Disk(folder), before)?;
        let mut shards = BTreeMap::new();
        for name in &found.tensors {
            shards.insert(name, self.add_file(&folder.join(name), before)?);
        }
        let Some((index, promised)) = found.index else { return Ok(()) };
        match promised.iter().find(|(tensor, shard)| shards.get(shard).is_none_or(|here| !here.contains(*tensor))) {
            Some((tensor, shard)) => {
                let reason = format!("the tensor {tensor} is not in the shard {shard}, where it is said to be");
                Err(EngineError::weights(folder.join(index), reason))
            }
            None => Ok(()),
        }
    }

    /// Adds the tensors of a file and gives their names.
    fn add_file(&mut self, path: &Path, prefix: &str) -> Result<BTreeSet<String>> {
        let (file, bytes) = map(path)?;
        let (header, metadata) = header(&bytes, path)?;
        let shard = self.shards.len();
        let mut names = BTreeSet::new();
        for (name, info) in metadata.tensors() {
            let whole = format!("{prefix}{name}");
            if self.entries.contains_key(&whole) || self.has_other(&whole) {
                return Err(EngineError::weights(path, format!("the tensor {name} is in two shards")));
            }
            names.insert(name);
            let stored = match info.dtype {
                Dtype::F32 => StoredType::F32,
                Dtype::F16 => StoredType::F16,
                Dtype::BF16 => StoredType::Bf16,
                Dtype::F64 => StoredType::F64,
                Dtype::I32 | Dtype::I64 => {
                    let ((start, end), size) = (info.data_offsets, if info.dtype == Dtype::I32 { 4 } else { 8 });
                    self.integers.insert(whole, Integers { shard, size, start, end });
                    continue;
                }
                // An architecture that asks for one is told that it is not there.
                _ => {
                    self.unread.insert(whole, info.dtype);
                    continue;
                }
            };
            let (start, end) = info.data_offsets;
            self.entries.insert(whole, Entry { shard, stored, shape: info.shape.clone(), start, end });
        }
        self.shards.push(Shard { path: path.to_path_buf(), file, bytes, data: header + 8 });
        Ok(names)
    }

    /// Whether the bytes of a whole file are sound safetensors: all that is checked before a tensor is read.
    pub fn check(bytes: &[u8]) -> Result<()> {
        header(bytes, Path::new("model.safetensors")).map(|_| ())
    }

    /// Whether the bytes of a list of shards can be followed: it parses, and every name stays in its folder.
    pub fn check_index(bytes: &[u8]) -> Result<()> {
        ShardIndex::parse(bytes, Path::new("model.safetensors.index.json")).and_then(|list| list.followed("")).map(|_| ())
    }

    /// The names of all floating-point tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is a floating-point tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whether there is a tensor of this name that holds no floating-point numbers.
    pub fn has_other(&self, name: &str) -> bool {
        self.integers.contains_key(name) || self.unread.contains_key(name)
    }

    /// The shape of a floating-point tensor, outermost first.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| &entry.shape[..])
    }

    /// A tensor of whole numbers, row-major; `None` if there is none of this name.
    pub(crate) fn integers(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(&Integers { shard, size, start, end }) = self.integers.get(name) else { return Ok(None) };
        if (end - start) / size > MOST_INTEGERS {
            let path = &self.shards[shard].path;
            return Err(EngineError::weights(
                path,
                format!("the tensor {name} has more than the {MOST_INTEGERS} whole numbers that are read"),
            ));
        }
        let mut bytes = vec![0; end - start];
        self.fill(shard, start, &mut bytes, name)?;
        Ok(Some(match size {
            4 => bytes.chunks_exact(4).map(|b| i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
            _ => bytes.chunks_exact(8).map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect(),
        }))
    }

    /// The number format of a tensor.
    pub fn stored_type(&self, name: &str) -> Option<StoredType> {
        self.entries.get(name).map(|entry| entry.stored)
    }

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<StoredTensor<'_>> {
        let entry = self.entries.get(name)?;
        let shard = &self.shards[entry.shard];
        let bytes = &shard.bytes[shard.data + entry.start..shard.data + entry.end];
        Some(StoredTensor { stored: entry.stored, shape: &entry.shape, bytes })
    }

    /// A copy of a tensor's bytes, for a runtime that keeps its own. Unlike [`Weights::get`] it survives a file that was cut off since
    /// it was opened: that is an error here, where touching the map would end the process.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let entry = self.entry(name)?;
        let mut bytes = vec![0; entry.end - entry.start];
        self.fill(entry.shard, entry.start, &mut bytes, name)?;
        Ok(bytes)
    }

    /// A copy of a tensor's values in single precision, made piece by piece: beside the values themselves it takes no memory, of the
    /// process or of the file's map. As with [`Weights::read`] a file that was cut off is an error.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        /// A multiple of every number's size.
        const PIECE: usize = 1 << 20;
        let entry = self.entry(name)?;
        let mut values = Vec::with_capacity((entry.end - entry.start) / entry.stored.size());
        let mut bytes = vec![0; PIECE.min(entry.end - entry.start)];
        for at in (entry.start..entry.end).step_by(PIECE) {
            let piece = &mut bytes[..PIECE.min(entry.end - at)];
            self.fill(entry.shard, at, piece, name)?;
            entry.stored.widen(piece, &mut values);
        }
        Ok(values)
    }

    /// Fills `to` with a tensor's bytes from its byte `from` on, for whoever reads a large one piece by piece. Errors as
    /// [`Weights::read`]; a part that is not in the tensor is one too.
    pub fn read_part(&self, name: &str, from: usize, to: &mut [u8]) -> Result<()> {
        let entry = self.entry(name)?;
        if from.checked_add(to.len()).is_none_or(|end| end > entry.end - entry.start) {
            let path = &self.shards[entry.shard].path;
            return Err(EngineError::weights(path, format!("the tensor {name} has no {} bytes from {from} on", to.len())));
        }
        self.fill(entry.shard, entry.start + from, to, name)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| EngineError::weights(self.path(), format!("the tensor {name} is missing")))
    }

    fn fill(&self, shard: usize, start: usize, to: &mut [u8], name: &str) -> Result<()> {
        let shard = &self.shards[shard];
        shard.copy(start, to).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                EngineError::weights(&shard.path, format!("the file was cut off after it was opened: the tensor {name} is not whole"))
            }
            _ => EngineError::Io { path: shard.path.clone(), source: e },
        })
    }

    /// The bytes of all floating-point tensors.
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| (entry.end - entry.start) as u64).sum()
    }

    /// The first file, for errors about what is missing.
    pub fn path(&self) -> &Path {
        self.shards.first().map_or(Path::new(""), |shard| &shard.path)
    }

    /// The parameter `name`; fails unless it is there with exactly this shape.
    pub fn param(&self, name: &str, shape: &[usize]) -> Result<Param> {
        let Some(entry) = self.entries.get(name) else {
            if self.has_other(name) {
                let stored = self.unread.get(name).map_or("whole numbers".to_owned(), |dtype| format!("{dtype:?}"));
                let reason = format!("the tensor {name} is stored as {stored}; F32, F16, BF16 and F64 are read");
                return Err(EngineError::model(self.path(), reason));
            }
            return Err(EngineError::weights(self.path(), format!("the tensor {name} {shape:?} is missing")));
        };
        if entry.shape != shape {
            let path = &self.shards[entry.shard].path;
            return Err(EngineError::weights(path, format!("the tensor {name} should be {shape:?} and is {:?}", entry.shape)));
        }
        Ok(Param { name: name.to_owned(), shape: shape.to_vec() })
    }
}

/// A tensor of [`Weights`] that is known to be there with this shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    name: String,
    shape: Vec<usize>,
}

impl Param {
    /// Its name in [`Weights`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its shape, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// The largest file that is mapped: a file with a hole may claim more than a process has addresses for. The weights of the largest
/// embedding models have some 30 GB.
const MOST_BYTES: u64 = 256 << 30;

#[allow(unsafe_code)]
pub(crate) fn map(path: &Path) -> Result<(File, memmap2::Mmap)> {
    let io = |source| EngineError::Io { path: path.to_path_buf(), source };
    // To open a pipe would wait for whoever writes to it.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(EngineError::model(path, "the weights are no file"));
    }
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MOST_BYTES {
        return Err(EngineError::weights(path, format!("the file has {length} bytes; at most {MOST_BYTES} are mapped")));
    }
    // A map of zero bytes is an error of its own on some systems.
    if length < 8 {
        return Err(EngineError::weights(path, "not a sound safetensors file: it is shorter than the 8 bytes of its header's length"));
    }
    // SAFETY: the map is read-only and private to `Weights`, whose contract says that the file is not changed in place meanwhile.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    Ok((file, map))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Tests write their inputs as they like.
mod tests;
