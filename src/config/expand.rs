//! `${NAME}` in strings: values from the environment.

use super::diagnostic::Mistake;

/// A string of the file, with its variables put in.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    /// What the string says.
    pub(super) text: String,
    /// Whether any of it came from a variable, and so must not be shown.
    pub(super) substituted: bool,
    /// What went wrong; with any, `text` is incomplete.
    pub(super) faults: Vec<Fault>,
}

/// A variable that has no value.
#[derive(Debug)]
pub(super) struct Fault {
    /// As it is written, to find its place.
    pub(super) written: String,
    pub(super) mistake: Mistake,
}

/// Puts in the variables of `raw`: `${NAME}`, or `${NAME:-default}` for one that may be absent or
/// empty. `$${` is a literal `${`. Values are taken as they are, not expanded again.
pub(super) fn expand(raw: &str, env: &dyn Fn(&str) -> Option<String>) -> Expansion {
    let mut expansion = Expansion::default();
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            expansion.text.push_str(literal);
            expansion.text.push_str("${");
            rest = after;
            continue;
        }
        expansion.text.push_str(before);
        expansion.substituted = true;
        let Some((inside, remainder)) = after.split_once('}') else {
            let mistake = Mistake::new("`${` without its `}`").help("write `$${` for a plain `${`");
            expansion.faults.push(Fault { written: "${".to_owned(), mistake });
            return expansion;
        };
        match lookup(inside, env) {
            Ok(value) => expansion.text.push_str(&value),
            Err(mistake) => {
                expansion.faults.push(Fault { written: format!("${{{inside}}}"), mistake });
            }
        }
        rest = remainder;
    }
    expansion.text.push_str(rest);
    expansion
}

fn lookup(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Mistake> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word)
    {
        return Err(Mistake::new("a variable is letters, digits and `_`, as in `${REDIS_URL}`")
            .help("a default follows `:-`, as in `${REDIS_URL:-redis://127.0.0.1}`"));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Mistake::new(format!("the variable `{name}` is not set"))
            .help(format!("set it, or give a default: `${{{name}:-...}}`"))),
    }
}
