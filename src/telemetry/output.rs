//! The one place that writes to standard output and standard error.

use std::io::Write;

/// Writes one line to standard output. It must be one complete JSON object, because Lambda expects one on each line.
///
/// A line that cannot be written is dropped: there is nowhere left to report it.
pub fn line(json: &str) {
    write(&mut std::io::stdout().lock(), json);
}

/// Writes one line for people to standard error.
pub fn text_line(text: &str) {
    write(&mut std::io::stderr().lock(), text);
}

fn write(to: &mut impl Write, line: &str) {
    // In one write, so that lines of other processes on the same pipe are not interleaved.
    let mut whole = String::with_capacity(line.len() + 1);
    whole.push_str(line);
    whole.push('\n');
    let _ = to.write_all(whole.as_bytes()).and_then(|()| to.flush());
}
