//! From text to a [`Spec`].

use std::collections::BTreeMap;

use super::limits::{MARKERS_MAX, PERMUTATION_STEPS_MAX, SESSIONS_MAX, TEXT_MAX, shown};
use super::{Marker, PermutationStep, Spec, SpecError, SpecSession, SpecStep, StepId};

/// A file's bytes as text.
pub(super) fn text(bytes: &[u8]) -> Result<&str, SpecError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid so far");
        let byte = bytes[error.valid_up_to()];
        Place::behind(valid).error(format!("expected UTF-8, found the byte 0x{byte:02x}"))
    })
}

/// Reads a whole file, which has at most so many interleavings, if they are what is to be run.
pub(super) fn spec(text: &str, interleavings_max: u128) -> Result<Spec, SpecError> {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let message = format!("expected the end of the file: at most {TEXT_MAX} bytes are read");
        return Err(Place::behind(&text[..end]).error(message));
    }
    if let Some((before, _)) = text.split_once('\0') {
        return Err(Place::behind(before).error("expected text, found a zero byte: no message can hold it"));
    }
    let mut parser = Parser { lexer: Lexer::new(text), next: None };
    let mut spec = Spec::default();
    while parser.keyword("setup")? {
        spec.setups.push(parser.sql("the setup's SQL")?);
    }
    if parser.keyword("teardown")? {
        spec.teardown = Some(parser.sql("the teardown's SQL")?);
    }
    let mut names = Names::default();
    while parser.keyword("session")? {
        if spec.sessions.len() == SESSIONS_MAX {
            return Err(parser.expected(&format!("at most {SESSIONS_MAX} sessions")));
        }
        let session = parser.session(spec.sessions.len(), &mut names)?;
        spec.sessions.push(session);
    }
    if spec.sessions.is_empty() {
        return Err(parser.expected("setup, teardown or session"));
    }
    while parser.keyword("permutation")? {
        let permutation = parser.permutation(&names)?;
        spec.permutations.push(permutation);
    }
    match parser.peek()? {
        Token { kind: Kind::End, at } if spec.count() > interleavings_max && spec.permutations.is_empty() => {
            Err(at.error(too_many(spec.count(), interleavings_max)))
        }
        Token { kind: Kind::End, .. } => Ok(spec),
        _ if spec.permutations.is_empty() => {
            Err(parser.expected("step, teardown, session, permutation or the end of the file"))
        }
        _ => Err(parser.expected("a step, permutation or the end of the file")),
    }
}

fn too_many(count: u128, max: u128) -> String {
    let found = if count == u128::MAX { "more than 10^38".to_owned() } else { count.to_string() };
    format!(
        "expected permutations, for there are {found} interleavings of these steps: at most {max} are run. List those that matter, \
         or raise --max-permutations; --all-permutations runs as many as it may and leaves out what comes to the same"
    )
}

#[derive(Default)]
struct Names {
    sessions: Vec<String>,
    steps: BTreeMap<String, StepId>,
}

struct Parser<'text> {
    lexer: Lexer<'text>,
    next: Option<Token>,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    at: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A name, or a keyword: those are no names unless they are quoted.
    Word(String),
    Quoted(String),
    Sql(String),
    Number(u32),
    Open,
    Close,
    Comma,
    Star,
    End,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    /// Where a text ends.
    fn behind(text: &str) -> Self {
        let line = text.matches('\n').count() + 1;
        Self { line, column: text.rsplit('\n').next().unwrap_or("").chars().count() + 1 }
    }

    fn error(self, message: impl Into<String>) -> SpecError {
        SpecError { line: self.line, column: self.column, message: message.into() }
    }
}

/// How many names an error lists.
const NAMES_SHOWN_MAX: usize = 50;

const KEYWORDS: [&str; 6] = ["notices", "permutation", "session", "setup", "step", "teardown"];

