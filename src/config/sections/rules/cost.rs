//! What a rule says of the cost of requests.

use super::Surroundings;
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::sections::identity::header_name;
use crate::config::size::size_within;
use crate::config::value::{Text, quote};
use crate::limit::quota::UNITS_MAX;
use crate::rules::cost::{CostFrom, Pricing};
use crate::rules::variant::{Variant, Which};

/// Bounds of the size that a unit of a body is worth.
const BODY_BYTES: std::ops::RangeInclusive<u64> = 1..=1 << 40;

/// Reads the cost, whose fixed part every one of the policies must be able to admit.
pub(super) fn pricing(
    section: &mut Section<'_>,
    surroundings: &Surroundings<'_>,
    consulted: &[usize],
) -> Pricing {
    let fixed = section.integer("cost", 1..=UNITS_MAX).unwrap_or(1);
    admitted(section, surroundings, consulted, fixed);
    let from = section.parsed("cost_from", cost_from);
    if matches!(from, Some(CostFrom::Header(_))) && surroundings.trusts_nobody {
        let mistake = Mistake::new("nobody may set this header: `trusted_proxies` is empty")
            .help("name the proxies that set it in `trusted_proxies` of `[client]`");
        section.error(&section.span_of("cost_from"), mistake);
    }
    let settled_by = section.parsed("settle_from", |text| {
        let name = text.value.strip_prefix("header:").ok_or_else(|| {
            Mistake::new(format!("the cost does not stand there: {}", text.shown()))
                .help("in a header of the application's answer, as in `header:x-cost`")
        })?;
        header(text, name)
    });
    Pricing { fixed, from, settled_by }
}

fn cost_from(text: &Text) -> Result<CostFrom, Mistake> {
    match text.value.split_once(':') {
        Some(("header", name)) => header(text, name).map(CostFrom::Header),
        Some(("body", size)) => {
            let size = Text { value: size.to_owned(), ..text.clone() };
            size_within(&size, "cost_from", &BODY_BYTES).map(|bytes| CostFrom::Body { bytes })
        }
        _ => Err(Mistake::new(format!("no cost stands there: {}", text.shown())).help(
            "`header:NAME` of the request, or `body:SIZE` for a unit for each begun so many bytes, \
             as in `body:64KiB`",
        )),
    }
}

fn header(text: &Text, name: &str) -> Result<String, Mistake> {
    let name = Text { value: name.to_owned(), ..text.clone() };
    header_name(&name).map_err(|mistake| mistake.help("as in `header:x-cost`"))
}

/// Records a mistake if one of the policies could never admit `cost`.
fn admitted(
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
    consulted: &[usize],
    cost: u64,
) {
    let policies = surroundings.policies;
    for definition in consulted.iter().filter_map(|index| policies.get(*index)) {
        let Some(policy) = &definition.meaning else { continue };
        let limits = policy.variants().map(Variant::policy);
        // The policy's own, then tiers, then overrides, each in the order of the file.
        let least = limits.min_by_key(|limit| (limit.limit.cost_max(), limit.variant));
        let Some(least) = least.filter(|least| cost > least.limit.cost_max()) else { continue };
        let most = least.limit.cost_max();
        let name = quote(&definition.name);
        let name = match policy.which(least) {
            Which::Own => name,
            Which::Tier(tier) => format!("the tier {} of {name}", quote(tier)),
            Which::Override => {
                let number = least.variant.saturating_sub(policy.tiers.len());
                format!("override number {number} of {name}")
            }
        };
        let mistake = Mistake::new(format!("a request of this cost could never pass {name}"))
            .help(format!("{name} admits at most {most} units at once"));
        section.error(&section.span_of("cost"), mistake);
    }
}
