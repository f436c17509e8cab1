//! Whether the simulation finds bugs: each of `crates/sim/planted` is planted into a copy of the core and must be found.

use crate::project::{self, Project};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Within how many programs each bug must be found.
const PROGRAMS: u32 = 1_500;

/// Plants the bugs one after the other and says how many programs it took to find each. All of them are tried, even if one
/// is not found.
pub fn find_all(project: &Project) -> Result<()> {
    let folder = project.root.join("crates/sim/planted");
    let patches = files(&folder)?;
    // Always the same folder: cargo then compiles nothing anew but what a patch changes.
    let copy = Copy {
        folder: project.target.join("planted"),
    };
    copy.make(project)?;
    let mut missed = Vec::new();
    for patch in &patches {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy();
        let begun = Instant::now();
        copy.apply(project, patch, &[])?;
        let found = copy.find(project);
        copy.apply(project, patch, &["--reverse"])?;
        let seconds = begun.elapsed().as_secs();
        match found.with_context(|| format!("with {name} planted"))? {
            Some((after, how)) => {
                println!("{name:<32} found after {after:>5} programs ({seconds} s): {how}");
            }
            None => {
                println!("{name:<32} NOT FOUND in {PROGRAMS} programs ({seconds} s)");
                missed.push(name);
            }
        }
    }
    if patches.len() < 10 || !missed.is_empty() {
        bail!(
            "{} of {} planted bugs were not found, where at least ten must be: {}",
            missed.len(),
            patches.len(),
            missed.join(", ")
        );
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|it| it == "patch"));
    files.sort();
    Ok(files)
}

/// A copy of the core and the simulation, as a workspace of its own.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn make(&self, project: &Project) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        for name in ["crates/core", "crates/sim"] {
            copy_all(&project.root.join(name), &self.folder.join(name))?;
        }
        let manifest = fs::read_to_string(project.root.join("Cargo.toml"))?;
        let lists = manifest
            .split_once("members = [")
            .zip(manifest.split_once("[workspace.package]"));
        let ((before, _), (_, after)) =
            lists.context("Cargo.toml has no members, or no package")?;
        let members = "members = [\"crates/core\", \"crates/sim\"]\n\n[workspace.package]";
        // Under the same version cargo would take what is built here for what the project builds: they share a target folder.
        let (own, planted) = (env!("CARGO_PKG_VERSION"), "+planted");
        let version = format!("version = \"{own}\"");
        let after = after.replacen(&version, &format!("version = \"{own}{planted}\""), 1);
        fs::write(
            self.folder.join("Cargo.toml"),
            format!("{before}{members}{after}"),
        )?;
        fs::copy(
            project.root.join("Cargo.lock"),
            self.folder.join("Cargo.lock"),
        )?;
        Ok(())
    }

    fn apply(&self, project: &Project, patch: &Path, how: &[&str]) -> Result<()> {
        let applied = project
            .command("git")
            .args(["apply", "-C1"])
            .args(how)
            .arg(patch)
            .current_dir(&self.folder)
            // Not as a part of the project's own repository, where git would look for the files.
            .env(
                "GIT_CEILING_DIRECTORIES",
                self.folder.parent().unwrap_or(&self.folder),
            )
            .status()
            .context("cannot run git")?;
        if !applied.success() {
            bail!(
                "{} does not fit the core any more: write the bug anew into crates/core, and `git diff -U1` into the patch",
                patch.display()
            );
        }
        Ok(())
    }

    /// After how many programs the simulation failed, and how; `None` if it did not. Any other end than that is an error.
    fn find(&self, project: &Project) -> Result<Option<(u32, String)>> {
        project::run(self.test(project).args(["--no-run", "--quiet"]))?;
        let mut test = self.test(project);
        let played = test
            .args(["--quiet", "concurrent_programs"])
            .env("HEADWATER_SIM_PROGRAMS", PROGRAMS.to_string())
            .output()
            .context("cannot run the simulation")?;
        if played.status.success() {
            return Ok(None);
        }
        let mut text = String::from_utf8_lossy(&played.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&played.stderr));
        let after = text
            .lines()
            .filter_map(|line| line.strip_prefix("after ")?.split_once(" programs"))
            .find_map(|(number, _)| number.parse().ok());
        let how = text.lines().find(|line| line.starts_with("seed "));
        match after {
            Some(after) => Ok(Some((
                after,
                how.unwrap_or_default().chars().take(160).collect(),
            ))),
            None => bail!("the simulation ended otherwise than by finding something:\n{text}"),
        }
    }

    fn test(&self, project: &Project) -> Command {
        let mut cargo = project.cargo();
        cargo
            .args(["test", "--package=headwater-sim", "--test=convergence"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &project.target);
        cargo
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
