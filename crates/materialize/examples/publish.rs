//! What publishing costs: `cargo run --release -p headwater-materialize --example publish -- FOLDER [ROWS]`.

use headwater_core::{DatabaseId, Record, Value};
use headwater_materialize::{Lake, LakeOptions, RowChange};
use std::time::{Duration, Instant};

fn row(n: i64, edits: i64) -> RowChange {
    let fields: [(&str, Value); 8] = [
        ("title", format!("Film number {n}").into()),
        ("gross", (n * 997).into()),
        ("rating", (f64::from((n % 100) as i32) / 10.0).into()),
        ("released", Value::Timestamp(n * 86_400_000 / 10)),
        (
            "genre",
            ["Drama", "Comedy", "Western"][(n % 3) as usize].into(),
        ),
        ("sequel", (n % 2 == 0).into()),
        (
            "notes",
            "A few words about it, as people write them down in the field.".into(),
        ),
        ("edits", Value::Counter(edits)),
    ];
    RowChange {
        database: DatabaseId::from_bytes([1; 16]),
        collection: "films".to_owned(),
        key: format!("film-{n:09}"),
        record: Some(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Record>(),
        ),
        by: None,
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    println!("{what}: {took:.1?}");
    (result, took)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: publish FOLDER [ROWS]")?;
    let rows: i64 = arguments.next().as_deref().unwrap_or("100000").parse()?;
    let options = LakeOptions {
        keep_snapshots: Duration::from_secs(5),
        ..LakeOptions::default()
    };
    let mut lake = Lake::open(folder.as_ref(), options.clone())?;
    let ((), applied) = timed("apply all rows", || {
        (0..rows).for_each(|n| lake.apply(row(n, 0)))
    });
    let (published, took) = timed("publish them", || lake.publish());
    println!(
        "{:?}\n{:.0} rows/s",
        published?,
        rows as f64 / (applied + took).as_secs_f64()
    );
    let mut times = Vec::new();
    for n in 0..100 {
        lake.apply(row(n * 7_919 % rows, n + 1));
        let start = Instant::now();
        let published = lake.publish()?;
        times.push((start.elapsed(), published));
    }
    times.sort_by_key(|(took, _)| *took);
    let (median, published) = &times[50];
    println!(
        "one changed row: median {median:.1?}, slowest {:.1?}, {published:?}",
        times[99].0
    );
    drop(lake);
    let mut lake = timed("open", || Lake::open(folder.as_ref(), options)).0?;
    (0..rows).for_each(|n| lake.apply(row(n, 0)));
    println!(
        "{:?}",
        timed(
            "publish after a restart, with 100 rows changed back",
            || lake.publish()
        )
        .0?
    );
    Ok(())
}
