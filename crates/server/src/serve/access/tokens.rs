//! The file of tokens: what it says, and how the command line changes it.

use headwater_core::DatabaseId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The most that is read of a tokens file, in bytes: some ten thousand tokens.
const MAX_FILE: u64 = 4 << 20;
/// The longest name of a token, in bytes. It travels in each change that is written with it.
const MAX_NAME: usize = 128;
/// The random bytes of a new token.
const RANDOM_BYTES: usize = 32;
/// With which a token begins, so that people and scanners of leaked secrets know what it is.
const PREFIX: &str = "hw_";
const HEADER: &str = "# Who may use this Headwater server. `headwater token new|list|revoke` writes this file; a running server\n\
    # reads it again when it changes. The tokens themselves are not in it, only their SHA-256.\n\n";

/// What a token lets its holder do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Read its databases.
    Read,
    /// Read and write its databases.
    Write,
    /// Everything, in every database and on the server.
    Admin,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// The databases that a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Databases {
    /// Every one, also those to come.
    All,
    /// These.
    Only(BTreeSet<DatabaseId>),
}

impl Databases {
    /// Whether it is for this one.
    pub fn contain(&self, id: &DatabaseId) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(id),
        }
    }
}

/// What a tokens file says of one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Who holds it: the user of what is written with it.
    pub name: String,
    /// What it lets them do.
    pub access: Level,
    /// Where.
    pub databases: Databases,
    /// From when on it is no longer taken.
    pub expires: Option<Timestamp>,
    /// The SHA-256 of the token.
    pub(super) sha256: [u8; 32],
}

/// The tokens of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(pub(super) Vec<Token>);

/// Why a tokens file cannot be used or changed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read the tokens file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not say what a tokens file says.
    #[error("the tokens file {} is wrong: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What, and of which token.
        message: String,
    },
    /// It cannot be written.
    #[error("cannot write the tokens file {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token that is to be added cannot be.
    #[error("the token cannot be added: {0}")]
    Unusable(String),
    /// There is no token of this name.
    #[error("{} has no token named {name:?}; `headwater token list` shows those that it has", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// The system gave no random numbers.
    #[error("the system gave no random numbers: {0}")]
    Random(String),
}

