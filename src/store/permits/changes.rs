//! What the shared store is to be told of permits.

use std::ops::Deref;

use super::Permits;
use crate::store::script::PermitsOf;

/// Changes that are being told. Unless somebody says that they have been, they are to be told again:
/// also where the telling is given up half way.
pub(in crate::store) struct Changes<'a> {
    permits: &'a Permits,
    changes: Vec<PermitsOf>,
}

// === impl Changes ===

impl<'a> Changes<'a> {
    pub(super) const fn new(permits: &'a Permits, changes: Vec<PermitsOf>) -> Self {
        Self { permits, changes }
    }

    /// The shared store has been told of those at `places`.
    pub(in crate::store) fn told(&mut self, places: &[usize]) {
        let mut place = 0;
        self.changes.retain(|change| {
            let told = places.contains(&place);
            place += 1;
            if told {
                self.permits.told(change);
            }
            !told
        });
    }
}

impl Deref for Changes<'_> {
    type Target = [PermitsOf];

    fn deref(&self) -> &[PermitsOf] {
        &self.changes
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        if !self.changes.is_empty() {
            self.permits.untold(&self.changes);
        }
    }
}
