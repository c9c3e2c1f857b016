//! A trained projection and its safetensors file.
//!
//! The file holds F32 tensors `w1.weight [hidden, input]`, `w1.bias [hidden]`, `w2.weight [output, hidden]`, `w2.bias [output]`
//! (for a linear projection only `w1.weight [output, input]` and `w1.bias [output]`) and the metadata `architecture`, `input_dim`,
//! `hidden_dim` (not for a linear one), `output_dim`, `created_by`, and `sides=query` if documents stay raw. Sizes are read from the shapes and checked against the metadata.
//! <https://huggingface.co/docs/safetensors> is the format.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ndarray::{Array1, Array2, ArrayView2};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use super::config::{Architecture, Sides};
use super::network::{Layer, Network};
use super::vectors::normalizer;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::recipe::MAX_PROJECTION_NUMBERS;

/// A larger projection file is refused before it is read.
pub const MAX_PROJECTION_BYTES: u64 = 512 << 20;
// Whatever a recipe may ask for can be read again, with its header.
const _: () = assert!((size_of::<f32>() * MAX_PROJECTION_NUMBERS) as u64 + (1 << 20) < MAX_PROJECTION_BYTES);
/// Rows that are projected at once; bounds the memory of the hidden layer.
const BLOCK: usize = 1024;
const CREATED_BY: &str = "patina-oxidize";
const MEND: &str = "train it again with `patina oxidize`";

