//! The partition of a policy: what divides its quota between clients.

use crate::config::diagnostic::{Mistake, Span};
use crate::config::reader::Section;
use crate::config::value::Text;
use crate::rules::partition::{Partition, Word};

/// Most words of a partition.
const WORDS_MAX: usize = 16;
const WORDS_HELP: &str = "one of `ip`, `user`, `path`, `route`, `rule`, `method`, `host`, \
                          `header:NAME`, `cookie:NAME`, `query:NAME`";

pub(super) fn partition(section: &mut Section<'_>, has_user: bool) -> Partition {
    let Some(list) = section.list("partition", 0..=WORDS_MAX, word) else {
        return Partition::new(vec![Word::Ip]);
    };
    for (span, word) in &list.items {
        if *word == Word::User && !has_user {
            warn_no_user(section, span);
        }
    }
    let complete = list.items.len() == list.written;
    let span = list.span.clone();
    let partition = Partition::new(list.into_values());
    let words = partition.words();
    if complete && !partition.divides_clients() && words.iter().any(Word::chosen_by_client) {
        let mistake = Mistake::new("a client can have as many quotas as it likes")
            .help("add `ip` or `user`: the other words are the client's to choose");
        section.reader().warn(&span, mistake);
    }
    partition
}

fn warn_no_user(section: &Section<'_>, span: &Span) {
    let mistake = Mistake::new("no request has a user: the address takes its place")
        .help("say where users come from: `[identity]`");
    section.reader().warn(span, mistake);
}

fn word(text: &Text) -> Result<Word, Mistake> {
    Word::parse(&text.value).ok_or_else(|| {
        Mistake::new(format!("unknown word of a partition: {}", text.shown())).help(WORDS_HELP)
    })
}
