//! Whose turn it is: servers by weight, spread evenly, or whoever has least to do.

/// How requests are divided between the servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, each as often as its weight says.
    #[default]
    RoundRobin,
    /// Whoever has the fewest under way for its weight; who has equally few, in turn.
    LeastConnections,
}

/// A server that could be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its place in the list of servers.
    pub(super) place: usize,
    /// At least 1.
    pub(super) weight: u32,
    /// Requests under way at it.
    pub(super) under_way: usize,
}

/// The turns so far. Each turn gives every candidate its weight in credit, and takes the sum of the
/// weights from the one that is chosen. So after as many turns as the sum, each had its exact share,
/// and no server had all of its turns at a stretch.
#[derive(Debug, Default)]
pub(super) struct Turns {
    credit: Vec<i64>,
}

// === impl Balance ===

impl Balance {
    /// Leaves those of the candidates that are to be asked before the others.
    pub(super) fn narrow(self, candidates: &mut Vec<Candidate>) {
        if self == Self::RoundRobin {
            return;
        }
        // The one with less to do: a/v < b/w is a*w < b*v.
        let load = |one: &Candidate, by: &Candidate| one.under_way as u64 * u64::from(by.weight);
        let idlest = |one: &Candidate, other: &Candidate| load(one, other).cmp(&load(other, one));
        if let Some(least) = candidates.iter().copied().min_by(idlest) {
            candidates.retain(|one| load(one, &least) == load(&least, one));
        }
    }
}

// === impl Turns ===

impl Turns {
    /// Turns for so many servers, with what each is still owed.
    pub(super) const fn new(credit: Vec<i64>) -> Self {
        Self { credit }
    }

    /// What the server at this place is still owed.
    pub(super) fn credit(&self, place: usize) -> i64 {
        self.credit.get(place).copied().unwrap_or(0)
    }

    /// The place of the one whose turn it is; `None` without candidates.
    pub(super) fn next(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for candidate in candidates {
            let weight = i64::from(candidate.weight);
            total += weight;
            let Some(credit) = self.credit.get_mut(candidate.place) else { continue };
            *credit += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((candidate.place, *credit));
            }
        }
        let (place, _) = best?;
        if let Some(credit) = self.credit.get_mut(place) {
            *credit -= total;
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(all: &[(u32, usize)]) -> Vec<Candidate> {
        let each = all.iter().enumerate();
        each.map(|(place, &(weight, under_way))| Candidate { place, weight, under_way }).collect()
    }

    fn turns(all: &[Candidate], count: usize) -> Vec<usize> {
        let mut turns = Turns::new(vec![0; all.len()]);
        (0..count).filter_map(|_| turns.next(all)).collect()
    }

    #[test]
    fn weights_are_exact_within_a_round_and_spread_over_it() {
        let all = candidates(&[(5, 0), (1, 0), (1, 0)]);
        let taken = turns(&all, 700);
        for round in taken.chunks(7) {
            let of = |place| round.iter().filter(|taken| **taken == place).count();
            assert_eq!([of(0), of(1), of(2)], [5, 1, 1]);
        }
        assert_eq!(&taken[..7], [0, 0, 1, 0, 2, 0, 0], "not five at a stretch");
    }

    #[test]
    fn who_is_left_out_for_a_while_is_not_made_up_for() {
        let all = candidates(&[(1, 0), (1, 0)]);
        let mut turns = Turns::new(vec![0; 2]);
        for _ in 0..100 {
            assert_eq!(turns.next(&all[..1]), Some(0));
        }
        let next: Vec<_> = (0..4).filter_map(|_| turns.next(&all)).collect();
        assert_eq!(next.iter().filter(|place| **place == 1).count(), 2, "{next:?}");
        assert_eq!(turns.next(&[]), None);
    }

    #[test]
    fn the_least_connections_are_counted_by_weight() {
        let narrow = |all: &[(u32, usize)]| {
            let mut left = candidates(all);
            Balance::LeastConnections.narrow(&mut left);
            left.iter().map(|one| one.place).collect::<Vec<_>>()
        };
        assert_eq!(narrow(&[(1, 1), (1, 0), (1, 2)]), [1]);
        assert_eq!(narrow(&[(1, 1), (3, 2)]), [1], "two of three are less than one of one");
        assert_eq!(narrow(&[(1, 1), (3, 3), (1, 2)]), [0, 1], "ties take turns");
        let mut left = candidates(&[(1, 9), (1, 0)]);
        Balance::RoundRobin.narrow(&mut left);
        assert_eq!(left.len(), 2);
    }
}
