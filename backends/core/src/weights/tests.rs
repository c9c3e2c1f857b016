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

/// A safetensors file with this header and these bytes, whatever they say.
fn bytes(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// A small golden file: 12 kilobytes, a table and a map of ids.
fn golden() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/golden/static-model2vec-mapped/model.safetensors");
    std::fs::read(path).expect("golden model")
}

/// Refused, within the two seconds that anything hostile may take, with a message that is no longer than a message should be.
fn refused(name: &str, file: &[u8]) -> EngineError {
    let begun = std::time::Instant::now();
    let error = Weights::check(file).expect_err(name);
    assert!(begun.elapsed().as_secs() < 2, "{name}: {:?}", begun.elapsed());
    assert!(matches!(error, EngineError::Weights { .. } | EngineError::Foreign { .. }), "{name}: {error:?}");
    assert!(error.message().len() < 3000, "{name}: a message of {} bytes", error.message().len());
    error
}

#[test]
fn a_file_that_is_cut_at_any_byte_is_refused() {
    let whole = golden();
    assert!(Weights::check(&whole).is_ok());
    for end in 0..whole.len() {
        refused(&format!("cut at {end}"), &whole[..end]);
    }
    refused("a byte too many", &[&whole[..], &[0]].concat());
}

#[test]
fn a_header_with_any_byte_changed_is_refused_or_sound() {
    let whole = golden();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    let mut sound = 0;
    for at in 0..header {
        for with in [0u8, b'"', b'9', b'[', 0xff] {
            let mut changed = whole.clone();
            changed[at] = with;
            // A name may have changed, and then the file is as sound as before.
            sound += u32::from(Weights::check(&changed).is_ok());
        }
    }
    assert!(sound > 0 && sound < 5 * header as u32 / 2, "{sound} of {} are sound", 5 * header);
}

#[test]
fn lengths_of_the_header_that_lie_are_refused() {
    let whole = golden();
    let length = u64::from_le_bytes(whole[..8].try_into().expect("eight bytes"));
    for lie in
        [0, 1, length - 1, length + 1, whole.len() as u64, 1 << 24, (1 << 24) + 1, 100_000_000, 1 << 32, 1 << 63, u64::MAX - 7, u64::MAX]
    {
        let mut changed = whole.clone();
        changed[..8].copy_from_slice(&lie.to_le_bytes());
        refused(&format!("a header of {lie} bytes"), &changed);
    }
}

