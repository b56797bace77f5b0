//! Charts, as SVG that stands in a page. Nothing that a log says is written into them.

use std::fmt::Display;
use std::ops::Range;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    AreaSeries, Cartesian2d, ChartBuilder, ChartContext, IntoDrawingArea as _, LineSeries,
    PathElement, RGBColor, SVGBackend,
};
use plotters::style::Color as _;

use super::{Finding, share};
use crate::limit::Micros;

const SIZE: (u32, u32) = (760, 220);
const MARGIN: u32 = 8;
/// Room for the numbers at the left and below.
const LEFT: u32 = 60;
const BELOW: u32 = 24;
const LABELS: usize = 7;
const ALLOWED: RGBColor = RGBColor(0x5b, 0x8d, 0xb8);
const DENIED: RGBColor = RGBColor(0xc4, 0x3c, 0x2e);
const GREY: RGBColor = RGBColor(0x88, 0x88, 0x88);
/// The share that a proposed quota may deny, in percent.
const FEW: f64 = 1.0;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
/// What stands beside a number of an axis.
type Label<'a> = &'a dyn Fn(&f64) -> String;

/// Checks that were allowed and, on top of them, denied, over time.
pub(super) fn over_time(finding: &Finding) -> Result<String, String> {
    let timeline = &finding.timeline;
    let length = timeline.length.get() as f64 / 1e6;
    let start = timeline.start;
    let end = timeline.spans.len().max(1) as f64 * length;
    let most = timeline.spans.iter().map(|[allowed, denied]| allowed + denied).max().unwrap_or(0);
    let most = most.max(1) as f64 * 1.05;
    // A span is as high over all of its length.
    let steps = |height: fn(&[u64; 2]) -> u64| {
        let spans = timeline.spans.iter().enumerate();
        let steps = spans.flat_map(move |(place, span)| {
            let (from, height) = (place as f64 * length, height(span) as f64);
            [(from, height), (from + length, height)]
        });
        steps.collect::<Vec<(f64, f64)>>()
    };
    let label = move |seconds: &f64| {
        let at = start.after(Micros::new((seconds.max(0.0) * 1e6) as u64));
        at_clock(at.as_micros(), end)
    };
    framed((0.0..end, 0.0..most), (&label, &|number| format!("{number:.0}")), |chart| {
        let all = AreaSeries::new(steps(|[allowed, denied]| allowed + denied), 0.0, DENIED);
        chart.draw_series(all).map_err(undrawn)?;
        let allowed = AreaSeries::new(steps(|[allowed, _]| *allowed), 0.0, ALLOWED);
        chart.draw_series(allowed).map(drop).map_err(undrawn)
    })
}

/// The share of checks that a quota denies, by quota.
pub(super) fn curve(finding: &Finding) -> Result<String, String> {
    let (curve, asked) = (&finding.trial.curve, finding.trial.asked);
    let percent = |denied| share(denied, asked) * 100.0;
    let points: Vec<(f64, f64)> =
        curve.iter().map(|point| (point.units as f64, percent(point.denied))).collect();
    let from = points.first().map_or(0.0, |(units, _)| *units);
    let to = points.last().map_or(1.0, |(units, _)| *units).max(from + 1.0);
    let most = points.iter().map(|(_, percent)| *percent).fold(FEW * 2.0, f64::max) * 1.05;
    let percents = |percent: &f64| format!("{percent:.1}%");
    framed((from..to, 0.0..most), (&|units| format!("{units:.0}"), &percents), |chart| {
        let line = |points: Vec<(f64, f64)>, color: RGBColor| PathElement::new(points, color);
        let own = finding.quota as f64;
        let marks =
            [line(vec![(from, FEW), (to, FEW)], GREY), line(vec![(own, 0.0), (own, most)], GREY)];
        chart.draw_series(marks).map_err(undrawn)?;
        let denied = LineSeries::new(points, DENIED.stroke_width(2));
        chart.draw_series(denied).map(drop).map_err(undrawn)
    })
}

/// A chart of this range across and up, with these labels, into which `draw` draws.
fn framed(
    (across, up): (Range<f64>, Range<f64>),
    (below, left): (Label<'_>, Label<'_>),
    draw: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), String>,
) -> Result<String, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(MARGIN)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(across, up)
            .map_err(undrawn)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(GREY.mix(0.0))
            .x_labels(LABELS)
            .y_labels(LABELS)
            .x_label_formatter(below)
            .y_label_formatter(left)
            .draw()
            .map_err(undrawn)?;
        draw(&mut chart)?;
        root.present().map_err(undrawn)?;
    }
    Ok(svg)
}

/// A moment in UTC, as exactly as it takes to tell it from others on an axis of so many seconds.
fn at_clock(micros: u64, seconds: f64) -> String {
    let format = match seconds {
        ..600.0 => "%H:%M:%S",
        ..86_400.0 => "%H:%M",
        _ => "%m-%d %H:%M",
    };
    let at = jiff::Timestamp::from_microsecond(micros.cast_signed());
    at.map_or_else(|_| String::new(), |at| at.strftime(format).to_string())
}

fn undrawn(error: impl Display) -> String {
    format!("a chart cannot be drawn: {error}")
}
