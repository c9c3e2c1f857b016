//! Which groups hang together: union-find over group names, with a bound on how large a component may grow.

use std::collections::BTreeMap;

/// A link that would tie more groups together than this is refused. Without a bound one much-edited file ties all commits, and
/// through them all files, into one component, and nothing is left to hold out.
pub(super) const MAX_GROUPS_PER_COMPONENT: usize = 16;

/// The same where a group is one function: call graphs are tied closer than files, and a function is small.
pub(super) const MAX_FUNCTIONS_PER_COMPONENT: usize = 64;

/// The same for files that change together: histories tie nearly all files together, and of components of sixteen too few are left to
/// hold some out (of flask's files seven in all).
pub(super) const MAX_FILES_PER_COMPONENT: usize = 4;

/// Components of groups. A group that was never joined is a component of its own.
pub(super) struct Components<'a> {
    /// The bound.
    most: usize,
    /// The parent of each group that was joined; a root is its own parent and the smallest name of its component.
    parent: BTreeMap<&'a str, &'a str>,
    /// The number of groups of a root.
    size: BTreeMap<&'a str, usize>,
}

impl Default for Components<'_> {
    fn default() -> Self {
        Components::bounded(MAX_GROUPS_PER_COMPONENT)
    }
}

impl<'a> Components<'a> {
    /// None yet, each to have at most so many groups.
    pub(super) fn bounded(most: usize) -> Components<'a> {
        Components { most, parent: BTreeMap::new(), size: BTreeMap::new() }
    }

    /// The name of a group's component: the smallest name in it.
    pub(super) fn name(&self, group: &'a str) -> &'a str {
        let mut at = group;
        while let Some(&up) = self.parent.get(at) {
            if up == at {
                break;
            }
            at = up;
        }
        at
    }

    /// Ties two groups together. False, and nothing changed, if the component would grow beyond the bound.
    pub(super) fn join(&mut self, a: &'a str, b: &'a str) -> bool {
        let (a, b) = (self.name(a), self.name(b));
        if a == b {
            return true;
        }
        let total = self.size.get(a).copied().unwrap_or(1) + self.size.get(b).copied().unwrap_or(1);
        if total > self.most {
            return false;
        }
        let (root, child) = if a < b { (a, b) } else { (b, a) };
        self.parent.insert(root, root);
        self.parent.insert(child, root);
        self.size.insert(root, total);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_named_by_its_smallest_group_and_stays_within_its_bound() {
        let mut components = Components::default();
        assert_eq!(components.name("m"), "m");
        assert!(components.join("m", "z") && components.join("z", "c") && components.join("c", "m"));
        assert!(["m", "z", "c"].iter().all(|group| components.name(group) == "c"));
        let names: Vec<String> = (0..MAX_GROUPS_PER_COMPONENT).map(|i| format!("g{i:02}")).collect();
        let mut bounded = Components::default();
        assert!(names.iter().skip(1).all(|name| bounded.join(&names[0], name)));
        assert!(!bounded.join("other", &names[3]));
        assert_eq!(bounded.name("other"), "other");
        assert!(bounded.join(&names[2], &names[5]), "an old tie is not a new one");
    }
}
