//! What the other tasks need on this machine. Each step looks first and does nothing if all is there.

use crate::project::{Project, on_path, output, run};
use crate::step::{self, Selection, Step};
use crate::{airflow, tools, wasm};
use anyhow::{Context, Result, bail};
use std::fs;

const STEPS: &[Step] = &[
    Step {
        name: "wasm-target",
        about: "Rust's standard library for the browser build",
        needs: &[],
        run: wasm_target,
    },
    Step {
        name: "chromium",
        about: "a real browser and its driver, for the browser tests and the demo",
        needs: &[],
        run: chromium,
    },
    Step {
        name: "wasm-bindgen",
        about: "makes the JavaScript side of the wasm build and runs its tests in the browser",
        needs: &[],
        run: tools::wasm_bindgen,
    },
    Step {
        name: "cargo-deny",
        about: "checks the licences and sources of all dependencies",
        needs: &[],
        run: tools::cargo_deny,
    },
    Step {
        name: "npm",
        about: "packages for the JavaScript tests, the example app and the demo",
        needs: &[],
        run: npm,
    },
    Step {
        name: "wasm",
        about: "the wasm build inside packages/js",
        needs: &["wasm-target", "wasm-bindgen", "npm"],
        run: wasm::build,
    },
    Step {
        name: "drill",
        about: "Apache Drill's jars, and the `headwater` command that starts it",
        needs: &[],
        run: drill,
    },
    Step {
        name: "airflow",
        about: "Python packages of a real Airflow; HEADWATER_AIRFLOW=lowest for the oldest that is supported",
        needs: &[],
        run: airflow::environment,
    },
    Step {
        name: "promtool",
        about: "Prometheus' checker of alert rules",
        needs: &[],
        run: airflow::promtool,
    },
];

/// Folders with a package-lock.json.
const NPM_FOLDERS: &[&str] = &[
    "packages/js",
    "examples/field-app",
    "examples/demo",
    "tests/stock-clients",
];

/// `cargo xtask setup`.
pub fn task(project: &Project, selection: &Selection) -> Result<()> {
    let steps = selection.choose(STEPS)?;
    if selection.list {
        step::list(&steps);
        return Ok(());
    }
    step::run_all(project, &steps)
}

/// Sets up what the steps need, and what that needs in turn.
pub fn prepare(project: &Project, needs: &[&str]) -> Result<()> {
    let mut wanted = needs.to_vec();
    let mut next = 0;
    while let Some(name) = wanted.get(next).copied() {
        let step = STEPS
            .iter()
            .find(|step| step.name == name)
            .with_context(|| format!("no set-up step is called {name:?}"))?;
        wanted.extend(step.needs);
        next += 1;
    }
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|step| wanted.contains(&step.name))
        .collect();
    if steps.is_empty() {
        return Ok(());
    }
    println!("setting up");
    step::run_all(project, &steps)
}

fn wasm_target(project: &Project) -> Result<()> {
    let installed = output(
        project
            .command("rustup")
            .args(["target", "list", "--installed"]),
    )
    .context("rustup is needed to add a target: https://rustup.rs")?;
    if installed.lines().any(|target| target == wasm::TARGET) {
        println!("{} is installed", wasm::TARGET);
        return Ok(());
    }
    run(project
        .command("rustup")
        .args(["target", "add", wasm::TARGET]))
}

fn chromium(project: &Project) -> Result<()> {
    let missing = || on_path("chromium").is_none() || on_path("chromedriver").is_none();
    if !missing() {
        println!("chromium and chromedriver are installed");
        return Ok(());
    }
    let advice = "install Chromium and ChromeDriver so that `chromium` and `chromedriver` are on the path \
                  (on Debian: apt-get install chromium chromium-driver)";
    if on_path("apt-get").is_none() {
        bail!("{advice}");
    }
    let root = output(project.command("id").arg("-u")).as_deref() == Some("0");
    let prefix: &[&str] = if root {
        &[]
    } else if output(project.command("sudo").args(["-n", "true"])).is_some() {
        &["sudo", "-n"]
    } else {
        bail!("{advice}; this needs root");
    };
    for arguments in [
        &["update"][..],
        &["install", "-y", "chromium", "chromium-driver"],
    ] {
        let mut words = prefix
            .iter()
            .copied()
            .chain(["apt-get"])
            .chain(arguments.iter().copied());
        let program = words.next().context("an empty command")?;
        run(project
            .command(program)
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    if missing() {
        bail!("{advice}; apt-get brought something else");
    }
    Ok(())
}

/// `npm ci` where the lock file is not the one that was installed from.
fn npm(project: &Project) -> Result<()> {
    for folder in NPM_FOLDERS {
        let folder = project.root.join(folder);
        let Ok(lock) = fs::read(folder.join("package-lock.json")) else {
            continue;
        };
        let installed = folder.join("node_modules/.installed-lock.json");
        if fs::read(&installed).is_ok_and(|installed| installed == lock) {
            println!("{} is up to date", folder.display());
            continue;
        }
        println!("in {}", folder.display());
        run(project
            .command("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder))
        .context("npm comes with Node.js: https://nodejs.org")?;
        fs::write(&installed, lock)?;
    }
    Ok(())
}

fn drill(project: &Project) -> Result<()> {
    run(project.cargo().args(["build", "--workspace", "--bins"]))?;
    run(project
        .command(project.target.join("debug/headwater"))
        .args(["drill", "install"]))
}
