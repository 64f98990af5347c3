use proptest::prelude::*;

use super::*;
use crate::testing::{World, cell};

fn busy() -> World {
    let mut world = World::funded();
    for n in 0..30 {
        world.line(&format!("open a{n} account-{n} {} 0", if n % 3 == 0 { "USD" } else { "GBP" }));
    }
    for n in 0..20 {
        world.line(&format!("hold h{n} world account-{} {} {}", n * 3 / 2 + 1, n + 1, 1_000 + n * 100));
    }
    for n in 0..10 {
        world.line(&format!("publish p{n} topic-{} made:a paid:b sent", n % 3));
        world.line(&format!("subscribe sub{n} mail-{n} topic-0,topic-{} http://r/ from=beginning", n % 3));
    }
    let number = world.machine.subscription("mail-1").unwrap().number;
    world.line(&format!("delivered {number} 1 {number} failed={number}:a behind={}:a done=1000", number + 2));
    world
}

fn restored(chunks: &[Vec<u8>]) -> Result<Machine, Corrupt> {
    Machine::restore(&cell(), 1, chunks.iter().map(Vec::as_slice))
}

proptest! {
    #[test]
    fn a_snapshot_is_the_state_at_its_begin(
        sizes in prop::collection::vec(0usize..9, 1..20),
        changes in prop::collection::vec((0..30u8, 0..30u8, 0..7u8), 0..40),
    ) {
        let mut world = busy();
        let (digest, full_digest) = (world.machine.digest(), world.machine.full_digest());
        let twin = world.clone();
        world.machine.begin_snapshot();
        let mut chunks = Vec::new();
        let mut changes = changes.iter().enumerate();
        let mut sizes = sizes.iter().cycle();
        loop {
            let mut chunk = Vec::new();
            let is_done = world.machine.snapshot_chunk(*sizes.next().unwrap(), &mut chunk);
            chunks.push(chunk);
            if is_done {
                break;
            }
            let Some((n, (a, b, kind))) = changes.next() else { continue };
            world.line(&match kind {
                0 => format!("transfer s{n} world account-{a} 5"),
                1 => format!("capture s{n} h{b}"),
                2 => format!("void s{n} h{a}"),
                3 => format!("open s{n} new-{n} GBP 0"),
                4 => format!("publish s{n} topic-{} made:a", a % 4),
                5 => format!("unsubscribe s{n} mail-{}", a % 10),
                _ => format!("atomic s{n} ; s{n}-1 world account-{a} 5 ; s{n}-2 world account-{b} 5 900 ; s{n}-3 alice bob 101"),
            });
            world.line("pass 60");
        }
        let mut machine = restored(&chunks).unwrap();
        prop_assert_eq!((machine.digest(), machine.full_digest()), (digest, full_digest));
        // In one piece it is the same.
        let whole = Machine::restore(&cell(), 1, [chunks.concat().as_slice()]).unwrap();
        prop_assert_eq!(whole.full_digest(), full_digest);
        // And it goes on as the machine it was taken of would have.
        let mut again = twin.clone();
        again.machine = machine.clone();
        let mut straight = twin;
        let lines = "transfer z1 alice bob 9\nhold z2 alice bob 9 50\npass 5000\ntick\nopen z3 late USD 0\natomic z4 ; z5 world bob 1";
        prop_assert_eq!(again.talk(lines), straight.talk(lines));
        prop_assert_eq!(again.machine.full_digest(), straight.machine.full_digest());
        prop_assert_eq!(machine.snapshot_chunk(1, &mut Vec::new()), true);
    }

    #[test]
    fn a_damaged_snapshot_is_refused(at: prop::sample::Index, bit in 0..8u8, cut: bool) {
        let mut world = busy();
        world.machine.begin_snapshot();
        let mut chunk = Vec::new();
        while !world.machine.snapshot_chunk(7, &mut chunk) {}
        let at = at.index(chunk.len());
        if cut {
            chunk.truncate(at);
        } else {
            chunk[at] ^= 1 << bit;
        }
        prop_assert!(restored(&[chunk]).is_err());
    }
}

#[test]
fn another_cells_snapshot_is_refused() {
    let mut world = busy();
    world.machine.begin_snapshot();
    let mut chunk = Vec::new();
    while !world.machine.snapshot_chunk(usize::MAX, &mut chunk) {}
    let other = words::CellName::new("other").unwrap();
    let refused = Machine::restore(&other, 1, [chunk.as_slice()]).unwrap_err();
    assert_eq!(refused, Corrupt("a snapshot of another cell"));
}

#[test]
fn a_snapshot_can_be_given_up_and_begun_again() {
    let mut world = busy();
    world.machine.begin_snapshot();
    let mut chunk = Vec::new();
    assert!(!world.machine.snapshot_chunk(3, &mut chunk));
    world.line("transfer k1 alice bob 1");
    world.machine.begin_snapshot();
    chunk.clear();
    while !world.machine.snapshot_chunk(3, &mut chunk) {}
    assert_eq!(restored(&[chunk]).unwrap().full_digest(), world.machine.full_digest());
    world.machine.begin_snapshot();
    world.machine.abandon_snapshot();
    assert!(world.machine.snapshot_chunk(3, &mut Vec::new()));
}
