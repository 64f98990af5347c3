//! Secrets, in files beside the log, because what is in the log cannot be forgotten: those that sign deliveries, and those
//! that durable calls show their receivers.
//!
//! Subscriptions and calls name secrets, and only these files hold them. A file is read again when it changes, so that a
//! signing secret is replaced by adding the new one, naming both for a while, and removing the old one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};
use wire::webhook::Secret;

/// How often the file is looked at: a secret that is removed signs nothing after this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The secrets that sign deliveries, by name. Never printed.
#[derive(Clone, Debug)]
pub struct WebhookSecrets(SecretFile);

/// The secrets that stand in the headers of durable calls as `${secret:name}`, by name. Never printed.
#[derive(Clone, Debug)]
pub struct CallSecrets(SecretFile);

/// The secrets in force of one file.
#[derive(Clone)]
struct SecretFile {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    kind: &'static Kind,
    known: Mutex<Known>,
}

/// What a file holds.
struct Kind {
    what: &'static str,
    form: &'static str,
    check: fn(&str) -> Result<(), String>,
}

const WEBHOOKS: Kind = Kind {
    what: "webhook secrets",
    form: "name = \"whsec_...\"",
    check: |text| Secret::parse(text).map(drop).map_err(|error| error.to_string()),
};

const CALLS: Kind = Kind {
    what: "call secrets",
    form: "name = \"...\"",
    check: |text| {
        let is_visible = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let fits = is_visible && text.len() <= CALL_SECRET_BYTES_MAX;
        fits.then_some(()).ok_or_else(|| format!("it is 1 to {CALL_SECRET_BYTES_MAX} characters of visible ASCII"))
    },
};

/// The longest secret that a call shows.
const CALL_SECRET_BYTES_MAX: usize = 4_096;

struct Known {
    table: Table,
    version: Version,
    looked_at: Instant,
}

type Table = HashMap<Box<str>, Box<str>>;

/// What tells one state of the file from another: when it changed, its length, and who may read it.
type Version = Option<(SystemTime, u64, u32)>;

/// What is wrong with the file. Never repeats what is in it, but names.
#[derive(Debug)]
pub enum SecretsError {
    /// It cannot be read.
    Io {
        /// What it holds.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others than its owner may read it.
    Readable {
        /// Which file.
        path: PathBuf,
    },
    /// It is not of this form.
    Form {
        /// Which file.
        path: PathBuf,
        /// From 1; 0 where no line is to blame.
        line: usize,
        /// What a line looks like.
        form: &'static str,
    },
    /// A name that is no id, or a text that is no secret.
    Entry {
        /// Which file.
        path: PathBuf,
        /// The name.
        name: String,
        /// What is wrong with the secret; `None` = with the name.
        why: Option<String>,
    },
}

impl WebhookSecrets {
    /// Reads the file; one that does not exist holds no secrets.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn open(path: PathBuf) -> Result<Self, SecretsError> {
        SecretFile::open(path, &WEBHOOKS).map(Self)
    }

    /// The secret of that name. One that is not known is looked for in the file at once.
    pub fn find(&self, name: &str) -> Option<Secret> {
        // It was read when the file was.
        self.0.find(name).and_then(|text| Secret::parse(&text).ok())
    }
}

impl CallSecrets {
    /// Reads the file; one that does not exist holds no secrets.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn open(path: PathBuf) -> Result<Self, SecretsError> {
        SecretFile::open(path, &CALLS).map(Self)
    }

    /// Whether there is a secret of that name, looked for as [`WebhookSecrets::find`] does.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Box<str>> {
        self.0.find(name)
    }
}

impl SecretFile {
    fn open(path: PathBuf, kind: &'static Kind) -> Result<Self, SecretsError> {
        let version = version(&path);
        let known = Known { table: load(&path, kind)?, version, looked_at: Instant::now() };
        Ok(Self { shared: Arc::new(Shared { path, kind, known: Mutex::new(known) }) })
    }

    fn find(&self, name: &str) -> Option<Box<str>> {
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked_at.elapsed() >= LOOK_EVERY || !known.table.contains_key(name) {
            known.look(&self.shared.path, self.shared.kind);
        }
        known.table.get(name).cloned()
    }
}

impl Known {
    /// Reads the file if it has changed. One that cannot be used leaves the secrets as they were.
    fn look(&mut self, path: &Path, kind: &Kind) {
        self.looked_at = Instant::now();
        let version = version(path);
        if version == self.version {
            return;
        }
        self.version = version;
        let what = kind.what;
        match load(path, kind) {
            Ok(table) => {
                self.table = table;
                info!(secrets = self.table.len(), what, "secrets read");
            }
            Err(error) => warn!(%error, what, "secrets left as they were"),
        }
    }
}

