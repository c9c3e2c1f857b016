//! The list of shards: any bytes are refused, or a list that names no place outside of its folder.
#![no_main]

use patina_backend::Weights;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|list: &[u8]| {
    if Weights::check_index(list).is_err() {
        return;
    }
    // What nobody reads need not be text, or a number that can be held.
    let Ok(read) = serde_json::from_slice::<Value>(list) else { return };
    for shard in read["weight_map"].as_object().expect("a map").values() {
        let shard = shard.as_str().expect("a name");
        assert!(!shard.starts_with('/') && !shard.contains(['\\', '\0', ':']) && shard.split('/').all(|part| part != ".."), "{shard:?}");
    }
});
