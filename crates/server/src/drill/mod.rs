//! A real Apache Drill: getting and running one ([`start`]), showing it the lake ([`register`]) and asking it
//! ([`query`]).
//!
//! Drill publishes no distribution on Maven Central, only its jars, so [`install()`] lets Maven copy those into a cache
//! folder and [`start`] runs a ten-line Java program on them: one embedded Drillbit, without ZooKeeper, that listens on
//! this machine only. [`register`] and [`query`] speak Drill's REST API and work with any Drillbit.
//!
//! Everything here blocks the calling thread; call it from an async task through `spawn_blocking`.

mod client;
mod install;
mod process;
mod result;
mod snapshot;

pub use client::{QueryOptions, copy_answer, query, query_with, register};
pub(crate) use client::{planned, statement};
pub use install::{default_cache, install};
pub use process::{DrillOptions, RunningDrill, start};
pub use result::{Column, QueryResult};
pub(crate) use result::{completed, date_time, time_of_day};
pub use snapshot::{SnapshotError, SnapshotSchema};

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The version of Apache Drill that [`start`] runs.
pub const VERSION: &str = "1.22.0";

/// Where a Drillbit's REST API listens unless it is told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8047";

/// The storage plugin under which a lake is registered unless another name is given: its tables are `headwater.NAME`.
pub const DEFAULT_PLUGIN: &str = "headwater";

/// Why Drill could not be installed, started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrillError {
    /// A program that Drill needs is not on the path, or too old.
    #[error(
        "{found}; Drill needs {needs}: install it (on Debian and Ubuntu: `apt install {package}`) and try again"
    )]
    MissingTool {
        /// What was looked for and what was seen instead.
        found: String,
        /// What is needed.
        needs: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// There is no folder to keep Drill's jars in.
    #[error("no cache folder is known: set XDG_CACHE_HOME or HOME, or name a folder")]
    NoCache,
    /// Maven could not get Drill's jars.
    #[error(
        "Maven could not get Drill {VERSION}'s jars; check the network and Maven's settings, then try again. It said:\n{output}"
    )]
    Download {
        /// The end of Maven's output.
        output: String,
    },
    /// A file or folder could not be read or written, or a program not run.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file, folder or program.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Another Drillbit has its data in the folder.
    #[error("{} is in use by another Drillbit: stop that one, or name another folder", path.display())]
    DataInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A port is taken or not allowed.
    #[error("cannot use port {port} of 127.0.0.1: {source}; give another one, or 0 for any")]
    Port {
        /// The port.
        port: u16,
        /// What the system answered.
        source: io::Error,
    },
    /// The Drillbit ended while it started.
    #[error("the Drillbit ended while it started ({status}); the end of its log:\n{log}")]
    Died {
        /// Its exit status.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// The Drillbit did not answer in time, and was ended.
    #[error("the Drillbit gave no answer within {} s; allow more time, or see the end of its log:\n{log}", waited.as_secs())]
    NotReady {
        /// For how long it was waited.
        waited: Duration,
        /// The end of its log.
        log: String,
    },
    /// Nothing answers at the address, or not in time.
    #[error(
        "no answer from Drill at {url}: {source}; is it running (`headwater drill start`), and is the address right?"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// The query was not answered in time. Drill may still be working on it: see its web page.
    #[error("Drill at {url} did not answer the query within {} s; it may still be working on it ({url}/profiles)", waited.as_secs())]
    Timeout {
        /// The address.
        url: String,
        /// The time allowed.
        waited: Duration,
    },
    /// Drill refused or failed the query, or a change of its configuration.
    #[error("Drill says: {message}")]
    Failed {
        /// Drill's own message.
        message: String,
    },
    /// What answers at the address is not Drill, or an answer is malformed.
    #[error("unexpected answer from {url} (is that Drill?): {reason}")]
    Unexpected {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The answer is longer than what was allowed.
    #[error(
        "the answer is longer than {limit} bytes: ask for fewer rows or columns, or allow more"
    )]
    TooLong {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The name cannot be a storage plugin's.
    #[error(
        "{name:?} cannot name a storage plugin: use lower-case ASCII letters, digits and _, beginning with a letter"
    )]
    BadPluginName {
        /// The name.
        name: String,
    },
    /// Drill already has a storage plugin of this name that is not Headwater's.
    #[error(
        "Drill already has a storage plugin {name:?} for something else: give another name, or remove it on Drill's Storage page"
    )]
    PluginTaken {
        /// The name.
        name: String,
    },
    /// Drill cannot see the lake's folder.
    #[error("Drill cannot see the folder {}; it must exist on the Drillbit's machine and be readable to it ({message})", lake.display())]
    LakeNotVisible {
        /// The lake's folder.
        lake: PathBuf,
        /// Drill's own message.
        message: String,
    },
}

