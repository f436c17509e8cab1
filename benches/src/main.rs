//! `headwater-bench`: measures the Headwater server against samod.

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use headwater_bench::edits::Edits;
use headwater_bench::fanout::{self, Fanout};
use headwater_bench::machine::Machine;
use headwater_bench::report::{FanoutRun, Report};
use headwater_bench::server::{Programs, Server, Target};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Measures `headwater serve` against samod 0.16, both in one run and in turn, and checks what their clients receive.
///
/// Each case starts a fresh server with an empty data folder. Tables go to standard output, progress to standard error.
/// It ends with 1 if a client of Headwater missed an edit or got a wrong one.
#[derive(Parser)]
#[command(name = "headwater-bench")]
struct Arguments {
    /// What to measure.
    #[arg(
        long = "case",
        value_enum,
        value_delimiter = ',',
        default_value = "fanout"
    )]
    cases: Vec<Case>,
    /// The servers to measure.
    #[arg(
        long = "target",
        value_enum,
        value_delimiter = ',',
        default_value = "headwater,samod"
    )]
    targets: Vec<Target>,
    /// How many readers the fan-out has.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    readers: Vec<usize>,
    /// How many edits the writer has in flight.
    #[arg(long = "in-flight", value_delimiter = ',', default_value = "1,64")]
    windows: Vec<usize>,
    /// How long the writer writes in each case.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// How often each case is run against each server; the tables show the median.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Seconds instead of minutes, to see that it works.
    #[arg(long)]
    short: bool,
    /// The `headwater` program [default: next to this one].
    #[arg(long)]
    headwater: Option<PathBuf>,
    /// Where the servers get their temporary data folders [default: the system's folder for temporary files].
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// One writer and several readers of one document.
    Fanout,
}

/// More edits than any server spreads in the time.
const MOST_EDITS: usize = 60_000;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let programs = programs(&arguments)?;
    ensure!(
        arguments.readers.iter().all(|&readers| readers > 0),
        "--readers: at least one reader must be there"
    );
    ensure!(
        arguments.windows.iter().all(|&window| window > 0),
        "--in-flight: at least one edit must be in flight"
    );
    let mut report = Report {
        machine: Machine::describe(&programs.data)?,
        fanout: Vec::new(),
        other: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    for &case in &arguments.cases {
        match case {
            Case::Fanout => runtime.block_on(run_fanout(&arguments, &programs, &mut report))?,
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.render(&arguments.targets));
    }
    let sound = report.problems(Target::Headwater).next().is_none();
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn programs(arguments: &Arguments) -> Result<Programs> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program lies in a folder")?;
    let programs = Programs {
        headwater: arguments
            .headwater
            .clone()
            .unwrap_or_else(|| folder.join("headwater")),
        samod: folder.join("samod-server"),
        data: arguments.data.clone().unwrap_or_else(std::env::temp_dir),
    };
    for (target, program, package) in [
        (Target::Headwater, &programs.headwater, "headwater-server"),
        (Target::Samod, &programs.samod, "headwater-bench"),
    ] {
        if arguments.targets.contains(&target) && !program.is_file() {
            bail!(
                "{} is not there: build it with `cargo build --release -p {package}`",
                program.display()
            );
        }
    }
    Ok(programs)
}

async fn run_fanout(arguments: &Arguments, programs: &Programs, report: &mut Report) -> Result<()> {
    let seconds = if arguments.short {
        1.0
    } else {
        arguments.seconds
    };
    eprintln!("making {MOST_EDITS} edits");
    let edits = Arc::new(Edits::generate(MOST_EDITS)?);
    for round in 1..=arguments.rounds {
        for &window in &arguments.windows {
            for &readers in &arguments.readers {
                for &target in &arguments.targets {
                    let case = Fanout {
                        readers,
                        window,
                        duration: Duration::from_secs_f64(seconds),
                        stall: Duration::from_secs(5),
                        limit: Duration::from_secs_f64(seconds * 5.0 + 10.0),
                    };
                    let server = Server::start(target, programs)?;
                    let outcome =
                        fanout::run(&server.url(), &edits, &case, || server.usage()).await;
                    let outcome = outcome
                        .with_context(|| format!("{} said:\n{}", target.name(), server.log()))?;
                    eprintln!(
                        "round {round}/{}: {readers} readers, {window} in flight, {}: {:.0} edits/s",
                        arguments.rounds,
                        target.name(),
                        outcome.edits_per_second
                    );
                    report.fanout.push(FanoutRun {
                        target,
                        readers,
                        window,
                        outcome,
                    });
                }
            }
        }
    }
    Ok(())
}
