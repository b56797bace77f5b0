//! A body that an operator has written: text with placeholders, compiled once.
//!
//! A template is trusted, what is filled in is not: values are escaped as the media type wants it,
//! and no filter or block switches that off. There are no loops, no assignments and no repetition, so
//! the work of a body grows with its file and with nothing else; what it writes is bounded as well.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, escape_formatter, filters};

use super::Media;
use super::tags::{self, line_at, tags};

/// Most bytes of a body once it is filled in: twice the largest file.
const RENDERED_MAX: usize = 512 * 1024;
/// The name under which an environment knows its only template.
const NAME: &str = "body";
/// What may be filled in: the names of [`Values`].
const PLACEHOLDERS: [&str; 10] = [
    "status",
    "title",
    "message",
    "policy",
    "retry_after",
    "limit",
    "remaining",
    "banned",
    "request_id",
    "path",
];
/// A message that breaks out of whatever does not escape it.
const HOSTILE: &str = "a \"b\" 'c' \\ </script> & \u{2028}";

/// A compiled body.
#[derive(Clone)]
pub struct Template {
    environment: Arc<Environment<'static>>,
    source: Arc<str>,
    media: Media,
}

/// What is filled in. What is `None` is false in an `if`, and written as nothing (`null` in JSON).
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The status of the answer.
    pub status: u16,
    /// A few words for the kind of refusal.
    pub title: &'a str,
    /// The policy's sentence for people.
    pub message: &'a str,
    /// The policy that the request has to wait for longest.
    pub policy: &'a str,
    /// Whole seconds until the request would be allowed, if that is known and told.
    pub retry_after: Option<u64>,
    /// Most units that the policy admits at once, if a count stands behind the refusal.
    pub limit: Option<u64>,
    /// Units that are left of them.
    pub remaining: Option<u64>,
    /// Whether a ban refuses the request.
    pub banned: bool,
    /// The request's id, as the application would have seen it.
    pub request_id: &'a str,
    /// The path of the request as it was sent, without its query.
    pub path: &'a str,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line at fault, from 1, if it is one alone.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// The way out.
    pub help: Option<String>,
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

// === impl Template ===

impl Template {
    /// Compiles `source` and fills it in with samples, so that what can go wrong does so now.
    pub fn compile(media: Media, source: String) -> Result<Self, Fault> {
        tags::check(&source)?;
        let mut environment = environment(media).map_err(|error| Fault::of(&error))?;
        let kept = Arc::from(source.as_str());
        environment.add_template_owned(NAME, source).map_err(|error| Fault::of(&error))?;
        let template = Self { environment: Arc::new(environment), source: kept, media };
        template.knows_its_placeholders()?;
        for sample in Values::samples() {
            template.render(&sample)?;
        }
        Ok(template)
    }

    /// The body with `values` filled in.
    pub fn render(&self, values: &Values<'_>) -> Result<String, Fault> {
        let body = self.filled_in(values).map_err(|error| Fault::of(&error))?;
        if matches!(self.media, Media::Problem | Media::Json) {
            is_json(&body)?;
        }
        Ok(body)
    }

    fn filled_in(&self, values: &Values<'_>) -> Result<String, Error> {
        let mut body = Bounded(Vec::new());
        let template = self.environment.get_template(NAME)?;
        template.render_captured_to(values.to_value(), &mut body)?;
        // Only whole strings are written.
        Ok(String::from_utf8_lossy(&body.0).into_owned())
    }