impl Parser<'_> {
    fn peek(&mut self) -> Result<&Token, SpecError> {
        if self.next.is_none() {
            self.next = Some(self.lexer.token()?);
        }
        Ok(self.next.as_ref().expect("filled above"))
    }

    fn take(&mut self) -> Result<Token, SpecError> {
        self.peek()?;
        Ok(self.next.take().expect("peeked"))
    }

    /// The error that something else stands where the next token, which was peeked, stands.
    fn expected(&mut self, what: &str) -> SpecError {
        match self.take() {
            Ok(token) => token.at.error(format!("expected {what}, found {}", token.kind.describe())),
            Err(error) => error,
        }
    }

    fn keyword(&mut self, word: &str) -> Result<bool, SpecError> {
        self.accept(&Kind::Word(word.to_owned()))
    }

    fn accept(&mut self, kind: &Kind) -> Result<bool, SpecError> {
        let is_next = self.peek()?.kind == *kind;
        if is_next {
            self.next = None;
        }
        Ok(is_next)
    }

    fn sql(&mut self, what: &str) -> Result<String, SpecError> {
        match self.take()? {
            Token { kind: Kind::Sql(sql), .. } => Ok(sql),
            other => Err(other.at.error(format!("expected {{ {what} }}, found {}", other.kind.describe()))),
        }
    }

    fn is_name(&mut self) -> Result<bool, SpecError> {
        Ok(match &self.peek()?.kind {
            Kind::Word(word) => !KEYWORDS.contains(&word.as_str()),
            Kind::Quoted(_) => true,
            _ => false,
        })
    }

    fn name(&mut self, what: &str) -> Result<(String, Place), SpecError> {
        if !self.is_name()? {
            return Err(self.expected(what));
        }
        match self.take()? {
            Token { kind: Kind::Word(name) | Kind::Quoted(name), at } => Ok((name, at)),
            _ => unreachable!("it is a name"),
        }
    }

    fn session(&mut self, session: usize, names: &mut Names) -> Result<SpecSession, SpecError> {
        let (name, at) = self.name("the session's name")?;
        if names.sessions.contains(&name) {
            return Err(at.error(format!("expected a session's name that is new, found {} again", shown(&name))));
        }
        names.sessions.push(name.clone());
        let setup = if self.keyword("setup")? { Some(self.sql("the session's setup")?) } else { None };
        let mut steps = Vec::new();
        while self.keyword("step")? {
            let (name, at) = self.name("the step's name")?;
            let id = StepId { session, step: steps.len() };
            if names.steps.insert(name.clone(), id).is_some() {
                return Err(at.error(format!("expected a step's name that is new, found {} again", shown(&name))));
            }
            steps.push(SpecStep { name, sql: self.sql("the step's SQL")? });
        }
        if steps.is_empty() {
            return Err(self.expected("setup or step"));
        }
        let teardown = if self.keyword("teardown")? { Some(self.sql("the session's teardown")?) } else { None };
        Ok(SpecSession { name, setup, steps, teardown })
    }

    fn permutation(&mut self, names: &Names) -> Result<Vec<PermutationStep>, SpecError> {
        let mut steps = Vec::new();
        while self.is_name()? {
            if steps.len() == PERMUTATION_STEPS_MAX {
                return Err(self.expected(&format!("at most {PERMUTATION_STEPS_MAX} steps in a permutation")));
            }
            let step = self.step(names)?;
            let mut markers = Vec::new();
            if self.accept(&Kind::Open)? {
                loop {
                    if markers.len() == MARKERS_MAX {
                        return Err(self.expected(&format!("at most {MARKERS_MAX} markers of a step")));
                    }
                    markers.push(self.marker(step, names)?);
                    if self.accept(&Kind::Close)? {
                        break;
                    }
                    if !self.accept(&Kind::Comma)? {
                        return Err(self.expected("`,` or `)`"));
                    }
                }
            }
            steps.push(PermutationStep { step, markers });
        }
        if steps.is_empty() { Err(self.expected("a step")) } else { Ok(steps) }
    }

    fn step(&mut self, names: &Names) -> Result<StepId, SpecError> {
        let (name, at) = self.name("a step")?;
        names.steps.get(&name).copied().ok_or_else(|| {
            let mut known: Vec<String> = names.steps.keys().take(NAMES_SHOWN_MAX).map(|name| shown(name)).collect();
            if names.steps.len() > known.len() {
                known.push("..".to_owned());
            }
            at.error(format!("expected a step, one of {}; found {}", known.join(", "), shown(&name)))
        })
    }

    fn marker(&mut self, of: StepId, names: &Names) -> Result<Marker, SpecError> {
        if self.accept(&Kind::Star)? {
            return Ok(Marker::Waits);
        }
        let at = self.peek()?.at;
        if !self.is_name()? {
            return Err(self.expected("`*` or a step"));
        }
        let step = self.step(names)?;
        if step.session == of.session {
            return Err(at.error("expected a step of another session: a step cannot wait for its own"));
        }
        if !self.keyword("notices")? {
            return Ok(Marker::After(step));
        }
        match self.take()? {
            Token { kind: Kind::Number(count), .. } => Ok(Marker::Notices(step, count)),
            other => Err(other.at.error(format!("expected a number of notices, found {}", other.kind.describe()))),
        }
    }
}

