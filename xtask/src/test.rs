//! All that must hold before a change is merged.

use crate::project::{self, Project};
use crate::setup;
use crate::step::{self, Selection, Step};
use crate::{airflow, packages, planted, tools, wasm};
use anyhow::Result;

/// The crates that also run in a browser.
const BROWSER_CRATES: &[&str] = &["--package=headwater", "--package=headwater-wasm"];

const STEPS: &[Step] = &[
    step("fmt", "format", &[], fmt),
    step("clippy", "lints of the whole workspace", &[], clippy),
    step(
        "clippy-wasm",
        "lints of what runs in a browser",
        &["wasm-target"],
        clippy_wasm,
    ),
    step("docs", "documentation without warnings", &[], docs),
    step(
        "deny",
        "licences, sources and bans of all dependencies",
        &["cargo-deny"],
        deny,
    ),
    step(
        "tests",
        "unit, property and whole-system tests",
        &["npm"],
        tests,
    ),
    step(
        "planted",
        "ten bugs planted into the core, each of which the simulation must find",
        &[],
        planted::find_all,
    ),
    step(
        "indexeddb",
        "the browser's store in a real Chromium",
        &["wasm-target", "chromium", "wasm-bindgen"],
        indexeddb,
    ),
    step(
        "javascript",
        "the JavaScript package and the field app in a real Chromium, and stock automerge-repo clients",
        &["chromium", "npm", "wasm"],
        javascript,
    ),
    step(
        "packages",
        "a project outside of this one, on nothing but the packages",
        &[],
        packages::try_outside,
    ),
    step(
        "airflow",
        "the Airflow provider, in a real Airflow against a real server, Drillbit and browser",
        &["airflow", "drill", "promtool", "chromium", "npm", "wasm"],
        airflow::test,
    ),
];

const fn step(
    name: &'static str,
    about: &'static str,
    needs: &'static [&'static str],
    run: fn(&Project) -> Result<()>,
) -> Step {
    Step {
        name,
        about,
        needs,
        run,
    }
}

/// `cargo xtask test`.
pub fn task(project: &Project, selection: &Selection) -> Result<()> {
    let steps = selection.choose(STEPS)?;
    if selection.list {
        step::list(&steps);
        return Ok(());
    }
    let needs: Vec<&str> = steps.iter().flat_map(|step| step.needs).copied().collect();
    setup::prepare(project, &needs)?;
    step::run_all(project, &steps)
}

fn fmt(project: &Project) -> Result<()> {
    project::run(project.cargo().args(["fmt", "--all", "--check"]))
}

fn clippy(project: &Project) -> Result<()> {
    project::run(project.cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]))
}

fn clippy_wasm(project: &Project) -> Result<()> {
    project::run(
        project
            .cargo()
            .args(["clippy", "--target", wasm::TARGET])
            .args(BROWSER_CRATES)
            .args(["--", "-Dwarnings"]),
    )
}

fn docs(project: &Project) -> Result<()> {
    project::run(
        project
            .cargo()
            .args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-Dwarnings"),
    )
}

fn deny(project: &Project) -> Result<()> {
    project::run(project.command(tools::path(project, "cargo-deny")).args([
        "--workspace",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// All in one, so that nothing is compiled twice: another selection of packages would unite their features otherwise.
fn tests(project: &Project) -> Result<()> {
    project::run(project.cargo().args(["test", "--workspace"]))
}

fn indexeddb(project: &Project) -> Result<()> {
    let runner = tools::path(project, "wasm-bindgen-test-runner");
    // For what the browser leaves behind when its driver kills it.
    let temporary = tempfile::tempdir()?;
    let mut test = project.cargo();
    test.args(["test", "--package=headwater", "--target", wasm::TARGET])
        .args(["--test", "storage_indexeddb"])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .env("TMPDIR", temporary.path());
    if let Some(driver) = project::on_path("chromedriver") {
        test.env("CHROMEDRIVER", driver);
    }
    project::run(&mut test)
}

/// The tests sync with a real server.
fn javascript(project: &Project) -> Result<()> {
    project::run(
        project
            .cargo()
            .args(["build", "--package=headwater-server", "--bin=headwater"]),
    )?;
    for folder in ["packages/js", "examples/field-app", "tests/stock-clients"] {
        project::run(
            project
                .command("npm")
                .args(["run", "test"])
                .current_dir(project.root.join(folder))
                .env("HEADWATER", project.target.join("debug/headwater")),
        )?;
    }
    Ok(())
}
