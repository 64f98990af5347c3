//! The file of API keys: who may call, known by the hash of a token only.

use std::collections::HashSet;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::token::{TOKEN_PREFIX, Token, TokenHash};

/// What a key's owner may do; each may do what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything.
    Read,
    /// Also write.
    Write,
    /// Also what concerns the server itself.
    Admin,
}

/// One API key.
#[derive(Clone, Debug)]
pub struct Key {
    /// What people call it. Unique among keys that are not revoked.
    pub name: String,
    /// Whose idempotency keys its requests use.
    pub principal: String,
    /// The hash of its token.
    pub hash: TokenHash,
    /// What it may do.
    pub role: Role,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// A revoked key stays in the file, so that it is known whose it was.
    pub revoked: bool,
}

/// All keys of a file.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

/// What is wrong with the file or a change to it.
#[derive(Debug)]
pub enum KeysError {
    /// It cannot be read or written.
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not of this form.
    Malformed {
        /// Which file.
        path: PathBuf,
        /// From 1; 0 where no line is to blame.
        line: usize,
        /// What is wrong, without quoting the file: someone may have put a token into it.
        reason: String,
    },
    /// A key of that name is there already.
    NameTaken(String),
    /// There is no such key, or it is revoked already.
    NameUnknown(String),
    /// A name or principal that is no id.
    NotAnId {
        /// Which of the two.
        what: &'static str,
        /// Why not.
        error: words::IdError,
    },
    /// The system gave no random bytes.
    NoRandomness,
    /// Another process has been changing the file for too long.
    Busy {
        /// Which file.
        path: PathBuf,
    },
}

/// How long another process may take to change the file: it takes milliseconds.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it is done.
const BUSY_EVERY: Duration = Duration::from_millis(10);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default, rename = "key")]
    keys: Vec<KeyForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyForm {
    name: String,
    principal: String,
    sha256: String,
    role: Role,
    created_at: String,
    #[serde(default)]
    revoked: bool,
}

impl Keys {
    /// Reads the file; one that does not exist holds no keys.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(KeysError::Io { path: path.to_owned(), error }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, KeysError> {
        let malformed =
            |line: usize, reason: &str| KeysError::Malformed { path: path.to_owned(), line, reason: reason.to_owned() };
        let form: FileForm = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].bytes().filter(|b| *b == b'\n').count() + 1);
            // Only errors about names are repeated: one about a value would quote it.
            let reason = match error.message() {
                message if message.contains(TOKEN_PREFIX) => "a token where none belongs",
                message if message.starts_with("missing field") || message.starts_with("unknown field") => message,
                message if message.starts_with("unknown variant") => "a role is one of read, write, admin",
                _ => "not of the form `tertium keys` writes",
            };
            malformed(line, reason)
        })?;
        let mut keys = Vec::with_capacity(form.keys.len());
        let mut names = HashSet::new();
        for key in form.keys {
            let hash = TokenHash::parse(&key.sha256)
                .ok_or_else(|| malformed(0, &format!("sha256 of key `{}` is not 64 hexadecimal digits", key.name)))?;
            words::check_id(&key.principal)
                .map_err(|error| malformed(0, &format!("the principal of key `{}` is no id: {error}", key.name)))?;
            if !key.revoked && !names.insert(key.name.clone()) {
                return Err(malformed(0, &format!("two keys are called `{}`", key.name)));
            }
            let KeyForm { name, principal, role, created_at, revoked, .. } = key;
            keys.push(Key { name, principal, hash, role, created_at, revoked });
        }
        Ok(Self(keys))
    }

    /// All of them, oldest first, revoked ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// Makes a key and the token that opens it, which is kept nowhere else.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn add(&mut self, name: &str, principal: &str, role: Role) -> Result<Token, KeysError> {
        for (what, text) in [("name", name), ("principal", principal)] {
            words::check_id(text).map_err(|error| KeysError::NotAnId { what, error })?;
        }
        if self.0.iter().any(|key| !key.revoked && key.name == name) {
            return Err(KeysError::NameTaken(name.to_owned()));
        }
        let token = Token::new().map_err(|_| KeysError::NoRandomness)?;
        self.0.push(Key {
            name: name.to_owned(),
            principal: principal.to_owned(),
            hash: token.hash(),
            role,
            created_at: format!("{:.0}", jiff::Timestamp::now()),
            revoked: false,
        });
        Ok(token)
    }

    /// Shuts a key's owner out, within a second on a running server.
    ///
    /// # Errors
    /// [`KeysError::NameUnknown`].
    pub fn revoke(&mut self, name: &str) -> Result<(), KeysError> {
        match self.0.iter_mut().find(|key| !key.revoked && key.name == name) {
            Some(key) => {
                key.revoked = true;
                Ok(())
            }
            None => Err(KeysError::NameUnknown(name.to_owned())),
        }
    }

    /// Changes the file: reads it, makes the change and saves it, with no other change by this between. The lock is a file
    /// beside it, which stays.
    ///
    /// # Errors
    /// [`KeysError`], the change's own among them: then the file is as it was.
    pub fn change<T>(path: &Path, change: impl FnOnce(&mut Self) -> Result<T, KeysError>) -> Result<T, KeysError> {
        let _lock = lock(path)?;
        let mut keys = Self::load(path)?;
        let changed = change(&mut keys)?;
        keys.save(path)?;
        Ok(changed)
    }

    /// Replaces the file in one step, durably; only its owner may read it. Whoever read it before and may not be the only
    /// one uses [`Keys::change`].
    ///
    /// # Errors
    /// [`KeysError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), KeysError> {
        self.write(path).map_err(|error| KeysError::Io { path: path.to_owned(), error })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let keys = self.0.iter().map(|key| KeyForm {
            name: key.name.clone(),
            principal: key.principal.clone(),
            sha256: key.hash.to_hex(),
            role: key.role,
            created_at: key.created_at.clone(),
            revoked: key.revoked,
        });
        let text = toml::to_string(&FileForm { keys: keys.collect() }).map_err(io::Error::other)?;
        let new = path.with_extension("toml.new");
        // One that was left halfway may have been anybody's to read.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = owners_only().create_new(true).open(&new)?;
        file.write_all(b"# API keys. Written by `tertium keys`; holds hashes of tokens, never tokens.\n\n")?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        // Until its directory is durable, so is only the file that was there before: a key that was revoked would be back.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Nobody else changes the file as long as what this gives is held.
