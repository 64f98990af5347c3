use super::*;
use crate::testing::World;

#[test]
fn many_holds_expire_over_several_entries() {
    let mut world = World::funded();
    let holds = u64::from(TIMERS_PER_ENTRY_MAX) + 10;
    let items: String = (0..holds).map(|n| format!(" ; h{n} world bob 1 1000")).collect();
    world.line(&format!("stream -{items}"));
    assert_eq!(world.machine.holds_len(), holds);
    let due = world.machine.next_timer().unwrap();
    world.stamp = Stamp::from_raw(due.raw() - 2);
    world.line("tick");
    assert_eq!(world.applied.expired, 0, "never early");
    // One that is at its end and has not had its turn is closed all the same.
    world.line(&format!("capture c1 h{}", holds - 1));
    assert_eq!((world.applied.expired, world.machine.stamp()), (TIMERS_PER_ENTRY_MAX, due));
    assert_eq!((world.code(), world.machine.holds_len()), (Some(crate::Code::HoldClosed), 10));
    assert_eq!(world.machine.next_timer(), Some(due), "the rest is due at once");
    world.line("tick");
    assert_eq!(world.applied.expired, 10);
    world.line("tick");
    assert_eq!((world.applied.expired, world.machine.holds_len()), (0, 0), "once");
    assert_eq!(world.machine.next_timer(), None);
    world.assert_sound();
}

#[test]
fn a_hold_expires_at_its_very_stamp() {
    let mut world = World::funded();
    world.line("hold h1 alice bob 5 1000");
    let due = world.machine.next_timer().unwrap();
    world.stamp = Stamp::from_raw(due.raw() - 2);
    world.line("tick");
    assert_eq!((world.applied.expired, world.machine.stamp().raw()), (0, due.raw() - 1));
    world.line("capture c1 h1");
    assert_eq!((world.applied.expired, world.machine.stamp()), (1, due));
    assert_eq!(world.code(), Some(crate::Code::HoldClosed));
}
