//! The eBPF object for a kernel on which a kprobe program must not allocate: its hash maps are allocated as a whole.

use anyhow::Context as _;
use aya_obj::generated::BPF_F_NO_PREALLOC;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_HASH;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// Of `map_type` and `map_flags` in `struct bpf_map_def`, as aya-ebpf writes it.
const TYPE_AT: usize = 0;
const FLAGS_AT: usize = 16;

/// The same object with every hash map preallocated.
pub(super) fn preallocated(object: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = object.to_vec();
    let file = object::File::parse(object).context("the eBPF object cannot be read")?;
    let maps = file.section_by_name("maps").context("the eBPF object has no maps")?;
    let (start, _) = maps.file_range().context("the maps are not in the eBPF object")?;
    for map in file.symbols().filter(|symbol| symbol.section_index() == Some(maps.index()) && symbol.size() > 0) {
        let at = usize::try_from(start + map.address()).context("a map is out of reach")?;
        if word(&bytes, at + TYPE_AT) == Some(BPF_MAP_TYPE_HASH as u32)
            && let Some(flags) = word(&bytes, at + FLAGS_AT)
            && let Some(to) = bytes.get_mut(at + FLAGS_AT..at + FLAGS_AT + 4)
        {
            to.copy_from_slice(&(flags & !BPF_F_NO_PREALLOC).to_le_bytes());
        }
    }
    Ok(bytes)
}

/// The object is for a little-endian kernel.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use aya_obj::Object;

    use super::*;
    use crate::bpf::attach::OBJECT;

    fn hash_maps_without_pool(object: &[u8]) -> Vec<String> {
        let parsed = Object::parse(object).unwrap();
        let is_hash = |map: &aya_obj::Map| map.map_type() == BPF_MAP_TYPE_HASH as u32;
        let maps = parsed.maps.into_iter().filter(|(_, map)| is_hash(map) && map.map_flags() & BPF_F_NO_PREALLOC != 0);
        maps.map(|(name, _)| name).collect()
    }

    #[test]
    fn no_hash_map_allocates_later() {
        let before = hash_maps_without_pool(OBJECT);
        assert!(before.contains(&"ATTEMPTS".to_owned()) && before.contains(&"KNOWN_BLOCKS".to_owned()), "{before:?}");
        let changed = preallocated(OBJECT).unwrap();
        assert_eq!(hash_maps_without_pool(&changed), [""; 0]);
        let bits = OBJECT.iter().zip(&changed).map(|(before, after)| (before ^ after).count_ones());
        assert_eq!(bits.sum::<u32>() as usize, before.len(), "one bit for each map, and nothing else");
    }
}
