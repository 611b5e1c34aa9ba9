//! The pipeline as a picture: one drawing for a wide screen, one for a phone.

use maud::{Markup, html};

use super::pipeline::{Pipeline, Station};
use crate::text::cut;

/// How wide and high a box is, and how many characters its lines have.
#[derive(Clone, Copy)]
struct Size {
    width: u32,
    height: u32,
    characters: usize,
}

const WIDE: Size = Size { width: 188, height: 92, characters: 25 };
const TALL: Size = Size { width: 340, height: 72, characters: 48 };
/// The gap between two boxes.
const GAP: u32 = 30;

/// The picture.
pub(super) fn picture(pipeline: &Pipeline) -> Markup {
    html! {
        (wide(pipeline))
        (tall(pipeline))
    }
}

fn wide(pipeline: &Pipeline) -> Markup {
    let step = WIDE.width + GAP;
    let x = |column: u32| 2 + column * step;
    let (below, middle) = (2 + WIDE.height + 44, 2 + WIDE.height / 2);
    let (width, height) = (x(4) + WIDE.width + 2, below + WIDE.height + 2);
    let arrows = (0..4).map(|column| format!("M{} {middle}h{}", x(column) + WIDE.width, GAP - 5));
    let centre = |column: u32| x(column) + WIDE.width / 2;
    // From the function back down to the mapping, and down to the bucket.
    let back = format!("M{} {}v22H{}v16", x(3) + 50, 2 + WIDE.height, centre(2));
    let bucket = format!("M{} {}v38", centre(3), 2 + WIDE.height);
    let again = format!("M{} {below}V{}", x(2) + 50, 2 + WIDE.height + 5);
    let arrows: Vec<String> = arrows.chain([back, bucket, again]).collect();
    html! {
        svg.picture.wide-only viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(pipeline.in_words()) {
            (arrow_head("wide"))
            @for path in &arrows { path.arrow d=(path) marker-end="url(#arrow-wide)" {} }
            @for (column, station) in (0..).zip(&pipeline.way) { (draw(station, (x(column), 2), WIDE)) }
            (draw(&pipeline.retry, (x(2), below), WIDE))
            (draw(&pipeline.bucket, (x(3), below), WIDE))
        }
    }
}

fn tall(pipeline: &Pipeline) -> Markup {
    let step = TALL.height + GAP - 8;
    let y = |row: u32| 2 + row * step;
    let stations = pipeline.way.iter().chain([&pipeline.retry, &pipeline.bucket]);
    let height = y(6) + TALL.height + 2;
    html! {
        svg.picture.narrow-only viewBox=(format!("0 0 {} {height}", TALL.width + 4)) role="img"
            aria-label=(pipeline.in_words()) {
            (arrow_head("tall"))
            @for row in 0..4 {
                path.arrow d=(format!("M172 {}v{}", y(row) + TALL.height, GAP - 13)) marker-end="url(#arrow-tall)" {}
            }
            @for (row, station) in (0..).zip(stations) { (draw(station, (2, y(row)), TALL)) }
        }
    }
}

fn arrow_head(name: &str) -> Markup {
    html! {
        defs {
            marker id=(format!("arrow-{name}")) viewBox="0 0 8 8" refX="5" refY="4" markerWidth="7" markerHeight="7"
                orient="auto" {
                path.arrow-head d="M0 0L8 4L0 8Z" {}
            }
        }
    }
}

fn draw(station: &Station, (x, y): (u32, u32), size: Size) -> Markup {
    let (left, row) = (x + 12, |row: u32| y + 22 + row * 20);
    let [line, more] = &station.details;
    // A wide box is narrow, and has a line for each detail.
    let details =
        if size.width < TALL.width { vec![line.clone(), more.clone()] } else { vec![format!("{line} · {more}")] };
    let short = |text: &str| cut(text, size.characters);
    html! {
        g class=(format!("station {}", station.health.class())) {
            rect x=(x) y=(y) width=(size.width) height=(size.height) rx="6" {}
            text.name x=(left) y=(row(0)) { (station.name) }
            text.state x=(left) y=(row(1)) { (station.health.sign()) " " (short(&station.state)) }
            @for (number, detail) in (2..).zip(&details) { text.detail x=(left) y=(row(number)) { (short(detail)) } }
        }
    }
}
