//! The wasm build inside packages/js.

use crate::project::{Project, run};
use crate::tools;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// The browser's target.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Compiles headwater-wasm, makes its JavaScript side and optimises it, into packages/js/wasm.
pub fn build(project: &Project) -> Result<()> {
    run(project.cargo().args([
        "build",
        "--package=headwater-wasm",
        "--target",
        TARGET,
        "--profile=wasm",
    ]))?;
    let compiled = project
        .target
        .join(TARGET)
        .join("wasm")
        .join("headwater_wasm.wasm");
    let folder = project.root.join("packages/js/wasm");
    let module = folder.join("headwater_bg.wasm");
    if modified(&module).is_some() && modified(&module) >= modified(&compiled) {
        println!("packages/js/wasm is up to date");
        return Ok(());
    }
    let staging = project.target.join("wasm-bindgen");
    run(project
        .command(tools::path(project, "wasm-bindgen"))
        .args(["--target", "web", "--out-name", "headwater", "--out-dir"])
        .arg(&staging)
        .arg(&compiled))?;
    let optimised = staging.join("optimised.wasm");
    run(project
        .command(project.root.join("packages/js/node_modules/.bin/wasm-opt"))
        .args(["-O3", "--strip-debug", "-o"])
        .arg(&optimised)
        .arg(staging.join("headwater_bg.wasm")))?;
    fs::rename(&optimised, staging.join("headwater_bg.wasm"))?;
    copy_all(&staging, &folder).with_context(|| format!("cannot write {}", folder.display()))?;
    println!(
        "{}: {} bytes",
        module.display(),
        fs::metadata(&module)?.len()
    );
    Ok(())
}

/// Copies all files, the wasm last: it is what the next run compares.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(from)? {
        names.push(entry?.file_name());
    }
    names.sort_by_key(|name| Path::new(name).extension().is_some_and(|it| it == "wasm"));
    for name in names {
        fs::copy(from.join(&name), to.join(&name))?;
    }
    Ok(())
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
