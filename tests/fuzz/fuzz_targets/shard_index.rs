//! The list of shards: any bytes are a list whose names stay in the folder, or refused.
#![no_main]

use patina_backend::Weights;

libfuzzer_sys::fuzz_target!(|list: &[u8]| {
    let sound = Weights::check_index(list).is_ok();
    // What is accepted names no way out, whatever else it says.
    let out = [&b"\":\"../"[..], b"\":\"/"].iter().any(|way| list.windows(way.len()).any(|part| part == *way));
    assert!(
        !sound || !out || list.windows(12).filter(|part| part == b"\"weight_map\"").count() != 1 || list.contains(&b'\\') || nested(list)
    );
});

/// Whether more than one map opens: then a way out may stand elsewhere, where nobody follows it.
fn nested(list: &[u8]) -> bool {
    list.iter().filter(|&&byte| byte == b'{').count() > 2
}
