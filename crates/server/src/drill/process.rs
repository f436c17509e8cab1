//! Runs one embedded Drillbit as a child process.

use super::install::{default_cache, install};
use super::{DEFAULT_PLUGIN, DrillError, Progress, client, tail};
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const LAUNCHER: &str = include_str!("assets/EmbeddedDrillbit.java");
const CONFIG: &str = include_str!("assets/drill-override.conf");
const LOGGING: &str = include_str!("assets/logback.xml");

/// The packages that Drill opens by reflection; Java 17 keeps them closed otherwise.
const OPENS: [&str; 6] = [
    "java.base/java.lang",
    "java.base/java.util",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/sun.nio.ch",
    "java.security.jgss/sun.security.krb5",
];

/// The oldest Java that has the single-file launch and runs Drill with [`OPENS`] as tested.
const JAVA: u32 = 17;

/// How long a Drillbit may take to finish its queries and close before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How to run a Drillbit. [`DrillOptions::new`] gives working values for all but the lake.
#[derive(Debug, Clone)]
pub struct DrillOptions {
    /// The folder of the lake, which is registered as `plugin`. Created if missing.
    pub lake: PathBuf,
    /// The name of the lake's storage plugin: its tables are `PLUGIN.NAME`.
    pub plugin: String,
    /// The port of the web page and the REST API; 0 picks a free one.
    pub http_port: u16,
    /// The port for JDBC and ODBC clients; 0 picks a free one.
    pub user_port: u16,
    /// The port that Drillbits use among themselves (and the one after it); 0 picks a free one.
    pub bit_port: u16,
    /// Where Drill keeps its configuration, temporary files and its log; `None` is a folder that is removed at the end.
    pub data: Option<PathBuf>,
    /// Where Drill's jars are kept; `None` is [`default_cache`].
    pub cache: Option<PathBuf>,
    /// The most Java heap, in MiB.
    pub heap_mib: u32,
    /// The most memory outside the heap, where Drill keeps the rows it works on, in MiB.
    pub direct_mib: u32,
    /// How long the start may take, downloads not counted.
    pub timeout: Duration,
}

impl DrillOptions {
    /// Drill over `lake` on its usual ports, with 1 GiB of heap, 2 GiB of direct memory and two minutes to start.
    pub fn new(lake: impl Into<PathBuf>) -> Self {
        Self {
            lake: lake.into(),
            plugin: DEFAULT_PLUGIN.to_owned(),
            http_port: 8047,
            user_port: 31010,
            bit_port: 31011,
            data: None,
            cache: None,
            heap_mib: 1024,
            direct_mib: 2048,
            timeout: Duration::from_secs(120),
        }
    }
}

/// A Drillbit that answers queries. Stopped when dropped.
#[derive(Debug)]
pub struct RunningDrill {
    child: Child,
    /// The launcher ends when this closes, which the system does even if this process is killed.
    stdin: Option<ChildStdin>,
    url: String,
    user_port: u16,
    log: PathBuf,
    _data: Data,
}

