//! Whom a native peer believes to be the server that it asked for.

use super::TransportError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Trusts what the certificates in a PEM file vouch for, and nobody else. The file is read anew for each connection.
pub(super) fn trusting(file: &Path) -> Result<Arc<ClientConfig>, TransportError> {
    let wrong = |why: String| {
        TransportError::Broken(format!(
            "cannot use the certificates in {}: {why}",
            file.display()
        ))
    };
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is none in it".to_owned()));
    }
    config(roots)
}

/// Trusts whom the system trusts.
pub(super) fn system() -> Result<Arc<ClientConfig>, TransportError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(TransportError::Broken(
            "this system has no certificates that vouch for servers: install its ca-certificates, or name a file".to_owned(),
        ));
    }
    config(roots)
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, TransportError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Broken(format!("no TLS: {error}")))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}
