use proptest::prelude::*;
use serde_json::json;

use super::*;

fn run(text: &str, scope: &Value) -> Result<Value, EvaluationError> {
    let expression = Expression::parse(text).expect(text);
    let mut budget = Budget::default();
    let value = budget.run(&expression, scope)?;
    Budget::default().own(value)
}

#[track_caller]
fn check(text: &str, expected: Value) {
    let scope = json!({
        "input": {
            "n": 7, "big": "9007199254740993", "text": "abc", "none": null, "double": 1.5,
            "list": [1, 2, 3, 4], "items": [{"n": 1, "s": "x"}, {"n": 2}, {"s": "y"}], "nested": [[1, 2], [3], 4],
            "fields": {"b": 1, "a": 2}, "empty": [],
        },
    });
    assert_eq!(run(text, &scope), Ok(expected), "{text}");
}

#[track_caller]
fn check_bad(text: &str, expected: &str) {
    let scope = json!({"n": 7, "list": [1, 2, 3], "text": "abc", "max": "170141183460469231731687303715884105727"});
    assert_eq!(run(text, &scope).expect_err(text).to_string(), expected, "{text}");
}

#[test]
fn paths() {
    check("input.n", json!(7));
    check("input.missing.deeper", json!(null));
    check("input.list[0]", json!(1));
    check("input.list[-1]", json!(4));
    check("input.list[-5]", json!(null));
    check("input.list[9]", json!(null));
    check("input.list[1:3]", json!([2, 3]));
    check("input.list[::-1]", json!([4, 3, 2, 1]));
    check("input.list[-2:]", json!([3, 4]));
    check("input.list[10:0:-2]", json!([4, 2]));
    check("input.text[0:1]", json!(null));
    check("input.items[*].s", json!(["x", "y"]));
    check("input.items[?n >= `2`].n", json!([2]));
    check("input.fields.*", json!([2, 1]));
    check("input.nested[]", json!([1, 2, 3, 4]));
    check("input.{a: n, b: text}", json!({"a": 7, "b": "abc"}));
    check("input.[n, none]", json!([7, null]));
    check("input.none.[n]", json!(null));
    check("input.items[*].n | [0]", json!(1));
}

#[test]
fn logic() {
    check("input.n == `7`", json!(true));
    check("input.n == `7.0`", json!(true));
    check("input.n != 'x'", json!(true));
    check("input.big > `9007199254740992`", json!(true));
    check("input.text > `1`", json!(null));
    check("input.double < `2`", json!(true));
    check("input.list == `[1,2,3,4]`", json!(true));
    check("input.fields == `{\"a\": 2, \"b\": 1}`", json!(true));
    check("input.empty || 'fallback'", json!("fallback"));
    check("input.n && input.text || 'no'", json!("abc"));
    check("!(input.none)", json!(true));
}

#[test]
fn functions() {
    check("add(input.n, `1`)", json!(8));
    check("add(input.big, `1`)", json!("9007199254740994"));
    check("subtract(`1`, `3`)", json!(-2));
    check("multiply(input.n, `3`)", json!(21));
    check("divide(multiply(input.n, `1999`), `10000`)", json!(1));
    check("sum(input.list)", json!(10));
    check("sum(input.empty)", json!(0));
    check("max(input.list)", json!(4));
    check("min(input.empty)", json!(null));
    check("length(input.text)", json!(3));
    check("join('-', [input.text, 'x'])", json!("abc-x"));
    check("to_string(input.fields)", json!("{\"a\":2,\"b\":1}"));
    check("not_null(input.none, input.n)", json!(7));
    check("contains(input.list, `2`)", json!(true));
    check("contains(input.text, 'bc')", json!(true));
    check("starts_with(input.text, 'a')", json!(true));
    check("ends_with(input.text, 'a')", json!(false));
    check("keys(input.fields)", json!(["a", "b"]));
    check("values(input.fields)", json!([2, 1]));
    check("type(input.none)", json!("null"));
    check("merge(input.fields, {a: `9`})", json!({"a": 9, "b": 1}));
    check("map(&n, input.items)", json!([1, 2, null]));
}

#[test]
fn what_fails() {
    check_bad("add(n, text)", "`add` takes two integers, not a text");
    check_bad("add(n, `1.5`)", "`add` takes two integers, not a number with a fraction");
    check_bad("add(max, n)", "`add` leaves the range of 128 bits");
    check_bad("divide(n, `0`)", "division by zero");
    check_bad("sum(n)", "`sum` takes a list of integers, not a number");
    check_bad("join(n, list)", "`join` takes texts, not a number");
    check_bad("keys(list)", "`keys` takes objects, not a list");
    check_bad("map(&n, n)", "`map` takes a list, not a number");
    check_bad("length(n)", "`length` takes a text, a list or an object, not a number");
}

#[test]
fn what_grows_is_stopped() {
    let doubling = format!("input{}", "|[@,@][]".repeat(15));
    assert_eq!(run(&doubling, &json!({"input": "x".repeat(1_000)})), Err(EvaluationError::TooLarge));
    let thousand: Vec<u32> = (0..1_000).collect();
    let many_times = "input[?contains(@, `-1`)]";
    assert_eq!(run(many_times, &json!({"input": vec![thousand; 101]})), Err(EvaluationError::TooLong));
    let text = "to_string([to_string([to_string([to_string(input)])])])";
    let is_stopped = run(text, &json!({"input": ["\"".repeat(100_000)]})) == Err(EvaluationError::TooLarge);
    assert!(is_stopped, "texts grow with their escapes");
}

/// The deepest trees that parse, on a quarter of the stack that threads have by default.
#[test]
fn what_is_evaluated_fits_the_stack() {
    let evaluate = || {
        for text in [
            "input".to_owned() + &".a".repeat(250),
            "input".to_owned() + &"|@".repeat(250),
            "[".repeat(31) + "input" + &"]".repeat(31),
        ] {
            run(&text, &json!({"input": 1})).expect("no bound is reached");
        }
    };
    std::thread::Builder::new().stack_size(512 * 1024).spawn(evaluate).expect("a thread").join().expect("no overflow");
}

proptest! {
    /// Paths and filters mean what the library's own interpreter says they mean.
    #[test]
    fn the_same_as_the_library(text in paths_text(), scope in scopes()) {
        let library = jmespath::compile(&text).expect("these parse").search(&scope).expect("these do not fail");
        prop_assert_eq!(run(&text, &scope), Ok(serde_json::to_value(&*library).expect("JSON")), "{}", text);
    }
}

fn paths_text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        ".a",
        ".b",
        "[0]",
        "[-1]",
        "[*]",
        "[]",
        ".*",
        "[1:]",
        "[::-1]",
        "[:-1]",
        "[?a]",
        "[?a == `1`]",
        "[?b > `1`]",
        " | [0]",
        " | @",
        " || b",
        " && a",
        ".[a, b]",
        ".{x: a}",
        " == `1`",
        "[?!a]",
    ]);
    prop::collection::vec(part, 0..7).prop_map(|parts| format!("a{}", parts.concat()))
}

fn scopes() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        (0..3).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[ab]", inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
