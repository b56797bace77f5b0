//! The file as a document that an operator may be shown: what is written in it, without its secrets.
//!
//! A secret can only stand where it is not known that none does: so the harmless places are known,
//! as in `private`, and all else is hidden. A variable is shown by its name and never by its value.
//!
//! Not promised: a secret as the value of a harmless key.

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::private::{self, CHOSEN};
use super::secret::{self, Extent, MASK};

/// Words of a partition, as keys of an override, whose values a client keeps to itself.
const OWN_WORDS: [&str; 3] = ["header:", "cookie:", "query:"];
/// The key of such an override.
const OVERRIDE: &str = "key";
/// Keys that hold a path, perhaps with a query.
const PATH: &str = "path";

/// Where a value stands: the names of the tables around it, joined by dots, and its own.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    section: &'a str,
    key: &'a str,
}

/// The document in `text`, which has been read without a fault.
pub(super) fn document(text: &str) -> Value {
    table(DeTable::parse_recoverable(text).0.get_ref(), "")
}

fn table(table: &DeTable<'_>, section: &str) -> Value {
    let entries = table.iter().map(|(key, entry)| {
        let key = key.get_ref().to_string();
        let shown = value(entry.get_ref(), Place { section, key: &key });
        (key, shown)
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

fn value(value: &DeValue<'_>, place: Place<'_>) -> Value {
    match value {
        DeValue::Table(inner) => table(inner, &place.inside()),
        DeValue::Array(array) => {
            array.iter().map(|one| self::value(one.get_ref(), place)).collect()
        }
        DeValue::String(raw) => place.text(raw).into(),
        _ if !place.is_harmless("") => MASK.into(),
        DeValue::Boolean(yes) => (*yes).into(),
        DeValue::Integer(written) => {
            let number = i64::from_str_radix(written.as_str(), written.radix());
            number.map_or_else(|_| written.to_string().into(), Value::from)
        }
        DeValue::Float(written) => written.to_string().into(),
        DeValue::Datetime(moment) => moment.to_string().into(),
    }
}

// === impl Place ===

impl Place<'_> {
    /// The section that a table at this place is.
    fn inside(self) -> String {
        if self.section.is_empty() {
            self.key.to_owned()
        } else {
            format!("{}.{}", self.section, self.key)
        }
    }

    /// Whether what stands here is no secret; `text` if it is a string.
    fn is_harmless(self, text: &str) -> bool {
        let table = self.section.rsplit('.').next().unwrap_or_default();
        let inside = self.section.contains('.');
        let chosen = inside && CHOSEN.contains(&table);
        let own =
            inside && table == OVERRIDE && OWN_WORDS.iter().any(|word| self.key.starts_with(word));
        !chosen && !own && private::is_shown(self.section, self.key, text)
    }

    /// `raw`, the string as it is written here, as far as it may be shown.
    fn text(self, raw: &str) -> String {
        if is_variables(raw) {
            return raw.to_owned();
        }
        if !self.is_harmless(raw) {
            return MASK.to_owned();
        }
        let mut hidden = secret::hidden(raw, Extent::Value);
        if let Some(query) = raw.find('?').filter(|_| self.key == PATH) {
            hidden.push(query + 1..raw.len());
        }
        hidden.retain(|range| !raw.get(range.clone()).is_some_and(is_variables));
        secret::replaced(raw, &secret::in_order(hidden))
    }
}

/// Whether `text` is nothing but variables without defaults: `${NAME}`.
fn is_variables(text: &str) -> bool {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some((name, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
        if name.is_empty() || !name.chars().all(named) {
            return false;
        }
        rest = after;
    }
    rest.is_empty() && !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_shown_and_what_stands_beside_them_is_not() {
        let shown = |section, key, raw: &str| Place { section, key }.text(raw);
        let jwt = |raw| shown("identity.jwt", "key", raw);
        assert_eq!(["${KEY}", "${A}${B}"].map(jwt), ["${KEY}", "${A}${B}"]);
        for raw in ["${KEY:-s3cret}", "s3cret${KEY}", "${s3-cret}", "$${KEY}", "${KEY", "${}", ""] {
            assert_eq!(jwt(raw), MASK, "{raw}");
        }
        let url = |raw| shown("store", "url", raw);
        assert_eq!(url("redis://u:${PW}@h:1/0"), "redis://u:${PW}@h:1/0");
        assert_eq!(url("redis://u:${PW:-s3cret}@h:1"), "redis://u:***@h:1");
        assert_eq!(url("redis://u:s3cret${PW}@h:1"), "redis://u:***@h:1");
        assert_eq!(url("unix:///run/r?pass=s3cret&db=1"), "unix:///run/r?pass=***&db=1");
    }

    #[test]
    fn what_a_partner_alone_knows_is_not_shown() {
        let text = "[[rules]]\npath = \"/a?s3cret\"\nheaders = { x-partner = \"s3cret\" }\n\
                    query = { sig = \"s3cret\" }\n\
                    [[policies.p.overrides]]\nkey = { \"header:x-key\" = \"s3cret\", ip = \"192.0.2.7\" }\n\
                    [meters.m.push.headers]\nauthorization = \"Bearer s3cret ${TOKEN}\"\n\
                    [unheard-of]\nkey = \"s3cret\"\nnumber = 5\n";
        let shown = document(text);
        assert!(!shown.to_string().contains("s3cret"), "{shown:#}");
        assert_eq!(shown["policies"]["p"]["overrides"][0]["key"]["ip"], "192.0.2.7");
        assert_eq!(shown["rules"][0]["path"], "/a?***");
    }
}
