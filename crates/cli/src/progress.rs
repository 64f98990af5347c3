//! Progress on what may take longer than a second: on standard error, and only where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over a known number of things.
pub(crate) fn bar(total: u64, what: &'static str) -> ProgressBar {
    let template = format!("{{bar:30}} {{human_pos}}/{{human_len}} {what}  {{per_sec}}  {{eta}} left  {{msg}}");
    shown(ProgressBar::new(total), &template)
}

/// A bar over a known number of bytes.
pub(crate) fn bytes(total: u64, what: &'static str) -> ProgressBar {
    let template = format!(
        "{{bar:30}} {{binary_bytes}}/{{binary_total_bytes}} {what}  {{binary_bytes_per_sec}}  {{eta}} left  {{msg}}"
    );
    shown(ProgressBar::new(total), &template)
}

/// A turning sign, where the end is not known.
pub(crate) fn spinner(what: &'static str) -> ProgressBar {
    let bar = shown(ProgressBar::no_length(), &format!("{{spinner}} {{human_pos}} {what}  {{per_sec}}  {{msg}}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn shown(bar: ProgressBar, template: &str) -> ProgressBar {
    // Each template is written above; a mistake in one costs the looks, not the work.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
