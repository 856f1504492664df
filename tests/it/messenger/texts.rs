//! The bot's texts, each filled in, in each language.

use domain::texts::{Arg, Locale};

/// What any of the bot's texts is filled in with.
const NAMES: [&str; 13] = [
    "email", "name", "date", "venue", "city", "seats", "section", "sections", "row", "seat", "subject", "terms",
    "price",
];
/// What counts or chooses in them.
const NUMBERS: [&str; 3] = ["count", "max", "number"];

#[test]
fn each_can_be_filled_in() {
    let texts = [
        include_str!("../../../shared/domain/src/texts/en.ftl"),
        include_str!("../../../shared/domain/src/texts/ru.ftl"),
    ];
    for (locale, source) in Locale::ALL.into_iter().zip(texts) {
        let ids = source.lines().filter_map(|line| Some(line.split_once(" =")?.0));
        let is_said = |id: &&str| id.starts_with("bot-") || ["seat", "standing"].contains(id);
        let ids: Vec<_> = ids.filter(is_said).collect();
        assert!(ids.len() > 40, "they are all there");
        for (id, count) in ids.iter().flat_map(|id| [1, 2, 5, 21].map(|count| (id, count))) {
            let mut args: Vec<(&str, Arg)> = NAMES.map(|name| (name, Arg::from("<x>"))).into();
            args.extend(NUMBERS.map(|name| (name, Arg::Number(count))));
            let (html, plain) = (locale.html(id, &args), locale.plain(id, &args));
            assert!(!html.trim().is_empty() && !html.contains("<x>"), "{id}: {html}");
            assert!(!html.contains('{') && !plain.contains("&lt;"), "{id}: {plain}");
        }
    }
}
