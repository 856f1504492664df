//! What people read, in their language: templates as data (`texts/en.ftl`, `texts/ru.ftl`, in the Fluent syntax), filled in
//! with what is to be told. Whatever is filled in is escaped, so markup is the templates' alone.

use crate::money::Money;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// A language that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locale {
    #[default]
    En,
    Ru,
}

/// What is filled into a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// Escaped when it is filled in.
    Text(String),
    /// Chooses plural forms.
    Number(i64),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl Locale {
    pub const ALL: [Self; 2] = [Self::En, Self::Ru];

    /// The locale of a BCP 47 tag; English for those that we do not speak.
    pub fn of_tag(tag: &str) -> Self {
        let language = tag.split(['-', '_']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("ru") { Self::Ru } else { Self::En }
    }

    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
        }
    }

    /// A template filled in, as markup: texts are escaped.
    ///
    /// # Panics
    /// Where the template is not there or wants what is not given: a test fills in each of them.
    pub fn html(self, id: &str, args: &[(&str, Arg)]) -> String {
        self.fill(id, args, |text| FluentValue::from(escape(text)))
    }

    /// The same without markup: for what has none, such as buttons.
    ///
    /// # Panics
    /// As [`Locale::html`].
    pub fn plain(self, id: &str, args: &[(&str, Arg)]) -> String {
        self.fill(id, args, |text| FluentValue::from(text.to_owned()))
    }

    /// A moment as a clock at the place shows it, with the day of the week.
    pub fn date(self, at: Timestamp, zone: &TimeZone) -> String {
        let at = at.to_zoned(zone.clone());
        let args = [
            ("weekday", Arg::Number(at.weekday().to_monday_one_offset().into())),
            ("day", Arg::Text(at.day().to_string())),
            ("month", Arg::Number(at.month().into())),
            ("year", Arg::Text(at.year().to_string())),
            ("time", Arg::Text(at.strftime("%H:%M").to_string())),
        ];
        self.plain("date", &args)
    }

    /// An amount with its currency's code, its digits in groups of three.
    pub fn money(self, money: Money) -> String {
        let (exponent, sign) = (money.currency.exponent(), if money.amount < 0 { "-" } else { "" });
        let unit = 10_u64.pow(exponent);
        let (whole, part) = (money.amount.unsigned_abs() / unit, money.amount.unsigned_abs() % unit);
        let (group, point) = match self {
            Self::En => (',', '.'),
            Self::Ru => ('\u{a0}', ','),
        };
        let mut text = String::from(sign);
        let digits = whole.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(group);
            }
            text.push(digit);
        }
        if part > 0 {
            text += &format!("{point}{part:0width$}", width = exponent as usize);
        }
        format!("{text}\u{a0}{}", money.currency)
    }

    fn fill(self, id: &str, args: &[(&str, Arg)], text: impl Fn(&str) -> FluentValue<'static>) -> String {
        let bundle = &BUNDLES[self as usize];
        let args: FluentArgs = args
            .iter()
            .map(|(name, arg)| {
                let value = match arg {
                    Arg::Text(value) => text(value),
                    Arg::Number(number) => FluentValue::from(*number),
                };
                (*name, value)
            })
            .collect();
        let pattern = bundle.get_message(id).and_then(|message| message.value());
        let pattern = pattern.unwrap_or_else(|| panic!("there is no text {id} in {}", self.tag()));
        let mut errors = Vec::new();
        let filled = bundle.format_pattern(pattern, Some(&args), &mut errors).into_owned();
        assert!(errors.is_empty(), "{id} in {}: {errors:?}", self.tag());
        filled
    }
}

/// The templates, read when the first of them is needed.
static BUNDLES: LazyLock<[FluentBundle<FluentResource>; 2]> = LazyLock::new(|| {
    let sources = [include_str!("texts/en.ftl"), include_str!("texts/ru.ftl")];
    let mut bundles = Locale::ALL.into_iter().zip(sources).map(|(locale, source)| {
        let tag = locale.tag().parse().expect("it is a language tag");
        let mut bundle = FluentBundle::new_concurrent(vec![tag]);
        // What is filled in is marked off by ourselves, where it is a name: dates and sums need no marks.
        bundle.set_use_isolating(false);
        let resource = FluentResource::try_new(source.to_owned()).expect("the templates are well formed");
        bundle.add_resource(resource).expect("no text is there twice");
        bundle
    });
    std::array::from_fn(|_| bundles.next().expect("one for each locale"))
});

/// First strong isolate, and its end: what is between them does not turn the text around it.
const ISOLATE: char = '\u{2068}';
const ISOLATE_END: char = '\u{2069}';

/// A text that may hold anything, as markup has it: no markup, and nothing that turns the text around it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            '\n' => out.push('\n'),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    let turns = |c: char| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}');
    if text.chars().any(turns) { format!("{ISOLATE}{out}{ISOLATE_END}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    #[test]
    fn nothing_in_a_name_is_markup() {
        assert_eq!(escape("<b>\"Cats\" & Co</b>"), "&lt;b&gt;&quot;Cats&quot; &amp; Co&lt;/b&gt;");
        assert_eq!(escape("a\u{202e}b\u{2066}c\u{0}d 🎭"), "abc d 🎭");
        assert_eq!(escape("שלום"), "\u{2068}שלום\u{2069}");
    }

    #[test]
    fn plurals_are_those_of_the_language() {
        for (count, en, ru) in [
            (1, "1 ticket", "1 билет"),
            (2, "2 tickets", "2 билета"),
            (5, "5 tickets", "5 билетов"),
            (11, "11 tickets", "11 билетов"),
            (21, "21 tickets", "21 билет"),
            (104, "104 tickets", "104 билета"),
        ] {
            let args = [("count", Arg::Number(count))];
            assert_eq!((Locale::En.html("tickets", &args), Locale::Ru.html("tickets", &args)), (en.into(), ru.into()));
        }
    }

    #[test]
    fn dates_and_sums_are_those_of_the_place() {
        let (at, zone) = ("2027-03-01T16:05:00Z".parse().unwrap(), TimeZone::get("Europe/Moscow").unwrap());
        assert_eq!(Locale::En.date(at, &zone), "Monday, 1 March 2027, 19:05");
        assert_eq!(Locale::Ru.date(at, &zone), "понедельник, 1 марта 2027 г., 19:05");
        let money = |amount, code| Money::new(amount, Currency::from_code(code).unwrap());
        assert_eq!(Locale::En.money(money(123_456_705, "EUR")), "1,234,567.05\u{a0}EUR");
        assert_eq!(Locale::Ru.money(money(150_000, "RUB")), "1\u{a0}500\u{a0}RUB");
        assert_eq!(Locale::Ru.money(money(5, "JPY")), "5\u{a0}JPY");
        assert_eq!(Locale::En.money(money(-1_005, "KWD")), "-1.005\u{a0}KWD");
    }

    #[test]
    fn both_languages_have_the_same_texts() {
        let names = |source: &str| {
            let message = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase());
            let mut names: Vec<String> =
                source.lines().filter(message).filter_map(|line| Some(line.split_once(" =")?.0.to_owned())).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(include_str!("texts/en.ftl")), names(include_str!("texts/ru.ftl")));
    }
}
