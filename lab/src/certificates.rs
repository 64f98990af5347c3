//! An authority that only the lab trusts, and a certificate for each node.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

use crate::host::Host;

/// The files of an authority.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, for its owner's eyes only.
    pub key: PathBuf,
}

impl Authority {
    /// Makes a new one, whose files are in this directory.
    ///
    /// # Errors
    /// Where a key cannot be made, or a file cannot be written.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Tertium lab");
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        let authority = Self { dir: dir.to_owned(), issuer };
        std::fs::write(authority.file(), authority.issuer.pem())?;
        Ok(authority)
    }

    /// The file that whoever trusts it reads.
    pub fn file(&self) -> PathBuf {
        self.dir.join("authority.pem")
    }

    /// A certificate for a host: for its name and its address.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn certify(&self, host: Host) -> io::Result<Certificate> {
        let mut params = CertificateParams::new(vec![host.to_string()]).map_err(io::Error::other)?;
        params.subject_alt_names.push(SanType::IpAddress(host.address().into()));
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let signed = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let files = Certificate {
            certificate: self.dir.join(format!("{host}.pem")),
            key: self.dir.join(format!("{host}.key.pem")),
        };
        std::fs::write(&files.certificate, signed.pem())?;
        write_secret(&files.key, key.serialize_pem().as_bytes())?;
        Ok(files)
    }
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// Where it cannot be written.
pub fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}
