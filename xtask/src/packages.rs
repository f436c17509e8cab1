//! Whether what `cargo package` makes is enough for a project outside of this workspace.

use crate::project::{self, Project};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// What is published, in the order of their dependencies.
const PACKAGES: &[&str] = &[
    "headwater-core",
    "headwater-sync",
    "headwater-derive",
    "headwater",
    "headwater-materialize",
    "headwater-server",
];

/// Packs the crates, unpacks them elsewhere, and builds and runs `tests/outside` with nothing else.
pub fn try_outside(project: &Project) -> Result<()> {
    let mut pack = project.cargo();
    pack.args(["package", "--no-verify", "--allow-dirty", "--quiet"]);
    for package in PACKAGES {
        pack.args(["--package", package]);
    }
    project::run(&mut pack)?;

    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let outside = project.root.join("tests/outside");
    let mut manifest = fs::read_to_string(outside.join("Cargo.toml"))?;
    manifest.push_str("\n[patch.crates-io]\n");
    for package in PACKAGES {
        let name = format!("{package}-{}", env!("CARGO_PKG_VERSION"));
        let packed = project.target.join(format!("package/{name}.crate"));
        let mut unpack = project.command("tar");
        unpack.arg("-xzf").arg(packed).arg("-C").arg(folder.path());
        project::run(&mut unpack)?;
        manifest.push_str(&format!("{package} = {{ path = \"../{name}\" }}\n"));
    }
    let copy = folder.path().join("outside");
    fs::create_dir_all(copy.join("src"))?;
    fs::write(copy.join("Cargo.toml"), manifest)?;
    fs::copy(outside.join("src/main.rs"), copy.join("src/main.rs"))?;
    // The same versions as here, so that what is compiled already is used again.
    fs::copy(project.root.join("Cargo.lock"), copy.join("Cargo.lock"))?;
    project::run(&mut in_folder(project, &copy))
}

fn in_folder(project: &Project, folder: &Path) -> std::process::Command {
    let mut command = project.cargo();
    command
        .arg("run")
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &project.target);
    command
}