/// The file's form.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "token")]
    tokens: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    access: Level,
    databases: Listed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Listed {
    Word(String),
    Ids(Vec<String>),
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TokensError`] naming the file, the token and what is wrong.
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        let unreadable = |source| TokensError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        let wrong = |message| TokensError::Wrong {
            path: path.to_owned(),
            message,
        };
        if size > MAX_FILE {
            return Err(wrong(format!("it has more than {MAX_FILE} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(wrong)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let tokens = file.tokens.into_iter().map(|entry| {
            let name = entry.name.clone();
            Token::from_entry(entry).map_err(|why| format!("the token {name:?}: {why}"))
        });
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        let mut hashes = BTreeSet::new();
        for token in &tokens {
            if !names.insert(&token.name) || !hashes.insert(token.sha256) {
                return Err(format!("the token {:?} is there twice", token.name));
            }
        }
        Ok(Self(tokens))
    }

    /// The tokens, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }

    /// Replaces a file, which at no moment is missing or half written. Only its owner can read it.
    fn write(&self, path: &Path) -> Result<(), TokensError> {
        let unwritable = |source| TokensError::Unwritable {
            path: path.to_owned(),
            source,
        };
        let tokens = self.0.iter().map(Token::to_entry).collect();
        let text = toml::to_string(&File { tokens })
            .map_err(|error| unwritable(std::io::Error::other(error)))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
        file.write_all(HEADER.as_bytes())
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.as_file().sync_all())
            .map_err(unwritable)?;
        // What replaces the file keeps who may read it, such as the account of a server that is not the administrator's.
        if let Ok(before) = std::fs::metadata(path) {
            file.as_file()
                .set_permissions(before.permissions())
                .map_err(unwritable)?;
        }
        file.persist(path)
            .map_err(|error| unwritable(error.error))?;
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(unwritable)
    }
}

impl Token {
    /// Draws a token, adds what is to be known of it to the file, which is created if needed, and returns it. It is
    /// nowhere else.
    ///
    /// # Errors
    /// [`TokensError`] if the file is wrong or cannot be written, or has the name already.
    pub fn create(
        path: &Path,
        name: &str,
        access: Level,
        databases: Databases,
        expires: Option<Timestamp>,
    ) -> Result<String, TokensError> {
        let mut tokens = match path.exists() {
            true => Tokens::read(path)?,
            false => Tokens::default(),
        };
        if tokens.0.iter().any(|token| token.name == name) {
            let why = format!("{} has one named {name:?} already", path.display());
            return Err(TokensError::Unusable(why));
        }
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| TokensError::Random(error.to_string()))?;
        let secret = format!("{PREFIX}{}", hex(&random));
        let token = Self {
            name: name.to_owned(),
            access,
            databases,
            expires,
            sha256: digest(secret.as_bytes()),
        };
        token.check().map_err(TokensError::Unusable)?;
        tokens.0.push(token);
        tokens.write(path)?;
        Ok(secret)
    }

    /// Takes a token out of the file.
    ///
    /// # Errors
    /// [`TokensError`] if there is none of this name, or the file is wrong or cannot be written.
    pub fn revoke(path: &Path, name: &str) -> Result<(), TokensError> {
        let mut tokens = Tokens::read(path)?;
        let before = tokens.0.len();
        tokens.0.retain(|token| token.name != name);
        if tokens.0.len() == before {
            return Err(TokensError::Unknown {
                path: path.to_owned(),
                name: name.to_owned(),
            });
        }
        tokens.write(path)
    }

    fn check(&self) -> Result<(), String> {
        let printable = !self.name.chars().any(char::is_control);
        if self.name.is_empty() || self.name.len() > MAX_NAME || !printable {
            return Err(format!(
                "its name must be 1 to {MAX_NAME} bytes of text without control characters"
            ));
        }
        match (self.access, &self.databases) {
            (Level::Admin, Databases::Only(_)) => Err(
                "`admin` is access to the whole server: give it `databases = \"all\"`".to_owned(),
            ),
            (_, Databases::Only(ids)) if ids.is_empty() => {
                Err("it is for no database: list their ids, or say \"all\"".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn from_entry(entry: Entry) -> Result<Self, String> {
        let databases = match entry.databases {
            Listed::Word(word) if word == "all" => Databases::All,
            Listed::Word(_) => return Err("`databases` is a list of ids, or \"all\"".to_owned()),
            Listed::Ids(ids) => {
                let ids = ids.iter().map(|id| id.parse());
                let ids = ids.collect::<Result<_, _>>();
                Databases::Only(
                    ids.map_err(|error: headwater_core::ParseIdError| error.to_string())?,
                )
            }
        };
        let expires = entry.expires.map(|text| parse_time(&text)).transpose()?;
        let token = Self {
            name: entry.name,
            access: entry.access,
            databases,
            expires,
            sha256: parse_hex(&entry.sha256)
                .ok_or("`sha256` must be 64 hexadecimal digits: the SHA-256 of the token")?,
        };
        token.check()?;
        Ok(token)
    }

    fn to_entry(&self) -> Entry {
        Entry {
            name: self.name.clone(),
            sha256: hex(&self.sha256),
            access: self.access,
            databases: match &self.databases {
                Databases::All => Listed::Word("all".to_owned()),
                Databases::Only(ids) => Listed::Ids(ids.iter().map(ToString::to_string).collect()),
            },
            expires: self.expires.map(|time| time.to_string()),
        }
    }
}

/// A time as the file and the command line have it.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a time such as 2027-01-31T00:00:00Z"))
}

pub(super) fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_names_the_token_and_what_is_wrong() {
        let sha256 = "ab".repeat(32);
        let entry =
            |rest: &str| format!("[[token]]\nname = \"etl\"\nsha256 = \"{sha256}\"\n{rest}\n");
        let all = "access = \"read\"\ndatabases = \"all\"";
        assert_eq!(Tokens::parse(&entry(all)).unwrap().0.len(), 1);
        for (text, expected) in [
            (
                entry("access = \"read\"\ndatabases = \"some\""),
                "a list of ids",
            ),
            (entry("access = \"read\"\ndatabases = [\"x\"]"), "\"etl\""),
            (
                entry("access = \"read\"\ndatabases = []"),
                "for no database",
            ),
            (entry("access = \"root\"\ndatabases = \"all\""), "root"),
            (entry(&format!("{all}\nexpires = \"soon\"")), "not a time"),
            (entry(&format!("{all}\nexpire = \"soon\"")), "expire"),
            (entry(all).replace(&sha256, "abc"), "64 hexadecimal"),
            (entry(all).replace("etl", ""), "its name"),
            (entry(all) + &entry(all), "twice"),
            ("[[token]\n".to_owned(), "line 1"),
        ] {
            let error = Tokens::parse(&text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn an_admin_token_is_for_the_whole_server() {
        let id = DatabaseId::from_bytes([1; 16]);
        let text = format!(
            "[[token]]\nname = \"a\"\nsha256 = \"{}\"\naccess = \"admin\"\ndatabases = [\"{id}\"]",
            "00".repeat(32)
        );
        assert!(Tokens::parse(&text).unwrap_err().contains("whole server"));
    }
}
