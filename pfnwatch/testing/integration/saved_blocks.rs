//! Info blocks in memory outlive the agent in the event store.

use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use uuid::Uuid;

use crate::export::line::of as render;
use crate::guard::info_block_cache::InfoBlockCache;
use crate::model::event::{BlockOrigin, NamespaceId, Time};
use crate::model::info_block::SavedInfoBlock;
use crate::model::store::{Settings, UnsavedBlocks as _};
use crate::store::EventStore;
use crate::testing::events::block;

fn place() -> (TempDir, Settings) {
    let folder = TempDir::new().unwrap();
    let file = Some(folder.path().join("pfnwatch.db"));
    (folder, Settings { file, ..Settings::default() })
}

/// A namespace's block that the store does not have yet.
fn cached_block() -> InfoBlockCache {
    cached_block_with(5)
}

fn cached_block_with(uuid: u8) -> InfoBlockCache {
    let namespace = NamespaceId {
        namespace: "namespace0.0".to_owned(),
        namespace_uuid: Some(Uuid::from_bytes([9; 16])),
        start_address: 4 << 30,
        size_bytes: 1 << 30,
    };
    let block = pfnwatch_common::InfoBlock { uuid: [uuid; 16], parent_uuid: [9; 16], ..block() };
    let mut cache = InfoBlockCache::default();
    let seen = Time(UNIX_EPOCH + Duration::from_secs(50));
    let block = SavedInfoBlock::new(namespace, Box::new(block.encode()), BlockOrigin::Read, seen).unwrap();
    cache.restore(vec![block]);
    cache.mark_all_dirty();
    cache
}

#[test]
fn blocks_outlive_the_agent() {
    let (_folder, settings) = place();
    let mut first = cached_block();
    EventStore::open(settings.clone(), render).commit(&mut [], &mut first);
    assert_eq!(first.dirty().count(), 0, "saved blocks are not dirty");
    let mut store = EventStore::open(settings, render);
    let mut second = InfoBlockCache::default();
    second.restore(store.blocks().unwrap());
    assert_eq!(second.find("namespace0.0"), first.find("namespace0.0"));
    assert_eq!(second.dirty().count(), 0, "restored blocks are not dirty");
    assert_eq!(store.blocks().unwrap().len(), 1);
}

#[test]
fn a_block_in_memory_is_newer_than_a_restored_one() {
    let (_folder, settings) = place();
    let mut store = EventStore::open(settings, render);
    store.commit(&mut [], &mut cached_block());
    let mut newer = cached_block_with(7);
    newer.restore(store.blocks().unwrap());
    assert_eq!(newer.find("namespace0.0").unwrap().block().uuid, [7; 16]);
    store.commit(&mut [], &mut newer);
    assert_eq!(store.blocks().unwrap()[0].block().uuid, [7; 16]);
}