impl Kind {
    fn describe(&self) -> String {
        match self {
            Self::Word(word) => shown(word),
            Self::Quoted(name) => format!("\"{}\"", shown(name)),
            Self::Sql(_) => "a block { .. }".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Star => "`*`".to_owned(),
            Self::End => "the end of the file".to_owned(),
        }
    }
}

struct Lexer<'text> {
    rest: std::iter::Peekable<std::str::Chars<'text>>,
    at: Place,
}

impl<'text> Lexer<'text> {
    fn new(text: &'text str) -> Self {
        Self { rest: text.chars().peekable(), at: Place { line: 1, column: 1 } }
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.at = Place { line: self.at.line + 1, column: 1 };
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.rest.next_if(|c| wanted(*c)) {
            taken.push(c);
            self.at = match c {
                '\n' => Place { line: self.at.line + 1, column: 1 },
                _ => Place { column: self.at.column + 1, ..self.at },
            };
        }
        taken
    }

    fn token(&mut self) -> Result<Token, SpecError> {
        loop {
            self.take_while(|c| c.is_ascii_whitespace());
            if self.rest.peek() != Some(&'#') {
                break;
            }
            self.take_while(|c| c != '\n');
        }
        let at = self.at;
        let Some(&first) = self.rest.peek() else { return Ok(Token { kind: Kind::End, at }) };
        let kind = match first {
            'a'..='z' | 'A'..='Z' | '_' | '\u{80}'.. => {
                Kind::Word(self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '\u{80}'..)))
            }
            '0'..='9' => {
                let digits = self.take_while(|c| c.is_ascii_digit());
                let number = digits
                    .parse()
                    .map_err(|_| at.error(format!("expected a small number, found {}", shown(&digits))))?;
                Kind::Number(number)
            }
            '"' => self.quoted(at)?,
            '{' => self.sql(at)?,
            '(' | ')' | ',' | '*' => {
                self.bump();
                match first {
                    '(' => Kind::Open,
                    ')' => Kind::Close,
                    ',' => Kind::Comma,
                    _ => Kind::Star,
                }
            }
            other => {
                return Err(at.error(format!("expected a keyword, a name or {{ SQL }}, found {other:?}")));
            }
        };
        Ok(Token { kind, at })
    }

    /// `"a name"`; two quotes in it stand for one.
    fn quoted(&mut self, at: Place) -> Result<Kind, SpecError> {
        self.bump();
        let mut name = String::new();
        loop {
            name += &self.take_while(|c| c != '"' && c != '\n');
            match self.bump() {
                Some('"') if self.rest.peek() == Some(&'"') => name.extend(self.bump()),
                Some('"') => return Ok(Kind::Quoted(name)),
                _ => return Err(at.error("expected a closing quote on the same line, found none")),
            }
        }
    }

    /// Up to the first closing brace, whatever stands before it; without the space around it, newlines being none.
    fn sql(&mut self, at: Place) -> Result<Kind, SpecError> {
        self.bump();
        let sql = self.take_while(|c| c != '}');
        match self.bump() {
            Some(_) => Ok(Kind::Sql(sql.trim_matches([' ', '\t', '\r', '\x0c']).to_owned())),
            None => Err(at.error("expected a closing } for this block, found the end of the file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "session a step a1 { SELECT 1 } step a2 { SELECT 2 } session b step b1 { SELECT 3 }\n";

    #[track_caller]
    fn refused(text: &str, want: &str) {
        let error = Spec::parse(text).expect_err(text).to_string();
        assert_eq!(error, want);
    }

    #[test]
    fn everything_that_a_file_can_hold() {
        let text = "# a comment\nsetup { CREATE TABLE t (id int);\n }\nsetup{INSERT INTO t VALUES (1)}\nteardown\n{ DROP TABLE t; }\n\
                    session \"the \"\"first\"\"\" setup { BEGIN; } step \"a 1\" { SELECT '#'; } teardown { COMMIT; }\n\
                    session s2 step b1 { SELECT 1; } step b2 {}\n\
                    permutation \"a 1\" b1(*) b2 # and so on\npermutation b1(\"a 1\", \"a 1\" notices 2) \"a 1\"(*, b2)";
        let spec = Spec::parse(text).expect("a spec");
        assert_eq!(spec.setups, ["CREATE TABLE t (id int);\n", "INSERT INTO t VALUES (1)"]);
        assert_eq!(spec.teardown.as_deref(), Some("DROP TABLE t;"));
        assert_eq!(spec.sessions[0].name, "the \"first\"");
        assert_eq!(spec.sessions[0].setup.as_deref(), Some("BEGIN;"));
        assert_eq!(spec.sessions[0].steps, [SpecStep { name: "a 1".into(), sql: "SELECT '#';".into() }]);
        assert_eq!(spec.sessions[0].teardown.as_deref(), Some("COMMIT;"));
        let id = |session, step| StepId { session, step };
        let plain = |step| PermutationStep { step, markers: Vec::new() };
        let marked = |step, markers: &[Marker]| PermutationStep { step, markers: markers.to_vec() };
        assert_eq!(spec.permutations[0], [plain(id(0, 0)), marked(id(1, 0), &[Marker::Waits]), plain(id(1, 1))]);
        assert_eq!(
            spec.permutations[1],
            [
                marked(id(1, 0), &[Marker::After(id(0, 0)), Marker::Notices(id(0, 0), 2)]),
                marked(id(0, 0), &[Marker::Waits, Marker::After(id(1, 1))]),
            ]
        );
    }

    #[test]
    fn without_permutations_every_interleaving_is_one() {
        let spec = Spec::parse(TWO).expect("a spec");
        let names =
            |p: &Vec<PermutationStep>| p.iter().map(|s| spec.step(s.step).name.clone()).collect::<Vec<_>>().join(" ");
        let all: Vec<String> = spec.interleavings().map(|steps| names(&steps)).collect();
        assert_eq!(all, ["a1 a2 b1", "a1 b1 a2", "b1 a1 a2"]);
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        refused("", "1:1: expected setup, teardown or session, found the end of the file");
        refused("setup session", "1:7: expected { the setup's SQL }, found session");
        refused("session a", "1:10: expected setup or step, found the end of the file");
        refused("session step", "1:9: expected the session's name, found step");
        refused("session a\nstep x { SELECT", "2:8: expected a closing } for this block, found the end of the file");
        refused("session \"a\nstep", "1:9: expected a closing quote on the same line, found none");
        refused("session a step x {} step x {}", "1:26: expected a step's name that is new, found x again");
        refused(
            "session a step x {} session a step y {}",
            "1:29: expected a session's name that is new, found a again",
        );
        refused("session a step x {} $", "1:21: expected a keyword, a name or { SQL }, found '$'");
        refused(
            "session a step x {} 7",
            "1:21: expected step, teardown, session, permutation or the end of the file, found 7",
        );
        let with = |permutation: &str| format!("{TWO}permutation {permutation}");
        refused(&with(""), "2:13: expected a step, found the end of the file");
        refused(&with("a1 c"), "2:16: expected a step, one of a1, a2, b1; found c");
        refused(&with("a1("), "2:16: expected `*` or a step, found the end of the file");
        refused(&with("a1(a2)"), "2:16: expected a step of another session: a step cannot wait for its own");
        refused(&with("a1(b1 notices)"), "2:26: expected a number of notices, found `)`");
        refused(&with("a1(b1 b1)"), "2:19: expected `,` or `)`, found b1");
        refused(
            &with("a1 b1 teardown {}"),
            "2:19: expected a step, permutation or the end of the file, found teardown",
        );
    }
}
