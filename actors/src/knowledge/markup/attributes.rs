//! Attributes, counted before a parser sees them: it compares each of a tag's with all before it.

/// Elements whose text is not markup, up to their end tag.
const RAW: [&str; 6] = ["script", "style", "textarea", "title", "xmp", "iframe"];

/// Whether a tag of a page has more attributes than `most`. One look at each byte.
pub(super) fn any_tag_has_more_than(most: usize, page: &str) -> bool {
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end..]);
            continue;
        }
        if !rest.trim_start_matches('/').starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let name_end = rest.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(rest.len());
        let (name, tag) = rest.split_at(name_end);
        let (attributes, length) = attributes(tag.as_bytes());
        if attributes > most {
            return true;
        }
        // The tag ends in an ASCII character, or with the page.
        rest = tag.get(length..).unwrap_or_default();
        if let Some(raw) = RAW.iter().find(|raw| raw.eq_ignore_ascii_case(name)) {
            rest = after_raw(rest, raw);
        }
    }
    false
}

/// What follows the text of an element that holds no markup.
fn after_raw<'p>(page: &'p str, name: &str) -> &'p str {
    let mut rest = page;
    while let Some(at) = rest.find("</") {
        let end = &rest[at + 2..];
        if end.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return &rest[at..];
        }
        rest = end;
    }
    ""
}

/// How many attributes a tag has after its name, and how long it is from there.
fn attributes(tag: &[u8]) -> (usize, usize) {
    #[derive(Clone, Copy, PartialEq)]
    enum In {
        Gap,
        Name,
        BeforeValue,
        Quoted(u8),
        Bare,
    }
    let (mut state, mut count) = (In::Gap, 0);
    for (at, &byte) in tag.iter().enumerate() {
        state = match (state, byte) {
            (In::Quoted(quote), byte) => {
                if byte == quote {
                    In::Gap
                } else {
                    state
                }
            }
            (_, b'>') => return (count, at),
            (In::BeforeValue, b'"' | b'\'') => In::Quoted(byte),
            (In::BeforeValue, byte) if byte.is_ascii_whitespace() => state,
            (In::BeforeValue, _) => In::Bare,
            (In::Gap | In::Name, b'=') if count > 0 => In::BeforeValue,
            (In::Bare, b'/') => In::Bare,
            (_, b'/') => In::Gap,
            (_, byte) if byte.is_ascii_whitespace() => In::Gap,
            (In::Gap, _) => {
                count += 1;
                In::Name
            }
            (In::Name | In::Bare, _) => state,
        };
    }
    (count, tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn has(count: usize, page: &str) {
        assert!(!any_tag_has_more_than(count, page), "more than {count}: {page}");
        assert!(count == 0 || any_tag_has_more_than(count - 1, page), "fewer than {count}: {page}");
    }

    #[test]
    fn attributes_are_counted_however_they_are_written() {
        has(4, r#"text <a x y=1 z = "2 3 > 4" w='"'>b c d e</a>"#);
        has(2, "<br x/y=/>");
        has(3, "<a x=\"1\"y='2'z");
        has(0, "1 < 2 a b c > <!doctype html> <p>x y z");
    }

    #[test]
    fn what_is_no_tag_has_none() {
        has(0, "<!-- <a b c d> --> <p>");
        has(1, "<script async>if (a <b c d e f) x()</script><p>");
        has(2, "<STYLE>a <b c d</StYlE><p x y>");
        has(0, "<script>a <b c d");
    }
}
