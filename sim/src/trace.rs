//! What happened, line by line, when somebody wants to read it; always as a digest.

use std::fmt::Arguments;

/// Collects lines, or only their digest.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
    digest: u64,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { lines: keep.then(Vec::new), digest: 0 }
    }

    /// A number that stands for an event, in the digest whether or not lines are kept.
    pub(crate) fn mark(&mut self, what: u64) {
        self.digest = (self.digest.rotate_left(5) ^ what).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    pub(crate) fn line(&mut self, time_us: u64, line: Arguments<'_>) {
        self.mark(time_us);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.6} {line}", time_us as f64 / 1e6));
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
