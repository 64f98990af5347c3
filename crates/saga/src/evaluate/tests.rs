use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::from_yaml;

const CHECKOUT: &str = r#"
name: checkout
steps:
  - id: reserve
    call:
      url: http://127.0.0.1:9001/reservations/${input.cart}
      headers: { X-Cart: "${input.cart}" }
      body: { items: "${input.items[*].sku}", total: "${input.total}" }
      probe: { url: "http://127.0.0.1:9001/reservations/${input.cart}" }
    timeout_ms: 5000
    compensate: { call: { method: DELETE, url: "http://127.0.0.1:9001/reservations/${steps.reserve.body.id}" } }
  - id: hold
    hold: { from: "${input.customer}", to: shop, amount: "${input.total}", hold_ms: 60000 }
    compensate: { void: true }
  - id: capture
    capture: { of: hold, amount: "${subtract(input.total, `1`)}" }
    compensate: { reverse: true }
  - id: wait
    timer: { for_ms: "${input.wait_ms}" }
  - id: tell
    event: { topic: orders, type: order.paid, key: "${input.customer}", data: { run: "${run.id}" } }
  - id: more
    saga: { name: shipping, input: { cart: "${input.cart}" } }
output: { reservation: "${steps.reserve.body.id}" }
"#;

fn context(total: Value) -> Context {
    let input = json!({
        "cart": "c-1", "customer": "ada", "total": total, "wait_ms": 250, "items": [{"sku": "a"}, {"sku": "b"}],
    });
    let outputs = json!({"reserve": {"status": 201, "body": {"id": "r-9"}}, "hold": {"id": "0192"}});
    let Value::Object(outputs) = outputs else { unreachable!("it is an object") };
    Context::new("run-1", "checkout", input, outputs)
}

#[track_caller]
fn check(step: usize, phase: Phase, expected: Expect) {
    let definition = from_yaml(CHECKOUT).expect("it is right");
    expected.assert_eq(&format!("{:?}", evaluate(&definition, step, phase, &context(json!(1250)))));
}

#[test]
fn each_kind() {
    check(
        0,
        Phase::Act,
        expect![[
            r#"Ok(Call(CallInput { method: "POST", url: "http://127.0.0.1:9001/reservations/c-1", headers: [("X-Cart", "c-1")], body: "{\"items\":[\"a\",\"b\"],\"total\":1250}", doubt: Probe, probe: Some(ProbeInput { url: "http://127.0.0.1:9001/reservations/c-1", headers: [], status: {}, value: None }), persistent: false, uncertain_ms_max: 3600000, kept_headers: [] }))"#
        ]],
    );
    check(
        0,
        Phase::Compensate,
        expect![[
            r#"Ok(Call(CallInput { method: "DELETE", url: "http://127.0.0.1:9001/reservations/r-9", headers: [], body: "", doubt: Resend, probe: None, persistent: false, uncertain_ms_max: 3600000, kept_headers: [] }))"#
        ]],
    );
    check(
        1,
        Phase::Act,
        expect![[
            r#"Ok(Transfer(TransferInput { from: "ada", to: "shop", amount: 1250, hold_ms: Some(60000), memo: "", metadata: "" }))"#
        ]],
    );
    check(1, Phase::Compensate, expect![[r#"Ok(Void { transfer: "0192" })"#]]);
    check(2, Phase::Act, expect![[r#"Ok(Capture { transfer: "0192", amount: Some(1249) })"#]]);
    check(
        2,
        Phase::Compensate,
        expect![[
            r#"Err(Field { field: "steps.capture.id", wanted: "an id: 1 to 128 characters of A-Z a-z 0-9 . _ : / -", found: "null" })"#
        ]],
    );
    check(3, Phase::Act, expect!["Ok(Wait { ms: 250 })"]);
    check(3, Phase::Compensate, expect!["Err(NoSuchStep)"]);
    check(
        4,
        Phase::Act,
        expect![[
            r#"Ok(Publish(EventInput { topic: "orders", kind: "order.paid", subject: "", key: "ada", data: "{\"run\":\"run-1\"}" }))"#
        ]],
    );
    check(
        5,
        Phase::Act,
        expect![[r#"Ok(StartRun(RunInput { name: "shipping", input: Object {"cart": String("c-1")} }))"#]],
    );
    check(6, Phase::Act, expect!["Err(NoSuchStep)"]);
}

#[test]
fn output() {
    let definition = from_yaml(CHECKOUT).expect("it is right");
    assert_eq!(evaluate_output(&definition, &context(json!(1))), Ok(json!({"reservation": "r-9"})));
}

#[track_caller]
fn check_amount(total: Value, expected: &str) {
    let definition = from_yaml(CHECKOUT).expect("it is right");
    let found = evaluate(&definition, 1, Phase::Act, &context(total.clone()));
    let found = match found {
        Ok(StepInput::Transfer(transfer)) => transfer.amount.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "{total}");
}

#[test]
fn amounts_are_never_floats() {
    check_amount(json!(1), "1");
    check_amount(json!("9007199254740993"), "9007199254740993");
    check_amount(json!("170141183460469231731687303715884105727"), "170141183460469231731687303715884105727");
    let wanted = "amount must be an amount: a whole number from 1, above 2^53 - 1 as a decimal string, is";
    check_amount(json!(0), &format!("{wanted} 0"));
    check_amount(json!(-1), &format!("{wanted} -1"));
    check_amount(json!(1.0), &format!("{wanted} 1.0"));
    check_amount(json!(1e30), &format!("{wanted} 1e+30"));
    check_amount(json!("1e3"), &format!("{wanted} \"1e3\""));
    check_amount(json!(null), &format!("{wanted} null"));
    check_amount(
        json!("170141183460469231731687303715884105728"),
        &format!("{wanted} \"170141183460469231731687303715884105728..."),
    );
}

#[track_caller]
fn check_url(url: &str, expected: bool) {
    assert_eq!(take::url("url", json!(url)).is_ok(), expected, "{url}");
}

#[test]
fn urls() {
    check_url("http://127.0.0.1:9001/a?b=c#d", true);
    check_url("https://shop.example", true);
    check_url("ftp://shop.example", false);
    check_url("http://", false);
    check_url("http:///path", false);
    check_url("http://user@host/", false);
    check_url("http://host/a b", false);
    check_url("http://host/\r\nX: y", false);
    check_url(&format!("http://host/{}", "a".repeat(2_048)), false);
    assert!(take::header("x", json!("a\r\nb: c")).is_err());
    assert!(take::header("x", json!("bearer abc")).is_ok());
}

proptest! {
    /// A step is computed, or says why not, whatever came in; and always the same.
    #[test]
    fn whatever_comes_in(total in "[0-9a-z.\"-]{0,45}", step in 0..7_usize) {
        let definition = from_yaml(CHECKOUT).expect("it is right");
        for phase in [Phase::Act, Phase::Compensate] {
            let first = evaluate(&definition, step, phase, &context(json!(total)));
            prop_assert_eq!(&first, &evaluate(&definition, step, phase, &context(json!(total))));
            if let Ok(StepInput::Transfer(transfer)) = first {
                prop_assert_eq!(transfer.amount.to_string(), total.as_str());
            }
        }
    }
}
