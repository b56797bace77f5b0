//! `[request]`: how requests are read.

use std::collections::BTreeSet;

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::quote;
use crate::config::{PartitionedPolicy, Rule};
use crate::identity::Identity;
use crate::request::reading::Underscores;
use crate::request::{Reading, Spelling};
use crate::rules::cost::CostFrom;
use crate::rules::partition::Word;

/// Reads the section. Which headers decide something, other sections say.
pub(super) fn request(mut section: Section<'_>) -> Reading {
    let underscores =
        [("drop", Underscores::Drop), ("reject", Underscores::Reject), ("keep", Underscores::Keep)];
    let kept = |key, section: &mut Section<'_>, other| {
        section.word(key, &[(other, false), ("keep", true)]).unwrap_or(false)
    };
    let forwards = [("original", false), ("normalised", true)];
    let reading = Reading {
        underscores: section.word("underscores", &underscores).unwrap_or_default(),
        keeps_method_override: kept("method_override", &mut section, "strip"),
        spelling: Spelling {
            keeps_slashes: kept("encoded_slashes", &mut section, "reject"),
            keeps_params: kept("path_params", &mut section, "strip"),
            ignores_case: section.boolean("ignore_case").unwrap_or(false),
            ignores_trailing_slash: section.boolean("ignore_trailing_slash").unwrap_or(false),
        },
        forwards_spelling: section.word("forward_path", &forwards).unwrap_or(false),
        ..Reading::default()
    };
    section.finish();
    reading
}

/// Reports the headers that the file asks for and that no request has, because names with an
/// underscore are taken off or refused.
pub(super) fn check_names<'a>(
    root: &Section<'_>,
    reading: &Reading,
    identity: &'a Identity,
    policies: impl Iterator<Item = &'a PartitionedPolicy>,
    rules: &'a [Rule],
) {
    if reading.underscores == Underscores::Keep {
        return;
    }
    let own = [&identity.user_header, &identity.tier_header].map(Option::as_deref);
    let users = identity.header_names().filter(|name| !own.contains(&Some(*name)));
    let words = policies.flat_map(|limited| limited.partition.words());
    let partitions = words.filter_map(|word| match word {
        Word::Header(name) => Some(name.as_str()),
        _ => None,
    });
    let costs = rules.iter().filter_map(|rule| match &rule.cost.from {
        Some(CostFrom::Header(name)) => Some(name.as_str()),
        Some(CostFrom::Body { .. }) | None => None,
    });
    let conditions = rules.iter().flat_map(|rule| &rule.condition.headers);
    let asked = users.chain(partitions).chain(costs).chain(conditions.map(|(name, _)| &**name));
    let underscored: BTreeSet<&str> = asked.filter(|name| name.contains('_')).collect();
    for name in underscored {
        let shown = quote(name);
        let why = "names with an underscore are taken off or refused";
        let mistake = Mistake::new(format!("no request has the header {shown}: {why}"))
            .help("write its name with `-`, or say `underscores = \"keep\"` in `[request]`");
        root.error(&root.span_of("request"), mistake);
    }
}
