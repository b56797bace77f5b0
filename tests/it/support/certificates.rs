//! Certificates and keys of a test's own, as files in a folder that goes with the value.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// An authority that signs what a test asks for.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// A new one. Its own certificate is `ca.pem`.
    pub(crate) fn new() -> Self {
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("sluicegate-{}-authority-{number}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).expect("a folder for the test");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        // By their names alone, two of them are not the same.
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(folder.join("ca.pem"), certificate.pem()).expect("it is written");
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// Signs `NAME.pem` and `NAME.key` for `hosts`.
    pub(crate) fn sign(&self, name: &str, hosts: &[&str]) {
        self.sign_with(name, hosts, |_| {});
    }

    /// The same, with what `change` makes of it.
    pub(crate) fn sign_with(
        &self,
        name: &str,
        hosts: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).expect("names of hosts");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        self.issue(name, &params, &KeyPair::generate().expect("a key"));
    }

    /// The same for `host` with a key of the test's own, in PEM.
    pub(crate) fn sign_key(&self, name: &str, key: &str, host: &str) {
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a host");
        self.issue(name, &params, &KeyPair::from_pem(key).expect("a key"));
    }

    fn issue(&self, name: &str, params: &CertificateParams, key: &KeyPair) {
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        let file = format!("{name}.key");
        self.write(&file, &key.serialize_pem());
        let own = Permissions::from_mode(0o600);
        fs::set_permissions(self.path(&file), own).expect("its own file");
    }

    /// Writes a file of the test's own beside the others.
    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).expect("it is written");
    }

    /// Where a file is.
    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
