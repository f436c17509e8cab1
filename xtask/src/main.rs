//! Development tasks: `cargo xtask setup|test|demo|bench`. Each sets up what it needs first.

mod airflow;
mod demo;
mod packages;
mod planted;
mod project;
mod setup;
mod step;
mod test;
mod tools;
mod wasm;

use clap::{Parser, Subcommand};
use project::Project;
use std::process::ExitCode;

/// Sets up, tests, shows and measures Headwater.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what is missing: browser, wasm target and tools, npm packages, Drill. Downloads are kept.
    Setup(step::Selection),
    /// Runs all that must hold before a change is merged, then says which steps failed.
    Test(step::Selection),
    /// Shows the promise: offline edits in two browsers merge and are answered by SQL in a real Drillbit.
    Demo {
        /// Passed on to the demo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures edits per second of the durable server against samod; `bench lake` what the tables cost.
    Bench {
        /// `lake` or nothing, then what is passed on to the load generator.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = Project::find().and_then(|project| match Arguments::parse().task {
        Task::Setup(selection) => setup::task(&project, &selection),
        Task::Test(selection) => test::task(&project, &selection),
        Task::Demo { arguments } => demo::demo(&project, &arguments),
        Task::Bench { arguments } => demo::bench(&project, &arguments),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
