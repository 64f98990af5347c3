use expect_test::expect;
use proptest::prelude::*;
use words::Stamp;

use crate::testing::{World, check};
use crate::{Body, CallEnd, Effect, Finding, Machine, Phase, Verdict};

#[test]
fn a_call_is_pending_until_its_end_which_is_its_answer() {
    check(
        "call k1 resend
         call k1 resend
         call k1 probe
         settle k1
         tried 0 1 committed
         tried 0 1 uncertain
         call k1 resend
         settle k1",
        expect![[r#"
            call k1 resend: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            call k1 resend: pending #0
            call k1 probe: refused KeyReused k1, not remembered
            settle k1: pending #0
            tried 0 1 committed: noted | #0 ended: #1 committed of #0 after 1 tries, uncertain 0 us: seen
            tried 0 1 uncertain: ignored
            call k1 resend: again #1 committed of #0 after 1 tries, uncertain 0 us: seen
            settle k1: again #1 committed of #0 after 1 tries, uncertain 0 us: seen
        "#]],
    );
}

#[test]
fn what_is_certain_ends_a_call_at_once() {
    check(
        "call k1 resend
         tried 0 1 refused
         call k2 resend
         tried 2 1 not_done",
        expect![[r#"
            call k1 resend: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 1 refused: noted | #0 ended: #1 refused of #0 after 1 tries, uncertain 0 us: seen
            call k2 resend: pending #2 | Try { call: 2, attempt: 1, phase: Call, until: Stamp(7238556061696000003) }
            tried 2 1 not_done: noted | #2 ended: #3 not_done of #2 after 1 tries, uncertain 0 us: seen
        "#]],
    );
}

#[test]
fn doubt_is_settled_as_declared() {
    check(
        "call k1 probe
         tried 0 1 uncertain
         pass 200
         tick
         tried 0 2 not_done
         pass 1000
         tick
         tried 0 3 refused
         call k2 resend
         tried 4 1 uncertain
         pass 200
         tick
         tried 4 2 not_done
         pass 1000
         tick
         tried 4 3 committed
         call k3 escalate
         tried 8 1 uncertain
         pass 100000000
         tick
         resolve r1 8 committed
         resolve r2 8 refused
         call k3 escalate
         call k4 compensate
         tried 13 1 uncertain
         pass 200
         tick
         tried 13 2 committed",
        expect![[r#"
            call k1 probe: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 1 uncertain: noted
            pass 200: ok
            tick: Try { call: 0, attempt: 2, phase: Probe, until: Stamp(7238556099379200003) }
            tried 0 2 not_done: noted
            pass 1000: ok
            tick: Try { call: 0, attempt: 3, phase: Probe, until: Stamp(7238556103475200005) }
            tried 0 3 refused: noted | #0 ended: #3 not_done of #0 after 3 tries, uncertain 1200000 us: seen
            call k2 resend: pending #4 | Try { call: 4, attempt: 1, phase: Call, until: Stamp(7238556066611200007) }
            tried 4 1 uncertain: noted
            pass 200: ok
            tick: Try { call: 4, attempt: 2, phase: Resend, until: Stamp(7238556104294400009) }
            tried 4 2 not_done: noted
            pass 1000: ok
            tick: Try { call: 4, attempt: 3, phase: Resend, until: Stamp(7238556108390400011) }
            tried 4 3 committed: noted | #4 ended: #7 committed of #4 after 3 tries, uncertain 1200000 us: seen
            call k3 escalate: pending #8 | Try { call: 8, attempt: 1, phase: Call, until: Stamp(7238556071526400013) }
            tried 8 1 uncertain: noted
            pass 100000000: ok
            tick: 
            resolve r1 8 committed: #11 Resolved { call: 8, ended: 10, committed: true } | #8 ended: #10 resolved_committed of #8 after 1 tries, uncertain 100000000000 us: asked them
            resolve r2 8 refused: #12 refused NotUncertain  had 8 wanted 0
            call k3 escalate: again #10 resolved_committed of #8 after 1 tries, uncertain 100000000000 us: asked them
            call k4 compensate: pending #13 | Try { call: 13, attempt: 1, phase: Call, until: Stamp(7238965671526400019) }
            tried 13 1 uncertain: noted
            pass 200: ok
            tick: Try { call: 13, attempt: 2, phase: Compensate, until: Stamp(7238965709209600021) }
            tried 13 2 committed: noted | #13 ended: #15 compensated of #13 after 2 tries, uncertain 200000 us: seen
        "#]],
    );
}

#[test]
fn nobody_says_what_became_of_a_call_while_an_attempt_is_under_way() {
    check(
        "call k1 resend
         tried 0 1 uncertain
         pass 200
         tick
         resolve r1 0 refused
         pass 5000
         resolve r2 0 refused
         tried 0 2 uncertain
         resolve r3 0 refused
         call k2 resend
         tried 7 1 uncertain
         pass 200
         tick
         pass 19999
         resolve r4 7 refused
         pass 2
         resolve r5 7 refused",
        expect![[r#"
            call k1 resend: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 1 uncertain: noted
            pass 200: ok
            tick: Try { call: 0, attempt: 2, phase: Resend, until: Stamp(7238556099379200003) }
            resolve r1 0 refused: #2 refused CallUnderWay  had 0 wanted 20000
            pass 5000: ok
            resolve r2 0 refused: #3 refused CallUnderWay  had 0 wanted 15000
            tried 0 2 uncertain: noted
            resolve r3 0 refused: #6 Resolved { call: 0, ended: 5, committed: false } | #0 ended: #5 resolved_refused of #0 after 2 tries, uncertain 5200000 us: asked them
            call k2 resend: pending #7 | Try { call: 7, attempt: 1, phase: Call, until: Stamp(7238556082995200008) }
            tried 7 1 uncertain: noted
            pass 200: ok
            tick: Try { call: 7, attempt: 2, phase: Resend, until: Stamp(7238556120678400010) }
            pass 19999: ok
            resolve r4 7 refused: #9 refused CallUnderWay  had 7 wanted 1
            pass 2: ok
            resolve r5 7 refused: #12 Resolved { call: 7, ended: 11, committed: false } | #7 ended: #11 resolved_refused of #7 after 1 tries, uncertain 20201000 us: asked them
        "#]],
    );
}

#[test]
fn the_way_out_is_taken_when_the_bound_is_over() {
    check(
        "call k1 resend cancel
         tried 0 1 uncertain
         pass 61000
         tick
         call k2 probe compensate
         tried 3 1 still_at_it
         pass 61000
         tick
         tick
         tried 3 2 refused
         call k3 resend escalate
         tried 7 1 uncertain
         pass 61000
         tick
         settle k3",
        expect![[r#"
            call k1 resend cancel: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 1 uncertain: noted
            pass 61000: ok
            tick: #0 ended: #2 cancelled of #0 after 1 tries, uncertain 61000000 us: it was uncertain for as long as it may be
            call k2 probe compensate: pending #3 | Try { call: 3, attempt: 1, phase: Call, until: Stamp(7238556311552000004) }
            tried 3 1 still_at_it: noted
            pass 61000: ok
            tick: Try { call: 3, attempt: 2, phase: Compensate, until: Stamp(7238556598272000006) }
            tick: 
            tried 3 2 refused: noted
            call k3 resend escalate: pending #7 | Try { call: 7, attempt: 1, phase: Call, until: Stamp(7238556561408000009) }
            tried 7 1 uncertain: noted
            pass 61000: ok
            tick: 
            settle k3: pending #7
        "#]],
    );
}

#[test]
fn a_new_leader_takes_up_what_the_old_one_was_trying() {
    let mut world = World::new(1);
    let mut said = world.talk("call k1 resend\n call k2 escalate");
    world.epoch = 2;
    said += &world.talk("claim 2\n tried 0 1 committed\n pass 200\n tick\n tried 0 2 committed");
    expect![[r#"
        call k1 resend: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
        call k2 escalate: pending #1 | Try { call: 1, attempt: 1, phase: Call, until: Stamp(7238556061696000002) }
        claim 2: #2 Claimed { node: "n" }
        tried 0 1 committed: ignored
        pass 200: ok
        tick: Try { call: 0, attempt: 2, phase: Resend, until: Stamp(7238556099379200005) }
        tried 0 2 committed: noted | #0 ended: #5 committed of #0 after 1 tries, uncertain 200000 us: seen
    "#]]
    .assert_eq(&said);
}

#[test]
fn a_leader_that_goes_on_hears_what_came_of_what_it_was_trying() {
    let mut world = World::new(1);
    let mut said = world.talk("call k1 resend");
    world.epoch = 2;
    said += &world.talk("claim-on 2\n tried 0 1 committed");
    expect![[r#"
        call k1 resend: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
        claim-on 2: #1 Claimed { node: "n" }
        tried 0 1 committed: noted | #0 ended: #2 committed of #0 after 1 tries, uncertain 0 us: seen
    "#]]
    .assert_eq(&said);
}

#[test]
fn an_attempt_that_nobody_reports_is_uncertain() {
    check(
        "call k1 resend
         pass 10999
         tick
         pass 2
         tick",
        expect![[r#"
            call k1 resend: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            pass 10999: ok
            tick: 
            pass 2: ok
            tick: 
        "#]],
    );
}

#[test]
fn an_attempt_without_a_turn_is_none() {
    let mut world = World::new(1);
    world.talk("call k1 resend\n tried 0 1 uncertain\n pass 200\n tick\n tried 0 2 uncertain");
    let backoff = |world: &World| world.machine.next_timer().unwrap().millis() - world.stamp.millis();
    let told = world.machine.call(0).unwrap().newest;
    for turn in 0..100 {
        let due = world.machine.next_timer().unwrap();
        world.stamp = Stamp::from_raw(due.raw() - 1);
        assert!(world.line("tick").contains("attempt: 3"), "turn {turn}: the same attempt comes again");
        world.line("tried 0 3 unasked");
        let call = world.machine.call(0).unwrap();
        assert_eq!((call.attempt, call.tries, call.newest), (2, 2, told), "turn {turn}: nothing was tried or told");
        assert!(backoff(&world) <= 30_000, "turn {turn}: soon enough for the bound of a minute");
        if call.uncertain_since.unwrap().plus_ms(58_000) < world.stamp {
            break;
        }
    }
    assert!(world.machine.call(0).unwrap().uncertain_since.is_some_and(|since| since.plus_ms(58_000) < world.stamp));
}

#[test]
fn what_is_to_be_undone_is_asked_for_before_a_person_is() {
    // The bound and the one after it are over before there was a turn.
    check(
        "call k1 resend compensate
         tried 0 1 uncertain
         pass 61000
         tick
         pass 5
         tick
         tried 0 2 unasked
         pass 121000
         tick
         tried 0 2 unasked
         pass 61000
         tick
         tried 0 2 not_done
         pass 61000
         tick",
        expect![[r#"
            call k1 resend compensate: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 1 uncertain: noted
            pass 61000: ok
            tick: Try { call: 0, attempt: 2, phase: Compensate, until: Stamp(7238556348416000003) }
            pass 5: ok
            tick: 
            tried 0 2 unasked: noted
            pass 121000: ok
            tick: Try { call: 0, attempt: 2, phase: Compensate, until: Stamp(7238556844052480006) }
            tried 0 2 unasked: noted
            pass 61000: ok
            tick: Try { call: 0, attempt: 2, phase: Compensate, until: Stamp(7238557093908480008) }
            tried 0 2 not_done: noted
            pass 61000: ok
            tick: 
        "#]],
    );
}

#[test]
fn what_persists_has_its_deadline_though_it_has_no_turn() {
    check(
        "call k1 resend escalate persistent
         tried 0 1 not_done
         pass 200
         tick
         tried 0 2 unasked
         pass 20000
         tick",
        expect![[r#"
            call k1 resend escalate persistent: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 1 not_done: noted
            pass 200: ok
            tick: Try { call: 0, attempt: 2, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 2 unasked: noted
            pass 20000: ok
            tick: #0 ended: #2 not_done of #0 after 1 tries, uncertain 0 us: its deadline passed before it could be tried again
        "#]],
    );
}

#[test]
fn what_persists_is_tried_until_its_deadline() {
    let mut world = World::new(1);
    world.line("call k1 resend escalate persistent");
    let mut attempts = 1;
    while world.machine.call(0).is_some() {
        world.line(&format!("tried 0 {attempts} not_done"));
        let Some(due) = world.machine.next_timer() else { break };
        world.stamp = due;
        world.line("tick");
        attempts += 1;
    }
    assert!((3..40).contains(&attempts), "{attempts}");
    assert_eq!(world.record(world.machine.next_ordinal() - 1, |r| end_of(&r.body)), Some(CallEnd::NotDone));
}

#[test]
fn what_waits_past_its_deadline_was_not_done() {
    check(
        "call k1 resend escalate persistent
         tried 0 1 not_done
         pass 60000
         tick",
        expect![[r#"
            call k1 resend escalate persistent: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 1 not_done: noted
            pass 60000: ok
            tick: #0 ended: #2 not_done of #0 after 1 tries, uncertain 0 us: its deadline passed before it could be tried again
        "#]],
    );
}

#[test]
fn the_declared_compensation_is_tried_however_late() {
    check(
        "call k1 resend compensate
         tried 0 1 uncertain
         pass 600000
         tick
         tick
         tried 0 2 uncertain
         pass 600000
         tick",
        expect![[r#"
            call k1 resend compensate: pending #0 | Try { call: 0, attempt: 1, phase: Call, until: Stamp(7238556061696000001) }
            tried 0 1 uncertain: noted
            pass 600000: ok
            tick: Try { call: 0, attempt: 2, phase: Compensate, until: Stamp(7238558556160000003) }
            tick: 
            tried 0 2 uncertain: noted
            pass 600000: ok
            tick: 
        "#]],
    );
}

#[test]
fn a_pending_key_outlives_its_retention() {
    let mut world = World::new(1);
    world.talk("retention 1000\n call k1 escalate\n tried 1 1 uncertain\n pass 3600000\n call k1 escalate");
    assert_eq!(world.applied.verdicts, [Verdict::Pending { ordinal: 1 }]);
}

fn end_of(body: &Body<'_>) -> Option<CallEnd> {
    match body {
        Body::CallEnded(ended) => Some(ended.end),
        _ => None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call { doubt: &'static str, way_out: &'static str, persistent: bool },
    Report { which: usize, finding: Finding },
    Pass { ms: u64 },
    Claim,
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    let doubt = prop::sample::select(vec!["probe", "resend", "compensate", "escalate"]);
    let way_out = prop::sample::select(vec!["escalate", "compensate", "cancel"]);
    let finding = prop::sample::select(vec![
        Finding::Committed,
        Finding::Refused,
        Finding::NotDone,
        Finding::StillAtIt,
        Finding::Uncertain,
        Finding::Uncertain,
        Finding::Unasked,
    ]);
    prop_oneof![
        3 => (doubt, way_out, any::<bool>()).prop_map(|(doubt, way_out, persistent)| Step::Call { doubt, way_out, persistent }),
        6 => (any::<usize>(), finding).prop_map(|(which, finding)| Step::Report { which, finding }),
        4 => (1u64..100_000).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Claim),
        1 => Just(Step::Snapshot),
    ]
}

/// The effects that the outbox has not reported yet.
#[derive(Default)]
struct Outbox(Vec<(u64, u32)>);

impl Outbox {
    fn take(&mut self, world: &World) {
        for effect in world.applied.effects.iter().copied() {
            let Effect::Try { call, attempt, phase, until } = effect else { continue };
            assert!(until > world.machine.stamp() || phase == Phase::Call, "an attempt has time");
            self.0.retain(|(other, _)| *other != call);
            self.0.push((call, attempt));
        }
    }
}

proptest! {
    #[test]
    fn every_call_ends_once_or_waits_for_a_person(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(1);
        let (mut outbox, mut epoch, mut made, mut ended) = (Outbox::default(), 1, 0, std::collections::BTreeMap::new());
        let mut run = |world: &mut World, outbox: &mut Outbox, line: &str| {
            world.line(line);
            outbox.take(world);
            for end in &world.applied.ended {
                let how = world.record(end.ordinal, |r| end_of(&r.body)).expect("an end");
                assert!(ended.insert(end.began, how).is_none(), "ended once");
            }
        };
        for step in steps {
            match step {
                Step::Call { doubt, way_out, persistent } => {
                    let persistent = if persistent { "persistent" } else { "" };
                    run(&mut world, &mut outbox, &format!("call k{made} {doubt} {way_out} {persistent}"));
                    made += 1;
                }
                Step::Report { which, finding } if !outbox.0.is_empty() => {
                    let (call, attempt) = outbox.0.swap_remove(which % outbox.0.len());
                    run(&mut world, &mut outbox, &format!("tried {call} {attempt} {}", finding.as_str()));
                }
                Step::Report { .. } => {}
                Step::Pass { ms } => drop(world.line(&format!("pass {ms}"))),
                Step::Claim => {
                    epoch += 1;
                    outbox.0.clear();
                    world.epoch = epoch;
                    run(&mut world, &mut outbox, &format!("claim {epoch}"));
                }
                Step::Snapshot => {
                    let mut chunks = Vec::new();
                    world.machine.begin_snapshot();
                    while !world.machine.snapshot_chunk(2, &mut chunks) {}
                    let names = world.machine.names();
                    let restored = Machine::restore(&crate::testing::cell(), 1, [&chunks[..]]).expect("a whole snapshot");
                    assert_eq!(restored.full_digest(), world.machine.full_digest());
                    assert_eq!(restored.next_timer(), world.machine.next_timer());
                    assert_eq!(restored.hash_account("a"), names.account("a"));
                    world.machine = restored;
                }
            }
        }
        // Nobody reports any more: time alone brings every call to its end, or before a person.
        for _ in 0..20_000 {
            let Some(due) = world.machine.next_timer() else { break };
            world.stamp = world.stamp.max(Stamp::from_raw(due.raw() - 1));
            run(&mut world, &mut outbox, "tick");
        }
        prop_assert_eq!(world.machine.next_timer(), None);
        let open = world.machine.calls_len();
        let escalated = world.machine.uncertain((Stamp::ZERO, 0), usize::MAX);
        prop_assert!(escalated.iter().all(|call| call.is_escalated && call.uncertain_since.is_some()));
        prop_assert_eq!(escalated.len() as u64, open);
        prop_assert_eq!(ended.len() as u64 + open, made);
    }
}
