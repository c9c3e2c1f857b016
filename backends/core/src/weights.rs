//! The model's safetensors: validated before anything reads them, mapped into memory, one file or several shards.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors};

use crate::error::{EngineError, Result};
use crate::folder::{Disk, WeightFiles};

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
        if self.stored == StoredType::F32 { aligned_f32(self.bytes) } else { None }
    }
}

#[cfg(target_endian = "little")]
#[allow(unsafe_code)]
fn aligned_f32(bytes: &[u8]) -> Option<&[f32]> {
    // SAFETY: every bit pattern is an f32, and `align_to` only puts aligned, whole values into the middle.
    let (head, values, tail) = unsafe { bytes.align_to::<f32>() };
    (head.is_empty() && tail.is_empty()).then_some(values)
}

#[cfg(target_endian = "big")]
fn aligned_f32(_: &[u8]) -> Option<&[f32]> {
    None
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
    unread: BTreeSet<String>,
}

impl Weights {
    /// The weights of a model folder: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub fn open(folder: &Path) -> Result<Weights> {
        let mut weights = Weights { shards: Vec::new(), entries: BTreeMap::new(), integers: BTreeMap::new(), unread: BTreeSet::new() };
        weights.add_folder(folder, "")?;
        Ok(weights)
    }

    /// Adds the weights of the folder `before` (empty, or with a slash at its end) inside `folder`, such as a dense head's; its name
    /// comes before the tensors'.
    pub(crate) fn add_folder(&mut self, folder: &Path, before: &str) -> Result<()> {
        let found = WeightFiles::find(&mut Disk(folder), before)?;
        for name in &found.tensors {
            self.add_file(&folder.join(name), before)?;
        }
        let Some((index, promised)) = found.index else { return Ok(()) };
        let is_there = |name: &String| self.entries.contains_key(name) || self.has_other(name);
        match promised.iter().find(|name| !is_there(&format!("{before}{name}"))) {
            Some(name) => Err(EngineError::weights(folder.join(index), format!("the tensor {name} is in none of the shards"))),
            None => Ok(()),
        }
    }

    fn add_file(&mut self, path: &Path, prefix: &str) -> Result<()> {
        let (file, bytes) = map(path)?;
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| EngineError::weights(path, format!("not a sound safetensors file: {e}")))?;
        let shard = self.shards.len();
        for (name, info) in metadata.tensors() {
            let stored = match info.dtype {
                Dtype::F32 => StoredType::F32,
                Dtype::F16 => StoredType::F16,
                Dtype::BF16 => StoredType::Bf16,
                Dtype::F64 => StoredType::F64,
                Dtype::I32 | Dtype::I64 => {
                    let ((start, end), size) = (info.data_offsets, if info.dtype == Dtype::I32 { 4 } else { 8 });
                    self.integers.insert(format!("{prefix}{name}"), Integers { shard, size, start, end });
                    continue;
                }
                // An architecture that asks for one is told that it is not there.
                _ => {
                    self.unread.insert(format!("{prefix}{name}"));
                    continue;
                }
            };
            let (start, end) = info.data_offsets;
            let entry = Entry { shard, stored, shape: info.shape.clone(), start, end };
            if self.entries.insert(format!("{prefix}{name}"), entry).is_some() {
                return Err(EngineError::weights(path, format!("the tensor {name} is in two shards")));
            }
        }
        self.shards.push(Shard { path: path.to_path_buf(), file, bytes, data: header + 8 });
        Ok(())
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
        self.integers.contains_key(name) || self.unread.contains(name)
    }

    /// The shape of a floating-point tensor, outermost first.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| &entry.shape[..])
    }

    /// A tensor of whole numbers, row-major; `None` if there is none of this name.
    pub(crate) fn integers(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(&Integers { shard, size, start, end }) = self.integers.get(name) else { return Ok(None) };
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

#[allow(unsafe_code)]
fn map(path: &Path) -> Result<(File, memmap2::Mmap)> {
    let io = |source| EngineError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    // A map of zero bytes is an error of its own on some systems.
    if file.metadata().map_err(io)?.len() < 8 {
        return Err(EngineError::weights(path, "not a sound safetensors file: it is shorter than the 8 bytes of its header's length"));
    }
    // SAFETY: the map is read-only and private to `Weights`, whose contract says that the file is not changed in place meanwhile.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    Ok((file, map))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Tests write their inputs as they like.
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> (tempfile::TempDir, Result<Weights>) {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        raw(&bytes)
    }

    fn raw(bytes: &[u8]) -> (tempfile::TempDir, Result<Weights>) {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("model.safetensors"), bytes).expect("write");
        let weights = Weights::open(folder.path());
        (folder, weights)
    }

    #[test]
    fn values_of_every_stored_type_are_read_as_f32() {
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]},"c":{"dtype":"F16","shape":[1],"data_offsets":[10,12]}}"#;
        let mut data = Vec::new();
        data.extend(1.5f32.to_le_bytes());
        data.extend((-2.0f32).to_le_bytes());
        data.extend(bf16::from_f32(3.0).to_le_bytes());
        data.extend(f16::from_f32(0.5).to_le_bytes());
        let (_folder, weights) = file(header, &data);
        let weights = weights.expect("sound");
        assert_eq!(&*weights.get("a").expect("a").f32(), [1.5, -2.0]);
        assert_eq!(&*weights.get("b").expect("b").f32(), [3.0]);
        assert_eq!(&*weights.get("c").expect("c").f32(), [0.5]);
        assert!(weights.get("d").is_none());
        let error = weights.param("a", &[3]).expect_err("shape");
        assert_eq!(error.to_string(), "the tensor a should be [3] and is [2]");
        assert_eq!(weights.param("z", &[3]).expect_err("name").to_string(), "the tensor z [3] is missing");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_cut_off_after_it_was_opened_is_an_error_to_read() {
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let (folder, weights) = file(header, &[1; 8]);
        let weights = weights.expect("sound");
        assert_eq!(weights.read("a").expect("whole"), [1; 8]);
        let mut part = [0; 3];
        weights.read_part("a", 5, &mut part).expect("the end");
        assert_eq!(part, [1; 3]);
        for beyond in [6, usize::MAX] {
            assert!(matches!(weights.read_part("a", beyond, &mut part), Err(EngineError::Weights { .. })));
        }
        let path = folder.path().join("model.safetensors");
        let length = std::fs::metadata(&path).expect("the file").len();
        std::fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(length - 1)).expect("cut");
        assert!(matches!(weights.read("a"), Err(EngineError::Weights { .. })));
        assert!(matches!(weights.read("b"), Err(EngineError::Weights { .. })));
    }

    #[test]
    fn hostile_files_are_refused_before_a_tensor_is_read() {
        let ok = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert!(file(ok, &[0; 8]).1.is_ok());
        let long = u64::MAX.to_le_bytes();
        let cases: [(&str, Result<Weights>); 10] = [
            ("empty", raw(&[]).1),
            ("header length beyond the file", raw(&[&long[..], &[b'{'; 8]].concat()).1),
            ("no JSON", file("not json", &[]).1),
            ("truncated data", file(ok, &[0; 7]).1),
            ("bytes after the data", file(ok, &[0; 9]).1),
            ("offsets beyond the data", file(&ok.replace("[0,8]", "[8,16]"), &[0; 8]).1),
            ("offsets reversed", file(&ok.replace("[0,8]", "[8,0]"), &[0; 8]).1),
            ("shape larger than the data", file(&ok.replace("[2]", "[3]"), &[0; 8]).1),
            ("shape overflows", file(&ok.replace("[2]", "[4611686018427387904,4611686018427387904]"), &[0; 8]).1),
            (
                "overlap",
                file(
                    r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
                    &[0; 12],
                )
                .1,
            ),
        ];
        for (name, weights) in cases {
            match weights {
                Err(EngineError::Weights { .. }) => {}
                Err(other) => panic!("{name}: {other:?}"),
                Ok(_) => panic!("{name}: accepted"),
            }
        }
    }

    #[test]
    fn shards_are_joined_and_may_not_leave_the_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let shard = |name: &str, tensor: &str| {
            let header = format!(r#"{{"{tensor}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &1f32.to_le_bytes()].concat();
            std::fs::write(folder.path().join(name), bytes).expect("write");
        };
        shard("one.safetensors", "a");
        shard("two.safetensors", "b");
        let index = folder.path().join("model.safetensors.index.json");
        std::fs::write(&index, r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#).expect("write");
        let weights = Weights::open(folder.path()).expect("two shards");
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
        std::fs::write(&index, r#"{"weight_map":{"a":"one.safetensors","c":"two.safetensors"}}"#).expect("write");
        assert!(matches!(Weights::open(folder.path()), Err(EngineError::Weights { .. })));
        std::fs::write(&index, r#"{"weight_map":{"a":"../one.safetensors"}}"#).expect("write");
        assert!(matches!(Weights::open(folder.path()), Err(EngineError::Damaged { .. })));
    }
}
