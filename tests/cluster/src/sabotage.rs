//! Causes of old faults, put back: the scenario that is for each must fail, and tell why.
//!
//! `tests/cluster.sh` puts the causes into the images, and explains them; the one of the sample is put back here.

/// A cause that is put back.
pub(crate) struct Sabotage {
    name: &'static str,
    /// The scenario that fails.
    pub(crate) scenario: &'static str,
    /// A part of the reason that it tells.
    reason: &'static str,
}

const ALL: &[Sabotage] = &[
    Sabotage {
        name: "PrimaryRoutedTwice",
        scenario: "one-pod",
        reason: "file exists",
    },
    Sabotage {
        name: "NullListAbsent",
        scenario: "cni-tools",
        reason: "claims after a GC of a null list",
    },
    Sabotage {
        name: "ReleaseNotSent",
        scenario: "one-pod",
        reason: "no pod has the UID",
    },
    Sabotage {
        name: "BitsUnseen",
        scenario: "exact-fill",
        reason: "given twice",
    },
    Sabotage {
        name: "ErrorAsAbsence",
        scenario: "reaper",
        reason: "without a claim",
    },
];

impl Sabotage {
    /// The cause of this name.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        let found = ALL.iter().find(|sabotage| sabotage.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|sabotage| sabotage.name).collect();
            format!("the causes are {}", names.join(" "))
        })
    }

    /// Whether it is the sample that asks for the default route twice.
    pub(crate) fn routes_twice(&self) -> bool {
        self.name == "PrimaryRoutedTwice"
    }

    /// Whether the scenario ended as it must with this cause.
    pub(crate) fn is_shown_by(&self, ended: &Result<(), String>) -> bool {
        ended
            .as_ref()
            .is_err_and(|reason| reason.contains(self.reason))
    }
}
