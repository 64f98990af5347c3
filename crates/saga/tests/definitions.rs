//! Definitions from their texts: what is right, and everything that can be wrong with one, told all at once.

use expect_test::{Expect, expect};

#[track_caller]
fn check(text: &str, expected: Expect) {
    let found = saga::from_yaml(text).map_or_else(|error| error.to_string(), |right| format!("{:#?}", right.plan()));
    expected.assert_eq(&found);
}

/// The steps' ids with what each waits for.
#[track_caller]
fn check_order(steps: &str, expected: &str) {
    let definition = saga::from_yaml(&format!("name: order\nsteps: {steps}")).expect(steps);
    let plan = definition.plan();
    let name = |step: &u32| plan.steps[*step as usize].id.as_str();
    let waits: Vec<_> = plan
        .steps
        .iter()
        .map(|step| format!("{}({})", step.id, step.after.iter().map(name).collect::<Vec<_>>().join(" ")))
        .collect();
    assert_eq!(waits.join(" "), expected, "{steps}");
}

const TIMER: &str = "timer: {for_ms: 1}";

#[test]
fn the_order_is_derived() {
    let step = |id: &str| format!("{{id: {id}, {TIMER}}}");
    let freed = |id: &str, after: &str| format!("{{id: {id}, {TIMER}, after: [{after}]}}");
    let (a, b, c, d, e) = (step("a"), step("b"), step("c"), step("d"), step("e"));
    check_order(&format!("[{a}, {b}, {c}]"), "a() b(a) c(b)");
    check_order(&format!("[{a}, {{parallel: [{b}, {c}]}}, {d}]"), "a() b(a) c(a) d(b c)");
    check_order(&format!("[{{parallel: [{{sequence: [{a}, {b}]}}, {c}]}}, {d}]"), "a() b(a) c() d(b c)");
    check_order(
        &format!("[{{parallel: [{a}, {{parallel: [{b}, {c}]}}]}}, {{parallel: [{d}, {e}]}}]"),
        "a() b() c() d(a b c) e(a b c)",
    );
    check_order(&format!("[{a}, {b}, {}, {d}]", freed("c", "a")), "a() b(a) c(a) d(b c)");
    check_order(&format!("[{}, {}]", freed("a", "b"), freed("b", "")), "a(b) b()");
}