fn lock(path: &Path) -> Result<File, KeysError> {
    let failed = |error| KeysError::Io { path: path.to_owned(), error };
    let lock = owners_only().create(true).truncate(false).open(path.with_extension("toml.lock")).map_err(failed)?;
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if began.elapsed() > BUSY_MAX => {
                return Err(KeysError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(BUSY_EVERY),
        }
    }
}

/// How files are made that only their owner may read.
fn owners_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, .. } => write!(f, "cannot use the key file {}", path.display()),
            Self::Malformed { path, line: 0, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Malformed { path, line, reason } => write!(f, "{} line {line}: {reason}", path.display()),
            Self::NameTaken(name) => {
                write!(f, "there is a key called `{name}`: revoke it first, or choose another name")
            }
            Self::NameUnknown(name) => write!(f, "there is no key called `{name}` that is not revoked"),
            Self::NotAnId { what, .. } => write!(f, "the {what} must be an id"),
            Self::Busy { path } => write!(f, "another process is changing {}: try again", path.display()),
            Self::NoRandomness => f.write_str("the system gave no random bytes for a token"),
        }
    }
}

impl std::error::Error for KeysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::NotAnId { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lives_through_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let mut keys = Keys::load(&path).unwrap();
        assert_eq!(keys.iter().count(), 0);
        let token = keys.add("till-1", "shop", Role::Write).unwrap();
        assert!(matches!(keys.add("till-1", "shop", Role::Read), Err(KeysError::NameTaken(_))));
        assert!(matches!(keys.add("a b", "shop", Role::Read), Err(KeysError::NotAnId { what: "name", .. })));
        keys.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(token.reveal()));
        let mut again = Keys::load(&path).unwrap();
        let key = again.iter().next().unwrap().clone();
        assert_eq!(
            (key.name.as_str(), key.principal.as_str(), key.role, key.revoked),
            ("till-1", "shop", Role::Write, false)
        );
        assert!(key.hash.matches(&token.hash()));
        again.revoke("till-1").unwrap();
        assert!(matches!(again.revoke("till-1"), Err(KeysError::NameUnknown(_))));
        again.add("till-1", "shop", Role::Read).unwrap();
        again.save(&path).unwrap();
        assert_eq!(Keys::load(&path).unwrap().iter().filter(|key| key.revoked).count(), 1);
    }

    #[test]
    fn nobody_overwrites_what_another_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for at in 0..5 {
                        let name = format!("{writer}-{at}");
                        Keys::change(path, |keys| keys.add(&name, "p", Role::Read)).unwrap();
                    }
                });
            }
        });
        assert_eq!(Keys::load(&path).unwrap().iter().count(), 20);
        let taken = Keys::change(&path, |keys| keys.add("0-0", "p", Role::Read));
        assert!(matches!(taken, Err(KeysError::NameTaken(_))));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it_whatever_was_left_behind() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        std::fs::write(path.with_extension("toml.new"), "left halfway").unwrap();
        Keys::change(&path, |keys| keys.add("a", "p", Role::Read)).unwrap();
        for name in ["keys.toml", "keys.toml.lock"] {
            let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!path.with_extension("toml.new").exists());
    }

    #[test]
    fn a_bad_file_is_refused_without_quoting_it() {
        let check = |text: &str, expect: &str| {
            let error = Keys::parse(text, Path::new("k")).unwrap_err().to_string();
            assert_eq!(error, expect);
            assert!(!error.contains("tert_secret") && !error.contains("hunter2"));
        };
        check("[[key]]\nname = tert_secret", "k line 2: not of the form `tertium keys` writes");
        check(
            "[[key]]\ntoken = \"tert_secret\"",
            "k line 2: unknown field `token`, expected one of `name`, `principal`, `sha256`, `role`, `created_at`, `revoked`",
        );
        check("tert_secret = 1", "k line 1: a token where none belongs");
        let key = |principal: &str, sha256: &str, role: &str| {
            format!("[[key]]\nname='a'\nprincipal='{principal}'\nsha256='{sha256}'\nrole='{role}'\ncreated_at=''\n")
        };
        let hash = "0".repeat(64);
        check(&key("p", "tert_secret", "read"), "k: sha256 of key `a` is not 64 hexadecimal digits");
        check(&key("p", &hash, "hunter2"), "k line 5: a role is one of read, write, admin");
        check(&key("", &hash, "read"), "k: the principal of key `a` is no id: an id has at least 1 character");
        let twice = key("p", &hash, "read").repeat(2);
        check(&twice, "k: two keys are called `a`");
    }
}
