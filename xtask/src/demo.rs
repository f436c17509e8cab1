//! The demo and the benchmark.

use crate::project::{self, Project};
use crate::setup;
use anyhow::Result;

/// `cargo xtask demo`.
pub fn demo(project: &Project, arguments: &[String]) -> Result<()> {
    setup::prepare(project, &["chromium", "npm", "wasm", "drill"])?;
    build(project, &["packages/js", "examples/field-app"])?;
    project::run(
        project
            .command("node")
            .arg("examples/demo/demo.mjs")
            .args(arguments)
            .env("HEADWATER", project.target.join("debug/headwater")),
    )
}

fn build(project: &Project, packages: &[&str]) -> Result<()> {
    for package in packages {
        println!("building {package}");
        let mut build = project.command("npm");
        build.args(["run", "build"]);
        project::run(build.current_dir(project.root.join(package)))?;
    }
    Ok(())
}

/// `cargo xtask bench`, and `cargo xtask bench lake`.
pub fn bench(project: &Project, arguments: &[String]) -> Result<()> {
    let packages = ["--package=headwater-server", "--package=headwater-bench"];
    project::run(project.cargo().args(["build", "--release"]).args(packages))?;
    let mut program = match arguments.split_first() {
        Some((first, rest)) if first == "lake" => {
            setup::prepare(project, &["chromium", "npm", "wasm"])?;
            build(project, &["packages/js"])?;
            let mut program = project.command(project.target.join("release/lake"));
            program
                .arg("--report")
                .arg(project.target.join("bench"))
                .args(rest);
            program
        }
        _ => {
            let mut program = project.command(project.target.join("release/headwater-bench"));
            program.args(arguments);
            program
        }
    };
    project::run(&mut program)
}
