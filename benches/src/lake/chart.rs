//! The figures as bars: how far each is from its floor, on a logarithmic scale.

use super::table::{Better, Report, Row, figure};
use std::fmt::Write as _;

const LABELS: f64 = 430.0;
const PLOT: f64 = 460.0;
const VALUES: f64 = 210.0;
const LINE: f64 = 26.0;
const TOP: f64 = 84.0;
/// The scale reaches from a tenth of the floor to ten times as good.
const DECADES: f64 = 1.0;

/// The picture, of the figures that have bounds.
pub fn svg(report: &Report) -> String {
    let rows: Vec<&Row> = report
        .rows
        .iter()
        .filter(|row| row.floor.is_some())
        .collect();
    let (width, height) = (
        LABELS + PLOT + VALUES,
        TOP + LINE * rows.len() as f64 + 36.0,
    );
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\" font-weight=\"bold\">What the lake costs, against its floors and goals</text>\n"
    );
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"46\" font-size=\"11\" fill=\"#666\">{}</text>",
        escaped(&report.machine_line())
    );
    let bottom = TOP + LINE * rows.len() as f64;
    for (times, label) in [
        (0.1, "10× worse"),
        (0.3, ""),
        (1.0, "floor"),
        (3.0, "3× better"),
        (10.0, "10× better"),
    ] {
        let (x, color) = (place(times), if times == 1.0 { "#222" } else { "#ddd" });
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{color}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"#666\" text-anchor=\"middle\">{label}</text>",
            TOP - 8.0
        );
    }
    for (at, row) in rows.iter().enumerate() {
        bar(&mut out, row, TOP + LINE * at as f64);
    }
    let _ = writeln!(
        out,
        "<text x=\"{LABELS}\" y=\"{:.1}\" font-size=\"11\" fill=\"#666\">Longer is better; ◆ is the goal. Bars that reach an edge go on \
         beyond it.</text>\n</svg>",
        bottom + 22.0
    );
    out
}

fn bar(out: &mut String, row: &Row, y: f64) {
    let Some(floor) = row.floor else { return };
    let good = |value: f64| match row.better {
        Better::Less => floor / value,
        Better::More => value / floor,
    };
    let color = match row.verdict() {
        "goal met" => "#2a8c4a",
        "floor holds" => "#d99a1c",
        _ => "#c0392b",
    };
    let (start, end) = (LABELS, place(good(row.measured)));
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{color}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{} {}</text>",
        LABELS - 10.0,
        y + 17.0,
        escaped(&row.name),
        y + 5.0,
        (end - start).max(1.0),
        LABELS + PLOT + 10.0,
        y + 17.0,
        figure(row.measured),
        escaped(row.unit),
    );
    if let Some(goal) = row.goal {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" stroke=\"white\" stroke-width=\"3\" paint-order=\"stroke\">◆</text>",
            place(good(goal)),
            y + 18.0
        );
    }
}

/// Where something so many times as good as the floor is.
fn place(times: f64) -> f64 {
    let share = (times.max(1e-9).log10() + DECADES) / (2.0 * DECADES);
    LABELS + PLOT * share.clamp(0.0, 1.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
