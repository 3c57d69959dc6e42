//! The section on scaling of cost, memory and recovery.

use std::fmt::Write;

use super::{machine, thousands};
use crate::{
    curves::{Curve, Curves, Point},
    engine::SLIDE,
    plot::{Panel, panels},
};

/// The section's text.
pub(super) fn text(found: &Curves) -> String {
    let mut text = String::from(
        "![Cost, memory and recovery](pictures/curves.svg)\n\n\
         | varied | to | CPU per event | live | snapshot, bytes per live |\n|---|--:|--:|--:|--:|\n",
    );
    for curve in &found.curves {
        for (i, point) in curve.points.iter().enumerate() {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} µs | {} | {:.1} |",
                if i == 0 { &curve.varied } else { "" },
                thousands(varied(curve, point) as u64),
                point.ns_per_event / 1e3,
                thousands(point.live as u64),
                point.snapshot_bytes as f64 / point.live as f64,
            );
        }
    }
    let made = found.curves.iter().flat_map(|curve| &curve.points).map(|point| point.generator_ns_per_event);
    let _ = write!(
        text,
        "\nThe generator makes an event in {:.2} µs of CPU at best, encoding included: {} events/s on one core.\n\n\
         | live pairs and visits | memory | snapshot | bytes per event since the last | taken in | restored in |\n|--:|--:|--:|--:|--:|--:|\n",
        made.clone().fold(f64::INFINITY, f64::min) / 1e3,
        thousands((1e9 / made.fold(f64::INFINITY, f64::min) / 1e3) as u64 * 1_000),
    );
    for point in &found.states {
        let Some(restored) = point.restored else { continue };
        // One is taken for each window's length of event time.
        let events = point.shape.rate * (point.shape.slides * SLIDE) as f64 / 1e3;
        let _ = writeln!(
            text,
            "| {} | {:.0} MiB | {:.1} MB | {:.1} | {:.0} ms | {:.0} ms |",
            thousands(point.live as u64),
            restored.memory_mib,
            point.snapshot_bytes as f64 / 1e6,
            point.snapshot_bytes as f64 / events,
            point.snapshot_ms,
            restored.ms
        );
    }
    let _ = writeln!(text, "\n{}.", machine(&found.machine));
    text
}

/// Each curve, memory and recovery.
pub(super) fn picture(found: &Curves) -> String {
    let mut all: Vec<Panel> = Vec::new();
    for curve in &found.curves {
        let point = |point: &Point| (varied(curve, point), point.ns_per_event / 1e3);
        all.push(Panel {
            title: format!("CPU per event, µs, by {}", curve.varied),
            points: curve.points.iter().map(point).collect(),
        });
    }
    let restored = |value: fn(f64, f64) -> f64| {
        let point = |point: &Point| point.restored.map(|r| (point.live as f64, value(r.memory_mib, r.ms)));
        found.states.iter().filter_map(point).collect()
    };
    all.push(Panel { title: "Memory, MiB, by live".to_owned(), points: restored(|memory, _| memory) });
    all.push(Panel { title: "Restored in, ms, by live".to_owned(), points: restored(|_, ms| ms) });
    panels("The engine on one core", &all)
}

/// The value of a curve's varied parameter at a point.
fn varied(curve: &Curve, point: &Point) -> f64 {
    let shape = &point.shape;
    match curve.varied.as_str() {
        "size / slide" => shape.slides as f64,
        "visitors" => f64::from(shape.users),
        "pages" => f64::from(shape.pages),
        "partitions" => f64::from(shape.partitions),
        _ => shape.out_of_orderness as f64 / 1e3,
    }
}
