//! A terminal session with leases.

mod session;

use expect_test::expect;
use session::Session;

#[test]
fn leases() {
    let mut session = Session::new();
    session.serve("data");
    let transcript = session.transcript(&[
        "lease list",
        "lease show reports",
        "lease acquire reports --owner host-a --ttl 10m --key a-1",
        "lease acquire reports --owner host-b --ttl 10m --capacity 2 --key b-1",
        "lease acquire licences --owner host-a --ttl 10m --capacity 2 --key a-2",
        "lease list",
        "lease renew reports --token 1 --ttl 20m --key a-3",
        "lease release reports --token 1 --key a-4",
        "lease release reports --token 1 --key a-5",
        "lease show reports",
    ]);
    expect![[r#"
        $ tertium lease list
        no lease is held
        [exit status: 0]
        $ tertium lease show reports
        reports is free
        [exit status: 0]
        $ tertium lease acquire reports --owner host-a --ttl 10m --key a-1
        committed
          lease     reports
          owner     host-a
          token     1
          expires   <instant>
          key       a-1
          position  <position>
        [exit status: 0]
        $ tertium lease acquire reports --owner host-b --ttl 10m --capacity 2 --key b-1
        refused
          why       lease-capacity-mismatch: The lease reports has room for 1 while it is in use, and 2 was asked for.
          more      tertium errors lease-capacity-mismatch
          key       b-1
          position  <position>
        [exit status: 10]
        $ tertium lease acquire licences --owner host-a --ttl 10m --capacity 2 --key a-2
        committed
          lease     licences
          owner     host-a
          token     2
          expires   <instant>
          key       a-2
          position  <position>
        [exit status: 0]
        $ tertium lease list
        licences
          held by  1 of 2
          waiting  0
          holder   host-a
          token    2
          expires  <instant>
        reports
          held by  1 of 1
          waiting  0
          holder   host-a
          token    1
          expires  <instant>
        [exit status: 0]
        $ tertium lease renew reports --token 1 --ttl 20m --key a-3
        committed
          lease     reports
          owner     host-a
          token     1
          expires   <instant>
          key       a-3
          position  <position>
        [exit status: 0]
        $ tertium lease release reports --token 1 --key a-4
        committed
          lease     reports
          owner     host-a
          token     1
          key       a-4
          position  <position>
        [exit status: 0]
        $ tertium lease release reports --token 1 --key a-5
        refused
          why       lease-lost: The lease reports is not held under token 1.
          more      tertium errors lease-lost
          key       a-5
          position  <position>
        [exit status: 10]
        $ tertium lease show reports
        reports is free
        [exit status: 0]
    "#]]
    .assert_eq(&transcript);
}
