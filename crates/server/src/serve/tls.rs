//! Certificates for what listens, followed as they are renewed.

use super::error::ServeError;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::AbortHandle;

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// The certificate that a server shows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file with its certificate, followed by those between it and what clients trust.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key.
    pub key: PathBuf,
}

/// What the listeners show now, and the task that follows the files.
#[derive(Debug)]
pub(super) struct Tls {
    pub config: RustlsConfig,
    follower: AbortHandle,
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Tls {
    /// Reads the files and from then on follows them. It must be called on a runtime.
    pub fn open(files: &TlsConfig) -> Result<Self, ServeError> {
        let seen = modified(files);
        let config = RustlsConfig::from_config(read(files).map_err(ServeError::Tls)?);
        let follower = tokio::spawn(follow(files.clone(), seen, config.clone())).abort_handle();
        Ok(Self { config, follower })
    }
}

fn read(files: &TlsConfig) -> Result<Arc<ServerConfig>, String> {
    let TlsConfig { certificate, key } = files;
    let wrong =
        |file: &Path, why: &dyn std::fmt::Display| format!("cannot use {}: {why}", file.display());
    let certificates = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, &error))?;
    if certificates.is_empty() {
        return Err(wrong(certificate, &"it has no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, secret)
        .map_err(|error| wrong(certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

type Modified = [Option<SystemTime>; 2];

fn modified(files: &TlsConfig) -> Modified {
    [&files.certificate, &files.key].map(|file| std::fs::metadata(file).ok()?.modified().ok())
}

/// Shows a renewed certificate to who connects from then on. Files that cannot be used leave in force what was before: they may
/// be half written, and are read again when they change.
async fn follow(files: TlsConfig, mut seen: Modified, config: RustlsConfig) {
    let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
    loop {
        ticks.tick().await;
        let now = modified(&files);
        if now == seen {
            continue;
        }
        seen = now;
        match read(&files) {
            Ok(renewed) => {
                config.reload_from_config(renewed);
                tracing::info!(certificate = %files.certificate.display(), "certificate read again");
            }
            Err(error) => tracing::error!(error, "the certificate of before stays in force"),
        }
    }
}
