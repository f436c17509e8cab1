//! Gets Drill's jars by Maven into a cache folder.

use super::{DrillError, Progress, VERSION, tail};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const POM: &str = include_str!("assets/pom.xml");

/// Lists the jars with their sizes, one `SIZE NAME` a line. It is part of the folder that is renamed into place, so it
/// is there only once all jars are, and a jar that was truncated since is noticed.
const MANIFEST: &str = "jars.txt";

/// The folder that Headwater keeps downloads in: `headwater` under `$XDG_CACHE_HOME`, else under `~/.cache`.
///
/// # Errors
/// [`DrillError::NoCache`] if the environment names neither.
pub fn default_cache() -> Result<PathBuf, DrillError> {
    let folder = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    folder("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| folder("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|cache| cache.join("headwater"))
        .ok_or(DrillError::NoCache)
}

/// Makes sure that Drill's jars are in `cache` and returns their folder. Downloads about 180 MB the first time and
/// only looks at the files' sizes after that. Processes that install at once wait for each other.
///
/// # Errors
/// [`DrillError::MissingTool`] without Maven, [`DrillError::Download`] if Maven fails, [`DrillError::Io`] if the cache
/// cannot be written. A failed download leaves nothing in the cache.
pub fn install(cache: &Path, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, DrillError> {
    install_by(cache, |project, jars| copy_jars(project, jars, progress))
}

/// [`install()`] with a given way to fill a project's folder of jars.
fn install_by(
    cache: &Path,
    copy: impl FnOnce(&Path, &Path) -> Result<(), DrillError>,
) -> Result<PathBuf, DrillError> {
    let home = cache.join(format!("drill-{VERSION}"));
    if is_complete(&home) {
        return Ok(home);
    }
    fs::create_dir_all(cache).map_err(DrillError::io("create", cache))?;
    let lock_path = cache.join(format!("drill-{VERSION}.lock"));
    let lock = File::create(&lock_path).map_err(DrillError::io("create", &lock_path))?;
    lock.lock().map_err(DrillError::io("lock", &lock_path))?;
    if is_complete(&home) {
        return Ok(home);
    }
    let staging = tempfile::Builder::new()
        .prefix(".drill-")
        .tempdir_in(cache)
        .map_err(DrillError::io("create a folder in", cache))?;
    let pom = staging.path().join("pom.xml");
    fs::write(&pom, POM).map_err(DrillError::io("write", &pom))?;
    let jars = staging.path().join("jars");
    copy(staging.path(), &jars)?;
    write_manifest(staging.path(), &jars).map_err(DrillError::io("list", &jars))?;
    if home.exists() {
        fs::remove_dir_all(&home).map_err(DrillError::io("remove the damaged", &home))?;
    }
    fs::rename(staging.path(), &home).map_err(DrillError::io("move Drill to", &home))?;
    Ok(home)
}

/// Runs Maven in `project` and reports how far it is, from its own log.
fn copy_jars(
    project: &Path,
    jars: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DrillError> {
    let mut maven = Command::new("mvn")
        .args([
            "--batch-mode",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
        ])
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => DrillError::MissingTool {
                found: "`mvn` is not on the path".to_owned(),
                needs: "Apache Maven once, to get its jars",
                package: "maven",
            },
            _ => DrillError::io("run", "mvn")(source),
        })?;
    let mut output = String::new();
    let (mut files, mut copied) = (0, 0);
    if let Some(stdout) = maven.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.contains("Downloaded from") {
                files += 1;
                progress(Progress::Downloading { files });
            } else if line.contains("Copying ") {
                copied += 1;
                progress(Progress::Copying { jars: copied });
            } else if !line.contains("Downloading from") {
                output.push_str(&line);
                output.push('\n');
            }
        }
    }
    let status = maven.wait().map_err(DrillError::io("wait for", "mvn"))?;
    if status.success() {
        return Ok(());
    }
    Err(DrillError::Download {
        output: tail(&output, 20),
    })
}

fn write_manifest(home: &Path, jars: &Path) -> io::Result<()> {
    let mut manifest = File::create(home.join(MANIFEST))?;
    for entry in fs::read_dir(jars)? {
        let entry = entry?;
        // On disk before the folder is renamed into place: a power cut must not leave a complete-looking cache.
        let jar = File::open(entry.path())?;
        jar.sync_all()?;
        let name = entry.file_name();
        writeln!(manifest, "{} {}", jar.metadata()?.len(), name.display())?;
    }
    manifest.sync_all()
}

fn is_complete(home: &Path) -> bool {
    let Ok(manifest) = fs::read_to_string(home.join(MANIFEST)) else {
        return false;
    };
    manifest.lines().count() > 0
        && manifest.lines().all(|line| {
            line.split_once(' ').is_some_and(|(size, name)| {
                fs::metadata(home.join("jars").join(name))
                    .is_ok_and(|jar| size.parse() == Ok(jar.len()))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn copy(_: &Path, jars: &Path) -> Result<(), DrillError> {
        fs::create_dir(jars).unwrap();
        fs::write(jars.join("a.jar"), "first").unwrap();
        fs::write(jars.join("b.jar"), "second").unwrap();
        Ok(())
    }

    #[test]
    fn one_of_several_at_once_downloads() {
        let cache = tempfile::tempdir().unwrap();
        let copies = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let home = install_by(cache.path(), |project, jars| {
                        copies.fetch_add(1, Ordering::SeqCst);
                        copy(project, jars)
                    })
                    .unwrap();
                    assert_eq!(
                        fs::read_to_string(home.join("jars/b.jar")).unwrap(),
                        "second"
                    );
                });
            }
        });
        assert_eq!(copies.into_inner(), 1);
    }

    #[test]
    fn a_damaged_cache_is_replaced_and_a_failed_download_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let fail = |_: &Path, jars: &Path| {
            fs::create_dir(jars).unwrap();
            fs::write(jars.join("a.jar"), "fir").unwrap();
            Err(DrillError::Download {
                output: "no network".to_owned(),
            })
        };
        install_by(cache.path(), fail).unwrap_err();
        let left: Vec<_> = fs::read_dir(cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| !name.to_string_lossy().ends_with(".lock"))
            .collect();
        assert!(left.is_empty(), "{left:?}");

        let home = install_by(cache.path(), copy).unwrap();
        let jar = home.join("jars/a.jar");
        fs::write(&jar, "fir").unwrap();
        install_by(cache.path(), copy).unwrap();
        assert_eq!(fs::read_to_string(jar).unwrap(), "first");
    }
}
