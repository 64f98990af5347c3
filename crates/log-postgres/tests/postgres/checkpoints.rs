//! Checkpoints beside the log: kept whole or not at all.

use crate::server::{Server, new_schema, options};
use log::{Checkpoint, Checkpoints, LogError};
use std::io::{self, Read};
use tertium_log_postgres::CheckpointTable;
use words::Position;

fn checkpoint(index: u64, bytes: usize) -> (Checkpoint, Vec<u8>) {
    let content: Vec<u8> = (0..bytes).map(|at| (at as u64 * 31 + index) as u8).collect();
    let position = Position { epoch: 1, index };
    (Checkpoint { position, digest: index << 60 | 7, bytes: bytes as u64 }, content)
}

/// Ends with an error after so many bytes.
struct Broken(io::Take<io::Repeat>);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the disk is broken")),
            read => Ok(read),
        }
    }
}

pub(crate) fn kept_whole(server: &mut Server) {
    let (schema, sql) = (new_schema(), server.sql());
    let open = || CheckpointTable::open(server.settings(), options(&schema));
    assert!(matches!(open().map(drop), Err(LogError::Foreign { .. })), "a log makes the tables, nobody else");
    drop(server.open(&schema));
    let (mut writer, mut reader) = (open().expect("open"), open().expect("open"));
    assert_eq!(reader.list().expect("list"), []);
    // None, less than a chunk, a chunk, and one and a bit.
    let kept: Vec<_> =
        [(9, 0), (10, 5), (20, 4 << 20), (30, (4 << 20) + 1)].map(|(index, bytes)| checkpoint(index, bytes)).into();
    for (checkpoint, content) in &kept {
        writer.put(checkpoint.position, checkpoint.digest, &mut content.as_slice()).expect("put");
    }
    let mut listed = reader.list().expect("list");
    listed.reverse();
    assert_eq!(listed, kept.iter().map(|(checkpoint, _)| *checkpoint).collect::<Vec<_>>());
    for (checkpoint, content) in &kept {
        let mut found = Vec::new();
        reader.get(checkpoint, &mut found).expect("get");
        assert!(found == *content, "{checkpoint:?}");
    }
    // The first one stays; what ends halfway leaves nothing, though a chunk of it was sent.
    writer.put(kept[1].0.position, 1, &mut &b"another"[..]).expect("put");
    let mut broken = Broken(io::repeat(1).take(5 << 20));
    let failed = writer.put(Position { epoch: 1, index: 40 }, 1, &mut broken);
    assert!(matches!(failed, Err(LogError::Io { .. })), "{failed:?}");
    assert_eq!(reader.list().expect("list").len(), kept.len());
    let chunks = format!("SELECT count(*) FROM {schema}.checkpoint_chunks");
    assert_eq!(sql.column(&chunks), ["4"]);
    // Sessions end, and it goes on.
    sql.terminate();
    crate::server::wait_until("a list", || reader.list().is_ok_and(|list| list.len() == kept.len()));

    sql.run(&format!("UPDATE {schema}.checkpoint_chunks SET chunk = '\\x00' WHERE index = 10"));
    assert!(matches!(reader.get(&kept[1].0, &mut Vec::new()), Err(LogError::Corrupt { .. })));
    crate::server::wait_until("what is old to be removed", || writer.delete_before(20).is_ok());
    assert_eq!(reader.list().expect("list").len(), 2);
    assert_eq!(sql.column(&chunks), ["3"]);
    assert!(matches!(reader.get(&kept[1].0, &mut Vec::new()), Err(LogError::Trimmed { first: 11 })));
}
