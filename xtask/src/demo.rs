//! The demo and the benchmark.

use crate::project::{self, Project};
use crate::setup;
use anyhow::Result;

/// `cargo xtask demo`.
pub fn demo(project: &Project, arguments: &[String]) -> Result<()> {
    setup::prepare(project, &["chromium", "npm", "wasm", "drill"])?;
    for package in ["packages/js", "examples/field-app"] {
        println!("building {package}");
        let mut build = project.command("npm");
        build.args(["run", "build"]);
        project::run(build.current_dir(project.root.join(package)))?;
    }
    project::run(
        project
            .command("node")
            .arg("examples/demo/demo.mjs")
            .args(arguments)
            .env("HEADWATER", project.target.join("debug/headwater")),
    )
}

/// `cargo xtask bench`.
pub fn bench(project: &Project, arguments: &[String]) -> Result<()> {
    let packages = ["--package=headwater-server", "--package=headwater-bench"];
    project::run(project.cargo().args(["build", "--release"]).args(packages))?;
    let program = project.target.join("release/headwater-bench");
    project::run(project.command(program).args(arguments))
}
