//! Two chunks that belong together, before it is known which component their groups are in.

/// A pair with the groups of its ends.
pub(super) struct Link<'a> {
    pub(super) anchor: u64,
    pub(super) positive: u64,
    pub(super) anchor_group: &'a str,
    pub(super) positive_group: &'a str,
}
