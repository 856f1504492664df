//! Requests in Stripe's encoding: `application/x-www-form-urlencoded` with brackets for maps and lists.
//!
//! A handler takes each parameter that it knows; [`Form::finish`] refuses whatever is left, so that no parameter is
//! ever ignored in silence.

use std::collections::BTreeMap;

use crate::error::ApiError;

const PAIRS_MAX: usize = 400;
const METADATA_KEYS_MAX: usize = 50;
const METADATA_KEY_CHARS_MAX: usize = 40;
const METADATA_VALUE_CHARS_MAX: usize = 500;
const TEXT_CHARS_MAX: usize = 5_000;

/// Metadata as an object keeps it.
pub(crate) type Metadata = BTreeMap<String, String>;

/// The parameters of one request that no handler has taken yet.
#[derive(Default)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    /// Splits and decodes a query string or a body.
    pub(crate) fn parse(encoded: &str) -> Result<Form, ApiError> {
        let mut pairs = Vec::new();
        for pair in encoded.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PAIRS_MAX {
                return Err(ApiError::invalid("Too many parameters."));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Form { pairs })
    }

    /// The same for the same parameters in any order: what an idempotency key is compared by.
    pub(crate) fn canonical(&self) -> String {
        let mut lines: Vec<String> = self.pairs.iter().map(|(name, value)| format!("{name:?}={value:?}\n")).collect();
        lines.sort_unstable();
        lines.concat()
    }

    /// Refuses the first parameter that nobody took.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.pairs.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::invalid(format!("Received unknown parameter: {name}"))
                .code("parameter_unknown")
                .param(&name)),
        }
    }

    /// A text that may be empty, which at Stripe means “unset”.
    pub(crate) fn clearable(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut found = None;
        self.pairs.retain_mut(|(other, value)| {
            let same = other == name;
            if same {
                found = Some(std::mem::take(value));
            }
            !same
        });
        match found {
            Some(text) if text.chars().count() > TEXT_CHARS_MAX => {
                Err(ApiError::invalid(format!("Invalid {name}: must be at most {TEXT_CHARS_MAX} characters"))
                    .param(name))
            }
            found => Ok(found),
        }
    }

    /// A text that, where present, says something.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.clearable(name)? {
            Some(text) if text.is_empty() => Err(ApiError::invalid(format!(
                "You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; \
                 however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty \
                 value."
            ))
            .code("parameter_invalid_empty")
            .param(name)),
            found => Ok(found),
        }
    }

    /// A whole number.
    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let refuse =
            || ApiError::invalid(format!("Invalid integer: {text}")).code("parameter_invalid_integer").param(name);
        text.parse().map(Some).map_err(|_| refuse())
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(ApiError::invalid(format!("Invalid boolean: {other}")).param(name)),
        }
    }

    /// One of the words that Stripe lists for this parameter.
    pub(crate) fn choice(&mut self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match words.iter().find(|word| **word == text) {
            Some(word) => Ok(Some(word)),
            None => Err(ApiError::invalid(format!("Invalid {name}: must be one of {}", words.join(", "))).param(name)),
        }
    }

    /// A list, written `name[]=a&name[]=b` or `name[0]=a&name[1]=b`.
    pub(crate) fn list(&mut self, name: &str) -> Vec<String> {
        self.map(name).into_iter().map(|(_, value)| value).collect()
    }

    /// A map of texts, written `name[key]=value`, in the order given.
    pub(crate) fn map(&mut self, name: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.pairs.retain_mut(|(other, value)| {
            let inner = other.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
            match inner {
                Some(key) if !key.contains(['[', ']']) => {
                    found.push((key.to_owned(), std::mem::take(value)));
                    false
                }
                _ => true,
            }
        });
        found
    }

    /// Drops a parameter, with all below it, that Stripe knows and that changes nothing here.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        self.pairs.retain(|(other, _)| !names.contains(&other.split('[').next().unwrap_or(other)));
    }

    /// Applies `metadata` to what an object has: an empty value deletes a key, an empty `metadata` all of them.
    pub(crate) fn metadata(&mut self, onto: &Metadata) -> Result<Metadata, ApiError> {
        let mut metadata = if self.clearable("metadata")?.is_some() { Metadata::new() } else { onto.clone() };
        for (key, value) in self.map("metadata") {
            let refuse = |message: String| Err(ApiError::invalid(message).param(&format!("metadata[{key}]")));
            if key.chars().count() > METADATA_KEY_CHARS_MAX {
                return refuse(format!("Metadata keys can have up to {METADATA_KEY_CHARS_MAX} characters"));
            }
            if value.chars().count() > METADATA_VALUE_CHARS_MAX {
                return refuse(format!("Metadata values can have up to {METADATA_VALUE_CHARS_MAX} characters"));
            }
            if value.is_empty() {
                metadata.remove(&key);
            } else {
                metadata.insert(key, value);
            }
        }
        if metadata.len() > METADATA_KEYS_MAX {
            let message = format!("Metadata can have up to {METADATA_KEYS_MAX} keys");
            return Err(ApiError::invalid(message).param("metadata"));
        }
        Ok(metadata)
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let malformed = || ApiError::invalid("Invalid request: the parameters are not well-formed.");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = (digit().ok_or_else(malformed)?, digit().ok_or_else(malformed)?);
                u8::try_from(high * 16 + low).expect("two hexadecimal digits fit a byte")
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_become_lists_and_maps() {
        let mut form = Form::parse("a=1&m%5Bx%5D=%C3%A9+b&l[]=p&l[1]=q&deep[a][b]=1&a=2").expect("well-formed");
        assert_eq!(form.integer("a").ok().flatten(), Some(2));
        assert_eq!(form.map("m"), [("x".to_owned(), "é b".to_owned())]);
        assert_eq!(form.list("l"), ["p", "q"]);
        assert!(form.map("deep").is_empty());
        assert!(form.finish().is_err());
        assert!(Form::parse("a=%G1").is_err() && Form::parse("a=%ff").is_err() && Form::parse("a=%4").is_err());
    }

    #[test]
    fn metadata_is_merged_deleted_and_limited() {
        let before = Metadata::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let merged = |text: &str| Form::parse(text).and_then(|mut form| form.metadata(&before));
        assert_eq!(merged("metadata[a]=&metadata[c]=3").expect("allowed").len(), 2);
        assert_eq!(merged("metadata=").expect("allowed").len(), 0);
        assert!(merged(&format!("metadata[{}]=1", "k".repeat(41))).is_err());
        assert!(merged(&format!("metadata[k]={}", "v".repeat(501))).is_err());
        let many: String = (0..51).map(|index| format!("metadata[k{index}]=v&")).collect();
        assert!(merged(&many).is_err());
    }
}
