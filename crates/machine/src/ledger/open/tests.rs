use expect_test::expect;

use crate::testing::check;

#[test]
fn opens_once() {
    check(
        "open k1 alice GBP 0
         open k1 alice GBP 0
         open k2 alice GBP 0
         open k2 alice GBP 0
         open k3 bob GBP none
         open k4 carol GBP -5
         show alice
         show nobody",
        expect![[r#"
            open k1 alice GBP 0: #0 opened alice GBP Some(0)
            open k1 alice GBP 0: again #0 opened alice GBP Some(0)
            open k2 alice GBP 0: #1 refused AccountExists alice had 0 wanted 0
            open k2 alice GBP 0: again #1 refused AccountExists alice had 0 wanted 0
            open k3 bob GBP none: #2 opened bob GBP None
            open k4 carol GBP -5: #3 opened carol GBP Some(-5)
            show alice: 0 held 0 v1 head 0
            show nobody: none
        "#]],
    );
}

#[test]
fn long_and_short_ids_are_told_apart() {
    let long = "x".repeat(128);
    let longer = format!("{}y", "x".repeat(127));
    let mut world = crate::testing::World::new(1);
    for (at, id) in [long.as_str(), longer.as_str(), &long[..22], &long[..23]].into_iter().enumerate() {
        world.line(&format!("open k{at} {id} GBP 0"));
        assert_eq!(world.machine.account(id).map(|a| (a.id.to_owned(), a.slot)), Some((id.to_owned(), at as u64)));
    }
    world.assert_sound();
}

#[test]
fn pages_follow_the_order_of_opening() {
    let mut world = crate::testing::World::new(1);
    for n in 0..10 {
        world.line(&format!("open k{n} a{n} {} 0", if n % 2 == 0 { "GBP" } else { "USD" }));
    }
    let page = |from, limit, unit| {
        let page = world.machine.accounts(from, limit, unit);
        (page.items.iter().map(|a| a.id.to_owned()).collect::<Vec<_>>().join(" "), page.next)
    };
    assert_eq!(page(0, 3, None), ("a0 a1 a2".into(), Some(3)));
    assert_eq!(page(3, 100, None), ("a3 a4 a5 a6 a7 a8 a9".into(), None));
    assert_eq!(page(0, 2, Some("USD")), ("a1 a3".into(), Some(4)));
    assert_eq!(page(4, 100, Some("USD")), ("a5 a7 a9".into(), None));
    assert_eq!(page(0, 100, Some("EUR")), (String::new(), None));
    assert_eq!(page(99, 100, None), (String::new(), None));
    assert_eq!(page(u64::MAX, 1, None), (String::new(), None));
}

#[test]
fn ids_of_one_hash_are_told_apart() {
    use crate::ledger::accounts::{Accounts, Fixed, Tally};
    let mut accounts = Accounts::default();
    let name = crate::NameHash(7);
    for (at, id) in ["one", "other"].into_iter().enumerate() {
        assert_eq!(accounts.find(name, id), None);
        let opened = crate::Opened { id, unit: "GBP", floor: None, metadata: "{}" };
        let slot = accounts.add(name, Fixed { opened, created: words::Stamp::ZERO }, Tally::opened(at as u64));
        assert_eq!(accounts.find(name, id), Some(slot));
    }
    assert_eq!((accounts.find(name, "one"), accounts.find(name, "other")), (Some(0), Some(1)));
}
