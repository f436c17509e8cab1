//! Cargo tools of this project's own, in its cache: nothing of the user's is replaced.

use crate::project::{Project, output, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// The version whose checks deny.toml was written for.
const CARGO_DENY: &str = "0.20.2";

/// Where the tool is once it is installed.
pub fn path(project: &Project, tool: &str) -> PathBuf {
    project.tools().join("bin").join(tool)
}

/// Installs wasm-bindgen's tools in exactly the version of the crate, as they refuse to work with any other.
pub fn wasm_bindgen(project: &Project) -> Result<()> {
    let lock_path = project.root.join("Cargo.lock");
    let lock = fs::read_to_string(&lock_path)
        .with_context(|| format!("cannot read {}", lock_path.display()))?;
    let version = locked_version(&lock, "wasm-bindgen")
        .context("Cargo.lock has no wasm-bindgen: run `cargo generate-lockfile`")?;
    // Without its lock file, which names dependencies that current compilers refuse.
    install(project, "wasm-bindgen-cli", "wasm-bindgen", version, &[])
}

/// Installs cargo-deny, without the part that would fetch advisories.
pub fn cargo_deny(project: &Project) -> Result<()> {
    let options = ["--locked", "--no-default-features"];
    install(project, "cargo-deny", "cargo-deny", CARGO_DENY, &options)
}

fn install(
    project: &Project,
    package: &str,
    tool: &str,
    version: &str,
    options: &[&str],
) -> Result<()> {
    let found = output(project.command(path(project, tool)).arg("--version"));
    if found.is_some_and(|found| found.split(' ').any(|word| word == version)) {
        println!("{package} {version} is installed");
        return Ok(());
    }
    println!(
        "compiling {package} {version} takes minutes; it is kept in {}",
        project.tools().display()
    );
    run(project
        .cargo()
        // An unoptimised tool is compiled in a third of the time and is fast enough for what it does here.
        .args([
            "install",
            "--debug",
            "--force",
            "--version",
            version,
            package,
        ])
        .args(options)
        .arg("--root")
        .arg(project.tools())
        .env_remove("CARGO_TARGET_DIR"))
}

/// The version of `package` in the text of a Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines
        .nth(1)?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    #[test]
    fn the_locked_version_is_of_the_package_alone() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        assert_eq!(locked_version(lock, "a"), Some("2.0.0"));
        assert_eq!(locked_version(lock, "a-b"), Some("1.0.0"));
        assert_eq!(locked_version(lock, "b"), None);
    }
}
