//! Texts that are too long, cut where nothing is torn: not within a tag or a `&…;`, and at the end of a word if one is near.

use std::borrow::Cow;

/// How far back the end of a word is looked for.
const WORD_CHARS_MAX: usize = 100;
/// Characters of a `&…;`.
const ENTITY_CHARS_MAX: usize = 10;
const CUT: char = '…';

/// A part of a text that is not torn.
enum Piece<'a> {
    /// The name of a tag that begins.
    Begin(&'a str),
    End,
    /// So many characters that people read.
    Read(usize),
    Space,
}

/// Characters that people read of a markup, counted as Telegram does: in units of UTF-16.
pub(super) fn chars(html: &str) -> usize {
    pieces(html).map(|(_, piece)| units(&piece)).sum()
}

/// The markup, cut to so many characters that people read; what is open there is closed.
pub(super) fn cut(html: &str, chars_max: usize) -> Cow<'_, str> {
    if chars(html) <= chars_max {
        return html.into();
    }
    let room = chars_max.saturating_sub(CUT.len_utf16());
    let mut open: Vec<&str> = Vec::new();
    let mut used = 0;
    // Where it would be cut, after how many characters, and what is open there.
    let mut word = (0, 0, Vec::new());
    let mut last = (0, Vec::new());
    for (start, piece) in pieces(html) {
        if used + units(&piece) > room {
            if matches!(piece, Piece::Space) {
                word = (start, used, open.clone());
            }
            last = (start, open);
            break;
        }
        used += units(&piece);
        match piece {
            Piece::Begin(name) => open.push(name),
            Piece::End => drop(open.pop()),
            Piece::Space => word = (start, used, open.clone()),
            Piece::Read(_) => {}
        }
    }
    let is_near = word.1 > 0 && used - word.1 <= WORD_CHARS_MAX;
    let (end, open) = if is_near { (word.0, word.2) } else { last };
    let mut text = html[..end].to_owned();
    text.push(CUT);
    for name in open.iter().rev() {
        text += &format!("</{name}>");
    }
    text.into()
}

fn units(piece: &Piece<'_>) -> usize {
    match piece {
        Piece::Begin(_) | Piece::End => 0,
        Piece::Read(units) => *units,
        Piece::Space => 1,
    }
}

/// The pieces of a markup, each with where it starts.
fn pieces(html: &str) -> impl Iterator<Item = (usize, Piece<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &html[at..];
        let start = at;
        let first = rest.chars().next()?;
        let (bytes, piece) = match first {
            '<' => tag(rest),
            '&' => entity(rest),
            _ => None,
        }
        .unwrap_or_else(|| {
            let piece = if first.is_whitespace() { Piece::Space } else { Piece::Read(first.len_utf16()) };
            (first.len_utf8(), piece)
        });
        at += bytes;
        Some((start, piece))
    })
}

fn tag(rest: &str) -> Option<(usize, Piece<'_>)> {
    let end = rest.find('>')?;
    let inner = &rest[1..end];
    let name = inner.split(char::is_whitespace).next().unwrap_or_default();
    Some((end + 1, if inner.starts_with('/') { Piece::End } else { Piece::Begin(name) }))
}

fn entity(rest: &str) -> Option<(usize, Piece<'_>)> {
    let end = rest.char_indices().take(ENTITY_CHARS_MAX).find(|(_, c)| *c == ';')?.0;
    let number = rest[1..end].strip_prefix('#');
    let number = number.and_then(|number| match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => number.parse().ok(),
    });
    Some((end + 1, Piece::Read(if number.is_some_and(|number| number > 0xffff) { 2 } else { 1 })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_counted() {
        for (html, count) in [
            ("", 0),
            ("abc", 3),
            ("<b>a</b> &amp; <a href=\"https://a.example/?b=1&amp;c=2\">b</a>", 5),
            ("🎭", 2),
            ("&#127917;&#x1F3AD;&#38;", 5),
            ("שלום", 4),
            ("a & b < c", 9),
            ("&lt;b&gt;", 3),
        ] {
            assert_eq!(chars(html), count, "{html}");
        }
    }

    #[test]
    fn nothing_is_torn() {
        for (html, max, expected) in [
            ("short", 5, "short"),
            ("one two three", 9, "one two…"),
            ("one two three", 8, "one two…"),
            ("abcdefghij", 5, "abcd…"),
            ("ab&amp;&amp;&amp;", 4, "ab&amp;…"),
            ("🎭🎭🎭", 4, "🎭…"),
            ("<b>one <i>two three</i></b>", 10, "<b>one <i>two…</i></b>"),
            ("<b>one</b> <i>two</i>", 5, "<b>one</b>…"),
            ("<a href=\"https://a.example/b c\">abcdef</a>", 3, "<a href=\"https://a.example/b c\">ab…</a>"),
        ] {
            assert_eq!(cut(html, max), expected, "{html}");
            assert!(chars(&cut(html, max)) <= max, "{html}");
        }
        let far = format!("a {}", "b".repeat(300));
        assert_eq!(cut(&far, 200), format!("a {}…", "b".repeat(197)), "the last word's end is too far back");
    }
}
