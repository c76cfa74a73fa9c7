//! A [`Story`](crate::story::Story) as people see it: one lane for each member, time downwards,
//! adverts as arrows from lane to lane, and beside each lane what its kernel does and what it
//! believes.
//!
//! - [`terminal`]: characters, for 80 columns or more.
//! - [`svg`]: a picture, for a page or a file.
//! - [`html`]: the picture and all that is known, on a page that needs no network.
//!
//! What is worth showing is decided once, in `rows`; the forms only draw it. A story need not be
//! consistent to be drawn: indices that name no member are written as `?`.
mod html;
mod rows;
mod svg;
mod terminal;
mod text;
mod words;

pub use html::html;
pub use svg::svg;
pub use terminal::terminal;
