//! One table of the file.

mod list;

pub(in crate::config) use list::Entry;

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Reader, kind};
use crate::config::diagnostic::{Mistake, Span};
use crate::config::size::size_within;
use crate::config::value::{self, Text, listed, quote, suggest};

/// Longest name of an upstream or a policy.
const NAME_MAX: usize = 64;

/// A table of the file; one that is absent reads as empty.
#[must_use = "`finish` reports the unknown keys"]
pub(in crate::config) struct Section<'a> {
    reader: &'a Reader<'a>,
    title: String,
    table: Option<&'a DeTable<'a>>,
    span: Span,
    asked: Vec<&'static str>,
}

/// A table with a name of its own, as in `[upstreams.app]`.
pub(in crate::config) struct Named<'a> {
    pub(in crate::config) name: String,
    pub(in crate::config) section: Section<'a>,
}

// === impl Section ===

impl<'a> Section<'a> {
    /// The file as a whole.
    pub(in crate::config) fn root(reader: &'a Reader<'a>, table: &'a DeTable<'a>) -> Self {
        let title = String::new();
        Self { reader, title, table: Some(table), span: 0..0, asked: Vec::new() }
    }

    /// The table in `value`; `example` shows how to write one.
    fn new(
        reader: &'a Reader<'a>,
        title: String,
        value: &'a Spanned<DeValue<'a>>,
        example: &str,
    ) -> Self {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let message = format!("`{title}` is a table, not {}", kind(value.get_ref()));
            let mistake = Mistake::new(message).help(format!("write it as `{example}`"));
            reader.error(&value.span(), mistake);
        }
        Self { reader, title, table, span: value.span(), asked: Vec::new() }
    }

    pub(in crate::config) fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    /// Its header, for what concerns it as a whole.
    pub(in crate::config) fn span(&self) -> &Span {
        &self.span
    }

    pub(in crate::config) fn error(&self, span: &Span, mistake: impl Into<Mistake>) {
        self.reader.error(span, mistake);
    }

    /// Where the value of `key` stands; the header if it is absent.
    pub(in crate::config) fn span_of(&self, key: &str) -> Span {
        self.value(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Where `key` itself stands; the header if it is absent.
    pub(in crate::config) fn key_span(&self, key: &str) -> Span {
        let entry = self.table.and_then(|table| table.get_key_value(key));
        entry.map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Whether it is in the file, and a table.
    pub(in crate::config) const fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Records a mistake if `key` is absent; `example` shows a value.
    pub(in crate::config) fn require(&self, key: &str, example: &str) {
        // Not a table at all is a mistake of its own.
        if self.is_there() && !self.has(key) {
            let mistake = Mistake::new(format!("`{}` has no `{key}`", self.title))
                .help(format!("add it, as in `{key} = {example}`"));
            self.error(&self.span, mistake);
        }
    }

    /// Whether at most one of `keys` is there. That there is none, or more than one, is a mistake,
    /// of which `none` and `many` say what.
    pub(in crate::config) fn one_of(&self, keys: &[&str], none: &str, many: &str) -> bool {
        let help = format!("give one of {}", listed(keys.iter().copied()));
        let mut given = keys.iter().filter(|key| self.has(key));
        match (given.next(), given.next()) {
            (None, _) => self.error(self.span(), Mistake::new(none).help(help)),
            (Some(_), None) => {}
            (Some(_), Some(second)) => {
                self.error(&self.key_span(second), Mistake::new(many).help(help));
                return false;
            }
        }
        true
    }

    pub(in crate::config) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.ask(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.reader.wrong_type(&quote(key), "`true` or `false`", "true", value);
        }
        boolean
    }

    pub(in crate::config) fn integer(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.ask(key)?;
        let DeValue::Integer(written) = value.get_ref() else {
            self.reader.wrong_type(&quote(key), "an integer", "10", value);
            return None;
        };
        let integer = u64::from_str_radix(written.as_str(), written.radix()).ok();
        let integer = integer.filter(|integer| bounds.contains(integer));
        if integer.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            let shown = quote(&written.to_string());
            let mistake = Mistake::new(format!("`{key}` is out of bounds: {shown}"))
                .help(format!("{least} to {most}"));
            self.error(&value.span(), mistake);
        }
        integer
    }

    pub(in crate::config) fn text(&mut self, key: &'static str) -> Option<Text> {
        let value = self.ask(key)?;
        self.reader.text(&quote(key), value)
    }

    /// A string that `parse` makes something of.
    pub(in crate::config) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Text) -> Result<T, Mistake>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|mistake| self.error(&text.span, mistake)).ok()
    }

    pub(in crate::config) fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.duration_or(key, bounds, |_| None)
    }

    /// A duration, or what `other` makes of the string, if it is not `None`.
    pub(in crate::config) fn duration_or(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        other: impl FnOnce(&Text) -> Option<Mistake>,
    ) -> Option<Duration> {
        let is_text = |value: &&Spanned<DeValue<'_>>| value.get_ref().as_str().is_some();
        if let Some(value) = self.value(key).filter(|value| !is_text(value)) {
            self.asked.push(key);
            self.reader.wrong_type(&quote(key), "a duration", "\"60s\"", value);
            return None;
        }
        self.parsed(key, |text| match other(text) {
            Some(mistake) => Err(mistake),
            None => value::duration_within(text, key, &bounds),
        })
    }

    pub(in crate::config) fn size(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        self.parsed(key, |text| size_within(text, key, &bounds))
    }

    /// One of the `known` words.
    pub(in crate::config) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&str, T)],
    ) -> Option<T> {
        self.parsed(key, |text| {
            let found = known.iter().find(|(word, _)| *word == text.value);
            let words = known.iter().map(|(word, _)| *word);
            let meaning = found.map(|(_, meaning)| *meaning);
            meaning.ok_or_else(|| unknown_word(key, text, words))
        })
    }

    /// The strings of the table `key`, whose names are the operator's, in order of name: each with
    /// the place of its name.
    pub(in crate::config) fn texts(
        &mut self,
        key: &'static str,
        most: usize,
    ) -> Vec<(String, Span, Text)> {
        let section = self.table(key);
        let mut entries: Vec<_> = section.table.into_iter().flatten().collect();
        entries.sort_by(|(a, _), (b, _)| a.get_ref().cmp(b.get_ref()));
        if entries.len() > most {
            let mistake = Mistake::new(format!("`{key}` has too many entries: {}", entries.len()))
                .help(format!("at most {most}"));
            self.error(&section.span, mistake);
        }
        let each = entries.into_iter().filter_map(|(name, value)| {
            let text = self.reader.text(&quote(name.get_ref()), value)?;
            Some((name.get_ref().to_string(), name.span(), text))
        });
        each.collect()
    }

    /// The table `key` of this one.
    pub(in crate::config) fn table(&mut self, key: &'static str) -> Section<'a> {
        let title = self.title_of(key);
        match self.ask(key) {
            Some(value) => {
                Section::new(self.reader, format!("[{title}]"), value, &format!("[{title}]"))
            }
            None => Section {
                reader: self.reader,
                title: format!("[{title}]"),
                table: None,
                span: self.span.clone(),
                asked: Vec::new(),
            },
        }
    }

    /// The tables within the table `key`, by name. `None` if it is no table.
    pub(in crate::config) fn named(&mut self, key: &'static str) -> Option<Vec<Named<'a>>> {
        let section = self.table(key);
        if section.table.is_none() && self.has(key) {
            return None;
        }
        let mut all: Vec<_> = section.table.into_iter().flatten().collect();
        all.sort_by(|(a, _), (b, _)| a.get_ref().cmp(b.get_ref()));
        let mut named = Vec::with_capacity(all.len());
        for (name, value) in all {
            let text = name.get_ref();
            if !value::is_name(text, NAME_MAX) {
                let message = format!("not a name: {}", quote(text));
                let help = format!("1 to {NAME_MAX} of letters, digits, `.`, `_` and `-`");
                self.error(&name.span(), Mistake::new(message).help(help));
            }
            let parent = section.title.trim_matches(['[', ']']);
            let title = format!("[{parent}.{}]", quote(text).trim_matches('`'));
            let example = format!("[{parent}.NAME]");
            let section = Section::new(self.reader, title, value, &example);
            named.push(Named { name: text.to_string(), section });
        }
        Some(named)
    }

    /// The tables of the array `key`, of which there are at most `most`. `None` if it is no array.
    pub(in crate::config) fn tables(
        &mut self,
        key: &'static str,
        most: usize,
    ) -> Option<Vec<Section<'a>>> {
        let Some(value) = self.ask(key) else { return Some(Vec::new()) };
        let title = format!("[[{}]]", self.title_of(key));
        let DeValue::Array(array) = value.get_ref() else {
            let message = format!("`{key}` is an array of tables, not {}", kind(value.get_ref()));
            let help = format!("write each as `{title}`");
            self.error(&value.span(), Mistake::new(message).help(help));
            return None;
        };
        if array.len() > most {
            let mistake = Mistake::new(format!("too many of `{title}`: {}", array.len()))
                .help(format!("at most {most}"));
            self.error(&value.span(), mistake);
        }
        let section = |entry| Section::new(self.reader, title.clone(), entry, &title);
        Some(array.iter().map(section).collect())
    }

    /// Reports every key that nobody asked for.
    pub(in crate::config) fn finish(self) {
        for (key, value) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let what = match value.get_ref() {
                DeValue::Table(_) => "section",
                _ => "key",
            };
            let mistake = Mistake::new(format!("unknown {what} {}", quote(name)))
                .help(suggest(name, self.asked.iter().copied()));
            self.error(&key.span(), mistake);
        }
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.value(key)
    }

    fn title_of(&self, key: &str) -> String {
        match self.title.trim_matches(['[', ']']) {
            "" => key.to_owned(),
            parent => format!("{parent}.{key}"),
        }
    }
}

fn unknown_word<'a>(key: &str, text: &Text, known: impl Iterator<Item = &'a str>) -> Mistake {
    Mistake::new(format!("unknown `{key}`: {}", text.shown()))
        .help(format!("one of {}", value::listed(known)))
}
