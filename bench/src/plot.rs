//! Pictures of numbers, as SVG written by hand.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const ROW: f64 = 24.0;
/// Where bars begin: labels stand before.
const LEFT: f64 = 190.0;
/// Room for the number after the longest bar.
const RIGHT: f64 = 60.0;
const TEXT: &str = "#24292f";
const GRID: &str = "#d0d7de";
const OWN: &str = "#0969da";
const OTHER: &str = "#8c959f";

/// A line of a picture of bars.
pub(crate) enum Bar {
    /// What the bars below are about.
    Title(String),
    /// A bar; the project's own stand out.
    Value { label: String, value: f64, own: bool },
}

/// Bars on a scale of powers of ten.
pub(crate) fn bars(title: &str, bars: &[Bar]) -> String {
    let values =
        || bars.iter().filter_map(|bar| if let Bar::Value { value, .. } = bar { Some(*value) } else { None });
    let (low, high) = decades(values());
    let x = |value: f64| LEFT + (value.log10() - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let height = ROW * (bars.len() as f64 + 2.5);
    let mut svg = begin(title, height);
    let bottom = height - ROW;
    for power in low as i32..=high as i32 {
        let (value, x) = (10_f64.powi(power), x(10_f64.powi(power)));
        line(&mut svg, (x, ROW * 1.2), (x, bottom), GRID);
        text(&mut svg, (x, bottom + ROW * 0.6), "middle", &format!("{value}"));
    }
    for (i, bar) in bars.iter().enumerate() {
        let y = ROW * (i as f64 + 1.4);
        match bar {
            Bar::Title(title) => text(&mut svg, (8.0, y + ROW * 0.7), "start", title),
            Bar::Value { label, value, own } => {
                text(&mut svg, (LEFT - 8.0, y + ROW * 0.7), "end", label);
                let (width, colour) = (x(*value) - LEFT, if *own { OWN } else { OTHER });
                let _ = writeln!(
                    svg,
                    r#"<rect x="{LEFT:.1}" y="{:.1}" width="{width:.1}" height="{:.1}" fill="{colour}"/>"#,
                    y + 3.0,
                    ROW - 6.0
                );
                let digits = if *value < 10.0 { 2 } else { 1 };
                text(&mut svg, (x(*value) + 5.0, y + ROW * 0.7), "start", &format!("{value:.digits$}"));
            }
        }
    }
    svg + "</svg>\n"
}

/// A small picture: points joined by a line, on scales of powers of ten. What is not above zero has no place there.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Panels beside and below each other.
pub(crate) fn panels(title: &str, panels: &[Panel]) -> String {
    const ACROSS: usize = 2;
    const HIGH: f64 = 190.0;
    let width = WIDTH / ACROSS as f64;
    let mut svg = begin(title, ROW * 1.5 + HIGH * panels.len().div_ceil(ACROSS) as f64);
    for (i, panel) in panels.iter().enumerate() {
        let points: Vec<_> = panel.points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
        let (left, top) = ((i % ACROSS) as f64 * width, ROW * 1.5 + (i / ACROSS) as f64 * HIGH);
        let scale = |values: Vec<f64>, from: f64, to: f64| {
            let (low, high) = decades(values.into_iter());
            (low as i32..=high as i32, move |value: f64| {
                from + (value.log10() - low) / (high - low) * (to - from)
            })
        };
        let (xs, x) = scale(points.iter().map(|point| point.0).collect(), left + 55.0, left + width - 30.0);
        let (ys, y) = scale(points.iter().map(|point| point.1).collect(), top + HIGH - 40.0, top + 30.0);
        text(&mut svg, (left + 8.0, top + 14.0), "start", &panel.title);
        for power in ys.clone().map(|power| 10_f64.powi(power)) {
            line(&mut svg, (left + 55.0, y(power)), (left + width - 30.0, y(power)), GRID);
            text(&mut svg, (left + 48.0, y(power) + 4.0), "end", &format!("{power}"));
        }
        for power in xs.map(|power| 10_f64.powi(power)) {
            line(&mut svg, (x(power), top + 30.0), (x(power), top + HIGH - 40.0), GRID);
            text(&mut svg, (x(power), top + HIGH - 22.0), "middle", &format!("{power}"));
        }
        let places: Vec<String> = points.iter().map(|at| format!("{:.1},{:.1}", x(at.0), y(at.1))).collect();
        let _ = writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{OWN}" stroke-width="2"/>"#,
            places.join(" ")
        );
        for at in &points {
            let _ =
                writeln!(svg, r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{OWN}"/>"#, x(at.0), y(at.1));
        }
    }
    svg + "</svg>\n"
}

/// The powers of ten that values lie between. What is not above zero lies between none.
fn decades(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let values = values.filter(|value| *value > 0.0);
    let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
    (low, values.fold(0.0, f64::max).log10().ceil().max(low + 1.0))
}

fn begin(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"{TEXT}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, (8.0, ROW * 0.8), "start", title);
    svg
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#);
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_much_is_one_grid_line_further() {
        let value = |value| Bar::Value { label: "a < b".to_owned(), value, own: false };
        let svg = bars("title", &[value(1.0), value(10.0), value(100.0)]);
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect x="))
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 3);
        assert!(widths[0] == 0.0 && (widths[2] - 2.0 * widths[1]).abs() < 0.2, "{widths:?}");
        assert!(svg.contains("a &lt; b"));
    }

    #[test]
    fn what_is_not_above_zero_has_no_place() {
        assert_eq!(decades([0.0, 3.0, 200.0].into_iter()), (0.0, 3.0));
        let panel =
            |points: &[_]| panels("title", &[Panel { title: String::new(), points: points.to_vec() }]);
        assert_eq!(panel(&[(1.0, 0.0), (10.0, 2.0), (0.0, 3.0)]), panel(&[(10.0, 2.0)]));
        assert!(panel(&[]).ends_with("</svg>\n"));
    }
}
