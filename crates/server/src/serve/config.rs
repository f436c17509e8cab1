//! The configuration file, in TOML.

use super::limits::LimitsConfig;
use super::tls::TlsConfig;
use crate::airflow::AirflowConfig;
use headwater_core::DocumentId;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What the configuration file can say beyond the command line.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Web origins besides this machine's own whose pages may connect, such as `https://app.example.com`.
    pub origins: Vec<String>,
    /// The storage plugin under whose name Drill has the lake.
    pub drill_schema: String,
    /// Who may use the server. Without it, everyone on this machine, and nobody else.
    pub tokens: Option<TokensConfig>,
    /// The certificate for `wss://` and `https://`. Without it, nothing is encrypted.
    pub tls: Option<TlsConfig>,
    /// How much may be asked of the server.
    pub limits: LimitsConfig,
    /// An Airflow that is told of changes.
    pub airflow: Option<AirflowConfig>,
    /// How the lake is published and kept.
    pub lake: LakeConfig,
    /// Plain automerge-repo documents that are in the lake.
    pub plain: Vec<PlainCollection>,
}

/// Where it is written who may use the server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensConfig {
    /// The file, as `headwater token new` writes it.
    pub file: PathBuf,
}

/// How the lake is published and kept.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LakeConfig {
    /// How long changes are gathered before they are published together, in milliseconds.
    pub publish_interval_ms: u64,
    /// How long a snapshot can be named, and a query that runs finds its files, after it was replaced, in seconds.
    pub keep_snapshots_s: u64,
    /// How long events stay in the change feeds, in seconds.
    pub keep_changes_s: u64,
}

impl Default for LakeConfig {
    fn default() -> Self {
        let options = headwater_materialize::LakeOptions::default();
        Self {
            publish_interval_ms: 100,
            keep_snapshots_s: options.keep_snapshots.as_secs(),
            keep_changes_s: options.keep_changes.as_secs(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            drill_schema: "headwater".to_owned(),
            tokens: None,
            tls: None,
            airflow: None,
            limits: LimitsConfig::default(),
            lake: LakeConfig::default(),
            plain: Vec::new(),
        }
    }
}

/// A plain document whose maps are rows of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainCollection {
    /// The document: `automerge:…` or the id alone.
    #[serde(deserialize_with = "document_id")]
    pub document: DocumentId,
    /// The collection whose table its rows are in.
    pub collection: String,
    /// The name in the document's root under which the map or list of rows is.
    pub root: String,
    /// The field that is the key of a list's row; its place in the list if not given.
    #[serde(default)]
    pub key: Option<String>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not say what a configuration says.
    #[error("the configuration {} is wrong: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file, the line and what is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| ConfigError::Wrong {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }
}

fn document_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<DocumentId, D::Error> {
    let text = String::deserialize(deserializer)?;
    let id = text.strip_prefix("automerge:").unwrap_or(&text);
    id.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_and_what_is_wrong_is_named() {
        let id = DocumentId::from_bytes([1; 16]);
        let text = format!(
            "origins = [\"https://a.example\"]\n[[plain]]\ndocument = \"automerge:{id}\"\ncollection = \"tasks\"\nroot = \"tasks\"\n"
        );
        let config: Config = toml::from_str(&text).unwrap();
        assert_eq!(config.plain[0].document, id);
        assert_eq!(config.drill_schema, "headwater");
        let error = toml::from_str::<Config>("orgins = []").unwrap_err();
        assert!(error.to_string().contains("orgins"), "{error}");
        let bad = text.replace(&id.to_string(), "nonsense");
        let error = toml::from_str::<Config>(&bad).unwrap_err();
        assert!(error.to_string().contains("not an id"), "{error}");
    }
}
