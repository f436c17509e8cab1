//! The Airflow provider: its environments, its checks, and its tests against a real Airflow, server, Drillbit and browser.

use crate::project::{Project, on_path, run};
use crate::tools;
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What makes the environments, from the lock files, in seconds instead of minutes.
const UV: &str = "uv==0.13.9";

/// The lock files: the newest Airflow, and the oldest that the provider works with.
const VARIANTS: &[&str] = &["newest", "lowest"];

fn package(project: &Project) -> PathBuf {
    project.root.join("packages/airflow")
}

fn variant() -> Result<String> {
    let variant = env::var("HEADWATER_AIRFLOW").unwrap_or_else(|_| VARIANTS[0].to_owned());
    if !VARIANTS.contains(&variant.as_str()) {
        bail!(
            "HEADWATER_AIRFLOW is {variant:?}: it can be {}",
            VARIANTS.join(" or ")
        );
    }
    Ok(variant)
}

/// `uv`, with its downloads in this project's cache.
fn uv(project: &Project) -> Command {
    let mut command = project.command(project.tools().join("uv/bin/uv"));
    command.env("UV_CACHE_DIR", project.cache.join("uv"));
    command
}

/// An environment with Airflow and the provider as it is in the working copy.
pub fn environment(project: &Project) -> Result<()> {
    let home = project.tools().join("uv");
    let marker = home.join(UV);
    if !marker.exists() {
        run(project.command("python3").args(["-m", "venv"]).arg(&home))
            .context("Python 3.10 or newer with its venv module is needed (on Debian: apt-get install python3-venv)")?;
        run(project
            .command(home.join("bin/pip"))
            .args(["install", "--quiet", UV]))?;
        fs::write(&marker, "")?;
    }
    let variant = variant()?;
    let environment = project.target.join("airflow").join(&variant);
    install(project, &environment, &variant)?;
    run(uv(project)
        .args([
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--python",
        ])
        .arg(&environment)
        .arg("--editable")
        .arg(package(project)))
}

/// Makes an environment with what the lock file has.
fn install(project: &Project, environment: &Path, variant: &str) -> Result<()> {
    if !environment.exists() {
        run(uv(project).args(["venv", "--quiet"]).arg(environment))?;
    }
    let lock = format!("requirements/{variant}.txt");
    run(uv(project)
        .args(["pip", "sync", "--quiet", "--python"])
        .arg(environment)
        .arg(package(project).join(lock)))
}

/// Prometheus' checker of rules. Debian's package is unpacked, not installed, as that would start a server.
pub fn promtool(project: &Project) -> Result<()> {
    if promtool_path(project).is_some() {
        println!("promtool is there");
        return Ok(());
    }
    let advice = "put `promtool` on the path: it comes with Prometheus";
    if on_path("apt-get").is_none() {
        bail!("{advice}");
    }
    let folder = project.tools().join("prometheus");
    fs::create_dir_all(&folder)?;
    run(project
        .command("apt-get")
        .args(["download", "prometheus"])
        .current_dir(&folder))
    .context(advice)?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(project.command("dpkg").arg("-x").arg(&path).arg(&folder))?;
        }
    }
    match promtool_path(project) {
        Some(_) => Ok(()),
        None => bail!("{advice}; apt-get brought something else"),
    }
}

fn promtool_path(project: &Project) -> Option<PathBuf> {
    let unpacked = tools::path(project, "../prometheus/usr/bin/promtool");
    on_path("promtool").or_else(|| unpacked.is_file().then_some(unpacked))
}

/// Lints, types and tests of the provider, then its wheel in an empty environment.
pub fn test(project: &Project) -> Result<()> {
    let variant = variant()?;
    let environment = project.target.join("airflow").join(&variant);
    let tool = |name: &str| {
        let mut command = project.command(environment.join("bin").join(name));
        command.current_dir(package(project));
        command
    };
    run(tool("ruff").args(["format", "--check"]))?;
    run(tool("ruff").arg("check"))?;
    run(&mut tool("mypy"))?;
    run(project
        .cargo()
        .args(["build", "--package=headwater-server", "--bin=headwater"]))?;
    run(project
        .command("npm")
        .args(["run", "--silent", "build"])
        .current_dir(project.root.join("packages/js")))?;
    let mut pytest = tool("pytest");
    pytest
        .arg("--quiet")
        .env("HEADWATER", project.target.join("debug/headwater"));
    if let Some(promtool) = promtool_path(project) {
        pytest.env("PROMTOOL", promtool);
    }
    run(&mut pytest)?;
    wheel(project, &environment, &variant)
}

/// Whether the wheel is all that an environment with Airflow lacks.
fn wheel(project: &Project, environment: &Path, variant: &str) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    run(project
        .command(environment.join("bin/python"))
        .args(["-m", "build", "--no-isolation", "--wheel", "--outdir"])
        .arg(folder.path())
        .arg(package(project)))?;
    let wheel = fs::read_dir(folder.path())?
        .next()
        .context("no wheel was built")??
        .path();
    let empty = folder.path().join("environment");
    install(project, &empty, variant)?;
    run(uv(project)
        .args(["pip", "install", "--quiet", "--no-deps", "--python"])
        .arg(&empty)
        .arg(&wheel))?;
    let listed = project
        .command(empty.join("bin/airflow"))
        .args(["providers", "list", "--output", "plain"])
        .env("AIRFLOW_HOME", folder.path().join("home"))
        .current_dir(folder.path())
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    match listed
        .lines()
        .find(|line| line.contains("airflow-provider-headwater"))
    {
        Some(line) => println!("installed from its wheel: {line}"),
        None => bail!("`airflow providers list` lacks the provider:\n{listed}"),
    }
    Ok(())
}
