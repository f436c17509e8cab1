use headwater_core::DatabaseId;
use serde::Deserialize;
use std::path::PathBuf;

/// An Airflow that is told of news: what `[airflow]` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirflowConfig {
    /// Its API server, such as `http://127.0.0.1:8080`.
    pub url: String,
    /// Who asks it for tokens, together with the password.
    pub username: Option<String>,
    /// A file with that user's password.
    pub password_file: Option<PathBuf>,
    /// A file with a token, instead of a user and a password. It is read again when Airflow does not take the token any more.
    pub token_file: Option<PathBuf>,
    /// A PEM file of certificates that vouch for an `https://` Airflow, instead of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The assets that get events, and of what.
    pub assets: Vec<AssetConfig>,
}

/// An asset of Airflow's that stands for records here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetConfig {
    /// Its URI, as the DAG has it.
    pub uri: String,
    /// The database whose records it stands for; every one if not given.
    #[serde(default, deserialize_with = "database")]
    pub database: Option<DatabaseId>,
    /// The collection whose records it stands for; every one if not given.
    pub collection: Option<String>,
    /// Changes of this origin are no news, such as those that the asset's own DAGs push.
    pub exclude_origin: Option<String>,
}

fn database<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DatabaseId>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

impl AssetConfig {
    /// Whether a change of a record is news for it.
    pub(super) fn wants(
        &self,
        database: &DatabaseId,
        collection: &str,
        origin: Option<&str>,
    ) -> bool {
        let same = |wanted: Option<&str>, got: &str| wanted.is_none_or(|wanted| wanted == got);
        let excluded = self.exclude_origin.is_some() && self.exclude_origin.as_deref() == origin;
        self.database.is_none_or(|wanted| wanted == *database)
            && same(self.collection.as_deref(), collection)
            && !excluded
    }
}
