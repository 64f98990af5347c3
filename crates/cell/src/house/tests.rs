use std::sync::Arc;

use disk::SimDisk;
use log::Log;

use super::*;
use crate::checkpoint::list_checkpoints;
use crate::options::Options;
use crate::recover::RecoverError;
use crate::testing::{World, small};

struct Server {
    disk: SimDisk,
    options: Options,
}

impl Server {
    fn new(options: Options) -> Self {
        Self { disk: SimDisk::new(), options }
    }

    fn start(&self, mono_us: u64) -> Result<World, RecoverError> {
        World::start(&(Arc::new(self.disk.clone()) as _), self.options.clone(), mono_us)
    }

    /// A first life, until so many checkpoints count.
    fn with_checkpoints(&self, count: u64) -> World {
        let mut world = self.start(0).expect("an empty disk");
        world.open_account("a", "");
        world.open_account("b", "");
        world.checkpoints(count);
        world
    }

    fn checkpoints(&self) -> Vec<String> {
        list_checkpoints(&self.disk).expect("it can be listed")
    }

    fn damage(&self, checkpoint: &str) {
        self.disk.flip_bit(checkpoint, 60, 3).expect("it is there");
    }
}

#[test]
fn a_damaged_checkpoint_is_none_of_those_that_are_kept() {
    let server = Server::new(small());
    drop(server.with_checkpoints(2));
    let [older, newer] = &server.checkpoints()[..] else { panic!("{:?}", server.checkpoints()) };
    server.damage(newer);
    let mut world = server.start(1_000_000).expect("from the older one");
    world.checkpoints(1);
    let kept = server.checkpoints();
    assert_eq!((kept.len(), &kept[0]), (2, older), "the damaged one is gone: {kept:?}");
    let digest = world.cell.machine().digest();
    let position = world.cell.machine().position();
    drop(world);
    server.damage(&kept[1]);
    let world = server.start(2_000_000).expect("from the oldest one still");
    // One more entry: the claim.
    assert_eq!(world.cell.machine().position().index, position.index + 1);
    assert_ne!(world.cell.machine().digest(), digest);
}

#[test]
fn the_older_checkpoint_can_be_used_after_the_newer_one_was() {
    let server = Server::new(Options { memtable_records_max: 16, ..small() });
    drop(server.with_checkpoints(2));
    let newer = &server.checkpoints()[1];
    let mut world = server.start(1_000_000).expect("from the newer one");
    // The archive merges what it may.
    world.transfers("more", "a", "b", 400);
    while world.keep_house().expect("room") {}
    let digest = world.cell.machine().digest();
    let position = world.cell.machine().position();
    drop(world);
    server.damage(newer);
    let world = server.start(2_000_000).expect("from the older one");
    assert_eq!(world.cell.machine().position().index, position.index + 1, "and all of the log");
    assert_ne!(world.cell.machine().digest(), digest, "with one more claim");
}

#[test]
fn the_log_is_trimmed_though_each_life_is_short() {
    let options = small();
    let retention = 4 * options.checkpoint_bytes;
    let server = Server::new(Options { log_retention_bytes: retention, ..options.clone() });
    drop(server.with_checkpoints(2));
    let mut sizes = Vec::new();
    for life in 1..30 {
        let mut world = server.start(life * 1_000_000).expect("it starts");
        // Less than a checkpoint's worth, and much less than what is kept.
        for round in 0..30 {
            world.transfers(&format!("l-{life}-{round}"), "a", "b", 20);
            while world.keep_house().expect("room") {}
        }
        sizes.push(world.log.written_bytes());
        assert!(life < 29 || world.log.first() > 1, "{sizes:?}");
    }
    let most = retention + 3 * options.checkpoint_bytes;
    assert!(sizes.iter().all(|bytes| *bytes <= most), "{sizes:?}");
}

#[test]
fn whoever_stops_does_not_wait_for_room() {
    let server = Server::new(Options { memtable_records_max: 1_000, ..small() });
    let mut world = server.with_checkpoints(0);
    while world.cell.progress.bytes_since_checkpoint < server.options.checkpoint_bytes {
        let name = format!("t-{}", world.mono_us);
        world.transfers(&name, "a", "b", 10);
    }
    // Room for the checkpoint's file, and not for what the archive has to seal before that counts.
    server.disk.set_capacity(Some(server.disk.used_bytes() + 8_192));
    let stuck = |world: &mut World| {
        for _ in 0..50 {
            world.keep_house().expect("a full disk is not fatal");
        }
        (world.cell.checkpoint_runs(), world.cell.is_house_out_of_room())
    };
    assert_eq!(stuck(&mut world), (true, true));
    world.cell.stop();
    assert_eq!(stuck(&mut world), (false, true));
    // With room, the next life makes one.
    drop(world);
    server.disk.set_capacity(None);
    let mut world = server.start(1_000_000).expect("it starts");
    world.checkpoints(1);
    assert!(!world.cell.is_house_out_of_room());
}

#[test]
fn a_quota_is_a_full_disk() {
    for (kind, is_retried) in
        [(io::ErrorKind::StorageFull, true), (io::ErrorKind::QuotaExceeded, true), (io::ErrorKind::Other, false)]
    {
        let mut world = Server::new(small()).with_checkpoints(0);
        world.cell.begin_checkpoint();
        let done = world.cell.house_done(HouseResult::CheckpointFailed(kind.into()));
        assert_eq!(done.is_ok(), is_retried, "{kind}");
        assert!(!world.cell.checkpoint_runs());
    }
}