#[test]
fn what_is_not_said() {
    check(
        r#"
name: defaults
steps:
  - {id: call, call: {url: "http://127.0.0.1/"}, pivot: true}
  - {id: pay, transfer: {from: a, to: b, amount: 1}, compensate: {reverse: true}, compensate_after_pivot: true}
  - {id: sub, saga: {name: other}}
"#,
        expect![[r#"
            Plan {
                deadline_ms: 604800000,
                has_output: false,
                steps: [
                    PlannedStep {
                        id: "call",
                        kind: Call,
                        after: [],
                        timeout_ms: 30000,
                        attempts_max: 3,
                        pivot: true,
                        compensation: None,
                    },
                    PlannedStep {
                        id: "pay",
                        kind: Transfer,
                        after: [
                            0,
                        ],
                        timeout_ms: 30000,
                        attempts_max: 1,
                        pivot: false,
                        compensation: Some(
                            PlannedCompensation {
                                kind: Reverse,
                                timeout_ms: 86400000,
                                after_pivot: true,
                            },
                        ),
                    },
                    PlannedStep {
                        id: "sub",
                        kind: Saga,
                        after: [
                            1,
                        ],
                        timeout_ms: 86400000,
                        attempts_max: 1,
                        pivot: false,
                        compensation: None,
                    },
                ],
                reads: Some(
                    Reads {
                        steps: [
                            (
                                [],
                                [],
                            ),
                            (
                                [],
                                [
                                    1,
                                ],
                            ),
                            (
                                [],
                                [],
                            ),
                        ],
                        output: [],
                    },
                ),
            }"#]],
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    check(
        r#"
nmae: x
deadline_ms: 0
input: { a: { type: float }, b: {} }
steps:
  - { id: "a b", timer: {} }
  - { id: pay, transfer: { from: "", to: 7, amount: 1.5, memmo: x }, timeout_ms: 31622400001, attempts_max: 0 }
  - { id: pay, call: { url: "ftp://x", method: FETCH, headers: { Host: a, "x y": b }, on_uncertain: probe } }
  - { id: none }
  - { id: two, timer: { for_ms: 1 }, event: { topic: t, type: t } }
  - { parallel: [] }
  - { parallel: [], id: x }
  - 7
  - { id: x, event: { topic: "${steps.nobody.id}", type: "${inptu.a}", data: { deep: ["${f(`1`)}", "${"] } } }
  - { id: y, capture: { of: pay }, compensate: { void: true } }
  - { id: z, timer: { for_ms: 1 }, compensate: { reverse: 1 }, pivot: yes }
  - { id: w, timer: { for_ms: 1 }, compensate_after_pivot: true }
"#,
        expect![[r#"
            there is no field `nmae`; there is `name`, `description`, `deadline_ms`, `input`, `steps`, `output`
            `name` is missing
            /deadline_ms: must be 1 to 31622400000, is 0
            /input/a/type: `float` is none of `any`, `string`, `id`, `integer`, `amount`, `boolean`, `object`, `array`
            /input/b: `type` is missing
            /steps/0/id: an id is made of A-Z a-z 0-9 . _ : / -, the character at offset 1 is not
            /steps/0/timer: `for_ms` is missing
            /steps/1/transfer: there is no field `memmo`; there is `from`, `to`, `amount`, `memo`, `metadata`
            /steps/1/transfer/from: from must be an id: 1 to 128 characters of A-Z a-z 0-9 . _ : / -, is ""
            /steps/1/transfer/to: to must be an id: 1 to 128 characters of A-Z a-z 0-9 . _ : / -, is 7
            /steps/1/transfer/amount: amount must be an amount: a whole number from 1, above 2^53 - 1 as a decimal string, is 1.5
            /steps/1/timeout_ms: must be 1 to 31622400000, is 31622400001
            /steps/1/attempts_max: must be 1 to 100, is 0
            /steps/2/call/on_uncertain: `on_uncertain` needs `probe`
            /steps/2/call/method: `FETCH` is none of `POST`, `PUT`, `PATCH`, `DELETE`
            /steps/2/call/url: url must be a URL with http or https, a host, no user, and at most 2048 bytes, is "ftp://x"
            /steps/2/call/headers/Host: `Host` is no header that a call can set
            /steps/2/call/headers/x y: `x y` is no header that a call can set
            /steps/3: says nothing to do: it needs one of `call`, `transfer`, `hold`, `capture`, `void`, `reverse`, `event`, `timer`, `saga`
            /steps/4: does one thing, this names `event`, `timer`
            /steps/5/parallel: there is no step
            /steps/6: there is no field `id`; there is `parallel`
            /steps/6/parallel: there is no step
            /steps/7: must be an object, is a number
            /steps/8/event/data/deep/0: there is no function `f`
            /steps/8/event/data/deep/1: `${` without its `}`; for the two characters themselves write `$${`
            /steps/9/compensate/void: `void` needs a step that is a hold
            /steps/10/pivot: must be a boolean, is a text
            /steps/10/compensate/reverse: must be true, is a number
            /steps/11/compensate_after_pivot: `compensate_after_pivot` needs `compensate`
            /steps/2: there are two steps `pay`
            /steps/8/event: there is no step `nobody`
            /steps/8/event: there is no `inptu`; an expression begins at `input`, `steps` or `run`
            /steps/9/capture/of: `pay` must be a hold"#]],
    );
}

#[test]
fn steps_that_cannot_be_ordered() {
    check(
        &format!(
            "{{name: x, steps: [{{id: a, {TIMER}, after: [b]}}, {{id: b, {TIMER}, after: [c]}}, {{id: c, {TIMER}, after: [a]}}]}}"
        ),
        expect!["/steps/0: these steps wait for each other: a -> b -> c -> a"],
    );
    check(
        &format!("{{name: x, steps: [{{id: a, {TIMER}, after: [a]}}]}}"),
        expect!["/steps/0: these steps wait for each other: a -> a"],
    );
    check(
        &format!("{{name: x, steps: [{{id: a, {TIMER}, after: [nobody]}}]}}"),
        expect!["/steps/0/after/0: there is no step `nobody`"],
    );
    check(
        &format!("{{name: x, steps: [{{id: a, {TIMER}, after: [b]}}, {{id: b, {TIMER}}}]}}"),
        expect!["/steps/0: these steps wait for each other: a -> b -> a"],
    );
}

#[test]
fn no_step_has_the_name_of_what_undoes_another() {
    check(
        &format!(
            "{{name: x, steps: [{{id: a/compensate, {TIMER}}}, {{id: a, {TIMER}}}, {{id: b/compensate, {TIMER}}}]}}"
        ),
        expect!["/steps/0: this is the name of what undoes the step `a`"],
    );
}

#[test]
fn outputs_that_may_not_be_there() {
    check(
        r#"
name: x
steps:
  - parallel:
      - { id: a, hold: { from: a, to: b, amount: 1 } }
      - { id: b, capture: { of: a } }
  - { id: c, capture: { of: d } }
  - { id: d, event: { topic: t, type: t, data: "${steps.d}" }, compensate: { event: { topic: t, type: t, data: "${[steps.d, steps.e]}" } } }
  - { id: e, void: { of: d }, pivot: true }
  - { id: f, reverse: { of: b }, pivot: true }
output: "${[steps.f, steps.nobody]}"
"#,
        expect![[r#"
            /steps/4/pivot: there is at most one pivot, and `e` is it already
            /steps/0/parallel/1/capture/of: `a` need not have ended then: name it in `after`
            /steps/1/capture/of: `d` need not have ended then: name it in `after`
            /steps/2/event: `d` need not have ended then: name it in `after`
            /steps/2/compensate/event: `e` need not have ended then: name it in `after`
            /steps/3/void/of: `d` must be a hold
            /output: there is no step `nobody`"#]],
    );
}

#[test]
fn what_is_too_much() {
    let many: Vec<String> = (0..257).map(|n| format!("{{id: s{n}, {TIMER}}}")).collect();
    check(
        &format!("{{name: x, steps: [{}]}}", many.join(",")),
        expect!["/steps: there are at most 256 steps, these are 257"],
    );
    check(
        &format!("name: x\ndescription: \"{}\"", "a".repeat(300_000)),
        expect!["a definition has at most 262144 bytes, this has 300023"],
    );
    check(&format!("name: x\nsteps: {}", "[".repeat(100)), expect!["a definition is nested at most 48 deep"]);
    let json = |text: &str| saga::from_json(text).expect_err(text).to_string();
    assert_eq!(json(&"[".repeat(100)), "a definition is nested at most 48 deep");
    assert_eq!(json("{\"name\": \"x\",\n \"name\": \"y\"}"), "line 2, column 7: `name` stands twice in one object");
    assert_eq!(json("{\"name\": }"), "line 1, column 10: expected value");
    assert_eq!(json("[]"), "must be an object, is a list");
    assert_eq!(json("{\"name\": \"x\", \"steps\": []}"), "/steps: there is no step");
}

#[test]
fn both_languages_say_the_same() {
    let yaml = include_str!("../../../docs/examples/checkout.saga.yaml");
    let definition = saga::from_yaml(yaml).expect("the example is right");
    let json = definition.document().to_string();
    assert_eq!(saga::from_json(&json).expect("it is the same"), definition);
    assert_eq!(saga::Definition::of_document(definition.document().clone()).expect("it is the same"), definition);
}

/// What is named where: the outputs that are handed over, and no others.
#[test]
fn the_outputs_that_are_asked_for() {
    let definition = saga::from_yaml(
        r#"
name: reads
steps:
  - {id: a, hold: {from: x, to: y, amount: 1}, compensate: {void: true}}
  - {id: b, capture: {of: a, amount: "${input.n}"}}
  - {id: c, call: {url: "http://h/${steps.a.id}", headers: {X-B: "${steps.b.id}"}, body: ["${[steps.a, steps.b.id]}"]},
     compensate: {call: {url: "http://h/", body: "${steps.c.body}"}}}
  - {id: d, call: {url: "http://h/", probe: {url: "http://h/${steps.c.body.id}"}},
     compensate: {event: {topic: t, type: t, data: {of: "${steps.b.id} ${steps.d.status}"}}}}
  - {id: e, event: {topic: t, type: t, key: "${run.id}"}}
output: {a: "${steps.a.id}", d: "${steps.d.body || steps.e.offset}"}
"#,
    )
    .expect("it is right");
    let reads = definition.plan().reads.clone().expect("it was read just now");
    let expected: [(&[u32], &[u32]); 5] = [(&[], &[0]), (&[0], &[]), (&[0, 1], &[2]), (&[2], &[1, 3]), (&[], &[])];
    let found: Vec<_> = reads.steps.iter().map(|(act, undo)| (act.as_slice(), undo.as_slice())).collect();
    assert_eq!(found, expected);
    assert_eq!(reads.output, [0, 3, 4]);
    let mut bytes = Vec::new();
    definition.plan().encode(&mut bytes);
    assert_eq!(saga::Plan::decode(&bytes).as_ref(), Ok(definition.plan()));
    // As an earlier version wrote it.
    let earlier = saga::Plan { reads: None, ..definition.plan().clone() };
    bytes.clear();
    earlier.encode(&mut bytes);
    assert_eq!(saga::Plan::decode(&bytes), Ok(earlier));
    assert!(saga::Plan::decode(&[&bytes[..], &[9]].concat()).is_err());
}
