//! Statements that sqlparser does not read: a small parser of their own.

use smol_str::SmolStr;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Source;
use crate::error::Error;

/// A statement of these.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    AlterSequence {
        schema: Option<SmolStr>,
        name: SmolStr,
        if_exists: bool,
        changes: SequenceChanges,
    },
    /// PREPARE TRANSACTION, and what ends it.
    Prepare {
        gid: SmolStr,
    },
    FinishPrepared {
        gid: SmolStr,
        commit: bool,
    },
}

/// What ALTER SEQUENCE says; none: not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SequenceChanges {
    pub(crate) increment: Option<i64>,
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) start: Option<i64>,
    pub(crate) restart: Option<Restart>,
    pub(crate) cycle: Option<bool>,
}

/// Where a sequence begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    AtStart,
    With(i64),
}

/// Reads a statement, if it is one of these.
pub(super) fn own(source: &Source<'_>) -> Result<Option<Own>, Error> {
    let mut reader = Reader::new(source);
    if reader.words(&["ALTER", "SEQUENCE"]) {
        return reader.alter_sequence().map(Some);
    }
    if reader.words(&["PREPARE", "TRANSACTION"]) {
        return Ok(Some(Own::Prepare { gid: reader.last_string()? }));
    }
    for (verb, commit) in [("COMMIT", true), ("ROLLBACK", false)] {
        if reader.words(&[verb, "PREPARED"]) {
            return Ok(Some(Own::FinishPrepared { gid: reader.last_string()?, commit }));
        }
    }
    Ok(None)
}

/// Reads a statement's tokens one after the other.
pub(crate) struct Reader<'t> {
    until: &'t str,
    tokens: &'t [TokenWithSpan],
    at: usize,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(source: &'t Source<'_>) -> Self {
        Self { until: source.until, tokens: &source.tokens, at: 0 }
    }

    /// The next token.
    pub(crate) fn take(&mut self) -> Option<&'t Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).map(|token| &token.token)
    }

    /// Takes this token, if it comes next.
    pub(crate) fn takes(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.at += usize::from(found);
        found
    }

    /// Whether one of these words comes next.
    pub(crate) fn starts_with(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(self.at, word))
    }

    /// The text of what comes next, to the statement's end.
    pub(crate) fn rest(&self) -> &'t str {
        let start = self.tokens.get(self.at).map(|token| token.span.start);
        start.map_or("", |start| self.until[super::place(self.until, start)..].trim_end())
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::EOF, |token| &token.token)
    }

    fn is(&self, place: usize, word: &str) -> bool {
        matches!(self.tokens.get(place).map(|token| &token.token), Some(Token::Word(found))
            if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    /// Takes these words, if all of them come next.
    pub(crate) fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(place, word)| self.is(self.at + place, word));
        if found {
            self.at += words.len();
        }
        found
    }

    pub(crate) fn unexpected<T>(&self) -> Result<T, Error> {
        Err(match self.peek() {
            Token::EOF => Error::new("42601", "syntax error at end of input"),
            found => Error::new("42601", format!("syntax error at or near \"{found}\"")),
        })
    }

    pub(crate) fn name(&mut self) -> Result<SmolStr, Error> {
        match self.peek() {
            Token::Word(word) if word.quote_style.is_some() => {
                let name = word.value.as_str().into();
                self.at += 1;
                Ok(name)
            }
            Token::Word(word) if word.keyword == Keyword::NoKeyword || word.quote_style.is_none() => {
                let name = word.value.to_lowercase().into();
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    /// A string, and nothing behind it.
    fn last_string(&mut self) -> Result<SmolStr, Error> {
        let Token::SingleQuotedString(text) = self.peek() else { return self.unexpected() };
        let text = text.as_str().into();
        self.at += 1;
        self.takes(&Token::SemiColon);
        if *self.peek() == Token::EOF { Ok(text) } else { self.unexpected() }
    }

    fn number(&mut self) -> Result<i64, Error> {
        let negative = matches!(self.peek(), Token::Minus);
        if negative || matches!(self.peek(), Token::Plus) {
            self.at += 1;
        }
        let Token::Number(digits, _) = self.peek() else { return self.unexpected() };
        let text = if negative { format!("-{digits}") } else { digits.clone() };
        let Ok(number) = text.parse() else { return self.unexpected() };
        self.at += 1;
        Ok(number)
    }

    fn alter_sequence(&mut self) -> Result<Own, Error> {
        let if_exists = self.words(&["IF", "EXISTS"]);
        let first = self.name()?;
        let (schema, name) = if matches!(self.peek(), Token::Period) {
            self.at += 1;
            (Some(first), self.name()?)
        } else {
            (None, first)
        };
        let mut changes = SequenceChanges::default();
        while !matches!(self.peek(), Token::EOF | Token::SemiColon) {
            self.sequence_change(&mut changes)?;
        }
        Ok(Own::AlterSequence { schema, name, if_exists, changes })
    }

    fn sequence_change(&mut self, changes: &mut SequenceChanges) -> Result<(), Error> {
        if self.words(&["INCREMENT", "BY"]) || self.words(&["INCREMENT"]) {
            changes.increment = Some(self.number()?);
        } else if self.words(&["NO", "CYCLE"]) {
            changes.cycle = Some(false);
        } else if self.words(&["CYCLE"]) {
            changes.cycle = Some(true);
        } else if self.words(&["MINVALUE"]) {
            changes.min = Some(self.number()?);
        } else if self.words(&["MAXVALUE"]) {
            changes.max = Some(self.number()?);
        } else if self.words(&["START", "WITH"]) || self.words(&["START"]) {
            changes.start = Some(self.number()?);
        } else if self.words(&["RESTART", "WITH"]) {
            changes.restart = Some(Restart::With(self.number()?));
        } else if self.words(&["RESTART"]) {
            let follows = matches!(self.peek(), Token::Number(..) | Token::Minus | Token::Plus);
            changes.restart = Some(if follows { Restart::With(self.number()?) } else { Restart::AtStart });
        } else if let Token::Word(word) = self.peek() {
            return Err(Error::refused(format_args!("ALTER SEQUENCE .. {}", word.value.to_uppercase())));
        } else {
            return self.unexpected();
        }
        Ok(())
    }
}
