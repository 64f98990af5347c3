//! Where the database is and as whom it is spoken to, from a URL that everybody may see.
//!
//! The URL stands in arguments and in logs, so it holds no password: that comes from the environment (`PGPASSWORD`) or from a
//! password file in libpq's format (`passfile=` in the URL, `PGPASSFILE`, or `~/.pgpass`). Nothing here shows it.

use crate::tls::Tls;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long one attempt at a connection may take, for each of its addresses.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// PostgreSQL's port.
const PORT: u16 = 5432;

/// How the connection is protected: `sslmode` in the URL, with libpq's meanings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// If the server can; the default on loopback and for sockets in the file system.
    Prefer,
    /// Encrypted, to whomever.
    Require,
    /// Encrypted, to the server whose name is in the URL; the default beyond loopback.
    VerifyFull,
}

/// Where the database is. Its `Display` and `Debug` show no password.
#[derive(Clone)]
pub struct Settings {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    tls_mode: TlsMode,
    shown: String,
}

/// What is wrong with a database's URL or with its surroundings. None shows a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettingsError {
    /// The URL is none.
    Url(String),
    /// The URL holds a password.
    PasswordInUrl,
    /// `sslmode` is none of those that there are.
    SslMode(String),
    /// The password file cannot be used.
    PasswordFile(String),
    /// TLS cannot be set up.
    Tls(String),
}

/// What the surroundings say beside the URL.
#[derive(Clone, Default)]
pub struct Environment {
    /// `PGPASSWORD`.
    pub password: Option<String>,
    /// `PGPASSFILE`.
    pub password_file: Option<PathBuf>,
    /// `HOME`, where `.pgpass` may be.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self {
            password: std::env::var("PGPASSWORD").ok(),
            password_file: std::env::var_os("PGPASSFILE").map(PathBuf::from),
            home: std::env::var_os("HOME").map(PathBuf::from),
        }
    }
}

impl Settings {
    /// Reads `postgres://USER@HOST[:PORT]/DATABASE[?sslmode=...&sslrootcert=FILE&passfile=FILE]`. A host may be a directory
    /// with the server's socket, percent-encoded; several hosts are separated by commas, and the one that takes writes is
    /// used.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn parse(url: &str, environment: &Environment) -> Result<Self, SettingsError> {
        let own = OwnParameters::split(url)?;
        // What it says of the URL is not shown: it may repeat a part of it.
        let mut config: Config = own.rest.parse().map_err(|_| SettingsError::Url(EXPECTED.to_owned()))?;
        if config.get_password().is_some() {
            return Err(SettingsError::PasswordInUrl);
        }
        let (Some(user), false) = (config.get_user().map(str::to_owned), config.get_hosts().is_empty()) else {
            return Err(SettingsError::Url(EXPECTED.to_owned()));
        };
        let database = config.get_dbname().unwrap_or(&user).to_owned();
        let tls_mode = match own.ssl_mode.as_deref() {
            Some(text) => TlsMode::parse(text)?,
            None if config.get_hosts().iter().all(is_local) => TlsMode::Prefer,
            None => TlsMode::VerifyFull,
        };
        let tls = Tls::new(tls_mode, own.root_certificates.as_deref()).map_err(SettingsError::Tls)?;
        let addresses: Vec<(String, u16)> = addresses(&config);
        if let Some(password) = password(&addresses, &database, &user, own.password_file, environment)? {
            config.password(password);
        }
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
            .dbname(&database)
            .ssl_mode(tls_mode.for_the_client())
            .connect_timeout(CONNECT_WAIT)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("tertium");
        }
        let hosts: Vec<String> = addresses.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let shown = format!("the database {database} at {} (as {user})", hosts.join(", "));
        Ok(Self { config, tls, tls_mode, shown })
    }

    /// How the connection is protected.
    pub fn tls_mode(&self) -> TlsMode {
        self.tls_mode
    }
}

const EXPECTED: &str =
    "postgres://USER@HOST[:PORT]/DATABASE, where HOST may be a percent-encoded directory with a socket";

