//! Text that has to fit.

/// At most `width` characters on one line; what is cut off is shown as an ellipsis.
pub(crate) fn clip(text: &str, width: usize) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(printable).collect();
    }
    text.chars().map(printable).take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Lines of at most `width` characters, broken at spaces where there are some. Each keeps the indentation of the first, and
/// those that follow it have two spaces more. What does not fit into `lines_max` lines is cut off.
pub(crate) fn wrap(text: &str, width: usize, lines_max: usize) -> Vec<String> {
    let width = width.max(6);
    // So that there is room behind it.
    let indent = " ".repeat(text.chars().take_while(|c| *c == ' ').count().min(width / 3));
    let hanging = format!("{indent}  ");
    let mut lines: Vec<String> = Vec::new();
    let (mut line, mut empty) = (indent, true);
    for word in text.split_whitespace() {
        let mut rest = word;
        loop {
            let used = line.chars().count() + usize::from(!empty);
            if used + rest.chars().count() <= width {
                line.push_str(if empty { "" } else { " " });
                line.push_str(rest);
                empty = false;
                break;
            }
            if empty {
                // A word longer than a line.
                let room = width.saturating_sub(used).max(1);
                let (head, tail) = rest.split_at(rest.char_indices().nth(room).map_or(rest.len(), |(at, _)| at));
                line.push_str(head);
                rest = tail;
            }
            lines.push(std::mem::replace(&mut line, hanging.clone()));
            empty = true;
        }
    }
    lines.push(line);
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        let last = lines.last_mut().expect("at least one line is asked for");
        *last = clip(&format!("{last} …"), width);
    }
    lines
}

/// `a, b and c`.
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

/// `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    proptest! {
        #[test]
        fn lines_fit_and_nothing_is_lost(text in " {0,3}[a-zé ]{0,120}", width in 6_usize..40) {
            let lines = wrap(&text, width, usize::MAX);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width), "{:?}", lines);
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
            prop_assert!(wrap(&text, width, 2).len() <= 2);
        }
    }
}
