//! All that must hold before a change is merged.

use crate::project::{self, Project};
use crate::setup;
use crate::step::{self, Selection, Step};
use crate::{tools, wasm};
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
    step("tests", "unit, property and whole-system tests", &[], tests),
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