/// Starts a Drillbit and waits until it answers queries over the lake. Gets Drill first if the cache lacks it.
///
/// # Errors
/// What [`install()`](super::install()) returns; [`DrillError::MissingTool`] without a Java 17 development kit;
/// [`DrillError::Died`] and [`DrillError::NotReady`] with the end of Drill's log; [`DrillError::Port`];
/// [`DrillError::DataInUse`]; and what [`register`](super::register) returns. Nothing keeps running after an error.
pub fn start(
    options: &DrillOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunningDrill, DrillError> {
    let java = find_java()?;
    let cache = match &options.cache {
        Some(cache) => cache.clone(),
        None => default_cache()?,
    };
    let home = install(&cache, progress)?;
    fs::create_dir_all(&options.lake).map_err(DrillError::io("create", &options.lake))?;
    let data = Data::open(options.data.as_deref())?;
    let ports = Ports::choose(options)?;
    write_configuration(&data.path, ports)?;
    let log = data.path.join("drillbit.log");
    let log_file = File::create(&log).map_err(DrillError::io("create", &log))?;
    let mut child = launch(&java, &home, &data.path, options, log_file)?;
    let ready = watch_for_ready(&mut child);
    let mut drill = RunningDrill {
        stdin: child.stdin.take(),
        child,
        url: format!("http://127.0.0.1:{}", ports.http),
        user_port: ports.user,
        log,
        _data: data,
    };
    let begun = Instant::now();
    drill.user_port = drill.wait_until_ready(&ready, begun, options.timeout, progress)?;
    client::register(&drill.url, &options.plugin, &options.lake)?;
    Ok(drill)
}

impl RunningDrill {
    /// Where the REST API and the web page are: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address for JDBC clients.
    pub fn jdbc_url(&self) -> String {
        format!("jdbc:drill:drillbit=127.0.0.1:{}", self.user_port)
    }

    /// The file that Drill writes its warnings and errors to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process id of the Java virtual machine.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if the Drillbit has ended by itself.
    ///
    /// # Errors
    /// What the system says if it cannot be asked.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Stops the Drillbit: it may finish for ten seconds, then it is killed. Returns once it is gone.
    ///
    /// # Errors
    /// What the system says if it cannot be ended.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.stdin.take());
        let deadline = Instant::now() + STOP_GRACE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                self.child.kill()?;
                self.child.wait()?;
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits for the launcher's ready line, then for a first answer; returns the port for JDBC clients.
    fn wait_until_ready(
        &mut self,
        ready: &Receiver<u16>,
        begun: Instant,
        timeout: Duration,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<u16, DrillError> {
        loop {
            match ready.recv_timeout(Duration::from_millis(200)) {
                Ok(user_port) => {
                    let left = timeout.saturating_sub(begun.elapsed());
                    client::ping(&self.url, left.max(Duration::from_secs(1)))?;
                    return Ok(user_port);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = match self.child.wait() {
                        Ok(status) => status.to_string(),
                        Err(error) => error.to_string(),
                    };
                    return Err(DrillError::Died {
                        status,
                        log: self.log_tail(),
                    });
                }
                Err(RecvTimeoutError::Timeout) if begun.elapsed() >= timeout => {
                    // It hangs: there is nothing for it to finish.
                    self.child
                        .kill()
                        .map_err(DrillError::io("end", "the Drillbit"))?;
                    return Err(DrillError::NotReady {
                        waited: begun.elapsed(),
                        log: self.log_tail(),
                    });
                }
                Err(RecvTimeoutError::Timeout) => progress(Progress::Starting {
                    elapsed: begun.elapsed(),
                }),
            }
        }
    }

    fn log_tail(&self) -> String {
        match fs::read(&self.log) {
            Ok(log) => tail(&String::from_utf8_lossy(&log), 20),
            Err(error) => format!("(no log: {error})"),
        }
    }
}

impl Drop for RunningDrill {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(pid = self.child.id(), %error, "the Drillbit could not be stopped");
        }
    }
}

/// The folder of a running Drillbit, locked against a second one.
#[derive(Debug)]
struct Data {
    path: PathBuf,
    _lock: File,
    _temporary: Option<tempfile::TempDir>,
}

impl Data {
    fn open(given: Option<&Path>) -> Result<Self, DrillError> {
        let (path, temporary) = match given {
            Some(path) => (path.to_owned(), None),
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("headwater-drill-")
                    .tempdir()
                    .map_err(DrillError::io("create a folder in", std::env::temp_dir()))?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        fs::create_dir_all(&path).map_err(DrillError::io("create", &path))?;
        let path = fs::canonicalize(&path).map_err(DrillError::io("find", &path))?;
        let lock_path = path.join("drill.lock");
        let lock = File::create(&lock_path).map_err(DrillError::io("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                _lock: lock,
                _temporary: temporary,
            }),
            Err(TryLockError::WouldBlock) => Err(DrillError::DataInUse { path }),
            Err(TryLockError::Error(source)) => Err(DrillError::io("lock", lock_path)(source)),
        }
    }
}

#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    user: u16,
    bit: u16,
}

impl Ports {
    /// Drill itself cannot be given port 0: it advertises 0 to itself and every query then hangs.
    fn choose(options: &DrillOptions) -> Result<Self, DrillError> {
        // All are held until all are chosen, so that they differ.
        let mut held = Vec::new();
        let mut choose = |wanted: u16| -> Result<u16, DrillError> {
            let failed = |source| DrillError::Port {
                port: wanted,
                source,
            };
            let listener = TcpListener::bind(("127.0.0.1", wanted)).map_err(failed)?;
            let port = listener.local_addr().map_err(failed)?.port();
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            http: choose(options.http_port)?,
            user: choose(options.user_port)?,
            bit: choose(options.bit_port)?,
        })
    }
}

