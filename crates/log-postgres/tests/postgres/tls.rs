//! TLS to the database: what each mode takes and refuses.

use crate::server::{SETTINGS, Server, new_schema, options};
use own_postgres::Cluster;
use std::error::Error;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tertium_log_postgres::{Environment, LogOptions, LogPostgres, Settings};
use tokio_postgres::NoTls;

/// Another program may take a free port before the server does: then the next one is tried.
const PORTS_TRIED_MAX: usize = 20;

/// A server on a port of its own.
struct Tcp {
    cluster: Cluster,
    dir: tempfile::TempDir,
    port: u16,
}

impl Tcp {
    fn start() -> Self {
        for _ in 0..PORTS_TRIED_MAX {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = free.local_addr().expect("it has one").port();
            drop(free);
            let port_setting = format!("port={port}");
            let settings = [SETTINGS, &["listen_addresses=127.0.0.1", &port_setting]].concat();
            if let Ok(cluster) = Cluster::start(dir.path(), &settings) {
                return Self { cluster, dir, port };
            }
        }
        panic!("no server starts on any port");
    }

    fn open(&self, host: &str, parameters: &str, schema: &str) -> Result<LogPostgres, String> {
        let url = format!("postgres://{}@{host}:{}/postgres{parameters}", own_postgres::USER, self.port);
        let settings = Settings::parse(&url, &Environment::default()).map_err(|error| error.to_string())?;
        let options = LogOptions { read_wait: Duration::from_secs(10), ..options(schema) };
        LogPostgres::open(settings, options).map_err(|error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }

    /// Plain SQL; the first column of the first row.
    fn ask(&self, query: &str) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut config = tokio_postgres::Config::new();
            config.host("127.0.0.1").port(self.port).user(own_postgres::USER).dbname("postgres");
            let (client, connection) = config.connect(NoTls).await.expect("the server is there");
            // Its error is every caller's error too.
            tokio::spawn(async move { drop(connection.await) });
            let rows = client.simple_query(query).await.expect(query);
            rows.iter().find_map(|row| match row {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
        })
    }

    /// Gives the server a certificate for `localhost`, and says in which file it can be trusted.
    fn turn_tls_on(&self) -> PathBuf {
        let trusted = self.dir.path().join("trusted.pem");
        install(&certificate(&trusted), &self.cluster.data());
        self.ask("ALTER SYSTEM SET ssl = on");
        self.ask("SELECT pg_reload_conf()");
        crate::server::wait_until("the server to speak TLS", || self.ask("SHOW ssl").as_deref() == Some("on"));
        trusted
    }
}

/// Makes a certificate for `localhost`, written where a client finds it.
fn certificate(file: &Path) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(file, made.cert.pem()).expect("written");
    made
}

/// Puts a certificate and its key where the server looks for them.
fn install(made: &rcgen::CertifiedKey<rcgen::KeyPair>, data: &Path) {
    let key = data.join("server.key");
    std::fs::write(data.join("server.crt"), made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("ours");
    // The server runs as the owner of its data, and its key must be that one's.
    let owner = std::fs::metadata(data.join("PG_VERSION")).expect("the server's data");
    for file in [key, data.join("server.crt")] {
        chown(file, Some(owner.uid()), Some(owner.gid())).expect("we made the server");
    }
}

pub(crate) fn modes(_: &mut Server) {
    let server = Tcp::start();
    let schema = new_schema();
    let refused = |host: &str, parameters: &str, expected: &str| {
        let text = server.open(host, parameters, &schema).map(drop).expect_err(parameters);
        assert!(text.contains(expected), "{host} {parameters}: {text}");
    };
    let taken = |host: &str, parameters: &str, is_encrypted: &str| {
        let log = server.open(host, parameters, &schema).unwrap_or_else(|error| panic!("{host} {parameters}: {error}"));
        let query = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'tertium' AND state IS NOT NULL";
        assert_eq!(server.ask(query).as_deref(), Some(is_encrypted), "{host} {parameters}");
        drop(log);
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tertium'";
        crate::server::wait_until("its sessions to end", || server.ask(gone).as_deref() == Some("0"));
    };
    // The server has no TLS yet.
    taken("localhost", "", "f");
    refused("localhost", "?sslmode=require", "server does not support TLS. What to do: see sslmode");
    let trusted = server.turn_tls_on();
    let other = server.dir.path().join("other.pem");
    certificate(&other);
    let verify = |file: &Path| format!("?sslmode=verify-full&sslrootcert={}", file.display());
    taken("localhost", "", "t");
    taken("localhost", "?sslmode=disable", "f");
    taken("127.0.0.1", "?sslmode=require", "t");
    taken("localhost", &verify(&trusted), "t");
    refused("127.0.0.1", &verify(&trusted), "certificate not valid for name");
    refused("localhost", &verify(&other), "invalid peer certificate");
    refused(
        "localhost",
        "?sslmode=verify-full",
        "invalid peer certificate: UnknownIssuer. What to do: see sslmode, and name",
    );
}