#[test]
fn a_header_of_100_megabytes_is_refused_unread() {
    // The format allows it, and it would parse: one name of nearly 100 MB.
    let header = format!(r#"{{"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}"#, "a".repeat(99_000_000));
    let error = refused("100 MB", &bytes(&header, &[]));
    assert!(error.message().contains("the most that are read are 16777216"), "{error}");
}

fn tensor(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

#[test]
fn headers_that_lie_are_refused() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let a = tensor("F32", "[2]", "[0,8]");
    let one = |dtype: &str, shape: &str, offsets: &str| format!(r#"{{"a":{}}}"#, tensor(dtype, shape, offsets));
    let cases = [
        ("offsets that overlap", format!(r#"{{"a":{a},"b":{}}}"#, tensor("F32", "[2]", "[4,12]"))),
        ("the same place twice", format!(r#"{{"a":{a},"b":{a}}}"#)),
        ("a hole", format!(r#"{{"a":{a},"b":{}}}"#, tensor("F32", "[1]", "[12,16]"))),
        ("offsets beyond the end", one("F32", "[4]", "[0,16]")),
        ("offsets reversed", one("F32", "[2]", "[8,0]")),
        ("offsets below zero", one("F32", "[2]", "[-8,0]")),
        ("offsets of 2^64", one("F32", "[2]", "[0,18446744073709551616]")),
        ("offsets at the end of memory", one("F32", "[2]", "[18446744073709551608,18446744073709551615]")),
        ("one offset", one("F32", "[2]", "[0]")),
        ("a name twice", format!(r#"{{"a":{a},"a":{a}}}"#)),
        ("a name twice, once escaped", format!(r#"{{"a":{a},"\u0061":{a}}}"#)),
        ("metadata twice", format!(r#"{{"__metadata__":{{}},"__metadata__":{{}},"a":{a}}}"#)),
        ("a key of a tensor twice", r#"{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}"#.to_owned()),
        ("a shape that overflows", one("F32", "[4294967296,4294967296,4294967296]", "[0,8]")),
        ("a shape that overflows to what is there", one("F32", "[9223372036854775809,2]", "[0,8]")),
        ("a shape below zero", one("F32", "[-2]", "[0,8]")),
        ("a shape of fractions", one("F32", "[2.0]", "[0,8]")),
        ("a shape that is a number", one("F32", "2", "[0,8]")),
        ("a shape too small", one("F32", "[1]", "[0,8]")),
        ("an unknown type", one("F31", "[2]", "[0,8]")),
        ("a type in lower case", one("f32", "[2]", "[0,8]")),
        ("deep nesting in place of a tensor", format!(r#"{{"a":{}}}"#, deep(100_000))),
        ("deep nesting in the metadata", format!(r#"{{"__metadata__":{},"a":{a}}}"#, deep(100_000))),
        ("deep nesting of the whole", deep(1_000_000)),
        ("deep nesting that never ends", "[".repeat(1_000_000)),
        ("deep nesting of objects", r#"{"a":"#.repeat(500_000)),
        ("a list", format!("[{a}]")),
        ("null", "null".to_owned()),
        ("nothing", String::new()),
        ("text after the header", format!(r#"{{"a":{a}}}x"#)),
        ("a tensor that is null", r#"{"a":null}"#.to_owned()),
        ("metadata that is no map of texts", format!(r#"{{"__metadata__":{{"a":[1]}},"a":{a}}}"#)),
        ("a name of a megabyte twice", format!(r#"{{"{0}":{a},"{0}":{a}}}"#, "n".repeat(1 << 20))),
        ("a name of a megabyte with wrong offsets", format!(r#"{{"{}":{}}}"#, "n".repeat(1 << 20), tensor("F32", "[2]", "[8,16]"))),
        ("a type of a megabyte", one(&"F".repeat(1 << 20), "[2]", "[0,8]")),
        ("half a million sizes that overflow", one("F32", &format!("[{}2]", "2,".repeat(500_000)), "[0,8]")),
        ("a hundred thousand tensors at one place", {
            let all: Vec<String> = (0..100_000).map(|n| format!(r#""{n}":{a}"#)).collect();
            format!("{{{}}}", all.join(","))
        }),
    ];
    for (name, header) in cases {
        refused(name, &bytes(&header, &[0; 8]));
    }
    refused("no UTF-8", &[&4u64.to_le_bytes()[..], b"{\"\xff\"", &[0; 8]].concat());
}

#[test]
fn odd_files_that_are_sound_are_read() {
    let a = tensor("F32", "[2]", "[0,8]");
    let long = "n".repeat(1 << 20);
    let cases = [
        ("tensors of no size", format!(r#"{{"z":{},"a":{a},"y":{}}}"#, tensor("F32", "[0]", "[0,0]"), tensor("F16", "[3,0,9]", "[8,8]"))),
        ("a name of a megabyte", format!(r#"{{"{long}":{a}}}"#)),
        ("an empty name", format!(r#"{{"":{a}}}"#)),
        ("a hundred thousand sizes of one", format!(r#"{{"a":{}}}"#, tensor("F32", &format!("[{}2]", "1,".repeat(100_000)), "[0,8]"))),
        ("types that no forward pass reads", format!(r#"{{"a":{}}}"#, tensor("U8", "[8]", "[0,8]"))),
    ];
    for (name, header) in cases {
        let (_folder, weights) = file(&header, &[0; 8]);
        let weights = weights.unwrap_or_else(|e| panic!("{name}: {e}"));
        // What it lacks is told in a sentence, whatever it holds.
        let error = weights.param("a", &[3]).or_else(|_| weights.param(&long, &[3])).expect_err(name);
        assert!(error.message().len() < 3000, "{name}");
    }
    assert!(Weights::check(&bytes("{}", &[])).is_ok());
}

#[test]
fn a_file_of_another_format_is_called_by_its_name() {
    let cases: [(&[u8], &str, &str); 12] = [
        (b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl", "zip archive", "never read"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "a pickle", "never read"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00", "a pickle", "never read"),
        (b"GGUF\x03\x00\x00\x00\x25\x00\x00\x00\x00\x00\x00\x00", "a GGUF file", "get the model's safetensors"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xff\xff", "an ONNX file", "get that file"),
        (b"\x08\x07:\x90\x01\x0a\x10\x0a\x01x", "an ONNX file", "get that file"),
        (b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08", "an HDF5 file", "get the model's safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "Git LFS", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>Not Found</body></html>", "a web page", "again"),
        (b"{\"error\": \"Entry not found\"}", "JSON text", "again"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "gzip", "unpack"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "a NumPy array", "safetensors"),
    ];
    for (file, what, hint) in cases {
        let error = refused(what, file);
        assert!(matches!(error, EngineError::Foreign { .. }) && error.message().contains(what), "{what}: {error}");
        assert!(error.hint().is_some_and(|text| text.contains(hint)), "{what}: {:?}", error.hint());
    }
    // A sound file may begin like another format: here with the 0x0a08 bytes of its header's length.
    let a = tensor("F32", "[2]", "[0,8]");
    let header = format!(r#"{{"a":{a}}}{}"#, " ".repeat(0x1208 - a.len() - 6));
    let sound = bytes(&header, &[0; 8]);
    assert_eq!(sound[..2], [0x08, 0x12]);
    assert!(Weights::check(&sound).is_ok());
}

/// A folder with the shards `one` and `two`, which hold the tensors `a` and `b`, and this list of them.
fn sharded(index: &str) -> (tempfile::TempDir, Result<Weights>) {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (file, name) in [("one.safetensors", "a"), ("two.safetensors", "b")] {
        let header = format!(r#"{{"{name}":{}}}"#, tensor("F32", "[2]", "[0,8]"));
        std::fs::write(folder.path().join(file), bytes(&header, &[0; 8])).expect("write");
    }
    std::fs::write(folder.path().join("model.safetensors.index.json"), index).expect("write");
    let begun = std::time::Instant::now();
    let weights = Weights::open(folder.path());
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    (folder, weights)
}

fn map_of(entries: &[(&str, &str)]) -> String {
    serde_json::json!({ "weight_map": entries.iter().copied().collect::<BTreeMap<_, _>>() }).to_string()
}

#[test]
fn lists_of_shards_that_lie_are_refused() {
    assert!(sharded(&map_of(&[("a", "one.safetensors"), ("b", "two.safetensors")])).1.is_ok());
    let million: Vec<String> = (0..1_000_000).map(|n| format!(r#""tensor.{n}":"one.safetensors""#)).collect();
    let thousands: Vec<(String, String)> = (0..2000).map(|n| (n.to_string(), format!("{n}.safetensors"))).collect();
    let thousands: Vec<(&str, &str)> = thousands.iter().map(|(tensor, shard)| (&**tensor, &**shard)).collect();
    let cases = [
        ("a shard above", map_of(&[("a", "../one.safetensors")]), "leaves its folder"),
        ("a shard above, from inside", map_of(&[("a", "x/../../one.safetensors")]), "leaves its folder"),
        ("an absolute shard", map_of(&[("a", "/etc/passwd")]), "leaves its folder"),
        ("a backslash", map_of(&[("a", "..\\one.safetensors")]), "leaves its folder"),
        ("a drive", map_of(&[("a", "C:\\one.safetensors")]), "leaves its folder"),
        ("a NUL", map_of(&[("a", "one\0.safetensors")]), "leaves its folder"),
        ("a missing shard", map_of(&[("a", "three.safetensors")]), "a shard of the weights is missing"),
        ("the folder itself", map_of(&[("a", "")]), "no safetensors file"),
        ("a tensor that its shard lacks", map_of(&[("a", "one.safetensors"), ("c", "two.safetensors")]), "is not in the shard two"),
        ("tensors that are exchanged", map_of(&[("b", "one.safetensors"), ("a", "two.safetensors")]), "is not in the shard"),
        ("a million tensors", format!(r#"{{"weight_map":{{{}}}}}"#, million.join(",")), "more than 16777216 bytes"),
        ("thousands of shards", map_of(&thousands), "2000 shards"),
        ("no shards", map_of(&[]), "0 shards"),
        ("a map that is a list", r#"{"weight_map":["one.safetensors"]}"#.to_owned(), "does not parse"),
        ("shards that are numbers", r#"{"weight_map":{"a":1}}"#.to_owned(), "does not parse"),
        ("no map", "{}".to_owned(), "does not parse"),
        ("a map twice", r#"{"weight_map":{},"weight_map":{"a":"one.safetensors"}}"#.to_owned(), "does not parse"),
        ("deep nesting", "[".repeat(1 << 20), "does not parse"),
        ("deep nesting beside the map", format!(r#"{{"metadata":{},"weight_map":{{}}}}"#, "[".repeat(1 << 20)), "does not parse"),
        ("nothing", String::new(), "does not parse"),
    ];
    for (name, index, part) in cases {
        let error = sharded(&index).1.err().unwrap_or_else(|| panic!("{name}: accepted"));
        assert!(error.message().contains(part) && error.message().len() < 3000, "{name}: {error}");
    }
}

#[test]
fn a_tensor_in_two_shards_is_refused_whatever_its_type() {
    for dtype in ["F32", "I32", "U8"] {
        let (folder, _) = sharded("{}");
        let size = if dtype == "U8" { "[8]" } else { "[2]" };
        let header = format!(r#"{{"a":{}}}"#, tensor(dtype, size, "[0,8]"));
        for file in ["one.safetensors", "two.safetensors"] {
            std::fs::write(folder.path().join(file), bytes(&header, &[0; 8])).expect("write");
        }
        std::fs::write(
            folder.path().join("model.safetensors.index.json"),
            r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#,
        )
        .expect("write");
        let error = Weights::open(folder.path()).err().expect(dtype);
        assert!(error.message().contains("the tensor a is in two shards"), "{dtype}: {error}");
    }
}

#[test]
fn where_there_is_one_file_a_list_of_shards_does_not_count() {
    let (folder, _) = sharded(&map_of(&[("a", "../one.safetensors")]));
    std::fs::copy(folder.path().join("two.safetensors"), folder.path().join("model.safetensors")).expect("copy");
    let weights = Weights::open(folder.path()).expect("the one file");
    assert_eq!(weights.names().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_map_of_ids_larger_than_any_vocabulary_is_refused_unread() {
    let size = 8 * (MOST_INTEGERS + 1);
    let header = format!(r#"{{"mapping":{}}}"#, tensor("I64", &format!("[{}]", MOST_INTEGERS + 1), &format!("[0,{size}]")));
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("model.safetensors");
    // All of it a hole, which takes no room on the disk.
    std::fs::write(&path, bytes(&header, &[])).expect("write");
    std::fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len((8 + header.len() + size) as u64)).expect("a hole");
    let weights = Weights::open(folder.path()).expect("sound");
    let error = weights.integers("mapping").expect_err("too many");
    assert!(error.message().contains("more than the 16777216 whole numbers"), "{error}");
}

#[cfg(unix)]
#[test]
fn weights_that_are_no_file_are_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("model.safetensors");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    // Nobody writes to it: to open it would wait for ever.
    assert!(matches!(Weights::open(folder.path()), Err(EngineError::Missing { .. })));
    std::fs::remove_file(&path).expect("remove");
    for place in ["/dev/zero", "/", "/dev/null"] {
        std::os::unix::fs::symlink(place, &path).expect("link");
        assert!(matches!(Weights::open(folder.path()), Err(EngineError::Missing { .. })), "{place}");
        std::fs::remove_file(&path).expect("remove");
    }
    // A link that names nothing, and one that names itself.
    for target in ["nowhere", "model.safetensors"] {
        std::os::unix::fs::symlink(target, &path).expect("link");
        assert!(Weights::open(folder.path()).is_err(), "{target}");
        std::fs::remove_file(&path).expect("remove");
    }
}
