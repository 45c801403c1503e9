//! Colours, or none.

/// What a piece of text is, which decides how it is coloured. Nothing is told by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading, the name of a lane.
    Strong,
    /// A result, a rule: read second.
    Quiet,
    /// A milestone, a verdict as expected.
    Good,
    /// A wait, a fault.
    Notable,
    /// A violation, a surprise, an error.
    Bad,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    Plain,
    /// With ANSI escapes.
    Ansi,
}

impl Paint {
    /// `text` in its tone.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => return text.to_owned(),
            (_, Tone::Strong) => "1",
            (_, Tone::Quiet) => "2",
            (_, Tone::Good) => "32",
            (_, Tone::Notable) => "33",
            (_, Tone::Bad) => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
