//! FOR UPDATE and its kin. sqlparser reads `FOR UPDATE [OF table]` and `FOR SHARE [OF table]` only; PostgreSQL has four
//! strengths, each with a list of tables. So every such clause is rewritten to `FOR UPDATE OF "marker".a.b`: what follows
//! OF is read as one dotted name, whose first part says the strength and whose rest are the tables.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::error::Error;
use crate::plan::RowLockStrength;

const STRENGTHS: [(&str, RowLockStrength, &[Keyword]); 4] = [
    ("FOR NO KEY UPDATE", RowLockStrength::NoKeyUpdate, &[Keyword::NO, Keyword::KEY, Keyword::UPDATE]),
    ("FOR KEY SHARE", RowLockStrength::KeyShare, &[Keyword::KEY, Keyword::SHARE]),
    ("FOR UPDATE", RowLockStrength::Update, &[Keyword::UPDATE]),
    ("FOR SHARE", RowLockStrength::Share, &[Keyword::SHARE]),
];

/// A rewritten clause: its words, its strength, and the tables that it names.
pub(crate) type Marker<'a> = (&'static str, RowLockStrength, Vec<&'a Ident>);

/// Reads back what [`rewrite`] wrote.
pub(crate) fn marker(of: &ObjectName) -> Option<Marker<'_>> {
    let names: Option<Vec<&Ident>> =
        of.0.iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(name) => Some(name),
                ObjectNamePart::Function(_) => None,
            })
            .collect();
    let names = names?;
    let (first, tables) = names.split_first()?;
    let (words, strength, _) = STRENGTHS.iter().find(|(words, ..)| *words == first.value)?;
    Some((words, *strength, tables.to_vec()))
}

fn keyword(token: &TokenWithSpan) -> Option<Keyword> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// Rewrites every row lock clause in `tokens`.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, Error> {
    if !tokens.iter().any(|token| keyword(token) == Some(Keyword::FOR)) {
        return Ok(tokens);
    }
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let clause = (keyword(token) == Some(Keyword::FOR)).then(|| strength_at(&tokens[at + 1..])).flatten();
        let Some((words, length)) = clause else {
            out.push(token.clone());
            at += 1;
            continue;
        };
        let put = |out: &mut Vec<TokenWithSpan>, new: Token| out.push(TokenWithSpan { token: new, span: token.span });
        for word in ["FOR", "UPDATE", "OF"] {
            put(&mut out, Token::make_keyword(word));
        }
        put(&mut out, Token::make_word(words, Some('"')));
        at += 1 + length;
        if tokens.get(at).and_then(keyword) == Some(Keyword::OF) {
            at += 1;
            at = tables(&tokens, at, words, &mut out)?;
        }
    }
    Ok(out)
}

fn strength_at(tokens: &[TokenWithSpan]) -> Option<(&'static str, usize)> {
    let matches = |words: &[Keyword]| {
        tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| keyword(token) == Some(*word))
    };
    STRENGTHS.iter().find(|(.., words)| matches(words)).map(|(words, _, tokens)| (*words, tokens.len()))
}

/// `a, b` from `at` on, as `.a.b`. Returns where the list ends.
fn tables(tokens: &[TokenWithSpan], mut at: usize, words: &str, out: &mut Vec<TokenWithSpan>) -> Result<usize, Error> {
    loop {
        let token = tokens.get(at).filter(|token| matches!(token.token, Token::Word(Word { .. })));
        let Some(token) = token else {
            let found = tokens.get(at).map_or(&Token::EOF, |token| &token.token);
            return Err(match found {
                Token::EOF => Error::new("42601", "syntax error at end of input"),
                found => Error::new("42601", format!("syntax error at or near \"{found}\"")),
            });
        };
        out.push(TokenWithSpan { token: Token::Period, span: token.span });
        out.push(token.clone());
        at += 1;
        match tokens.get(at).map(|token| &token.token) {
            Some(Token::Comma) => at += 1,
            Some(Token::Period) => {
                return Err(Error::new("42601", format!("{words} must specify unqualified relation names")));
            }
            _ => return Ok(at),
        }
    }
}
