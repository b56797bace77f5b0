//! `[response]` and `[policies.NAME.response]`: reads the files that they name, so that `check`
//! finds what is wrong with them.

use crate::body::{Choice, Fault, Files, Media, Template};
use crate::config::Response;
use crate::config::diagnostic::Mistake;
use crate::config::file::{self, Kind};
use crate::config::reader::Section;
use crate::config::value::{Text, quote};

const BODY: Kind =
    Kind { name: "a body", example: "/etc/sluicegate/429.html", size_max: 256 * 1024 };

const BODIES: [(&str, Choice); 5] = [
    ("problem", Choice::Fixed(Media::Problem)),
    ("json", Choice::Fixed(Media::Json)),
    ("html", Choice::Fixed(Media::Html)),
    ("text", Choice::Fixed(Media::Text)),
    ("auto", Choice::Auto),
];

/// What the section says; what it leaves out is as in `general`.
pub(super) fn response(mut section: Section<'_>, general: &Response) -> Response {
    let response = Response {
        ratelimit: section.boolean("ratelimit").unwrap_or(general.ratelimit),
        x_ratelimit: section.boolean("x_ratelimit").unwrap_or(general.x_ratelimit),
        retry_after: section.boolean("retry_after").unwrap_or(general.retry_after),
        body: section.word("body", &BODIES).unwrap_or(general.body),
        files: files(section.table("files"), &general.files),
    };
    section.finish();
    response
}

fn files(mut section: Section<'_>, general: &Files) -> Files {
    let mut files = general.clone();
    for media in Media::ALL {
        let read = section.reader().files();
        if let Some(template) = section.parsed(media.name(), |text| body(read, text, media)) {
            files.set(media, template);
        }
    }
    section.finish();
    files
}

fn body(files: &file::Files, text: &Text, media: Media) -> Result<Template, Mistake> {
    let contents = files.keep(text, &BODY)?;
    let source = String::from_utf8(contents).map_err(|_| {
        Mistake::new(format!("not UTF-8: {}", text.shown())).help("save the file as UTF-8")
    })?;
    Template::compile(media, source).map_err(|fault| unusable(text, &fault))
}

/// What is wrong with a file, at its line.
fn unusable(text: &Text, fault: &Fault) -> Mistake {
    let written = text.template.as_ref().unwrap_or(&text.value);
    let place = match fault.line {
        Some(line) => quote(&format!("{written}:{line}")),
        None => quote(written),
    };
    let mistake = Mistake::new(format!("{place}: {}", fault.what));
    let help = fault.help.as_deref();
    mistake.help(help.unwrap_or("docs/configuration.md shows what a body may say"))
}
