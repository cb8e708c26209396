//! Plots for whoever plans capacity: SVG files, and the figures as a table.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use plotters::prelude::*;
use undertone_simulation::joining::joining;
use undertone_simulation::network::Network;
use undertone_simulation::scenario::Scenario;

use crate::{play, quantile};

const WIDTH: u32 = 860;
const HEIGHT: u32 = 480;
/// Sizes of a circle; 16 is the most a charter allows.
const SIZES: [u8; 7] = [4, 6, 8, 10, 12, 14, 16];
/// Circles that share relays.
const CIRCLES: [u64; 9] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000];

/// What circles of one size showed.
struct Row {
    size: u8,
    removal: [f64; 2],
    agreement: [f64; 2],
    /// From a signature to hearing the leader, and the control bytes that one receives in coming.
    joining: [f64; 2],
    joined: f64,
    /// Control messages a second in the circle, and bytes a second each member receives.
    messages: f64,
    bytes: f64,
}

/// Runs and draws.
pub fn draw(out: &Path, seeds: u64) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut rows = Vec::new();
    println!(
        "size   removal ms (median p99)   agreement ms (median p99)   joining ms (median p99)   joining kB   messages/s   control B/s a member"
    );
    for size in SIZES {
        let row = measure(size, seeds)?;
        println!(
            "{:>4}   {:>10.0} {:>10.0}   {:>12.0} {:>10.0}   {:>10.0} {:>10.0}   {:>10.1}   {:>10.2}   {:>12.0}",
            row.size,
            row.removal[0],
            row.removal[1],
            row.agreement[0],
            row.agreement[1],
            row.joining[0],
            row.joining[1],
            row.joined / 1e3,
            row.messages,
            row.bytes
        );
        rows.push(row);
    }
    let x = |r: &Row| f64::from(r.size);
    let series = |f: fn(&Row) -> f64| rows.iter().map(|r| (x(r), f(r))).collect::<Vec<_>>();
    chart(
        &out.join("removal.svg"),
        "From a removal notice to the last honest peer (80 ms ± 40 ms, 2 % loss)",
        ("members", "milliseconds"),
        &[
            ("median", series(|r| r.removal[0])),
            ("p99", series(|r| r.removal[1])),
        ],
        false,
    )?;
    chart(
        &out.join("agreement.svg"),
        "After a split heals, until all agree again",
        ("members", "milliseconds"),
        &[
            ("median", series(|r| r.agreement[0])),
            ("p99", series(|r| r.agreement[1])),
        ],
        false,
    )?;
    chart(
        &out.join("control.svg"),
        "Control traffic that each member receives, 30 % of people coming and going a minute",
        ("members", "bytes a second"),
        &[("control", series(|r| r.bytes))],
        false,
    )?;
    circles(out, &rows)
}

fn measure(size: u8, seeds: u64) -> Result<Row> {
    let network = |scenario: &mut Scenario| {
        scenario.seats = size;
        scenario.nodes = usize::from(size) + 4;
        scenario.skew_minutes = 0;
        scenario.tail_ms = 0;
        scenario.burst_every_seconds = 0;
    };
    let outcomes = |scenario: &Scenario| {
        let (outcomes, violations) = play(scenario, &(0..seeds), 2);
        anyhow::ensure!(violations.is_empty(), "a rule did not hold: {violations:?}");
        Ok(outcomes)
    };
    // Removals where nobody is out of reach; agreement and traffic where many are.
    let mut calm = Scenario::find("calm")?;
    network(&mut calm);
    calm.removals_per_minute = f64::from(size) / 2.0;
    let mut split = Scenario::find("partition")?;
    network(&mut split);
    let (calm, split) = (outcomes(&calm)?, outcomes(&split)?);
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let both = |mut times: Vec<Duration>| {
        [
            ms(quantile(&mut times, 0.5)),
            ms(quantile(&mut times, 0.99)),
        ]
    };
    let comings = (0..seeds).map(|seed| joining(seed, size, Network::WIDE));
    let comings = comings.collect::<Result<Vec<_>>>()?;
    let joined: f64 = comings.iter().map(|c| c.received as f64).sum();
    let lasted: f64 = split.iter().map(|o| o.lasted.as_secs_f64()).sum();
    Ok(Row {
        size,
        removal: both(calm.iter().flat_map(|o| o.removals.clone()).collect()),
        agreement: both(split.iter().map(|o| o.converged).collect()),
        joining: both(comings.iter().map(|c| c.hears).collect()),
        joined: joined / seeds as f64,
        messages: split.iter().map(|o| o.messages as f64).sum::<f64>() / lasted,
        bytes: split.iter().map(|o| o.bytes as f64).sum::<f64>() / lasted,
    })
}

/// What relays carry for many circles: voice is constant, so it can be reckoned; control is as measured.
fn circles(out: &Path, rows: &[Row]) -> Result<()> {
    const PACKET_BYTES: f64 = 174.0 + 43.0; // with QUIC, UDP and IP around it
    let full = rows.last().context("no sizes")?;
    let n = f64::from(full.size);
    // Each member's packets, 50 a second, are copied to all others; control messages likewise.
    let copies = 50.0 * n * (n - 1.0);
    let mbit = (copies * PACKET_BYTES + full.bytes * (n - 1.0)) * 8.0 / 1e6;
    println!("one circle of {n}: {copies:.0} voice copies/s, {mbit:.1} Mbit/s out of its relay");
    let load = |circles: u64, relays: f64| circles as f64 * copies / relays / 1e3;
    let mut file = Vec::new();
    for relays in [1.0, 10.0, 100.0] {
        let points: Vec<_> = CIRCLES
            .iter()
            .map(|c| (*c as f64, load(*c, relays)))
            .collect();
        file.push((format!("{relays} relays"), points));
    }
    let series: Vec<_> = file
        .iter()
        .map(|(name, points)| (name.as_str(), points.clone()))
        .collect();
    chart(
        &out.join("circles.svg"),
        "Voice packets each relay copies, for circles of 16",
        ("circles", "thousand packets a second"),
        &series,
        true,
    )
}

type Series<'a> = (&'a str, Vec<(f64, f64)>);

/// Lines over two axes, which may both be logarithmic: then the powers of ten are equally far apart.
fn chart(
    path: &Path,
    title: &str,
    axes: (&str, &str),
    series: &[Series<'_>],
    logarithmic: bool,
) -> Result<()> {
    let scale = |v: f64| if logarithmic { v.max(0.1).log10() } else { v };
    let label = |v: &f64| match logarithmic {
        true => format!("{}", 10f64.powf(*v).round()),
        false => format!("{v:.0}"),
    };
    let area = SVGBackend::new(path, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || series.iter().flat_map(|(_, points)| points);
    let least = all().map(|p| scale(p.0)).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&(f64, f64)) -> f64| all().map(|p| scale(of(p))).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(least..most(|p| p.0), 0.0..most(|p| p.1) * 1.1)?;
    chart
        .configure_mesh()
        .x_desc(axes.0)
        .y_desc(axes.1)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for (index, (name, points)) in series.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let points = points.iter().map(|p| (scale(p.0), scale(p.1)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    area.present()
        .with_context(|| format!("cannot write {}", path.display()))
}
