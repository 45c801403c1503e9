//! A message's statements, and those among them that are about statements: PREPARE, EXECUTE, DEALLOCATE, and CREATE TABLE .. AS, which is two.

use std::sync::Arc;

use smol_str::SmolStr;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, UNREADABLE};
use crate::parse::{self, Parsed, Reader, Source};

/// A statement of a message.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Plain(SmolStr, Arc<Parsed>),
    /// What the parser makes of it.
    Unreadable(SmolStr, Error),
    /// PREPARE name (types) AS sql.
    Prepare {
        name: SmolStr,
        types: Vec<String>,
        sql: SmolStr,
    },
    Execute {
        name: SmolStr,
        args: Vec<Literal>,
    },
    /// None: ALL.
    Deallocate(Option<SmolStr>),
    CreateAs {
        table: SmolStr,
        query: SmolStr,
    },
}

impl Piece {
    pub(super) fn unreadable(&self) -> Option<&Error> {
        if let Self::Unreadable(_, error) = self { Some(error) } else { None }
    }
}

/// An argument of EXECUTE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    Null,
    /// As the parameter's type reads it.
    Text(String),
}

/// What is longer is cut off, with a notice.
const NAME_MAX: usize = 63;

/// The statements of a message, none of them compiled yet.
pub(super) fn pieces(sql: &str) -> Result<Vec<Piece>, Error> {
    let sources = parse::split(sql)?;
    for token in sources.iter().flat_map(|source| &source.tokens) {
        if let Token::Word(word) = &token.token
            && word.value.len() > NAME_MAX
        {
            return Err(Error::refused(format_args!("a name of more than {NAME_MAX} bytes: {}", word.value)));
        }
    }
    sources.into_iter().map(piece).collect()
}

/// Refuses what the tokenizer takes and PostgreSQL's does not, or takes for something else.
fn refuse_odd_tokens(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    for (place, token) in tokens.iter().enumerate() {
        let behind = tokens.get(place + 1).filter(|next| next.span.start == token.span.end);
        let odd = match &token.token {
            Token::Number(digits, _) => {
                let plain = digits.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E' | b'+' | b'-'));
                !plain || behind.is_some_and(|next| matches!(next.token, Token::Word(_)))
            }
            Token::Word(word) if word.quote_style.is_none() => word.value.eq_ignore_ascii_case("isnull"),
            Token::Word(word) => word.value.is_empty(),
            Token::Placeholder(_) | Token::Colon | Token::DoubleEq => true,
            _ => false,
        };
        if odd {
            let more = behind.map(|next| next.token.to_string()).unwrap_or_default();
            return Err(Error::refused(format_args!("the text {}{more} here", token.token)));
        }
    }
    Ok(())
}

fn piece(source: Source<'_>) -> Result<Piece, Error> {
    let mut reader = Reader::new(&source);
    let special = if reader.words(&["PREPARE"]) && !reader.words(&["TRANSACTION"]) {
        prepare(&mut reader)?
    } else if reader.words(&["EXECUTE"]) {
        execute(&mut reader)?
    } else if reader.words(&["DEALLOCATE"]) {
        reader.words(&["PREPARE"]);
        Some(Piece::Deallocate(if reader.words(&["ALL"]) { None } else { Some(reader.name()?) }))
    } else if reader.words(&["CREATE", "TABLE"]) {
        create_as(&mut reader)
    } else {
        None
    };
    if let Some(special) = special {
        return Ok(special);
    }
    refuse_odd_tokens(&source.tokens)?;
    let text = source.text;
    Ok(match parse::parse(source) {
        Ok(parsed) => Piece::Plain(text.into(), Arc::new(parsed)),
        Err(error) => Piece::Unreadable(text.into(), unsure(text, error)),
    })
}

/// PostgreSQL's grammar is larger than the parser's here: what that cannot read may be a statement all the same.
fn unsure(text: &str, error: Error) -> Error {
    if error.sqlstate != "42601" {
        return error;
    }
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    Error::refused(format_args!("{UNREADABLE} {} .. ({})", words.join(" "), error.message))
}

fn prepare(reader: &mut Reader<'_>) -> Result<Option<Piece>, Error> {
    let name = reader.name()?;
    let mut types = Vec::new();
    if reader.takes(&Token::LParen) {
        let mut words = Vec::new();
        loop {
            match reader.take() {
                Some(Token::RParen) => break,
                Some(Token::Comma) => types.push(std::mem::take(&mut words).join(" ")),
                Some(token) => words.push(token.to_string().to_lowercase()),
                None => return reader.unexpected(),
            }
        }
        types.push(words.join(" "));
    }
    if !reader.words(&["AS"]) {
        return reader.unexpected();
    }
    Ok(Some(Piece::Prepare { name, types, sql: reader.rest().into() }))
}

fn execute(reader: &mut Reader<'_>) -> Result<Option<Piece>, Error> {
    let name = reader.name()?;
    let mut args = Vec::new();
    if reader.takes(&Token::LParen) {
        loop {
            args.push(literal(reader)?);
            if reader.takes(&Token::RParen) {
                break;
            }
            if !reader.takes(&Token::Comma) {
                return Err(Error::refused("EXECUTE with an argument that is no literal"));
            }
        }
    }
    Ok(Some(Piece::Execute { name, args }))
}

fn literal(reader: &mut Reader<'_>) -> Result<Literal, Error> {
    if reader.words(&["NULL"]) {
        return Ok(Literal::Null);
    }
    for word in ["true", "false"] {
        if reader.words(&[word]) {
            return Ok(Literal::Text(word.to_owned()));
        }
    }
    let sign = if reader.takes(&Token::Minus) { "-" } else { "" };
    match reader.take() {
        Some(Token::Number(digits, _)) => Ok(Literal::Text(format!("{sign}{digits}"))),
        Some(Token::SingleQuotedString(text)) if sign.is_empty() => Ok(Literal::Text(text.clone())),
        _ => Err(Error::refused("EXECUTE with an argument that is no literal")),
    }
}

/// Only of the plain form; others are left to the parser.
fn create_as(reader: &mut Reader<'_>) -> Option<Piece> {
    let table = reader.name().ok()?;
    let is_query = reader.words(&["AS"]) && reader.starts_with(&["SELECT", "VALUES", "WITH"]);
    let query = reader.rest();
    let tail = query.to_ascii_uppercase();
    let plain = is_query && !tail.ends_with(" DATA");
    plain.then(|| Piece::CreateAs { table, query: query.into() })
}

/// The words of a statement that are no quoted text: names, in lower case unless they are quoted.
pub(crate) fn words(tokens: &[TokenWithSpan]) -> Vec<SmolStr> {
    let word = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.as_str().into()),
        Token::Word(word) => Some(word.value.to_lowercase().into()),
        _ => None,
    };
    tokens.iter().filter_map(word).collect()
}
