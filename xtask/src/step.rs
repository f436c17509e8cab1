//! Named steps, run one after the other with timings and a summary.

use crate::project::Project;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// One thing to do.
pub struct Step {
    /// What `--only` and `--skip` call it.
    pub name: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// Which set-up steps it needs.
    pub needs: &'static [&'static str],
    /// Does it.
    pub run: fn(&Project) -> Result<()>,
}

/// Which steps to run.
#[derive(clap::Args, Default)]
pub struct Selection {
    /// Run only these steps.
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Run all but these steps.
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// List the steps and do nothing.
    #[arg(long)]
    pub list: bool,
}

impl Selection {
    /// The steps that are selected, in their order; an unknown name is an error.
    pub fn choose<'a>(&self, steps: &'a [Step]) -> Result<Vec<&'a Step>> {
        for name in self.only.iter().chain(&self.skip) {
            if !steps.iter().any(|step| step.name == name) {
                let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
                bail!(
                    "there is no step {name:?}; the steps are {}",
                    names.join(", ")
                );
            }
        }
        let named = |names: &[String], step: &Step| names.iter().any(|name| name == step.name);
        Ok(steps
            .iter()
            .filter(|step| self.only.is_empty() || named(&self.only, step))
            .filter(|step| !named(&self.skip, step))
            .collect())
    }
}

/// Prints what there is to select.
pub fn list(steps: &[&Step]) {
    for step in steps {
        println!("{:<12} {}", step.name, step.about);
    }
}

/// Runs the steps, all of them even if one fails, and ends with a summary. The error names the failed ones.
pub fn run_all(project: &Project, steps: &[&Step]) -> Result<()> {
    let begun = Instant::now();
    let mut summary = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!(
            "\n[{}/{}] {}: {}",
            index + 1,
            steps.len(),
            step.name,
            step.about
        );
        let begun = Instant::now();
        let result = (step.run)(project);
        if let Err(error) = &result {
            println!("error in {}: {error:#}", step.name);
        }
        summary.push((step.name, begun.elapsed(), result.is_ok()));
    }
    println!("\nstep              time  result");
    for (name, time, ok) in &summary {
        println!(
            "{name:<12} {:>9}  {}",
            seconds(*time),
            if *ok { "ok" } else { "FAILED" }
        );
    }
    println!("{:<12} {:>9}", "all", seconds(begun.elapsed()));
    let failed: Vec<&str> = summary
        .iter()
        .filter(|(.., ok)| !ok)
        .map(|(name, ..)| *name)
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
