//! Tiers and overrides: all limits of a policy count on the same keys.

use super::Scene;

/// What a policy has, and where each of its limits may differ.
fn policy(algorithm: &str, more: &str) -> String {
    format!(
        "[policies.p]\nalgorithm = \"{algorithm}\"\nquota = 5\nwindow = \"1d\"\n\
         partition = [\"user\"]\n{more}\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n"
    )
}

const TIERS: &str = "tiers.pro.quota = 12\ntiers.max.quota = 20\ntiers.max.window = \"7d\"";
const ALGORITHMS: [&str; 2] = ["sliding-window", "token-bucket"];

#[test]
fn a_tier_that_changes_has_used_what_it_used() {
    for algorithm in ALGORITHMS {
        Scene::on_each_store(&policy(algorithm, TIERS), |scene| {
            for _ in 0..8 {
                assert!(scene.passes("/", "ann", "pro"));
            }
            scene.reload("pro.quota = 12", "pro.quota = 10");
            assert_eq!(scene.left("/", "ann", "pro"), 2, "{algorithm} in {}", scene.store());
            scene.reload("pro.quota = 10", "pro.quota = 11");
            assert_eq!(scene.left("/", "ann", "pro"), 1, "{algorithm} in {}", scene.store());
            scene.reload("tiers.pro.quota = 11", "tiers.plus.quota = 11");
            assert_eq!(scene.left("/", "ann", "pro"), 0, "a tier that is gone has the policy's");
            assert_eq!(scene.left("/", "ben", "pro"), 5);
        });
    }
}

#[test]
fn who_changes_the_tier_goes_on_with_what_was_used() {
    for algorithm in ALGORITHMS {
        Scene::on_each_store(&policy(algorithm, TIERS), |scene| {
            assert_eq!(scene.left("/", "ann", ""), 5, "{algorithm}");
            assert_eq!(scene.left("/", "ann", "pro"), 7, "{algorithm} in {}", scene.store());
            // Also into another window.
            assert_eq!(scene.left("/", "ann", "max"), 8, "{algorithm} in {}", scene.store());
            assert_eq!(scene.left("/", "ann", "pro"), 0, "{algorithm} in {}", scene.store());
            assert_eq!(scene.left("/", "ann", ""), 0, "{algorithm} in {}", scene.store());
        });
    }
}

#[test]
fn an_override_that_comes_and_goes_gives_no_fresh_quota() {
    const OVERRIDE: &str =
        "[[policies.p.overrides]]\nkey = { user = \"ann\" }\nquota = 9\nwindow = \"7d\"\n[[rules]]";
    for algorithm in ALGORITHMS {
        Scene::on_each_store(&policy(algorithm, ""), |scene| {
            assert_eq!(scene.left("/", "ann", ""), 5, "{algorithm}");
            scene.reload("[[rules]]", OVERRIDE);
            assert_eq!(scene.left("/", "ann", ""), 4, "{algorithm} in {}", scene.store());
            scene.reload("quota = 9", "quota = 7");
            assert_eq!(scene.left("/", "ann", ""), 0, "{algorithm} in {}", scene.store());
            scene.reload(&OVERRIDE.replace("quota = 9", "quota = 7"), "[[rules]]");
            assert_eq!(scene.left("/", "ann", ""), 0, "{algorithm} in {}", scene.store());
            assert_eq!(scene.left("/", "ben", ""), 5, "nobody else had it");
        });
    }
}