impl TlsMode {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-full" => Ok(Self::VerifyFull),
            other => Err(SettingsError::SslMode(other.to_owned())),
        }
    }

    fn for_the_client(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// The parameters that are read here, and the URL without them.
struct OwnParameters {
    rest: String,
    ssl_mode: Option<String>,
    root_certificates: Option<PathBuf>,
    password_file: Option<PathBuf>,
}

impl OwnParameters {
    fn split(url: &str) -> Result<Self, SettingsError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(SettingsError::Url(EXPECTED.to_owned()));
        }
        let (base, parameters) = url.split_once('?').unwrap_or((url, ""));
        let mut own = Self { rest: base.to_owned(), ssl_mode: None, root_certificates: None, password_file: None };
        let mut separator = '?';
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let decoded = || decode(value).ok_or_else(|| SettingsError::Url(EXPECTED.to_owned()));
            match name {
                "sslmode" => own.ssl_mode = Some(decoded()?),
                "sslrootcert" => own.root_certificates = Some(decoded()?.into()),
                "passfile" => own.password_file = Some(decoded()?.into()),
                _ => {
                    own.rest.push(separator);
                    own.rest.push_str(parameter);
                    separator = '&';
                }
            }
        }
        Ok(own)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            bytes.push((digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether nobody else is on the way there.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn addresses(config: &Config) -> Vec<(String, u16)> {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(PORT);
    let name = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(directory) => directory.display().to_string(),
    };
    config.get_hosts().iter().enumerate().map(|(at, host)| (name(host), port(at))).collect()
}

/// The password, from the first place that has one.
fn password(
    addresses: &[(String, u16)],
    database: &str,
    user: &str,
    in_url: Option<PathBuf>,
    environment: &Environment,
) -> Result<Option<String>, SettingsError> {
    if let (None, Some(password)) = (&in_url, &environment.password) {
        return Ok(Some(password.clone()));
    }
    let named = in_url.or_else(|| environment.password_file.clone());
    let is_named = named.is_some();
    let Some(file) = named.or_else(|| Some(environment.home.as_ref()?.join(".pgpass"))) else {
        return Ok(None);
    };
    match read_password_file(&file) {
        Ok(text) => Ok(addresses.iter().find_map(|(host, port)| find_password(&text, host, *port, database, user))),
        Err(_) if !is_named => Ok(None),
        Err(why) => Err(SettingsError::PasswordFile(format!("{}: {why}", file.display()))),
    }
}

fn read_password_file(file: &Path) -> Result<String, String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(file).map_err(|error| error.to_string())?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err("others may read it; make it readable by its owner only (chmod 600)".to_owned());
        }
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// The password of the first line that fits. Lines are `host:port:database:user:password`; `*` fits everything, and a backslash
/// makes the next character mean itself.
/// <https://www.postgresql.org/docs/current/libpq-pgpass.html>
fn find_password(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
    let port = port.to_string();
    let wanted = [host, &port, database, user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = password_file_fields(line);
        let password = fields.pop().filter(|_| fields.len() == wanted.len())?;
        let fits = |(field, wanted): (&(String, bool), &&str)| field.1 || field.0 == **wanted;
        fields.iter().zip(&wanted).all(fits).then_some(password.0)
    })
}

