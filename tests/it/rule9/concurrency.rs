//! Requests at once: those that are under way stay, and count under the new quota.

use super::Scene;
use crate::concurrency::holding::HoldingApp;
use crate::support::raw;
use crate::support::redis::wait_until;

#[test]
fn those_under_way_stay_and_count() {
    let app = HoldingApp::start();
    let policy = "[policies.p]\nalgorithm = \"concurrency\"\nquota = 3\n[[rules]]\n\
        path = \"/**\"\npolicies = [\"p\"]\n";
    Scene::on_each_store_before(app.address(), policy, |scene| {
        let public = scene.gateway.public();
        let mut kept = app.fill(public, 4);
        assert_eq!(kept.len(), 3, "in {}", scene.store());
        scene.reload("quota = 3", "quota = 5");
        kept.extend(app.fill(public, 3));
        assert_eq!(kept.len(), 5, "two more, in {}", scene.store());
        scene.reload("quota = 5", "quota = 2");
        assert!(app.fill(public, 1).is_empty(), "in {}", scene.store());
        app.release();
        for mut stream in kept {
            let (head, _) = raw::read_answer(&mut stream);
            assert!(head.starts_with("HTTP/1.1 200 "), "it was let in before: {head}");
        }
        wait_until("all permits to be given back", || {
            scene.gateway.metric("sluicegate_permits_held", &[]) == 0.0
        });
        let kept = app.fill(public, 3);
        assert_eq!(kept.len(), 2, "in {}", scene.store());
        app.release();
    });
}
