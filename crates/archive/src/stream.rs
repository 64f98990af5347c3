//! Writing files from front to back, and the words and checksums they end in.

use disk::{Disk, File, Mode, read_exact_at};
use std::io;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::error::ArchiveError;

const BUFFER_BYTES: usize = 256 * 1024;

/// A file is synced in pieces, so that the log's own syncs do not wait behind a long one.
const UNSYNCED_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Words are read, written and checked in pieces of this many.
const WORDS_PER_PIECE: usize = 8 * 1024;

/// The words of a footer. The last is the checksum of the others.
pub(crate) const FOOTER_WORDS: usize = 12;
pub(crate) const FOOTER_BYTES: u64 = FOOTER_WORDS as u64 * 8;

/// A new file, written from front to back.
#[derive(Debug)]
pub(crate) struct Writer {
    name: String,
    file: Box<dyn File>,
    buffer: Vec<u8>,
    written: u64,
    unsynced: u64,
}

impl Writer {
    /// Creates the file; one of that name is of a job that failed, and is replaced.
    pub(crate) fn create(disk: &dyn Disk, name: String) -> Result<Self, ArchiveError> {
        match disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ArchiveError::io("remove", &name, error));
            }
            _ => {}
        }
        let file = disk.open(&name, Mode::Create).map_err(|error| ArchiveError::writing(&name, error))?;
        Ok(Self { name, file, buffer: Vec::with_capacity(BUFFER_BYTES), written: 0, unsynced: 0 })
    }

    pub(crate) fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(crate) fn salt(&self) -> u64 {
        salt(&self.name)
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return self.write(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Puts words and gives their checksum.
    pub(crate) fn put_words(&mut self, words: impl Iterator<Item = u64>) -> Result<u64, ArchiveError> {
        let mut checksum = 0;
        let mut piece = Vec::with_capacity(WORDS_PER_PIECE * 8);
        for word in words {
            piece.extend_from_slice(&word.to_le_bytes());
            if piece.len() == WORDS_PER_PIECE * 8 {
                checksum = xxh3_64_with_seed(&piece, checksum);
                self.put(&piece)?;
                piece.clear();
            }
        }
        if !piece.is_empty() {
            checksum = xxh3_64_with_seed(&piece, checksum);
            self.put(&piece)?;
        }
        Ok(checksum)
    }

    /// Ends the file with a footer; its content is durable after this.
    pub(crate) fn finish(mut self, mut footer: [u64; FOOTER_WORDS]) -> Result<(String, Box<dyn File>), ArchiveError> {
        footer[FOOTER_WORDS - 1] = footer_checksum(&footer, self.salt());
        for word in footer {
            self.put(&word.to_le_bytes())?;
        }
        self.flush()?;
        self.file.sync().map_err(|error| ArchiveError::io("sync", &self.name, error))?;
        Ok((self.name, self.file))
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_at(bytes, self.written).map_err(|error| ArchiveError::writing(&self.name, error))?;
        self.written += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.file.sync().map_err(|error| ArchiveError::io("sync", &self.name, error))?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

/// A file to read, with its footer checked.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    file: Box<dyn File>,
    salt: u64,
    pub(crate) footer: [u64; FOOTER_WORDS],
}

impl Source {
    pub(crate) fn open(disk: &dyn Disk, name: String, magic: u64) -> Result<Self, ArchiveError> {
        let file = disk.open(&name, Mode::Read).map_err(|error| ArchiveError::io("open", &name, error))?;
        Self::check(name, file, magic)
    }

    /// A file that was just written is read back through the same handle.
    pub(crate) fn check(name: String, file: Box<dyn File>, magic: u64) -> Result<Self, ArchiveError> {
        let len = file.len().map_err(|error| ArchiveError::io("measure", &name, error))?;
        let Some(offset) = len.checked_sub(FOOTER_BYTES) else {
            return Err(ArchiveError::corrupt(&name, 0, "the file is too short"));
        };
        let mut source = Self { salt: salt(&name), name, file, footer: [0; FOOTER_WORDS] };
        let bytes = source.read(offset, FOOTER_BYTES as usize)?;
        for (word, bytes) in source.footer.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = word_at(bytes, 0);
        }
        let sound = source.footer[FOOTER_WORDS - 1] == footer_checksum(&source.footer, source.salt);
        if !sound || source.footer[0] != magic {
            return Err(source.corrupt(offset, "the footer does not match its checksum"));
        }
        Ok(source)
    }

    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        read_exact_at(self.file.as_ref(), bytes, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt(offset, "the file ends early"),
            _ => ArchiveError::io("read", &self.name, error),
        })
    }

    /// Reads words that [`Writer::put_words`] put.
    pub(crate) fn words(&self, offset: u64, count: u64, checksum: u64) -> Result<Vec<u64>, ArchiveError> {
        let count = usize::try_from(count).map_err(|_| self.corrupt(offset, "more words than memory"))?;
        let mut words = Vec::with_capacity(count);
        let (mut at, mut found) = (offset, 0);
        while words.len() < count {
            let piece = self.read(at, (count - words.len()).min(WORDS_PER_PIECE) * 8)?;
            found = xxh3_64_with_seed(&piece, found);
            at += piece.len() as u64;
            words.extend(piece.chunks_exact(8).map(|bytes| word_at(bytes, 0)));
        }
        if found != checksum {
            return Err(self.corrupt(offset, "the table does not match its checksum"));
        }
        Ok(words)
    }

    pub(crate) fn corrupt(&self, offset: u64, what: &'static str) -> ArchiveError {
        ArchiveError::corrupt(&self.name, offset, what)
    }
}

/// The checksum of a block: of its content, its place and its file, so that a block of elsewhere is not taken for it.
pub(crate) fn block_checksum(content: &[u8], salt: u64, offset: u64) -> u64 {
    xxh3_64_with_seed(content, salt ^ offset)
}

/// The little-endian word at an offset that is known to be inside.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were taken"))
}

/// The little-endian half word at an offset that is known to be inside.
pub(crate) fn half_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

fn salt(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

fn footer_checksum(footer: &[u64; FOOTER_WORDS], salt: u64) -> u64 {
    let bytes: Vec<u8> = footer[..FOOTER_WORDS - 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, salt)
}
