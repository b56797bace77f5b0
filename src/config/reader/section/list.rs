//! Arrays of a table.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::{Reader, Section};
use crate::config::diagnostic::Mistake;
use crate::config::value::{List, Text, quote};

/// An entry of an array in which either may stand.
pub(in crate::config) enum Entry<'a> {
    Text(Text),
    Table(Section<'a>),
}

// === impl Section ===

impl<'a> Section<'a> {
    /// An array of strings and tables. `parse` makes something of each; it reports the mistakes of a
    /// table itself and then gives `None`. `expected`: what the array is, and an example.
    pub(in crate::config) fn entries<T>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<usize>,
        expected: (&str, &str),
        mut parse: impl FnMut(Entry<'a>) -> Result<Option<T>, Mistake>,
    ) -> Option<List<T>> {
        let value = self.ask(key)?;
        let array = self.bounded(key, &bounds, expected, value)?;
        let title = format!("an entry of `{key}`");
        let mut items = Vec::with_capacity(array.len());
        for entry in array {
            let read = match entry.get_ref() {
                DeValue::Table(_) => {
                    let title = title.replace('`', "");
                    Some(Entry::Table(Section::new(self.reader, title, entry, "")))
                }
                DeValue::String(_) => self.reader.text(&title, entry).map(Entry::Text),
                _ => {
                    self.reader.wrong_type(&title, "a string or a table", expected.1, entry);
                    None
                }
            };
            match read.map(&mut parse) {
                Some(Ok(Some(item))) => items.push((entry.span(), item)),
                Some(Err(mistake)) => self.error(&entry.span(), mistake),
                Some(Ok(None)) | None => {}
            }
        }
        Some(List { items, written: array.len(), span: value.span() })
    }

    /// An array of strings, each of which `parse` makes something of.
    pub(in crate::config) fn list<T>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<usize>,
        parse: impl FnMut(&Text) -> Result<T, Mistake>,
    ) -> Option<List<T>> {
        let what = format!("an entry of `{key}`");
        let read = |reader: &Reader<'a>, entry: &Spanned<DeValue<'_>>| reader.text(&what, entry);
        self.array(key, bounds, ("an array of strings", "[\"a\", \"b\"]"), read, parse)
    }

    /// An array of numbers and strings; `parse` makes something of each as it is written.
    pub(in crate::config) fn numbers_or_words<T>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<usize>,
        parse: impl FnMut(&Text) -> Result<T, Mistake>,
    ) -> Option<List<T>> {
        let what = format!("an entry of `{key}`");
        let read = |reader: &Reader<'a>, entry: &Spanned<DeValue<'_>>| match entry
            .get_ref()
            .as_integer()
        {
            Some(number) => {
                let value = number.to_string();
                Some(Text { value, template: None, span: entry.span() })
            }
            None => reader.text(&what, entry),
        };
        self.array(key, bounds, ("an array of numbers", "[401, 403]"), read, parse)
    }

    /// An array whose entries `read` finds and `parse` makes something of; `expected`: what it is,
    /// and an example.
    fn array<T>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<usize>,
        expected: (&str, &str),
        read: impl Fn(&Reader<'a>, &Spanned<DeValue<'_>>) -> Option<Text>,
        mut parse: impl FnMut(&Text) -> Result<T, Mistake>,
    ) -> Option<List<T>> {
        let value = self.ask(key)?;
        let array = self.bounded(key, &bounds, expected, value)?;
        let mut items = Vec::with_capacity(array.len());
        for text in array.iter().filter_map(|entry| read(self.reader, entry)) {
            match parse(&text) {
                Ok(item) => items.push((text.span, item)),
                Err(mistake) => self.error(&text.span, mistake),
            }
        }
        Some(List { items, written: array.len(), span: value.span() })
    }

    /// The array that `value` is; that it is none, or too short or too long, is a mistake.
    fn bounded(
        &self,
        key: &str,
        bounds: &RangeInclusive<usize>,
        expected: (&str, &str),
        value: &'a Spanned<DeValue<'a>>,
    ) -> Option<&'a DeArray<'a>> {
        let DeValue::Array(array) = value.get_ref() else {
            self.reader.wrong_type(&quote(key), expected.0, expected.1, value);
            return None;
        };
        if !bounds.contains(&array.len()) {
            let (least, most) = (bounds.start(), bounds.end());
            let count = array.len();
            let mistake = Mistake::new(format!("`{key}` has too few or too many entries: {count}"))
                .help(format!("{least} to {most} of them"));
            self.error(&value.span(), mistake);
        }
        Some(array)
    }
}
