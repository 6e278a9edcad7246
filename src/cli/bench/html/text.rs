//! Words and numbers on a page.

/// As text or as a quoted attribute of HTML or SVG.
pub(in crate::cli::bench) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters have no place in XML.
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// With as many digits as say something, and thousands apart.
pub(in crate::cli::bench) fn number(value: f64) -> String {
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        size if size >= 1_000.0 => return grouped(value),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    if (99.0..100.0).contains(&value) {
        return format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            // Thin and unbreakable.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("−{text}") } else { text }
}

/// A figure that may not be known.
pub(in crate::cli::bench) fn known(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        for (value, expected) in [
            (0.0, "0"),
            (0.0123, "0.012"),
            (1.5, "1.5"),
            (12.345, "12.35"),
            (99.999, "99.999"),
            (123.45, "123.5"),
            (1234567.8, "1\u{202f}234\u{202f}568"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