    fn knows_its_placeholders(&self) -> Result<(), Fault> {
        let template = self.environment.get_template(NAME).map_err(|error| Fault::of(&error))?;
        let mut names: BTreeSet<String> =
            template.undeclared_variables(false).into_iter().collect();
        names.retain(|name| !PLACEHOLDERS.contains(&name.as_str()));
        let Some(name) = names.pop_first() else { return Ok(()) };
        Err(Fault {
            line: line_of(&self.source, &name),
            what: format!("unknown placeholder `{name}`"),
            help: Some(format!("one of `{}`", PLACEHOLDERS.join("`, `"))),
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.source.len();
        f.debug_struct("Template")
            .field("media", &self.media)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        (self.media, &self.source) == (other.media, &other.source)
    }
}

impl Eq for Template {}

// === impl Values ===

impl Values<'_> {
    fn to_value(self) -> Value {
        let values = [
            Value::from(self.status),
            Value::from(self.title),
            Value::from(self.message),
            Value::from(self.policy),
            Value::from(self.retry_after),
            Value::from(self.limit),
            Value::from(self.remaining),
            Value::from(self.banned),
            Value::from(self.request_id),
            Value::from(self.path),
        ];
        Value::from_pairs(PLACEHOLDERS.into_iter().zip(values))
    }

    /// Refusals with and without a wait, with and without a count, by a quota and by a ban.
    fn samples() -> impl Iterator<Item = Self> {
        let waits = [Some(12), None];
        let counts =
            [(429, Some(5), Some(0), false), (429, None, None, true), (503, None, None, false)];
        let all = waits.into_iter().flat_map(move |wait| counts.map(|count| (wait, count)));
        all.map(|(retry_after, (status, limit, remaining, banned))| Self {
            status,
            title: "Quota exceeded",
            message: HOSTILE,
            policy: "sample",
            retry_after,
            limit,
            remaining,
            banned,
            request_id: "00000000000000000000000000000000",
            path: HOSTILE,
        })
    }
}

// === impl Fault ===

impl Fault {
    fn of(error: &Error) -> Self {
        Self { line: error.line(), what: described(error), help: None }
    }
}

// === impl Bounded ===

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED_MAX {
            let what = format!("more than {RENDERED_MAX} bytes once it is filled in");
            return Err(io::Error::other(what));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What templates made of `media` may use: no functions, and few filters and tests.
fn environment(media: Media) -> Result<Environment<'static>, Error> {
    let escape = match media {
        Media::Problem | Media::Json => AutoEscape::Json,
        Media::Html => AutoEscape::Html,
        Media::Text => AutoEscape::None,
    };
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).trim_blocks(true).build()?;
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(move |_| escape.clone());
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(syntax);
    environment.add_filter("default", filters::default);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("upper", filters::upper);
    environment.add_test("none", minijinja::tests::is_none);
    environment.set_formatter(move |out, state, value| match media {
        Media::Html | Media::Text if value.is_none() => Ok(()),
        _ => escape_formatter(out, state, value),
    });
    Ok(environment)
}

fn is_json(body: &str) -> Result<(), Fault> {
    let parsed = serde_json::from_str::<serde_json::Value>(body);
    parsed.map(drop).map_err(|error| Fault {
        line: None,
        what: format!("no valid JSON once it is filled in: {error}"),
        help: Some("values bring their quotes along, as in `\"detail\": {{ message }}`".to_owned()),
    })
}

/// The first line on which a tag holds `name` as a word.
fn line_of(source: &str, name: &str) -> Option<usize> {
    let apart = |c: char| !(c.is_alphanumeric() || c == '_');
    let mut naming = tags(source).filter(|tag| tag.inside.split(apart).any(|word| word == name));
    naming.next().map(|tag| line_at(source, tag.at))
}

fn described(error: &Error) -> String {
    match (std::error::Error::source(error), error.detail()) {
        (Some(source), _) => source.to_string(),
        (None, Some(detail)) => detail.to_owned(),
        (None, None) => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over sockets no `<` gets so far: Pingora refuses such a path.
    #[test]
    fn a_tag_in_a_path_is_text() {
        let fill_in = |media, source: &str| {
            let template = Template::compile(media, source.to_owned()).unwrap();
            let mut values = Values::samples().next().unwrap();
            values.path = "/<script>\"";
            template.render(&values).unwrap()
        };
        assert_eq!(fill_in(Media::Html, "{{ path }}"), "&#x2f;&lt;script&gt;&quot;");
        assert_eq!(fill_in(Media::Json, "{{ path }}"), "\"/<script>\\\"\"");
        assert_eq!(fill_in(Media::Text, "{{ path }}"), "/<script>\"");
    }
}
