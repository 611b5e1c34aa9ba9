//! Documents with generated parts, each between `<!-- bench: NAME -->` and `<!-- end of NAME -->`.

use std::io;

/// Replaces the part with this name by `text`.
///
/// # Errors
/// When the document has no such part.
pub(crate) fn replace(document: &str, name: &str, text: &str) -> io::Result<String> {
    let (start, end) = (format!("<!-- bench: {name} -->\n"), format!("<!-- end of {name} -->"));
    let missing = || io::Error::other(format!("the document has no part {start:?} … {end:?}"));
    let (before, rest) = document.split_once(&start).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{start}{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let document = "a\n<!-- bench: table -->\nold\n<!-- end of table -->\nb\n";
        let made = replace(document, "table", "new\n\n").unwrap();
        assert_eq!(made, "a\n<!-- bench: table -->\nnew\n<!-- end of table -->\nb\n");
        assert!(replace(document, "picture", "").is_err());
    }
}
