use expect_test::expect;
use proptest::prelude::*;
use words::Stamp;

use super::*;
use crate::testing::{World, check_funded};

#[test]
fn a_claim_fences() {
    check_funded(
        "claim 3
         claim 3
         claim 2
         transfer k1 alice bob 1",
        expect![[r#"
            claim 3: #4 Claimed { node: "n" }
            claim 3: fenced by epoch 3
            claim 2: fenced by epoch 3
            transfer k1 alice bob 1: fenced by epoch 3
        "#]],
    );
}

#[test]
fn what_a_fenced_leader_appended_is_void() {
    let mut world = World::funded();
    world.line("claim 3");
    let command = world.command("transfer k1 alice bob 1", Stamp::MAX);
    let digest = world.machine.digest();
    world.epoch = 2;
    assert_eq!(world.entry(std::slice::from_ref(&command)), "fenced by epoch 3");
    assert_eq!((world.machine.digest(), world.machine.position().index), (digest, world.index));
    world.epoch = 3;
    for stale in ["claim 2", "claim 3"] {
        let stale = world.command(stale, Stamp::MAX);
        let said = world.entry(&[stale, command.clone()]);
        assert_eq!(said, "fenced by epoch 3 | fenced by epoch 3", "a stale claim and all that follows");
    }
    assert_eq!(world.machine.account("bob").unwrap().balance, 0);
}

#[test]
fn an_entry_that_no_log_holds_is_corrupt() {
    let mut world = World::funded();
    let entry = world.encode(&[]);
    let next = Position { epoch: 1, index: world.index + 1 };
    let mut apply = |position, entry: &[u8]| {
        let World { machine, archive, applied, .. } = &mut world;
        machine.apply(position, entry, archive, applied).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        })
    };
    let say = |result: Result<(), String>| format!("{result:?}\n");
    let said = say(apply(next, &entry))
        + &say(apply(Position { index: 1, ..next }, &entry))
        + &say(apply(next, &[]))
        + &say(apply(next, &[9; 20]))
        + &say(apply(next, &[1, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1, 0]));
    expect![[r#"
        Err("the entry cannot be applied: not a valid encoding: the entry is stamped before the last one")
        Err("the entry cannot be applied: not a valid encoding: the entry was applied before")
        Err("the entry cannot be applied: not a valid encoding: ends too early")
        Err("the entry cannot be applied: not a valid encoding: an entry of another version")
        Err("the entry cannot be applied: not a valid encoding: ends too early")
    "#]]
    .assert_eq(&said);

    let mut world = World::funded();
    world.archive.push(&[], &[], &[]);
    let entry = [&[1][..], &(world.stamp.raw() + 9).to_le_bytes(), &[0]].concat();
    let World { machine, archive, applied, .. } = &mut world;
    let fault = machine.apply(next, &entry, archive, applied).unwrap_err();
    assert_eq!(fault, ApplyError::Fault(Fault("it has 5 records, the machine needs 4".into())));
}

/// Lines that meet each other often: few accounts, few keys, small amounts.
fn line() -> impl Strategy<Value = String> {
    let account = || prop::sample::select(vec!["world", "alice", "bob", "carol", "usd", "deep", "nobody"]);
    let key = || (0..40u8).prop_map(|n| format!("k{n}"));
    let units = || prop::sample::select(vec!["1", "2", "7", "50", "99", "max"]);
    let item = || {
        (key(), account(), account(), units(), prop::option::of(1u64..2_000)).prop_map(
            |(key, from, to, units, hold)| {
                format!(" ; {key} {from} {to} {units} {}", hold.map_or(String::new(), |ms| ms.to_string()))
            },
        )
    };
    let mode = prop::sample::select(vec!["each", "atomic", "stream"]);
    let batch = (mode, key(), prop::collection::vec(item(), 0..6));
    let late = (key(), account(), account(), units());
    prop_oneof![
        4 => (key(), account(), account(), units()).prop_map(|(k, f, t, n)| format!("transfer {k} {f} {t} {n}")),
        3 => (key(), account(), account(), units(), 0u64..3_000).prop_map(|(k, f, t, n, ms)| format!("hold {k} {f} {t} {n} {ms}")),
        2 => (key(), key(), prop::option::of(units())).prop_map(|(k, of, n)| format!("capture {k} {of} {}", n.unwrap_or(""))),
        2 => (key(), key(), prop::option::of(units())).prop_map(|(k, of, n)| format!("reverse {k} {of} {}", n.unwrap_or(""))),
        1 => (key(), key()).prop_map(|(k, of)| format!("void {k} {of}")),
        1 => key().prop_map(|k| format!("settle {k}")),
        1 => (1u64..1_500).prop_map(|ms| format!("pass {ms}")),
        1 => (2_000u64..9_000).prop_map(|ms| format!("retention {ms}")),
        1 => (key(), account()).prop_map(|(k, id)| format!("open {k} {id} GBP 0")),
        1 => late.prop_map(|(k, f, t, n)| format!("late transfer {k} {f} {t} {n}")),
        1 => Just("tick".to_owned()),
        3 => batch.prop_map(|(mode, k, items)| format!("{mode} {k}{}", items.concat())),
    ]
}

fn world(hash_seed: u64) -> World {
    let mut world = World::new(hash_seed);
    world.talk(
        "open o1 world GBP none
         open o2 alice GBP 0
         open o3 bob GBP -20
         open o4 usd USD none
         open o5 deep GBP none
         transfer f1 world alice 100",
    );
    world
}

proptest! {
    /// Sums, holds, chains: `talk` checks them after every entry.
    #[test]
    fn money_is_conserved(lines in prop::collection::vec(line(), 1..60)) {
        world(1).talk(&lines.join("\n"));
    }

    #[test]
    fn the_same_entries_give_the_same_state(lines in prop::collection::vec(line(), 1..60)) {
        let lines = lines.join("\n");
        let (mut one, mut other) = (world(1), world(0xdead_beef));
        prop_assert_eq!(one.talk(&lines), other.talk(&lines));
        prop_assert_eq!(one.machine.digest(), other.machine.digest());
        prop_assert_eq!(one.machine.full_digest(), other.machine.full_digest());
    }

    #[test]
    fn a_replay_changes_nothing(lines in prop::collection::vec(line(), 1..40), again in 0usize..40) {
        let mut world = world(1);
        world.talk(&lines.join("\n"));
        let line = &lines[again % lines.len()];
        // Said twice in one go, the second is always a replay, or refused as the first was and not remembered.
        let first = world.line(line);
        let records = world.machine.next_ordinal();
        let accounts = format!("{:?}", world.machine.accounts(0, 99, None));
        let mut second = world.line(line);
        if !["pass", "retention", "tick"].contains(&line.split(' ').next().unwrap()) && world.applied.expired == 0 {
            prop_assert_eq!(records, world.machine.next_ordinal());
            prop_assert_eq!(accounts, format!("{:?}", world.machine.accounts(0, 99, None)));
            // What the first says beside its answers is which holds expired before.
            second = second.replace("again ", "");
            prop_assert!(first.replace("again ", "").ends_with(&second), "{} / {}", first, second);
        }
    }

    #[test]
    fn an_atomic_batch_happens_or_does_not(
        lines in prop::collection::vec(line(), 0..30),
        items in prop::collection::vec((0..6u8, 0..4u8, 1..60u8, any::<bool>()), 1..8),
    ) {
        let mut world = world(1);
        world.talk(&lines.join("\n"));
        world.line("tick");
        let names = ["world", "alice", "bob", "carol", "deep", "nobody"];
        let items: String = items.iter().enumerate().map(|(n, (from, to, units, is_hold))| {
            let hold = if *is_hold { "90000" } else { "" };
            format!(" ; item{n} {} {} {units} {hold}", names[usize::from(*from)], names[usize::from(*to)])
        }).collect();
        let mut twin = world.clone();
        let before = format!("{:?}", world.machine.accounts(0, 99, None));
        let holds = world.machine.holds_len();
        world.line(&format!("atomic whole{items}"));
        twin.line(&format!("each whole{items}"));
        if world.code().is_some() {
            prop_assert_eq!(before, format!("{:?}", world.machine.accounts(0, 99, None)));
            prop_assert_eq!(holds, world.machine.holds_len());
            prop_assert_ne!(world.machine.next_ordinal(), twin.machine.next_ordinal());
        } else {
            // Nothing was refused: the same as one by one.
            let after = format!("{:?}", world.machine.accounts(0, 99, None));
            prop_assert_eq!(after, format!("{:?}", twin.machine.accounts(0, 99, None)));
        }
        world.assert_sound();
    }

    #[test]
    fn any_bytes_are_applied_or_corrupt(
        lines in prop::collection::vec(line(), 1..12),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut world = world(1);
        let no_time = |line: &&String| !line.starts_with("pass") && !line.starts_with("tick") && !line.starts_with("late");
        let commands: Vec<_> =
            lines.iter().filter(no_time).map(|line| world.command(line, Stamp::MAX)).collect();
        world.stamp = Stamp::from_raw(world.stamp.raw() + 1);
        let mut entry = world.encode(&commands);
        for (at, byte) in &flips {
            let at = at.index(entry.len());
            entry[at] ^= byte;
        }
        if let Some(cut) = cut {
            entry.truncate(cut.index(entry.len()));
            entry.extend(tail);
        }
        let position = Position { epoch: 1, index: world.index + 1 };
        let World { machine, archive, applied, .. } = &mut world;
        let result = machine.apply(position, &entry, archive, applied);
        if flips.is_empty() && cut.is_none() {
            prop_assert_eq!(result, Ok(()));
        }
    }
}
