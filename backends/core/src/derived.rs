//! Weights that a backend derived from a model's own: made once, kept by the application as safetensors, mapped from then on.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};
use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::weights::{header, map};

/// What was derived, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DerivedKind {
    /// A word for file names, such as `onnx-int8`.
    pub name: &'static str,
    /// Raised when names, shapes or values change: a file of another version is another kind.
    pub version: u32,
}

/// Where the application keeps what a backend derives from one model's weights, so that it is derived once. A backend that is given none
/// derives each time.
pub trait Keep: Send + Sync {
    /// The file of this kind, if it is there and still is what was written. It is not changed in place while it is open.
    fn find(&self, kind: DerivedKind) -> Option<PathBuf>;

    /// Keeps what `write` writes, in place of what was there, and gives its place. `None` where nothing can be kept, which is no error: what
    /// was derived serves from memory then.
    fn keep(&self, kind: DerivedKind, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Option<PathBuf>;
}

/// A tensor to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewTensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape, outermost first.
    pub shape: &'a [usize],
    /// Its numbers, row-major; as many as the shape says.
    pub numbers: Numbers<'a>,
}

/// Numbers of a tensor.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// 8-bit integers.
    I8(&'a [i8]),
    /// 32-bit integers.
    I32(&'a [i32]),
    /// Single precision.
    F32(&'a [f32]),
}

impl Numbers<'_> {
    fn dtype(self) -> Dtype {
        match self {
            Numbers::I8(_) => Dtype::I8,
            Numbers::I32(_) => Dtype::I32,
            Numbers::F32(_) => Dtype::F32,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Numbers::I8(values) => values.len(),
            Numbers::I32(values) => size_of_val(values),
            Numbers::F32(values) => size_of_val(values),
        }
    }

    /// Little-endian, piece by piece: a copy of the whole would take as much memory again.
    fn write(self, out: &mut dyn Write) -> io::Result<()> {
        const PIECE: usize = 1 << 16;
        fn pieces<T: Copy, const N: usize>(out: &mut dyn Write, values: &[T], bytes: impl Fn(T) -> [u8; N]) -> io::Result<()> {
            values.chunks(PIECE).try_for_each(|piece| out.write_all(&piece.iter().flat_map(|&value| bytes(value)).collect::<Vec<u8>>()))
        }
        match self {
            Numbers::I8(values) => pieces(out, values, i8::to_le_bytes),
            Numbers::I32(values) => pieces(out, values, i32::to_le_bytes),
            Numbers::F32(values) => pieces(out, values, f32::to_le_bytes),
        }
    }
}

/// Writes a file of safetensors with these notes in its metadata. Tensors of wide numbers come first, so that each is aligned.
pub fn write_derived(out: &mut dyn Write, notes: &[(&str, &str)], tensors: &[NewTensor<'_>]) -> io::Result<()> {
    let mut ordered: Vec<&NewTensor<'_>> = tensors.iter().collect();
    ordered.sort_by_key(|tensor| matches!(tensor.numbers, Numbers::I8(_)));
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), notes.iter().map(|&(name, text)| (name.to_owned(), json!(text))).collect::<Map<_, _>>().into());
    let mut end = 0;
    for NewTensor { name, shape, numbers } in &ordered {
        let start = end;
        end += numbers.bytes();
        let entry = json!({ "dtype": numbers.dtype().to_string(), "shape": shape, "data_offsets": [start, end] });
        entries.insert((*name).to_owned(), entry);
    }
    let mut text = Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(size_of::<u64>()), b' ');
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(&text)?;
    ordered.into_iter().try_for_each(|tensor| tensor.numbers.write(out))
}

/// A file of derived weights, mapped: only what is touched takes memory. It must not be changed in place while it is open.
pub struct Derived {
    bytes: memmap2::Mmap,
    /// Where the tensors' data begins.
    data: usize,
    metadata: Metadata,
}