/// The fields of a line, each with whether it is a bare `*`. The password is the rest behind the fourth colon.
fn password_file_fields(line: &str) -> Vec<(String, bool)> {
    let (mut fields, mut field, mut is_escaped) = (Vec::new(), String::new(), false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                field.extend(characters.next());
                is_escaped = true;
            }
            ':' if fields.len() < 4 => {
                let is_any = field == "*" && !is_escaped;
                fields.push((std::mem::take(&mut field), is_any));
                is_escaped = false;
            }
            other => field.push(other),
        }
    }
    fields.push((field, false));
    fields
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({}, {:?})", self.shown, self.tls_mode)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(expected) => write!(f, "the database's URL is not understood; it is {expected}"),
            Self::PasswordInUrl => f.write_str(
                "the database's URL holds a password, which everybody on the machine could see: take it out, and put it into \
                 PGPASSWORD or a password file (passfile=FILE, PGPASSFILE or ~/.pgpass)",
            ),
            Self::SslMode(text) => {
                write!(f, "sslmode is `{text}`; it may be disable, prefer, require or verify-full")
            }
            Self::PasswordFile(why) => write!(f, "the password file cannot be used: {why}"),
            Self::Tls(why) => write!(f, "TLS to the database cannot be set up: {why}"),
        }
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Settings, SettingsError> {
        Settings::parse(url, &Environment::default())
    }

    #[test]
    fn where_and_how() {
        use TlsMode::{Disable, Prefer, Require, VerifyFull};
        for (url, mode, shown) in [
            ("postgres://a@db.internal/bank", VerifyFull, "the database bank at db.internal:5432 (as a)"),
            ("postgresql://a@db.internal:6000", VerifyFull, "the database a at db.internal:6000 (as a)"),
            ("postgres://a@localhost/bank", Prefer, "the database bank at localhost:5432 (as a)"),
            ("postgres://a@127.0.0.1/bank", Prefer, "the database bank at 127.0.0.1:5432 (as a)"),
            ("postgres://a@%2Frun%2Fpg/bank", Prefer, "the database bank at /run/pg:5432 (as a)"),
            ("postgres://a@x,localhost/bank", VerifyFull, "the database bank at x:5432, localhost:5432 (as a)"),
            ("postgres://a@x/bank?sslmode=require", Require, "the database bank at x:5432 (as a)"),
            ("postgres://a@x/bank?sslmode=disable&connect_timeout=3", Disable, "the database bank at x:5432 (as a)"),
            (
                "postgres://a@localhost/bank?sslmode=verify-full",
                VerifyFull,
                "the database bank at localhost:5432 (as a)",
            ),
        ] {
            let settings = parse(url).expect(url);
            assert_eq!((settings.tls_mode(), settings.to_string().as_str()), (mode, shown), "{url}");
        }
    }

    #[test]
    fn what_is_refused_and_how_it_is_told() {
        for (url, told) in [
            ("bank", "the database's URL is not understood"),
            ("postgres://localhost/bank", "the database's URL is not understood"),
            ("postgres:///bank", "the database's URL is not understood"),
            ("postgres://a@x/bank?nonsense=1", "the database's URL is not understood"),
            ("postgres://a:secret@x/bank", "the database's URL holds a password"),
            ("postgres://a@x/bank?password=secret", "the database's URL holds a password"),
            ("postgres://a@x/bank?sslmode=verify-ca", "sslmode is `verify-ca`; it may be"),
            ("postgres://a@x/bank?sslrootcert=/nowhere", "TLS to the database cannot be set up: sslrootcert: /nowhere"),
            ("postgres://a@x/bank?passfile=/nowhere", "the password file cannot be used: /nowhere"),
        ] {
            let text = parse(url).expect_err(url).to_string();
            assert!(text.starts_with(told) && !text.contains("secret"), "{url}: {text}");
        }
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        let environment = Environment { password: Some("secret".to_owned()), ..Environment::default() };
        let settings = Settings::parse("postgres://a@localhost/bank", &environment).expect("a URL");
        assert_eq!(settings.config.get_password(), Some(&b"secret"[..]));
        let shown = format!("{settings} {settings:?} {environment:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn the_password_file_is_libpqs() {
        let text = "# host:port:database:user:password\n\
                    db:5432:bank:a:one\n\
                    db:*:*:b:two:with colon\n\
                    *:*:*:c:three\\:\\\\\n\
                    d\\:b:5432:bank:a:four\n\
                    \\*:5432:bank:e:five\n\
                    short:line";
        for (host, port, database, user, expected) in [
            ("db", 5432, "bank", "a", Some("one")),
            ("db", 5433, "bank", "a", None),
            ("db", 1, "any", "b", Some("two:with colon")),
            ("anywhere", 1, "any", "c", Some("three:\\")),
            ("d:b", 5432, "bank", "a", Some("four")),
            ("other", 5432, "bank", "e", None),
            ("*", 5432, "bank", "e", Some("five")),
            ("short", 5432, "bank", "a", None),
        ] {
            let found = find_password(text, host, port, database, user);
            assert_eq!(found.as_deref(), expected, "{host}:{port}:{database}:{user}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_password_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("passwords");
        std::fs::write(&file, "*:*:*:*:secret\n").expect("written");
        let url = format!("postgres://a@localhost/bank?passfile={}", file.display());
        for (mode, expected) in [(0o644, None), (0o600, Some(&b"secret"[..]))] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("ours");
            match parse(&url) {
                Ok(settings) => assert_eq!(settings.config.get_password(), expected),
                Err(error) => {
                    assert_eq!(expected, None, "{error}");
                    assert!(error.to_string().ends_with("readable by its owner only (chmod 600)"), "{error}");
                }
            }
        }
    }
}
