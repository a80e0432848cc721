//! Drawings of what was measured: throughput against clients and ranges, latency against fill.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

use crate::client::text;

/// Width and height of a drawing, in pixels.
const SIZE: (u32, u32) = (860, 460);

/// Width of the chart in it; the names of its lines are beside it.
const CHART_WIDTH: u32 = 680;

/// From one name to the next.
const LINE_HEIGHT: i32 = 24;

/// The contender that is drawn in black.
const OURS: &str = "whereabouts";

const FONT: &str = "sans-serif";

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito).
const COLORS: [RGBColor; 7] = [
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xf0, 0xe4, 0x42),
];

/// Lines by name; each a list of points by its place on the x axis, of all runs.
type Lines = BTreeMap<String, BTreeMap<u64, Vec<f64>>>;

/// The subject of a drawing.
struct Drawing {
    name: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    lines: Lines,
}

/// Draws what `file` holds into `folder`.
pub(crate) fn run(file: &Path, folder: &Path) -> Result<(), String> {
    let at = |error: &dyn ToString| format!("{}: {}", file.display(), error.to_string());
    let document = fs::read(file).map_err(|error| at(&error))?;
    let document: Value = serde_json::from_slice(&document).map_err(|error| at(&error))?;
    fs::create_dir_all(folder).map_err(text)?;
    let drawings = [
        Drawing {
            name: "hot",
            title: "One range",
            x: "clients",
            y: "allocations a second",
            lines: loads(&document["scenarios"]["hot"], "clients"),
        },
        Drawing {
            name: "many",
            title: "256 clients",
            x: "ranges",
            y: "allocations a second",
            lines: loads(&document["scenarios"]["many"], "ranges"),
        },
        Drawing {
            name: "fill",
            title: "An ADD in a range of more and more claims",
            x: "claims (none is drawn at 1)",
            y: "p50, ms",
            lines: fills(&document["scenarios"]["fill"]),
        },
    ];
    let measured = drawings.iter().filter(|drawing| !drawing.lines.is_empty());
    for drawing in measured {
        let path = folder.join(format!("{}.svg", drawing.name));
        draw(&path, drawing)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn rows(runs: &Value) -> impl Iterator<Item = &Value> {
    let runs = runs.as_array().into_iter().flatten();
    runs.flat_map(|run| run.as_array().into_iter().flatten())
}

/// The rate of ADDs under a sustained load, by who was measured.
fn loads(runs: &Value, x: &str) -> Lines {
    let mut lines = Lines::new();
    for row in rows(runs).filter(|row| row["what"] == "ADD") {
        let (who, x) = (row["who"].as_str(), row[x].as_u64());
        if let (Some(who), Some(x), Some(rate)) = (who, x, row["per_second"].as_f64()) {
            let line = lines.entry(who.to_owned()).or_default();
            line.entry(x).or_default().push(rate);
        }
    }
    lines
}

/// The latency of an ADD, by range and way.
fn fills(runs: &Value) -> Lines {
    let mut lines = Lines::new();
    for row in rows(runs) {
        let (range, way) = (row["range"].as_str(), row["way"].as_str());
        let (claims, p50) = (row["claims"].as_u64(), row["add"]["p50_ms"].as_f64());
        if let (Some(range), Some(way), Some(claims), Some(p50)) = (range, way, claims, p50) {
            let line = lines.entry(format!("{range}, {way}")).or_default();
            line.entry(claims.max(1)).or_default().push(p50);
        }
    }
    lines
}

/// Each line's points: of several runs, the median.
#[expect(
    clippy::cast_precision_loss,
    reason = "what is counted is far below 2^52"
)]
fn points(line: &BTreeMap<u64, Vec<f64>>) -> Vec<(f64, f64)> {
    let median = |values: &Vec<f64>| {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    line.iter()
        .map(|(x, values)| (*x as f64, median(values)))
        .collect()
}

fn draw(path: &Path, drawing: &Drawing) -> Result<(), String> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    draw_into(&area, drawing).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw_into(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    drawing: &Drawing,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines: Vec<(&String, Vec<(f64, f64)>)> = drawing
        .lines
        .iter()
        .map(|(name, line)| (name, points(line)))
        .collect();
    let at_end = |points: &[(f64, f64)]| points.last().map_or(0.0, |point| point.1);
    lines.sort_by(|(_, one), (_, other)| at_end(other).total_cmp(&at_end(one)));
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let all = lines.iter().flat_map(|(_, points)| points.iter().map(of));
        all.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let ((left, right), (low, high)) = (bounds(|point| point.0), bounds(|point| point.1));
    area.fill(&WHITE)?;
    let (chart_area, names) = area.split_horizontally(CHART_WIDTH);
    let mut chart = ChartBuilder::on(&chart_area)
        .caption(drawing.title, (FONT, 18))
        .margin(12)
        .margin_right(36)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (left..right.max(left * 2.0)).log_scale(),
            (low / 1.3..high * 1.3).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(drawing.x)
        .y_desc(drawing.y)
        .x_label_formatter(&f64::to_string)
        .y_label_formatter(&f64::to_string)
        .label_style((FONT, 13))
        .draw()?;
    let mut colors = COLORS.iter().cycle();
    let mut y = SIZE.1.cast_signed() / 2 - LINE_HEIGHT * i32::try_from(lines.len())? / 2;
    for (name, points) in lines {
        let style = if name == OURS {
            BLACK.stroke_width(3)
        } else {
            let color = colors.next().expect("a cycle has no end");
            color.stroke_width(2)
        };
        let dots = points.iter().map(|at| Circle::new(*at, 3, style.filled()));
        chart.draw_series(dots)?;
        chart.draw_series(LineSeries::new(points, style))?;
        names.draw(&PathElement::new([(0, y), (20, y)], style))?;
        let text = (FONT, 13)
            .into_text_style(&names)
            .pos(Pos::new(HPos::Left, VPos::Center));
        names.draw(&Text::new(name.as_str(), (28, y), text))?;
        y += LINE_HEIGHT;
    }
    area.present()?;
    Ok(())
}
