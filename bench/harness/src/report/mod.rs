//! What comes of the figures: tables, verdicts, a picture, the documents.

pub(crate) mod cost;
pub(crate) mod document;
pub(crate) mod figures;
pub(crate) mod picture;
pub(crate) mod table;
pub(crate) mod verdict;
