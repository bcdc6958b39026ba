//! The learning curve as a picture: PNG, since mail readers refuse SVG.

use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::fmt::Display;
use std::sync::OnceLock;

/// Twice the size at which it is shown, so that it is sharp on fine screens.
pub(super) const WIDTH: u32 = 1240;
pub(super) const HEIGHT: u32 = 620;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(55, 65, 81);
const GRID: RGBColor = RGBColor(229, 231, 235);
const TRAINING: RGBColor = RGBColor(107, 114, 128);
const VALIDATION: RGBColor = RGBColor(29, 78, 216);
const MARK: RGBColor = RGBColor(185, 28, 28);

/// The losses of a training by epoch (epoch, training, validation), with the epoch that decided the alert marked.
pub(super) fn losses(title: &str, points: &[(i64, f64, f64)], mark: Option<i64>) -> Result<Vec<u8>, String> {
    static FONTS: OnceLock<bool> = OnceLock::new();
    let there =
        FONTS.get_or_init(|| register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok());
    if !there {
        return Err("the font of the picture cannot be read".to_owned());
    }
    let mut pixels = vec![255; (WIDTH * HEIGHT * 3) as usize];
    draw(&mut pixels, title, points, mark).map_err(|error| format!("the picture cannot be drawn: {error}"))?;
    encode(&pixels).map_err(|error| format!("the picture cannot be encoded: {error}"))
}

fn draw(
    pixels: &mut [u8],
    title: &str,
    points: &[(i64, f64, f64)],
    mark: Option<i64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = BitMapBackend::with_buffer(pixels, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let (first, last) = (points.first().map_or(1, |p| p.0), points.last().map_or(2, |p| p.0));
    let values = || points.iter().flat_map(|p| [p.1, p.2]).filter(|v| *v > 0.0);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    // losses fall by powers of ten; where none is above zero there is nothing to see
    let (low, high) = if high > 0.0 { (low, high) } else { (1e-3, 1.0) };
    // room above for the legend, so that it hides no line
    let (low, high) = (low / 1.3, high * (high / low).max(4.0).powf(0.6));
    let last = last.max(first + 1);
    let mut chart = ChartBuilder::on(&area)
        .margin(20)
        .margin_right(36)
        .x_label_area_size(86)
        .y_label_area_size(160)
        .build_cartesian_2d(first as f64..last as f64, (low..high).log_scale())?;
    let text = (FONT, 36).into_font().color(&INK);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(INK.stroke_width(2))
        .x_desc("epoch")
        .y_desc("loss (logarithmic)")
        .x_labels(10.min((last - first + 1) as usize))
        .y_labels(6)
        .x_label_formatter(&|epoch| if epoch.fract().abs() < 1e-6 { format!("{epoch:.0}") } else { String::new() })
        .y_label_formatter(&short)
        .label_style(text.clone())
        .axis_desc_style(text.clone())
        .draw()?;
    if let Some(mark) = mark {
        let line = [(mark as f64, low), (mark as f64, high)];
        chart
            .draw_series(DashedLineSeries::new(line, 8, 6, MARK.stroke_width(2)))?
            .label(format!("epoch {mark}"))
            .legend(|(x, y)| {
                plotters::element::DashedPathElement::new([(x, y), (x + 32, y)], 8, 6, MARK.stroke_width(2))
            });
    }
    let values = |training| {
        let value = move |p: &(i64, f64, f64)| if training { p.1 } else { p.2 };
        points.iter().map(move |p| (p.0 as f64, value(p).max(low))).collect::<Vec<_>>()
    };
    for (name, colour, line) in [("training", TRAINING, values(true)), ("validation", VALIDATION, values(false))] {
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(4)))?
            .label(format!("{title} {name}").trim().to_owned())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 32, y)], colour.stroke_width(4)));
        // a single epoch is a point and no line
        if line.len() <= 40 {
            chart.draw_series(line.into_iter().map(|at| Circle::new(at, 5, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .label_font(text)
        .legend_area_size(44)
        .margin(12)
        .draw()?;
    area.present()?;
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "plotters' signature")]
fn short(value: &f64) -> String {
    if (0.01..1000.0).contains(value) { format!("{value:.2}") } else { format!("{value:.0e}") }
}

fn encode(pixels: &[u8]) -> Result<Vec<u8>, impl Display> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Best);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels));
    written.map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_png_of_a_size_that_mail_bears() {
        let curve: Vec<_> = (1..=30).map(|k| (k, 0.02 / k as f64, 0.02 / k as f64 + 0.002 * k as f64)).collect();
        for (points, mark) in
            [(&curve[..], Some(23)), (&curve[..1], None), (&[][..], None), (&[(1, 0.0, 0.0)][..], None)]
        {
            let picture = losses("views", points, mark).expect("drawn");
            assert!(picture.starts_with(b"\x89PNG") && picture.len() < 100_000, "{} bytes", picture.len());
        }
        if let Ok(path) = std::env::var("RETRAIND_PICTURE") {
            std::fs::write(path, losses("views", &curve, Some(23)).expect("drawn")).expect("written");
        }
    }
}
