use std::fmt;

/// A server, and what it takes to be let in. A bare address, as text, is a server without tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) authority: Option<std::path::PathBuf>,
}

impl Connect {
    /// The server at `ws://HOST:PORT` or `wss://HOST:PORT`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            #[cfg(not(target_arch = "wasm32"))]
            authority: None,
        }
    }

    /// With a token of the server's. It travels in clear unless the address begins with `wss://`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Trusts the certificates in this PEM file to vouch for a `wss://` server, instead of those that the system trusts.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn authority(mut self, file: impl Into<std::path::PathBuf>) -> Self {
        self.authority = Some(file.into());
        self
    }
}

/// Without the token, which is not for logs.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("url", &self.url)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}

impl From<&str> for Connect {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<&String> for Connect {
    fn from(url: &String) -> Self {
        Self::new(url)
    }
}

impl From<String> for Connect {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}
