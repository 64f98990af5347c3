//! What the fuzzers do with their bytes, in plain functions, so that the kept inputs are also run as ordinary tests.
//!
//! Each function takes any bytes, feeds them to something that strangers or a broken disk can reach, and panics where a
//! promise is broken. That it comes back at all is the first promise. The targets in `fuzz/targets` call them under
//! cargo-fuzz; `tests/corpus.rs` calls them with what is in `fuzz/corpus`.

mod damage;
mod headers;
mod history;
mod json;

pub use damage::frame_decoder;
pub use headers::headers;
pub use history::entry_decoder;
pub use json::json;

/// Takes instructions from bytes: zeros where they have run out.
#[derive(Debug)]
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// As many bytes as the next number says, or as are left.
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.number().min(self.0.len());
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }
}