/// The Java to run: of `$JAVA_HOME`, else of the path.
fn find_java() -> Result<PathBuf, DrillError> {
    let java = match std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => Path::new(&home).join("bin").join("java"),
        None => PathBuf::from("java"),
    };
    let missing = |found| DrillError::MissingTool {
        found,
        needs: "a Java development kit, version 17 or later",
        package: "openjdk-17-jdk-headless",
    };
    let output = match Command::new(&java).arg("-version").output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(missing(format!("`{}` is not there", java.display())));
        }
        Err(error) => return Err(DrillError::io("run", java)(error)),
    };
    let text = String::from_utf8_lossy(&output.stderr);
    match java_major(&text) {
        Some(major) if major >= JAVA => Ok(java),
        Some(major) => Err(missing(format!("`{}` is Java {major}", java.display()))),
        None => Err(missing(format!(
            "`{} -version` says {:?}",
            java.display(),
            text.trim()
        ))),
    }
}

/// The major version in what `java -version` prints: `openjdk version "17.0.15" 2025-04-15` is 17, `"1.8.0_402"` is 8.
fn java_major(output: &str) -> Option<u32> {
    let version = output.split('"').nth(1)?;
    let mut numbers = version.split(['.', '-', '_', '+']).map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        major => Some(major),
    }
}

fn write_configuration(data: &Path, ports: Ports) -> Result<(), DrillError> {
    let conf = data.join("conf");
    fs::create_dir_all(&conf).map_err(DrillError::io("create", &conf))?;
    // A JSON string is a HOCON string.
    let quoted = serde_json::Value::from(data.to_string_lossy()).to_string();
    let config = CONFIG
        .replace("@HTTP_PORT@", &ports.http.to_string())
        .replace("@USER_PORT@", &ports.user.to_string())
        .replace("@BIT_PORT@", &ports.bit.to_string())
        .replace("@DATA@", &quoted);
    for (name, content) in [
        ("drill-override.conf", config.as_str()),
        ("logback.xml", LOGGING),
        ("EmbeddedDrillbit.java", LAUNCHER),
    ] {
        let path = conf.join(name);
        fs::write(&path, content).map_err(DrillError::io("write", path))?;
    }
    Ok(())
}

fn launch(
    java: &Path,
    home: &Path,
    data: &Path,
    options: &DrillOptions,
    log: File,
) -> Result<Child, DrillError> {
    let home = fs::canonicalize(home).map_err(DrillError::io("find", home))?;
    let mut command = Command::new(java);
    command
        .arg(format!("-Xmx{}m", options.heap_mib))
        .arg(format!("-XX:MaxDirectMemorySize={}m", options.direct_mib))
        // Drill reads and prints TIMESTAMPs in the machine's zone; the lake's are UTC.
        .arg("-Duser.timezone=UTC")
        // Without it, its planner refuses texts in SQL with other characters than those of ISO 8859-1.
        .arg("-Dcalcite.default.charset=utf8")
        .arg(format!("-Djava.io.tmpdir={}", data.display()));
    for package in OPENS {
        command
            .arg("--add-opens")
            .arg(format!("{package}=ALL-UNNAMED"));
    }
    let conf = data.join("conf");
    let class_path = std::env::join_paths([conf.clone(), home.join("jars/*")])
        .map_err(|error| DrillError::io("put on the class path", &home)(io::Error::other(error)))?;
    command
        .arg("-cp")
        .arg(class_path)
        .arg(conf.join("EmbeddedDrillbit.java"))
        .current_dir(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);
    // Its own process group: Ctrl-C in a terminal reaches only the parent, which then stops it in order.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(DrillError::io("run", java))
}

/// Reads the launcher's output until it ends: `ready USER_PORT` is passed on, all else dropped.
fn watch_for_ready(child: &mut Child) -> Receiver<u16> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(Ok(port)) = line.strip_prefix("ready ").map(str::parse) {
                    // The start may have timed out; the pipe must still be emptied.
                    sender.send(port).ok();
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_versions_are_read() {
        assert_eq!(
            java_major("openjdk version \"17.0.15\" 2025-04-15\n"),
            Some(17)
        );
        assert_eq!(java_major("java version \"1.8.0_402\""), Some(8));
        assert_eq!(java_major("openjdk version \"22-ea\" 2024-03-19"), Some(22));
        assert_eq!(java_major("Unable to locate a Java Runtime"), None);
    }
}
