//! SQL text to syntax trees: sqlparser does the work; what it cannot read of PostgreSQL's grammar is rewritten in the
//! tokens before it sees them ([`row_locks`]), and its errors are told as PostgreSQL tells them.
//!
//! Text comes from anybody, so that it is limited before it is parsed: a tree that is too deep would overflow the stack.

mod conflict_target;
mod own;
mod row_locks;

use std::fmt;
use std::sync::Arc;

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

use crate::error::Error;

pub(crate) use conflict_target::expression;
pub(crate) use own::{Own, Reader, Restart, SequenceChanges};
pub(crate) use row_locks::marker;

/// The longest text that is read, in bytes.
pub(crate) const TEXT_MAX: usize = 1 << 20;
/// How deep parentheses nest at most. Behind some parentheses the parser tries several readings, which doubles its work at each depth.
const PARENTHESES_MAX: usize = 16;
/// How many tokens stand between two commas at most: `1 + 1 + 1 ..` makes a tree as deep as it is long.
const RUN_MAX: usize = 1000;
/// How deep the parser recurses at most.
const DEPTH_MAX: usize = 50;

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// One statement.
pub(crate) enum Parsed {
    Tree(Arc<Statement>),
    Own(Own),
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parsed")
    }
}

/// The text of one statement, and its tokens.
pub(crate) struct Source<'sql> {
    /// What the statement stands in, cut off at its end: the tokens' places are places in this.
    until: &'sql str,
    /// Without the white space around it.
    pub(crate) text: &'sql str,
    /// White space is left out.
    pub(crate) tokens: Vec<TokenWithSpan>,
}

/// The only statement of `sql`.
pub(crate) fn parse_one(sql: &str) -> Result<Parsed, Error> {
    let mut sources = split(sql)?;
    match sources.pop() {
        Some(source) if sources.is_empty() => parse(source),
        _ => Err(Error::refused("several statements, or none, where one is expected: send them one by one")),
    }
}

/// Reads a statement.
pub(crate) fn parse(source: Source<'_>) -> Result<Parsed, Error> {
    if let Some(own) = own::own(&source)? {
        return Ok(Parsed::Own(own));
    }
    limit(&source.tokens)?;
    let tokens = conflict_target::rewrite(row_locks::rewrite(source.tokens)?);
    let mut parser = Parser::new(&DIALECT).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let mut statements = with_stack(|| parser.parse_statements()).map_err(|error| syntax_error(&error))?;
    match statements.pop() {
        Some(statement) if statements.is_empty() => Ok(Parsed::Tree(Arc::new(statement))),
        _ => Err(Error::refused("several statements without a semicolon between them")),
    }
}

/// The statements in `sql`, without the semicolons between them and without empty ones. A text is made tokens once: that is dearer than all
/// that is made of them.
pub(crate) fn split(sql: &str) -> Result<Vec<Source<'_>>, Error> {
    let (mut found, mut start, mut own) = (Vec::new(), 0, Vec::new());
    let mut places = Places::new(sql);
    let mut put = |own: &mut Vec<TokenWithSpan>, start: usize, end: usize| {
        if !own.is_empty() {
            found.push(Source { until: &sql[..end], text: sql[start..end].trim(), tokens: std::mem::take(own) });
        }
    };
    for token in tokens(sql)? {
        if token.token == Token::SemiColon {
            let end = places.find(token.span.start);
            put(&mut own, start, end);
            start = end + 1;
        } else {
            own.push(token);
        }
    }
    put(&mut own, start, sql.len());
    Ok(found)
}

/// The tokens of a text, white space left out.
pub(crate) fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, Error> {
    if sql.len() > TEXT_MAX {
        return Err(too_long(sql));
    }
    let mut tokens = Tokenizer::new(&DIALECT, sql).tokenize_with_location().map_err(|error| unreadable(sql, &error))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    Ok(tokens)
}

fn too_long(sql: &str) -> Error {
    Error::too_much(format_args!("SQL of more than {TEXT_MAX} bytes: these are {}", sql.len()))
}

/// Where in `sql` a location is. Locations count from 1, lines and characters.
fn place(sql: &str, location: Location) -> usize {
    Places::new(sql).find(location)
}

