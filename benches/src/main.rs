//! `headwater-bench`: measures the Headwater server against samod.

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use headwater_bench::cases::{cold, documents, idle, offline};
use headwater_bench::edits::Edits;
use headwater_bench::fanout::{self, Fanout};
use headwater_bench::machine::Machine;
use headwater_bench::report::{FanoutRun, OtherRun, Report};
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
    /// A document of 10,000 records reaches new clients.
    Cold,
    /// 10,000 offline changes are pushed.
    Offline,
    /// 1,000 documents and 1,000 connections that edit.
    Docs,
    /// 1,000 connections that do nothing.
    Idle,
}

/// One measurement against each server.
#[derive(Clone, Copy)]
enum Job {
    Fanout { readers: usize, window: usize },
    Cold,
    Offline,
    Docs,
    Idle,
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
    runtime.block_on(run(&arguments, &programs, &mut report))?;
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

fn jobs(arguments: &Arguments) -> Vec<Job> {
    let mut jobs = Vec::new();
    for case in &arguments.cases {
        match case {
            Case::Fanout => jobs.extend(arguments.windows.iter().flat_map(|&window| {
                arguments
                    .readers
                    .iter()
                    .map(move |&readers| Job::Fanout { readers, window })
            })),
            Case::Cold => jobs.push(Job::Cold),
            Case::Offline => jobs.push(Job::Offline),
            Case::Docs => jobs.push(Job::Docs),
            Case::Idle => jobs.push(Job::Idle),
        }
    }
    jobs
}

async fn run(arguments: &Arguments, programs: &Programs, report: &mut Report) -> Result<()> {
    let spread = arguments.cases.contains(&Case::Fanout);
    let edits = Arc::new(Edits::generate(if spread { MOST_EDITS } else { 0 })?);
    for round in 1..=arguments.rounds {
        for job in jobs(arguments) {
            for &target in &arguments.targets {
                let server = Server::start(target, programs)?;
                let done = run_job(job, target, &server, &edits, arguments, report).await;
                let done =
                    done.with_context(|| format!("{} said:\n{}", target.name(), server.log()))?;
                eprintln!(
                    "round {round}/{}: {}: {done}",
                    arguments.rounds,
                    target.name()
                );
            }
        }
    }
    Ok(())
}

/// Adds a run to the report and says in a line what was done.
async fn run_job(
    job: Job,
    target: Target,
    server: &Server,
    edits: &Arc<Edits>,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<String> {
    let scale = if arguments.short { 10 } else { 1 };
    let (many, few) = (10_000 / scale, 1000 / scale);
    let limit = Duration::from_secs(120 / scale as u64);
    let duration = Duration::from_secs_f64(arguments.seconds / scale as f64);
    let url = server.url();
    let (case, found) = match job {
        Job::Fanout { readers, window } => {
            let stall = Duration::from_secs(10);
            let case = Fanout {
                readers,
                window,
                duration,
                stall,
                limit: duration * 5 + Duration::from_secs(10),
            };
            let outcome = fanout::run(&url, edits, &case, || server.usage()).await?;
            let done = format!(
                "{readers} readers, {window} in flight: {:.0} edits/s",
                outcome.edits_per_second
            );
            report.fanout.push(FanoutRun {
                target,
                readers,
                window,
                outcome,
            });
            return Ok(done);
        }
        Job::Cold => (
            format!("{many} records, cold"),
            cold::run(&url, many, limit).await?,
        ),
        Job::Offline => (
            format!("{many} offline changes"),
            offline::run(&url, many, limit).await?,
        ),
        Job::Docs => (
            format!("{few} documents and connections"),
            documents::run(server, few, duration, limit).await?,
        ),
        Job::Idle => (
            format!("{few} idle connections"),
            idle::run(server, few, limit).await?,
        ),
    };
    report.other.push(OtherRun {
        target,
        case: case.clone(),
        measures: found.measures,
        problems: found.problems,
    });
    Ok(case)
}
