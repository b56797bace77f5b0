//! Sessions and revocations: keys of the application, which are all over the slots.

use jsonwebtoken::Algorithm;

use crate::identity::scene::{POLICIES, ask, bearer, claims, head};
use crate::identity::token::Signer;
use crate::support::app::App;
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::Gateway;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A gateway that asks Redis every time who somebody is.
pub(crate) fn gateway(store: &str, app: &App) -> Gateway {
    let identity = format!(
        "[identity]\ncache = \"0s\"\n[identity.jwt]\nalgorithms = [\"HS256\"]\n\
         key = \"{SECRET}\"\nrevocation = \"revoked:{{jti}}\"\n\
         [identity.session]\nheader = \"x-session\"\nkey = \"session:{{id}}\"\nuser = \"id\"\n"
    );
    super::scene::gateway(store, app.address(), &(identity + POLICIES))
}

/// What presents the session of that id.
pub(crate) fn session(id: &str) -> String {
    format!("x-session: {id}\r\n")
}

/// What presents the token of that user, whose id is `id-of-USER`.
pub(crate) fn token(user: &str) -> String {
    let signer = Signer::secret(Algorithm::HS256, SECRET.as_bytes());
    bearer(&signer.token(&head(&signer, None), &claims(user)))
}

/// Whether the gateway takes who sends these lines for a user.
pub(crate) fn is_user(gateway: &Gateway, lines: &str) -> bool {
    let answer = ask(gateway, "/", lines);
    assert_eq!(answer.status(), 200, "nobody is refused: {}", answer.0);
    match answer.counted_by() {
        "member" => true,
        "anonymous" => false,
        other => panic!("{other} counts nobody"),
    }
}

fn key(id: &str) -> String {
    format!("session:{id}")
}

/// Ids of sessions on a master: the first are plain, the last ones have a tag.
fn ids(cluster: &Cluster, master: usize) -> Vec<String> {
    let itself = cluster.itself(master);
    let plain = (0..).map(|number| format!("plain-0123456789-{number}"));
    let tagged = (0..).map(|number| format!("{{tag-{number}}}-0123456789"));
    let here = |id: &String| itself.owns(slot_of(&key(id)));
    plain.filter(here).take(3).chain(tagged.filter(here).take(3)).collect()
}

fn store(cluster: &Cluster, key: &str, value: &str) {
    cluster.server(cluster.master_of(slot_of(key))).command::<()>(&["SET", key, value]);
}

/// Users whose revocations would be on this master.
fn users(cluster: &Cluster, master: usize) -> [String; 2] {
    let itself = cluster.itself(master);
    let names = (0..).map(|number| format!("user-{number}"));
    let mut here = names.filter(|user| itself.owns(slot_of(&format!("revoked:id-of-{user}"))));
    [(); 2].map(|()| here.next().expect("one of so many"))
}

fn errors(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_store_errors_total", &[])
}

#[test]
fn users_are_found_wherever_their_sessions_are() {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let gateway = gateway(&cluster.store("timeout = \"1s\"\n"), &app);
    let sessions = [0, 1, 2].map(|master| ids(&cluster, master));
    let users = [0, 1, 2].map(|master| users(&cluster, master));
    for id in sessions.iter().flatten() {
        assert!(!is_user(&gateway, &session(id)), "{id} is not there yet");
        store(&cluster, &key(id), &format!("{{\"id\":\"of {id}\"}}"));
        assert!(is_user(&gateway, &session(id)), "{id}");
    }
    for [revoked, other] in &users {
        store(&cluster, &format!("revoked:id-of-{revoked}"), "1");
        assert!(!is_user(&gateway, &token(revoked)), "{revoked}");
        assert!(is_user(&gateway, &token(other)), "{other}");
    }
    // Slots that are being moved, each in three steps.
    let tokens = [token(&users[0][0]), token(&users[0][1])];
    let revocation = slot_of(&format!("revoked:id-of-{}", users[0][0]));
    let slots = sessions[0].iter().map(|id| slot_of(&key(id))).chain([revocation]);
    let slots: std::collections::BTreeSet<u16> = slots.collect();
    let all_are_known = |when: &str| {
        for id in &sessions[0] {
            assert!(is_user(&gateway, &session(id)), "{id} {when}");
            assert!(!is_user(&gateway, &session(&format!("{id}-other"))), "{id} {when}");
        }
        let known = tokens.each_ref().map(|token| is_user(&gateway, token));
        assert_eq!(known, [false, true], "{when}");
    };
    for slot in &slots {
        cluster.open_slot(*slot, 1);
    }
    all_are_known("before the keys move");
    for slot in &slots {
        cluster.move_keys(*slot, 1);
    }
    all_are_known("when the keys have moved");
    let asked = cluster.calls(1).get("asking").copied().unwrap_or(0);
    assert!(asked >= sessions[0].len() as u64, "they were found as guests: {asked}");
    for slot in &slots {
        cluster.close_slot(*slot, 1);
    }
    all_are_known("when the slots have");
    assert_eq!(errors(&gateway), 0.0);
    // What is on a dead master is not known.
    cluster.kill(2);
    for (master, sessions) in sessions.iter().enumerate() {
        for id in sessions {
            assert_eq!(is_user(&gateway, &session(id)), master != 2, "{id}");
        }
        assert!(!is_user(&gateway, &token(&users[master][0])));
        assert_eq!(is_user(&gateway, &token(&users[master][1])), master != 2);
    }
    gateway.wait_for_store("partly");
    assert!(is_user(&gateway, &session(&sessions[0][0])));
    assert!(!is_user(&gateway, &session(&sessions[2][0])));
    cluster.restart(2);
    gateway.wait_for_store("up");
    store(&cluster, &key(&sessions[2][0]), "{\"id\":\"ann\"}");
    assert!(is_user(&gateway, &session(&sessions[2][0])));
}
