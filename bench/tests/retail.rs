//! Half a year of a real shop replayed as money, through lost replies and two kills: the totals come out to the thousandth
//! of a pound, and running it again changes nothing.

use tertium_bench::process::release_binary;
use tertium_bench::retail::{self, HALF_YEAR, Sales};

#[test]
fn the_totals_come_out_exactly_and_running_it_again_changes_nothing() {
    let seed = fastrand::u64(..);
    let data = retail::data();
    let report = retail::run(&release_binary().unwrap(), &data, seed)
        .unwrap_or_else(|error| panic!("seed {seed}, {}: {error}", data.display()));
    println!("{}\n{report}", data.display());
    assert_eq!(report.kills, 2);
    assert!(report.dropped > 0, "no reply was dropped");
    if report.sales == (209_029, 10_783) {
        assert_eq!(report.totals, HALF_YEAR);
    }
}

#[test]
fn the_data_is_read_exactly() {
    let sales = Sales::read(&retail::data()).unwrap();
    if sales.lines == 209_029 {
        assert_eq!(sales.invoices.len(), 10_783);
        assert_eq!(sales.totals(), HALF_YEAR);
        assert_eq!(sales.totals().net(), 3_706_827_641);
    } else {
        // The day that comes with the project: a sale at least, and every line of it counted.
        assert!(sales.lines > 0 && sales.totals().ordinary > 0);
    }
}
