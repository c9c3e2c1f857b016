//! Files of other formats that are offered as safetensors, told by their first bytes: to say what a file is helps more than to say that
//! it is broken.

/// A format that is no safetensors.
pub(crate) struct Format {
    /// With its article.
    pub what: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

const PICKLE: &str = "a pickle can run code and is never read: load it in Python and save it as safetensors";
const EXPORTED: &str = "Patina makes its own graph from the model's safetensors: get that file";
const AGAIN: &str = "get the model's files again";

/// The format of bytes that are no sound safetensors, if it is one that is often met. Only for those: a header of the right length can
/// begin with any bytes.
pub(crate) fn format(bytes: &[u8]) -> Option<Format> {
    const STARTS: &[(&[u8], &str, &str)] = &[
        (b"PK\x03\x04", "a zip archive, as PyTorch's pickles are", PICKLE),
        (b"\x80\x02", "a pickle", PICKLE),
        (b"\x80\x03", "a pickle", PICKLE),
        (b"\x80\x04", "a pickle", PICKLE),
        (b"\x80\x05", "a pickle", PICKLE),
        (b"GGUF", "a GGUF file", "GGUF is not read: get the model's safetensors"),
        (b"ggml", "a GGML file", "GGML is not read: get the model's safetensors"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as TensorFlow's and Keras's weights are", "HDF5 is not read: get the model's safetensors"),
        (b"\x93NUMPY", "a NumPy array", "get the model's safetensors"),
        (b"\x1f\x8b", "a gzip archive", "unpack it"),
        (b"version https://git-lfs", "a pointer of Git LFS and not the file itself", "run `git lfs pull` in the model's folder"),
        (b"<!DOCTYPE", "a web page", AGAIN),
        (b"<!doctype", "a web page", AGAIN),
        (b"<html", "a web page", AGAIN),
        (b"<?xml", "an XML document, as a server's error is", AGAIN),
        (b"{", "JSON text", AGAIN),
    ];
    if let Some(&(_, what, hint)) = STARTS.iter().find(|(start, ..)| bytes.starts_with(start)) {
        return Some(Format { what, hint });
    }
    // ONNX has no signature: a message of Protocol Buffers that begins with a small `ir_version` (field 1, a number) and then a text or a
    // message: `producer_name` (2), `producer_version` (3), `domain` (4), `doc_string` (6), `graph` (7), `opset_import` (8).
    match bytes {
        [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x32 | 0x3a | 0x42, ..] => Some(Format { what: "an ONNX file", hint: EXPORTED }),
        _ => None,
    }
}