impl DrillError {
    /// Whether the query failed before it ran because a table's view changed while it was planned: Drill reads the view's file
    /// twice, to check the statement and to translate it, and takes the columns of both to be the same. It fails where a column
    /// has another type.
    pub(crate) fn is_torn_plan(&self) -> bool {
        matches!(self, Self::Failed { message }
            if message.contains("Conversion to relational algebra failed to preserve datatypes")
                || message.contains("Field ordinal") && message.contains("is invalid for"))
    }

    /// For `map_err`: says what was tried on which path.
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// How far [`install()`] and [`start`] have come; `Display` gives a line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Maven has downloaded this many files (about 900 the first time).
    Downloading {
        /// Files so far.
        files: usize,
    },
    /// Maven has copied this many jars (261 in all).
    Copying {
        /// Jars so far.
        jars: usize,
    },
    /// The Drillbit has been starting for this long (10 to 20 s in all).
    Starting {
        /// Time so far.
        elapsed: Duration,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Downloading { files } => {
                write!(f, "downloading Drill {VERSION} (once): {files} files")
            }
            Self::Copying { jars } => write!(f, "copying Drill {VERSION} (once): {jars} jars"),
            Self::Starting { elapsed } => {
                write!(f, "starting Drill {VERSION}: {} s", elapsed.as_secs())
            }
        }
    }
}

/// The last lines of a program's output, for an error message.
fn tail(output: &str, lines: usize) -> String {
    let all: Vec<&str> = output.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_two_versions_of_a_table_is_known_by_what_drill_says() {
        let torn = |message: &str| {
            let message = message.to_owned();
            DrillError::Failed { message }.is_torn_plan()
        };
        assert!(torn(
            "SYSTEM ERROR: AssertionError: Conversion to relational algebra failed to preserve datatypes:\nvalidated type:\n\
             RecordType(VARCHAR(65535) _key, BIGINT value)\nconverted type:\nRecordType(VARCHAR(65535) _key, DOUBLE value)"
        ));
        assert!(torn(
            "PLAN ERROR: Field ordinal 4 is invalid for  type 'RecordType(VARCHAR(65535) _key)'"
        ));
        assert!(!torn(
            "VALIDATION ERROR: Column 'value' not found in any table"
        ));
    }

    #[test]
    fn such_a_statement_is_planned_again_but_not_for_ever() {
        let torn = || DrillError::Failed {
            message: "Field ordinal 4 is invalid for type".to_owned(),
        };
        let mut asked = 0;
        let answer = client::planned(DrillError::is_torn_plan, || {
            asked += 1;
            if asked < 3 { Err(torn()) } else { Ok(asked) }
        });
        assert_eq!(answer.unwrap(), 3);
        let mut asked = 0;
        let answer = client::planned(DrillError::is_torn_plan, || {
            asked += 1;
            Err::<(), _>(torn())
        });
        assert!(answer.unwrap_err().is_torn_plan() && asked == 3);
        let mut asked = 0;
        let answer = client::planned(DrillError::is_torn_plan, || {
            asked += 1;
            Err::<(), _>(DrillError::NoCache)
        });
        assert!(matches!(answer, Err(DrillError::NoCache)) && asked == 1);
    }
}
