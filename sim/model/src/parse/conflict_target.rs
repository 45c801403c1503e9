//! ON CONFLICT (lower(key)): sqlparser reads names only between these parentheses. So what is no name is rewritten to one: a quoted name whose
//! first character no other name has, and whose rest is the expression's text.

use sqlparser::ast::{Expr, Ident};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::DIALECT;

const MARK: char = '\u{1}';

/// Reads back what [`rewrite`] wrote; none: a name.
pub(crate) fn expression(name: &Ident) -> Option<Expr> {
    let text = name.value.strip_prefix(MARK)?;
    let mut parser = Parser::new(&DIALECT).try_with_sql(text).ok()?;
    let expr = parser.parse_expr().ok()?;
    (parser.peek_token().token == Token::EOF).then_some(expr)
}

fn is(token: Option<&TokenWithSpan>, keyword: Keyword) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(word)) if word.quote_style.is_none() && word.keyword == keyword)
}

/// Rewrites the expressions of every conflict target. White space is left out already.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| is(Some(token), Keyword::CONFLICT)) {
        return tokens;
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let begins = token.token == Token::LParen && is(out.last(), Keyword::CONFLICT);
        out.push(token.clone());
        at += 1;
        if begins {
            at = items(&tokens, at, &mut out);
        }
    }
    out
}

/// The items up to the closing parenthesis; returns where that stands.
fn items(tokens: &[TokenWithSpan], mut at: usize, out: &mut Vec<TokenWithSpan>) -> usize {
    let (mut depth, mut item) = (0, Vec::new());
    while let Some(token) = tokens.get(at) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth > 0 => depth -= 1,
            Token::RParen | Token::Comma if depth == 0 => {
                put(&mut item, out);
                if token.token == Token::RParen {
                    return at;
                }
                out.push(token.clone());
                at += 1;
                continue;
            }
            _ => {}
        }
        item.push(token.clone());
        at += 1;
    }
    out.append(&mut item);
    at
}

fn put(item: &mut Vec<TokenWithSpan>, out: &mut Vec<TokenWithSpan>) {
    let name = matches!(item.as_slice(), [one] if matches!(one.token, Token::Word(_)));
    if name || item.is_empty() {
        out.append(item);
        return;
    }
    let text: Vec<String> = item.iter().map(|token| token.token.to_string()).collect();
    let word = Token::make_word(&format!("{MARK}{}", text.join(" ")), Some('"'));
    out.push(TokenWithSpan { token: word, span: item[0].span });
    item.clear();
}
