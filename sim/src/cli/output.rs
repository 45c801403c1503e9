//! Where a command writes.

use std::io::{self, ErrorKind, IsTerminal, Write};

use super::args::Color;
use crate::report::paint::Paint;

/// A stream that somebody reads: standard output, standard error, or a buffer.
///
/// When nobody reads it any more (`skiptrace list | head -1`), the rest is dropped without an error; a command looks at
/// `Output::is_closed` before it goes on with something long.
pub struct Output<'w> {
    writer: Box<dyn Write + 'w>,
    terminal: bool,
    closed: bool,
    paint: Paint,
}

impl<'w> Output<'w> {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::new(Box::new(io::stdout()), io::stdout().is_terminal())
    }

    /// Standard error.
    pub fn stderr() -> Self {
        Self::new(Box::new(io::stderr()), io::stderr().is_terminal())
    }

    /// Anything else, which is no terminal.
    pub fn to(writer: impl Write + 'w) -> Self {
        Self::new(Box::new(writer), false)
    }

    fn new(writer: Box<dyn Write + 'w>, terminal: bool) -> Self {
        Self { writer, terminal, closed: false, paint: Paint::Plain }
    }

    /// Decides about colours: `always` and `never` do; else a terminal has them, unless `NO_COLOR` is set or it is a dumb one.
    pub(crate) fn set_color(&mut self, color: Color) {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let painted = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => self.terminal && !set("NO_COLOR") && !dumb,
        };
        self.paint = if painted { Paint::Ansi } else { Paint::Plain };
    }

    /// How it is coloured.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Whether it is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether nobody reads it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes a text and a newline.
    pub(crate) fn line(&mut self, text: &str) {
        self.text(text);
        self.text("\n");
    }

    /// Writes a text.
    pub(crate) fn text(&mut self, text: &str) {
        let written = if self.closed { Ok(()) } else { self.writer.write_all(text.as_bytes()) };
        self.written(written);
    }

    /// Sends what was written on its way.
    pub(crate) fn flush(&mut self) {
        let flushed = if self.closed { Ok(()) } else { self.writer.flush() };
        self.written(flushed);
    }

    /// A full disk deserves a word, which goes to standard error; a closed pipe does not.
    fn written(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.closed = true;
            if error.kind() != ErrorKind::BrokenPipe {
                let _ = writeln!(io::stderr(), "skiptrace: cannot write: {error}");
            }
        }
    }
}