impl Derived {
    /// Opens a file and checks its header, as that of a model's own weights is.
    pub fn open(path: &Path) -> Result<Derived> {
        let (_, bytes) = map(path)?;
        let (header, metadata) = header(&bytes, path)?;
        Ok(Derived { bytes, data: header + size_of::<u64>(), metadata })
    }

    /// A note of its metadata.
    pub fn note(&self, name: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(name).map(String::as_str)
    }

    fn tensor(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Option<&[u8]> {
        let info = self.metadata.info(name).filter(|info| info.dtype == dtype && info.shape == shape)?;
        self.bytes.get(self.data + info.data_offsets.0..self.data + info.data_offsets.1)
    }

    /// A tensor of 8-bit integers where it lies; `None` if there is none of this name and shape.
    #[allow(unsafe_code)]
    pub fn i8(&self, name: &str, shape: &[usize]) -> Option<&[i8]> {
        let bytes = self.tensor(name, Dtype::I8, shape)?;
        // SAFETY: as many numbers as bytes, of the same size and alignment; every bit pattern is one.
        Some(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) })
    }

    /// A copy of a tensor of 32-bit integers; `None` if there is none of this name and shape.
    pub fn i32(&self, name: &str, shape: &[usize]) -> Option<Vec<i32>> {
        let (numbers, _) = self.tensor(name, Dtype::I32, shape)?.as_chunks();
        Some(numbers.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect())
    }

    /// A copy of a tensor in single precision; `None` if there is none of this name and shape.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let (numbers, _) = self.tensor(name, Dtype::F32, shape)?.as_chunks();
        Some(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Tests write their inputs as they like.
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    fn written() -> Vec<u8> {
        let tensors = [
            NewTensor { name: "a", shape: &[2, 3], numbers: Numbers::I8(&[1, -2, 3, -4, 5, -128]) },
            NewTensor { name: "a sums", shape: &[3], numbers: Numbers::I32(&[-7, 0, i32::MAX]) },
            NewTensor { name: "a scales", shape: &[3], numbers: Numbers::F32(&[0.5, f32::NAN, -0.0]) },
        ];
        let mut bytes = Vec::new();
        write_derived(&mut bytes, &[("format", "of a test")], &tensors).expect("written");
        bytes
    }

    /// The format's own library reads it, and finds every tensor aligned.
    #[test]
    fn what_is_written_is_safetensors() {
        let bytes = written();
        let read = SafeTensors::deserialize(&bytes).expect("safetensors");
        let integers = read.tensor("a").expect("integers");
        assert_eq!((integers.dtype(), integers.shape(), integers.data()), (Dtype::I8, &[2, 3][..], &[1, 254, 3, 252, 5, 128][..]));
        let sums = read.tensor("a sums").expect("sums");
        assert_eq!((sums.dtype(), sums.data().len()), (Dtype::I32, 12));
        for name in ["a sums", "a scales"] {
            let offset = read.tensor(name).expect(name).data().as_ptr() as usize - bytes.as_ptr() as usize;
            assert_eq!(offset % 4, 0, "{name} lies at {offset}");
        }
    }

    #[test]
    fn what_was_kept_comes_back_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept.safetensors");
        std::fs::write(&path, written()).expect("write");
        let derived = Derived::open(&path).expect("derived");
        assert_eq!((derived.note("format"), derived.note("other")), (Some("of a test"), None));
        assert_eq!(derived.i8("a", &[2, 3]), Some(&[1, -2, 3, -4, 5, -128][..]));
        assert_eq!(derived.i32("a sums", &[3]), Some(vec![-7, 0, i32::MAX]));
        let scales = derived.f32("a scales", &[3]).expect("scales");
        assert_eq!(scales.iter().map(|scale| scale.to_bits()).collect::<Vec<_>>(), [0.5, f32::NAN, -0.0].map(f32::to_bits));
        assert!(derived.i8("a", &[3, 2]).is_none() && derived.i8("b", &[2, 3]).is_none());
        assert!(derived.f32("a sums", &[3]).is_none() && derived.i32("a scales", &[3]).is_none());
        std::fs::write(&path, &written()[..40]).expect("write");
        assert!(Derived::open(&path).is_err());
    }
}