/// Finds locations in a text in one walk: each is behind the one before.
struct Places<'sql> {
    chars: std::str::CharIndices<'sql>,
    /// Where `chars` is.
    line: u64,
    column: u64,
}

impl<'sql> Places<'sql> {
    fn new(sql: &'sql str) -> Self {
        Self { chars: sql.char_indices(), line: 1, column: 1 }
    }

    fn find(&mut self, location: Location) -> usize {
        while (self.line, self.column) < (location.line, location.column) {
            match self.chars.next() {
                Some((_, '\n')) => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
        }
        self.chars.offset()
    }
}

/// Runs what recurses as deep as the tree is, on a stack that holds it: without optimisation the parser takes 100 KB a level, and a
/// thread has 2 MB.
pub(crate) fn with_stack<T>(inner: impl FnOnce() -> T) -> T {
    const NEEDED: usize = 6 << 20;
    const GIVEN: usize = 8 << 20;
    stacker::maybe_grow(NEEDED, GIVEN, inner)
}

/// Keeps the tree shallow. See [`PARENTHESES_MAX`] and [`RUN_MAX`].
fn limit(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let too_complex = || {
        Error::too_much(format_args!(
            "SQL that nests deeper than {PARENTHESES_MAX} parentheses, or {RUN_MAX} words without a comma"
        ))
    };
    let mut runs = vec![0_usize];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => runs.push(0),
            Token::RParen | Token::RBracket | Token::RBrace if runs.len() > 1 => {
                runs.pop();
            }
            Token::Comma | Token::SemiColon => *runs.last_mut().expect("never empty") = 0,
            Token::Whitespace(_) => continue,
            // A nested CASE is a parenthesis in all but the sign.
            Token::Word(word) if word.quote_style.is_none() && word.keyword == Keyword::CASE => runs.push(0),
            Token::Word(word) if word.quote_style.is_none() && word.keyword == Keyword::END && runs.len() > 1 => {
                runs.pop();
            }
            _ => {}
        }
        let run = runs.last_mut().expect("never empty");
        *run += 1;
        if *run > RUN_MAX || runs.len() > PARENTHESES_MAX {
            return Err(too_complex());
        }
    }
    Ok(())
}

/// The tokenizer's errors, in PostgreSQL's words: what is not closed, where all else would be right if it were. PostgreSQL reads no further than it
/// must, so that something wrong before it is told first.
fn unreadable(sql: &str, error: &TokenizerError) -> Error {
    let rest = &sql[place(sql, error.location).min(sql.len())..];
    let found = if error.message.starts_with("Unterminated string literal") && rest.starts_with('\'') {
        Some(("unterminated quoted string", rest, "'"))
    } else if error.message.starts_with("Expected close delimiter") && rest.starts_with('"') && rest.len() > 1 {
        Some(("unterminated quoted identifier", rest, "\""))
    } else if error.message.contains("multi-line comment") {
        sql.rfind("/*").map(|start| ("unterminated /* comment", &sql[start..], "*/"))
    } else {
        None
    };
    if let Some((what, rest, end)) = found
        && sql.matches("/*").count() <= 1
        && split(&format!("{sql}{end}")).is_ok_and(|all| all.into_iter().all(|one| parse(one).is_ok()))
    {
        return Error::new("42601", format!("{what} at or near \"{rest}\""));
    }
    Error::refused(format_args!("a text that its tokenizer cannot read: {}", error.message))
}

/// The parser's errors, in PostgreSQL's words: what was found, where the parser says so.
fn syntax_error(error: &ParserError) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::too_much(format_args!("SQL that nests deeper than {DEPTH_MAX} levels"));
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let found =
        text.split_once("found: ").map(|(_, rest)| rest.rsplit_once(" at Line:").map_or(rest, |(found, _)| found));
    match found {
        Some("EOF") => Error::new("42601", "syntax error at end of input"),
        Some(found) => Error::new("42601", format!("syntax error at or near \"{found}\"")),
        None => Error::new("42601", format!("syntax error: {text}")),
    }
}

#[cfg(test)]
mod tests;
