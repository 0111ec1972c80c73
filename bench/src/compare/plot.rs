//! The plot of a comparison: four panels of bars, one group a workload, on logarithmic scales.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::server::System;
use super::{Found, Results};
use crate::report::Report;

const SIZE: (u32, u32) = (1400, 1500);
const SYSTEMS: [(System, RGBColor); 3] = [
    (System::Apache, RGBColor(200, 90, 60)),
    (System::Ringmq, RGBColor(40, 110, 180)),
    (System::Ringmq2, RGBColor(120, 170, 220)),
];

const LABEL_LINES_MAX: usize = 4;
/// Pixels.
const LABEL_LINE: u32 = 12;
const LABEL_CHARS: usize = 14;

type Figure = fn(&Report) -> f64;
const PANELS: [(&str, Figure); 4] = [
    ("messages a second", |report| report.messages_per_second),
    ("broker CPU a message, us (less is better)", |report| cpu(report)),
    ("latency p99.9, us (less is better)", |report| report.latency_us.p99_9),
    ("own memory, MiB (less is better)", |report| {
        report.broker.as_ref().map_or(0.0, |b| b.memory.anonymous_kib as f64 / 1024.0)
    }),
];

fn cpu(report: &Report) -> f64 {
    report.broker.as_ref().map_or(0.0, |b| b.cpu_us_per_message)
}

pub fn draw(path: &Path, results: &Results) -> Result<()> {
    let mut workloads: Vec<&str> = Vec::new();
    for row in &results.rows {
        if matches!(row.outcome, Found::Load(_)) && !workloads.contains(&row.workload.as_str()) {
            workloads.push(&row.workload);
        }
    }
    if workloads.is_empty() {
        return Ok(());
    }
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let drawn = || -> Result<(), DrawingAreaErrorKind<_>> {
        root.fill(&WHITE)?;
        for (area, (title, figure)) in root.split_evenly((PANELS.len(), 1)).iter().zip(PANELS) {
            panel(area, title, &workloads, results, figure)?;
        }
        root.present()
    };
    drawn().map_err(|error| anyhow!("draw {}: {error}", path.display()))
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    workloads: &[&str],
    results: &Results,
    figure: Figure,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let value = |workload: &str, system: System| {
        results.rows.iter().find_map(|row| match &row.outcome {
            Found::Load(report) if row.workload == workload && row.system == system => Some(figure(report)),
            _ => None,
        })
    };
    let all: Vec<f64> = workloads
        .iter()
        .flat_map(|workload| SYSTEMS.iter().filter_map(move |(system, _)| value(workload, *system)))
        .filter(|value| *value > 0.0)
        .collect();
    let least = all.iter().copied().fold(f64::INFINITY, f64::min) / 2.0;
    // Room for the legend above the bars.
    let most = all.iter().copied().fold(0.0, f64::max) * 8.0;
    if !(least.is_finite() && most > least) {
        return Ok(());
    }
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(LABEL_LINES_MAX as u32 * LABEL_LINE + 8)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..workloads.len() as f64, (least..most).log_scale())?;
    chart.configure_mesh().disable_x_mesh().x_labels(0).y_label_formatter(&|y| format!("{y}")).draw()?;
    name_groups(area, workloads, |x| chart.backend_coord(&(x, least)))?;
    for (i, (system, color)) in SYSTEMS.iter().enumerate() {
        let bars = workloads.iter().enumerate().filter_map(|(x, workload)| {
            let value = value(workload, *system).filter(|value| *value > 0.0)?;
            let left = x as f64 + 0.15 + 0.24 * i as f64;
            Some(Rectangle::new([(left, least), (left + 0.22, value)], color.filled()))
        });
        chart
            .draw_series(bars)?
            .label(system.to_string())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .label_font(("sans-serif", 12))
        .draw()
}

/// The workloads' names, each under the middle of its group: an axis names only its own marks.
fn name_groups<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    workloads: &[&str],
    foot: impl Fn(f64) -> (i32, i32),
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let (left, top) = area.get_base_pixel();
    let style = ("sans-serif", 11).into_text_style(area).pos(Pos::new(HPos::Center, VPos::Top));
    for (group, name) in workloads.iter().enumerate() {
        let (x, y) = foot(group as f64 + 0.5);
        for (line, text) in wrapped(name).iter().enumerate() {
            let at = (x - left, y - top + 6 + (line as u32 * LABEL_LINE) as i32);
            area.draw(&Text::new(text.as_str(), at, style.clone()))?;
        }
    }
    Ok(())
}

/// In lines that fit a group's width; what does not fit into the lines stays in the last one.
fn wrapped(name: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in name.split(' ') {
        let is_last = lines.len() == LABEL_LINES_MAX;
        match lines.last_mut() {
            Some(line) if is_last || line.len() + 1 + word.len() <= LABEL_CHARS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_wrapped_between_words() {
        assert_eq!(wrapped("send 1 KiB"), ["send 1 KiB"]);
        assert_eq!(
            wrapped("send 1 KiB, 10,000/s, beside a cold reader"),
            ["send 1 KiB,", "10,000/s,", "beside a cold", "reader"]
        );
        assert!(wrapped("a b c d ".repeat(30).trim()).len() <= LABEL_LINES_MAX);
    }
}