/// A map from the model's vectors to vectors that are compared by cosine.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    network: Network<f32>,
    sides: Sides,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Metadata(BTreeMap<&'static str, String>),
    Tensor { dtype: &'static str, shape: Vec<usize>, data_offsets: [usize; 2] },
}

impl Projection {
    pub(super) fn from_network(network: Network<f32>, sides: Sides) -> Projection {
        Projection { network, sides }
    }

    /// What it is made for: both sides of a comparison, or questions that are compared with raw documents.
    pub fn sides(&self) -> Sides {
        self.sides
    }

    /// The architecture.
    pub fn architecture(&self) -> Architecture {
        self.network.architecture
    }

    /// Numbers of a vector that goes in.
    pub fn input_dim(&self) -> usize {
        self.network.input()
    }

    /// Numbers of the hidden layer, if there is one.
    pub fn hidden_dim(&self) -> Option<usize> {
        self.architecture().has_hidden().then(|| self.network.layers[0].weight.nrows())
    }

    /// Numbers of a vector that comes out.
    pub fn output_dim(&self) -> usize {
        self.network.output()
    }

    /// The projection of one vector of the model, L2-normalised. The vector is normalised first. Fails if it has not
    /// [`input_dim`](Projection::input_dim) finite numbers.
    pub fn apply(&self, vector: &[f32]) -> Result<Vec<f32>> {
        if vector.len() != self.input_dim() {
            return Err(self.wrong_size(vector.len()));
        }
        self.apply_rows(vector)
    }

    /// The projections of vectors given row-major, `[rows, input]` to `[rows, output]`; as [`apply`](Projection::apply).
    pub fn apply_rows(&self, values: &[f32]) -> Result<Vec<f32>> {
        let input = self.input_dim();
        if !values.len().is_multiple_of(input) {
            return Err(self.wrong_size(values.len()));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::corrupt(format!("the vector in row {} is not finite", at / input)));
        }
        let mut out = Vec::with_capacity(values.len() / input * self.output_dim());
        for block in values.chunks(BLOCK * input) {
            let mut rows = block.to_vec();
            for row in rows.chunks_exact_mut(input) {
                let scale = normalizer(row);
                row.iter_mut().for_each(|value| *value *= scale);
            }
            let rows = ArrayView2::from_shape((rows.len() / input, input), &rows).map_err(|e| Error::bug(e.to_string()))?;
            out.extend(self.network.forward(rows).output.iter());
        }
        Ok(out)
    }

    /// The projections of rows that are normalised already, `[rows, input]` to `[rows, output]`.
    pub(super) fn forward(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        self.network.forward(rows).output
    }

    /// The bytes of the file; equal projections have equal bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut metadata = BTreeMap::from([
            ("architecture", self.architecture().name().to_owned()),
            ("created_by", CREATED_BY.to_owned()),
            ("input_dim", self.input_dim().to_string()),
            ("output_dim", self.output_dim().to_string()),
        ]);
        if let Some(hidden) = self.hidden_dim() {
            metadata.insert("hidden_dim", hidden.to_string());
        }
        if self.sides == Sides::Query {
            metadata.insert("sides", self.sides.name().to_owned());
        }
        let mut header = BTreeMap::from([("__metadata__".to_owned(), Entry::Metadata(metadata))]);
        let mut data = Vec::new();
        for (at, layer) in self.network.layers.iter().enumerate() {
            let parts: [(&str, Vec<usize>, Vec<f32>); 2] = [
                ("bias", layer.bias.shape().to_vec(), layer.bias.iter().copied().collect()),
                ("weight", layer.weight.shape().to_vec(), layer.weight.iter().copied().collect()),
            ];
            for (part, shape, values) in parts {
                let start = data.len();
                data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                header.insert(format!("w{}.{part}", at + 1), Entry::Tensor { dtype: "F32", shape, data_offsets: [start, data.len()] });
            }
        }
        let mut text = serde_json::to_vec(&header).map_err(|e| Error::bug(format!("the header cannot be written: {e}")))?;
        // The format wants the tensors on an eight-byte boundary.
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut text);
        bytes.append(&mut data);
        Ok(bytes)
    }

    /// Writes the file atomically. Fails if a weight is not finite, or if [`load`](Projection::load) would refuse the file for its size:
    /// nothing is written then.
    pub fn save(&self, path: &Path) -> Result<()> {
        let numbers: usize = self.network.layers.iter().map(|layer| layer.weight.len() + layer.bias.len()).sum();
        if numbers > MAX_PROJECTION_NUMBERS {
            let message = format!("the projection has {numbers} numbers; at most {MAX_PROJECTION_NUMBERS} are saved");
            return Err(Error::failed(message).at(path).hint("write smaller `layers`"));
        }
        let finite = |layer: &Layer<f32>| layer.weight.iter().chain(&layer.bias).all(|value| value.is_finite());
        if !self.network.layers.iter().all(finite) {
            return Err(Error::failed("the projection has weights that are not finite and is not saved").at(path));
        }
        let bytes = self.to_bytes()?;
        fs::write_atomic(path, |out| out.write_all(&bytes))
    }

    /// Reads a projection file. [`ErrorKind::Missing`] if it is not there; [`ErrorKind::Corrupt`] with what was expected and found
    /// if it is not exactly what [`save`](Projection::save) writes.
    pub fn load(path: &Path) -> Result<Projection> {
        let size = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::missing("there is no such projection").at(path).hint(MEND));
            }
            Err(e) => return Err(Error::io("read", path, e)),
        };
        if size > MAX_PROJECTION_BYTES {
            let message = format!("the projection file has {size} bytes, expected at most {MAX_PROJECTION_BYTES}");
            return Err(Error::corrupt(message).at(path).hint(MEND));
        }
        let bytes = fs::read_limited(path, MAX_PROJECTION_BYTES)?;
        Projection::from_bytes(&bytes).map_err(|reason| Error::new(ErrorKind::Corrupt, reason).at(path).hint(MEND))
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<Projection, String> {
        let broken = |e| format!("the file is no safetensors file: {e}");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        let empty = HashMap::new();
        let metadata = header.metadata().as_ref().unwrap_or(&empty);
        let text = |key: &str| metadata.get(key).map(String::as_str).ok_or_else(|| format!("the metadata has no `{key}`"));
        let name = text("architecture")?;
        let architecture = Architecture::parse(name)
            .ok_or_else(|| format!("the architecture is {name:?}, expected \"linear\", \"residual\", \"low-rank\" or \"mlp-2layer\""))?;
        let count = if architecture.has_hidden() { 2 } else { 1 };
        let mut found: Vec<&str> = file.names();
        found.sort_unstable();
        let expected = ["w1.bias", "w1.weight", "w2.bias", "w2.weight"];
        if found != expected[..2 * count] {
            return Err(format!("the tensors are {found:?}, expected {:?}", &expected[..2 * count]));
        }
        let layers: Vec<Layer<f32>> = (1..=count).map(|number| read_layer(&file, number)).collect::<std::result::Result<_, _>>()?;
        if let [first, second] = &layers[..]
            && second.weight.ncols() != first.weight.nrows()
        {
            return Err(format!("w2.weight takes {} numbers, but w1.weight gives {}", second.weight.ncols(), first.weight.nrows()));
        }
        let sides = match metadata.get("sides").map(String::as_str) {
            None => Sides::Both,
            Some(word) if word == Sides::Query.name() => Sides::Query,
            Some(word) => return Err(format!("the metadata says `sides` is {word:?}, expected \"query\" or nothing")),
        };
        let projection = Projection { network: Network { architecture, layers }, sides };
        for (key, size) in [
            ("input_dim", Some(projection.input_dim())),
            ("hidden_dim", projection.hidden_dim()),
            ("output_dim", Some(projection.output_dim())),
        ] {
            if let Some(size) = size
                && text(key)? != size.to_string()
            {
                return Err(format!("the metadata says `{key}` is {:?}, the tensors' shapes say {size}", text(key)?));
            }
        }
        if architecture.adds_input() && projection.input_dim() != projection.output_dim() {
            return Err(format!("a {name} projection from {} to {} numbers", projection.input_dim(), projection.output_dim()));
        }
        if sides == Sides::Query && projection.input_dim() != projection.output_dim() {
            return Err(format!("a projection of questions alone from {} to {} numbers", projection.input_dim(), projection.output_dim()));
        }
        Ok(projection)
    }

    fn wrong_size(&self, found: usize) -> Error {
        Error::bug(format!("the projection takes vectors of {} numbers, found {found}", self.input_dim()))
    }
}

