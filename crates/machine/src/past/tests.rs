use words::TransferId;

use super::*;
use crate::testing::{World, cell};

#[test]
fn an_id_is_a_transfers_only_in_full() {
    let world = World::funded();
    let (ordinal, made) = (3, world.record(3, |record| record.stamp.millis()));
    let tag = TransferId::cell_tag(&cell());
    let state = |id| world.machine.transfer_state(id, &world.archive).unwrap().map(|state| state.made);
    assert_eq!(state(TransferId::new(tag, made, ordinal)), Some(3));
    assert_eq!(state(TransferId::new(tag, made + 1, ordinal)), None, "another time");
    assert_eq!(state(TransferId::new(tag, made, 2)), None, "an opening");
    assert_eq!(state(TransferId::new(tag, made, 99)), None, "no record yet");
}

#[test]
fn an_account_as_it_stood() {
    let mut world = World::funded();
    world.line("transfer k1 alice bob 10");
    world.line("hold h1 alice bob 20 100000");
    world.line("capture c1 h1 15");
    // Positions are: 1 to 3 openings, 4 the funding, 5 to 7 the lines above.
    let head = |id: &str| world.machine.account(id).unwrap().head;
    let at = |id: &str, index| {
        let after = account_at(&world.archive, id, head(id), Position { epoch: 1, index }).unwrap();
        after.map(|after| (after.balance, after.held, after.version))
    };
    let table = [
        (1, None, None),
        (2, Some((0, 0, 1)), None),
        (3, Some((0, 0, 1)), Some((0, 0, 1))),
        (4, Some((100, 0, 2)), Some((0, 0, 1))),
        (5, Some((90, 0, 3)), Some((10, 0, 2))),
        (6, Some((90, 20, 4)), Some((10, 0, 2))),
        (7, Some((75, 0, 5)), Some((25, 0, 3))),
        (99, Some((75, 0, 5)), Some((25, 0, 3))),
    ];
    for (index, alice, bob) in table {
        assert_eq!((at("alice", index), at("bob", index)), (alice, bob), "at {index}");
    }
    assert!(history_step(&world.archive, "bob", head("alice") - 1, &mut |_, _| ()).is_err(), "a hold is not of `to`");
    assert!(history_step(&world.archive, "alice", 1 << 40, &mut |_, _| ()).is_err());
}
