//! Texts with Telegram's HTML markup: what is refused, and what a person sees.

use serde::{Deserialize, Serialize};

use crate::pages::escape;

/// Tags that Telegram knows, with the kind of entity that each makes, and the tag that a page shows it with.
const TAGS: [(&str, &str, &str); 15] = [
    ("b", "bold", "b"),
    ("strong", "bold", "b"),
    ("i", "italic", "i"),
    ("em", "italic", "i"),
    ("u", "underline", "u"),
    ("ins", "underline", "u"),
    ("s", "strikethrough", "s"),
    ("strike", "strikethrough", "s"),
    ("del", "strikethrough", "s"),
    ("code", "code", "code"),
    ("pre", "pre", "pre"),
    ("blockquote", "blockquote", "blockquote"),
    ("tg-spoiler", "spoiler", "span"),
    ("span", "spoiler", "span"),
    ("a", "text_link", "a"),
];

/// A part of a text that is marked up, in units of UTF-16.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    pub r#type: String,
    pub offset: usize,
    pub length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A text as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// What a person reads.
    pub(super) plain: String,
    pub(super) entities: Vec<Entity>,
    /// The same for a page: safe, whatever was sent.
    pub(super) shown: String,
}

impl Text {
    /// A text that has no markup.
    pub(super) fn plain(text: &str) -> Text {
        Text { plain: text.to_owned(), entities: Vec::new(), shown: escape(text) }
    }

    /// A text in Telegram's HTML, or why Telegram refuses it.
    pub(super) fn html(html: &str) -> Result<Text, String> {
        let mut reader = Reader { html, at: 0, text: Text::default(), units: 0, open: Vec::new() };
        while let Some(first) = reader.rest().chars().next() {
            match first {
                '<' if reader.rest().starts_with("</") => reader.end()?,
                '<' => reader.begin()?,
                '&' => match entity(reader.rest()) {
                    Some((bytes, c)) => reader.read(bytes, c),
                    None => reader.read(1, '&'),
                },
                c => reader.read(c.len_utf8(), c),
            }
        }
        match reader.open.last() {
            Some(open) => Err(format!("Can't find end tag corresponding to start tag \"{}\"", open.name)),
            None => Ok(reader.text),
        }
    }

    /// Characters as Telegram counts them: in units of UTF-16.
    pub(super) fn chars(&self) -> usize {
        self.plain.encode_utf16().count()
    }
}

struct Reader<'a> {
    html: &'a str,
    at: usize,
    text: Text,
    units: usize,
    open: Vec<Open>,
}

/// A tag that has begun.
struct Open {
    name: String,
    kind: &'static str,
    shown: &'static str,
    offset: usize,
    url: Option<String>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.html[self.at..]
    }

    fn read(&mut self, bytes: usize, c: char) {
        self.at += bytes;
        self.units += c.len_utf16();
        self.text.plain.push(c);
        self.text.shown += &escape(c.encode_utf8(&mut [0; 4]));
    }

    fn begin(&mut self) -> Result<(), String> {
        let (rest, at) = (self.rest(), self.at);
        let name_end = rest.find(|c: char| c.is_ascii_whitespace() || c == '>');
        let name_end = name_end.ok_or_else(|| format!("Unclosed start tag at byte offset {at}"))?;
        let name = rest[1..name_end].to_ascii_lowercase();
        let tag = TAGS.iter().find(|(known, ..)| *known == name);
        let (_, kind, shown) = tag.ok_or_else(|| format!("Unsupported start tag \"{name}\" at byte offset {at}"))?;
        let (attributes, bytes) = attributes(&rest[name_end..], &name, at)?;
        let value = |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        if name == "span" && value("class").as_deref() != Some("tg-spoiler") {
            return Err(format!("Tag \"span\" must have class \"tg-spoiler\" at byte offset {at}"));
        }
        let url = if name == "a" { value("href") } else { None };
        match url.as_ref().filter(|url| is_openable(url)) {
            Some(url) => {
                self.text.shown += &format!("<a href=\"{}\" target=\"_blank\" rel=\"noreferrer\">", escape(url));
            }
            None => self.text.shown += &format!("<{shown}>"),
        }
        self.open.push(Open { name, kind, shown, offset: self.units, url });
        self.at += name_end + bytes;
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let (rest, at) = (self.rest(), self.at);
        let open = self.open.pop().ok_or_else(|| format!("Unexpected end tag at byte offset {at}"))?;
        let close = rest.find('>').ok_or_else(|| format!("Unclosed end tag at byte offset {at}"))?;
        let found = rest[2..close].trim_end().to_ascii_lowercase();
        if !found.is_empty() && found != open.name {
            let expected = open.name;
            return Err(format!(
                "Unmatched end tag at byte offset {at}, expected \"</{expected}>\", found \"</{found}>\""
            ));
        }
        self.text.shown += &format!("</{}>", open.shown);
        let length = self.units - open.offset;
        if length > 0 && (open.name != "a" || open.url.is_some()) {
            let (r#type, offset) = (open.kind.to_owned(), open.offset);
            self.text.entities.push(Entity { r#type, offset, length, url: open.url });
        }
        self.at += close + 1;
        Ok(())
    }
}

/// Names and values of attributes, and how many bytes they take with the `>` behind them.
type Attributes = (Vec<(String, String)>, usize);

fn attributes(text: &str, tag: &str, tag_at: usize) -> Result<Attributes, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    let unclosed = || format!("Unclosed start tag at byte offset {tag_at}");
    while !rest.starts_with('>') {
        let name_end = rest.find(|c: char| c.is_ascii_whitespace() || c == '=' || c == '>').ok_or_else(unclosed)?;
        if name_end == 0 {
            return Err(format!("Empty attribute name in the tag \"{tag}\" at byte offset {tag_at}"));
        }
        let name = rest[..name_end].to_ascii_lowercase();
        rest = rest[name_end..].trim_start();
        let Some(value) = rest.strip_prefix('=') else {
            return Err(format!(
                "Expected equal sign in declaration of an attribute of the tag \"{tag}\" at byte offset {tag_at}"
            ));
        };
        let value = value.trim_start();
        let raw = match value.chars().next().ok_or_else(unclosed)? {
            quote @ ('"' | '\'') => {
                let end = value[1..].find(quote).ok_or_else(unclosed)? + 1;
                rest = &value[end + 1..];
                &value[1..end]
            }
            _ => {
                let end = value.find(|c: char| c.is_ascii_whitespace() || c == '>').ok_or_else(unclosed)?;
                rest = &value[end..];
                &value[..end]
            }
        };
        found.push((name, decoded(raw)));
        rest = rest.trim_start();
    }
    Ok((found, text.len() - rest.len() + 1))
}

fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (bytes, c) = entity(rest).unwrap_or((c.len_utf8(), c));
        out.push(c);
        rest = &rest[bytes..];
    }
    out
}