fn read_layer(file: &SafeTensors<'_>, number: usize) -> std::result::Result<Layer<f32>, String> {
    let read = |part: &str, rank: usize| {
        let name = format!("w{number}.{part}");
        let tensor = file.tensor(&name).map_err(|e| format!("the tensor {name} cannot be read: {e}"))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("the tensor {name} has type {:?}, expected F32", tensor.dtype()));
        }
        let shape = tensor.shape().to_vec();
        if shape.len() != rank || shape.contains(&0) {
            return Err(format!("the tensor {name} has shape {shape:?}, expected {rank} sizes above zero"));
        }
        let values: Vec<f32> =
            tensor.data().as_chunks().0.iter().map(|bytes: &[u8; size_of::<f32>()]| f32::from_le_bytes(*bytes)).collect();
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!("the tensor {name} holds {} at position {at}, expected finite numbers", values[at])),
            None => Ok((shape, values)),
        }
    };
    let (shape, values) = read("weight", 2)?;
    let weight = Array2::from_shape_vec((shape[0], shape[1]), values).map_err(|e| format!("w{number}.weight: {e}"))?;
    let (shape, values) = read("bias", 1)?;
    if shape[0] != weight.nrows() {
        return Err(format!("the tensor w{number}.bias has shape {shape:?}, expected [{}] as w{number}.weight", weight.nrows()));
    }
    Ok(Layer { weight, bias: Array1::from_vec(values) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::random::SplitMix64;

    fn sample(architecture: Architecture, input: usize, hidden: usize, output: usize) -> Projection {
        let mut random = SplitMix64::new(11);
        let mut layer = |out: usize, input: usize| Layer {
            weight: Array2::from_shape_fn((out, input), |_| random.normal() as f32),
            bias: Array1::from_shape_fn(out, |_| random.normal() as f32),
        };
        let layers = if architecture.has_hidden() { vec![layer(hidden, input), layer(output, hidden)] } else { vec![layer(output, input)] };
        Projection { network: Network { architecture, layers }, sides: Sides::Both }
    }

    fn shapes() -> [Projection; 4] {
        [
            sample(Architecture::Linear, 5, 0, 3),
            sample(Architecture::Residual, 5, 7, 5),
            sample(Architecture::LowRank, 5, 2, 5),
            sample(Architecture::Mlp, 5, 7, 3),
        ]
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for projection in shapes() {
            let path = folder.path().join(projection.architecture().name());
            projection.save(&path).expect("saved");
            let loaded = Projection::load(&path).expect("loaded");
            assert_eq!(loaded, projection);
            assert_eq!(loaded.to_bytes().expect("bytes"), std::fs::read(&path).expect("file"));
        }
    }

    #[test]
    fn the_file_is_as_the_design_says() {
        let bytes = sample(Architecture::Mlp, 5, 7, 3).to_bytes().expect("bytes");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        assert_eq!((8 + length) % 8, 0);
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
        let metadata = serde_json::json!({"architecture": "mlp-2layer", "input_dim": "5", "hidden_dim": "7", "output_dim": "3",
            "created_by": "patina-oxidize"});
        assert_eq!(header["__metadata__"], metadata);
        for (name, shape) in [("w1.weight", vec![7, 5]), ("w1.bias", vec![7]), ("w2.weight", vec![3, 7]), ("w2.bias", vec![3])] {
            assert_eq!(header[name]["shape"], serde_json::json!(shape), "{name}");
            assert_eq!(header[name]["dtype"], "F32", "{name}");
        }
    }

    #[test]
    fn apply_is_the_formula() {
        let input = [0.5f32, -1.0, 2.0, 0.25, -3.0];
        let length = input.iter().map(|v| v * v).sum::<f32>().sqrt();
        let x: Vec<f32> = input.iter().map(|v| v / length).collect();
        for projection in shapes() {
            let affine = |layer: &Layer<f32>, x: &[f32]| -> Vec<f32> {
                let rows = layer.weight.rows();
                rows.into_iter().zip(&layer.bias).map(|(row, b)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b).collect()
            };
            let layers = &projection.network.layers;
            let mut y = affine(&layers[0], &x);
            if projection.architecture().has_hidden() {
                let floor = if projection.architecture() == Architecture::LowRank { f32::NEG_INFINITY } else { 0.0 };
                y = affine(&layers[1], &y.iter().map(|v| v.max(floor)).collect::<Vec<_>>());
            }
            if matches!(projection.architecture(), Architecture::Residual | Architecture::LowRank) {
                y.iter_mut().zip(&x).for_each(|(y, x)| *y += x);
            }
            let norm = y.iter().map(|v| v * v).sum::<f32>().sqrt();
            let found = projection.apply(&input).expect("applied");
            assert_eq!(found.len(), projection.output_dim());
            for (found, y) in found.iter().zip(&y) {
                assert!((found - y / norm).abs() < 1e-6, "{:?}", projection.architecture());
            }
            let twice = projection.apply_rows(&[input, input].concat()).expect("applied");
            assert_eq!(twice, [found.clone(), found].concat());
            assert_eq!(projection.apply(&input[1..]).expect_err("short").kind(), ErrorKind::Bug);
            assert_eq!(projection.apply(&[]).expect_err("empty").kind(), ErrorKind::Bug);
            assert_eq!(projection.apply(&[f32::NAN; 5]).expect_err("NaN").kind(), ErrorKind::Corrupt);
        }
    }

    /// Changes the header's text and keeps its length field right.
    fn edit(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let text = std::str::from_utf8(&bytes[8..8 + length]).expect("text");
        assert!(text.contains(from), "{text}");
        let text = text.replacen(from, to, 1);
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &bytes[8 + length..]].concat()
    }

    #[test]
    fn hostile_files_are_refused_and_say_why() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("p.safetensors");
        let mlp = sample(Architecture::Mlp, 5, 7, 3);
        let good = mlp.to_bytes().expect("bytes");
        let mut nan = mlp.clone();
        nan.network.layers[1].weight[[2, 4]] = f32::NAN;
        let mut narrow = mlp.clone();
        narrow.network.layers[1].weight = Array2::ones((3, 6));
        let mut bias = mlp.clone();
        bias.network.layers[0].bias = Array1::ones(6);
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("empty", vec![], "no safetensors file"),
            ("truncated", good[..good.len() - 4].to_vec(), "no safetensors file"),
            ("longer", [&good[..], &[0; 4]].concat(), "no safetensors file"),
            ("huge header", [&u64::MAX.to_le_bytes()[..], &good[8..]].concat(), "no safetensors file"),
            ("header beyond the file", [&(1u64 << 20).to_le_bytes()[..], &good[8..]].concat(), "no safetensors file"),
            ("no JSON", [&8u64.to_le_bytes()[..], b"notjson!"].concat(), "no safetensors file"),
            ("overlap", edit(&good, "[28,168]", "[24,164]"), "no safetensors file"),
            ("wrong type", edit(&good, "F32", "I32"), "type I32, expected F32"),
            ("wrong shape", edit(&good, "[7,5]", "[5,7]"), "shape [7], expected [5]"),
            ("flat weight", edit(&good, "[7,5]", "[35]"), "shape [35], expected 2 sizes"),
            ("layers do not fit", narrow.to_bytes().expect("bytes"), "takes 6 numbers, but w1.weight gives 7"),
            ("short bias", bias.to_bytes().expect("bytes"), "w1.bias has shape [6], expected [7]"),
            ("wrong metadata", edit(&good, "\"hidden_dim\":\"7\"", "\"hidden_dim\":\"8\""), "`hidden_dim` is \"8\""),
            ("no metadata", edit(&good, "__metadata__", "__metadate__"), "no safetensors file"),
            ("no size", edit(&good, "input_dim", "input_dem"), "no `input_dim`"),
            ("unknown architecture", edit(&good, "mlp-2layer", "mlp-3layer"), "\"mlp-3layer\", expected"),
            ("other architecture", edit(&good, "mlp-2layer", "linear"), "the tensors are"),
            ("residual that changes size", edit(&good, "mlp-2layer", "residual"), "a residual projection from 5 to 3"),
            ("other tensor", edit(&good, "w2.bias", "w3.bias"), "\"w3.bias\"], expected"),
            ("NaN", nan.to_bytes().expect("bytes"), "w2.weight holds NaN at position 18"),
        ];
        for (fault, bytes, reason) in cases {
            fs::write_atomic(&path, |out| out.write_all(&bytes)).expect("written");
            let error = Projection::load(&path).expect_err(fault);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{fault}");
            assert!(error.message().contains(reason), "{fault}: {error}");
            assert_eq!(error.place().map(|place| place.path.as_path()), Some(path.as_path()), "{fault}");
            assert!(error.hint_text().is_some(), "{fault}");
        }
        assert_eq!(nan.save(&path).expect_err("not finite").kind(), ErrorKind::Failed);
        assert_eq!(Projection::load(&folder.path().join("none")).expect_err("missing").kind(), ErrorKind::Missing);
    }

    #[test]
    fn what_could_not_be_read_again_is_not_saved() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("p.safetensors");
        // Zeros that nobody writes to take no memory.
        let side = 11_500;
        let layer = Layer { weight: Array2::zeros((side, side)), bias: Array1::zeros(side) };
        let large = Projection { network: Network { architecture: Architecture::Linear, layers: vec![layer] }, sides: Sides::Both };
        let error = large.save(&path).expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.message().contains("132261500 numbers") && !path.exists(), "{error}");
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("p.safetensors");
        fs::write_atomic(&path, |out| out.write_all(b"x")).expect("written");
        // Sparse: it takes no room.
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
        file.set_len(MAX_PROJECTION_BYTES + 1).expect("made long");
        assert_eq!(Projection::load(&path).expect_err("too large").kind(), ErrorKind::Corrupt);
    }
}