fn version(path: &Path) -> Version {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), mode(&metadata)))
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions())
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> u32 {
    0
}

fn load(path: &Path, kind: &Kind) -> Result<Table, SecretsError> {
    let failed = |error| SecretsError::Io { what: kind.what, path: path.to_owned(), error };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(error) => return Err(failed(error)),
    };
    if mode(&metadata) & 0o077 != 0 {
        return Err(SecretsError::Readable { path: path.to_owned() });
    }
    parse(&std::fs::read_to_string(path).map_err(failed)?, path, kind)
}

fn parse(text: &str, path: &Path, kind: &Kind) -> Result<Table, SecretsError> {
    let named: BTreeMap<String, String> = toml::from_str(text).map_err(|error| {
        // The parser's own message may quote a secret.
        let line = error.span().map_or(0, |span| text[..span.start].bytes().filter(|byte| *byte == b'\n').count() + 1);
        SecretsError::Form { path: path.to_owned(), line, form: kind.form }
    })?;
    let mut table = Table::new();
    for (name, text) in named {
        let wrong = |why| SecretsError::Entry { path: path.to_owned(), name: name.clone(), why };
        words::check_id(&name).map_err(|_| wrong(None))?;
        (kind.check)(&text).map_err(|why| wrong(Some(why)))?;
        table.insert(name.into(), text.into());
    }
    Ok(table)
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretFile({})", self.shared.path.display())
    }
}

impl fmt::Display for SecretsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, path, .. } => write!(f, "cannot read the file of {what} {}", path.display()),
            Self::Readable { path } => {
                write!(f, "{} can be read by others than its owner: chmod 600 it", path.display())
            }
            Self::Form { path, line, form } => write!(f, "{} line {line}: not of the form {form}", path.display()),
            // A name may be a secret that was put on the wrong side.
            Self::Entry { path, why: None, .. } => write!(f, "{}: the name of a secret is no id", path.display()),
            Self::Entry { path, name, why: Some(why) } => {
                write!(f, "{}: the secret `{name}` cannot be used: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for SecretsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_that_is_added_is_found_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.toml");
        let secrets = WebhookSecrets::open(path.clone()).unwrap();
        assert_eq!(secrets.find("mail"), None);
        write(&path, &format!("mail = \"{ONE}\"\n"), 0o600);
        assert_eq!(secrets.find("mail").unwrap().reveal(), ONE);
        assert!(!format!("{secrets:?}").contains("whsec_"));
        write(&path, "nonsense", 0o600);
        assert_eq!(secrets.find("other"), None);
        assert!(secrets.find("mail").is_some(), "a broken file changes nothing");
    }

    #[test]
    fn what_calls_show_is_anything_that_a_header_can_hold() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.toml");
        write(&path, "\"shop/pay\" = \"Bearer x y\"\n", 0o600);
        let secrets = CallSecrets::open(path.clone()).unwrap();
        assert_eq!(secrets.find("shop/pay").as_deref(), Some("Bearer x y"));
        assert!(!secrets.has("pay"));
        for bad in ["", "a\\nb", "\u{e9}"] {
            write(&path, &format!("pay = \"{bad}\""), 0o600);
            let error = CallSecrets::open(path.clone()).unwrap_err().to_string();
            assert!(error.contains("`pay` cannot be used: it is 1 to 4096"), "{error}");
        }
    }

    #[test]
    fn a_bad_file_is_refused_without_quoting_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.toml");
        for (text, mode, what) in [
            (format!("mail = \"{ONE}\""), 0o640, "chmod 600"),
            (format!("a = 1\nmail = {ONE}"), 0o600, "line 2: not of the form"),
            (format!("mail = [\"{ONE}\"]"), 0o600, "line 1: not of the form"),
            (format!("\"a b {ONE}\" = \"x\""), 0o600, "no id"),
            (format!("mail = \"{}\"", &ONE[6..]), 0o600, "`mail` cannot be used: a secret begins with whsec_"),
            ("mail = \"whsec_AAAA\"".to_owned(), 0o600, "`mail` cannot be used: a secret has 24 to 64 bytes"),
        ] {
            write(&path, &text, mode);
            let error = WebhookSecrets::open(path.clone()).unwrap_err().to_string();
            assert!(error.contains(what) && !error.contains(&ONE[6..]), "{error}");
        }
    }
}