/// A character that is written as `&…;`: those four names and numbers are all that Telegram knows.
fn entity(text: &str) -> Option<(usize, char)> {
    const BYTES_MAX: usize = 10;
    let end = text.bytes().take(BYTES_MAX).position(|byte| byte == b';')?;
    let c = match text.get(1..end)? {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        name => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(number).filter(|c| *c != '\0')?
        }
    };
    text.starts_with('&').then_some((end + 1, c))
}

fn is_openable(url: &str) -> bool {
    ["https://", "http://", "mailto:", "tg://"].iter().any(|start| url.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_read_or_refused_as_telegram_does() {
        for (html, expected) in [
            ("a &lt;b&gt; &amp; &quot;c&quot; &nbsp; & d", Ok("a <b> & \"c\" &nbsp; & d")),
            ("<b>a<i>b</i></b> <A HREF='https://a.example/?b=1&amp;c=2'>c</a>", Ok("ab c")),
            ("<b >a</>&#127917;&#x1f3ad;", Ok("a🎭🎭")),
            ("<span class=\"tg-spoiler\">x</span>", Ok("x")),
            ("a < b", Err("Unsupported start tag \"\" at byte offset 2")),
            ("я <x>", Err("Unsupported start tag \"x\" at byte offset 3")),
            ("<b", Err("Unclosed start tag at byte offset 0")),
            ("<script>alert(1)</script>", Err("Unsupported start tag \"script\" at byte offset 0")),
            ("<b>a", Err("Can't find end tag corresponding to start tag \"b\"")),
            ("a</b>", Err("Unexpected end tag at byte offset 1")),
            ("<b>a</b", Err("Unclosed end tag at byte offset 4")),
            ("<i>a</em>", Err("Unmatched end tag at byte offset 4, expected \"</i>\", found \"</em>\"")),
            (
                "<a href>b</a>",
                Err("Expected equal sign in declaration of an attribute of the tag \"a\" at byte offset 0"),
            ),
            ("<a =x>b</a>", Err("Empty attribute name in the tag \"a\" at byte offset 0")),
            ("<a href=\"x>b</a>", Err("Unclosed start tag at byte offset 0")),
            ("<span>x</span>", Err("Tag \"span\" must have class \"tg-spoiler\" at byte offset 0")),
        ] {
            let read = Text::html(html);
            assert_eq!(
                read.as_ref().map(|text| text.plain.as_str()),
                expected.map_err(str::to_owned).as_ref().copied()
            );
        }
    }

    #[test]
    fn entities_are_counted_in_units() {
        let text = Text::html("🎭 <b>a🎭</b><a href=\"https://a.example\">я</a>").expect("it is right");
        let entity = |kind: &str, offset, length, url: Option<&str>| Entity {
            r#type: kind.into(),
            offset,
            length,
            url: url.map(str::to_owned),
        };
        let expected = [entity("bold", 3, 3, None), entity("text_link", 6, 1, Some("https://a.example"))];
        assert_eq!((text.entities.as_slice(), text.chars()), (expected.as_slice(), 7));
    }

    #[test]
    fn nothing_that_is_sent_is_markup_of_a_page() {
        for (html, shown) in [
            ("&lt;script&gt;", "&lt;script&gt;"),
            ("<b>\"'</b>", "<b>&quot;&#39;</b>"),
            ("<a href=\"javascript:alert(1)\">x</a>", "<a>x</a>"),
            (
                "<a href='https://a.example/\"&gt;'>x</a>",
                "<a href=\"https://a.example/&quot;&gt;\" target=\"_blank\" rel=\"noreferrer\">x</a>",
            ),
        ] {
            assert_eq!(Text::html(html).expect("it is right").shown, shown);
        }
        assert_eq!(Text::plain("<b>&").shown, "&lt;b&gt;&amp;");
    }
}
