//! `[cors]`.

use crate::config::Cors;
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::Text;
use crate::request::origin::{Origins, spelled};

/// Most origins that may read refusals.
const ORIGINS_MAX: usize = 256;

/// Gives also whether preflights are exempt from what divides by more than the address.
pub(super) fn cors(mut section: Section<'_>) -> (bool, Cors) {
    let exempt = section.word("preflight", &[("count", false), ("exempt", true)]);
    let origins = origins(&mut section);
    let credentials = section.boolean("credentials").unwrap_or(false);
    if credentials && origins == Origins::Any {
        let mistake = Mistake::new("no browser takes `credentials` together with `*`")
            .help("list the origins whose pages send cookies");
        section.error(&section.span_of("credentials"), mistake);
    }
    section.finish();
    (exempt.unwrap_or(false), Cors { origins, credentials })
}

fn origins(section: &mut Section<'_>) -> Origins {
    let Some(list) = section.list("origins", 0..=ORIGINS_MAX, origin) else {
        return Origins::Listed(Vec::new());
    };
    let mut origins: Vec<String> = Vec::with_capacity(list.items.len());
    for (span, origin) in &list.items {
        if origins.contains(origin) {
            let mistake = Mistake::new("this origin is listed twice").help("remove one");
            section.error(span, mistake);
        } else if origin == "*" && list.written > 1 {
            let mistake = Mistake::new("`*` is every page, and the others are of no use");
            section.error(span, mistake.help("write `[\"*\"]`, or leave `*` out"));
        }
        origins.push(origin.clone());
    }
    if origins == ["*"] { Origins::Any } else { Origins::Listed(origins) }
}

fn origin(text: &Text) -> Result<String, Mistake> {
    if text.value == "*" {
        return Ok(text.value.clone());
    }
    spelled(&text.value).ok_or_else(|| {
        Mistake::new(format!("not an origin: {}", text.shown())).help(
            "scheme, host and perhaps port, and nothing behind, as in `https://app.example.org`",
        )
    })
}
