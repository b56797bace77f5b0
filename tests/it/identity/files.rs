//! Files with keys that change under a running gateway.

use super::scene::{API_KEY, Folder, bearer, claims, gateway, head, serves, serves_nobody};
use super::token::Signer;
use crate::support::app::App;
use crate::support::certificates::Authority;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

fn reloads(gateway: &Gateway, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    gateway.metric("sluicegate_config_reloads_total", &[&label])
}

#[test]
fn a_set_of_keys_is_rotated_without_a_signal_and_a_broken_one_changes_nothing() {
    let (redis, app, folder) = (RedisServer::start(), App::start(), Folder::new());
    let (old, new) = (Signer::es256(), Signer::es256());
    let path = folder.jwks(&[old.jwk("old")]);
    let identity = format!("[identity.jwt]\nalgorithms = [\"ES256\"]\njwks_file = \"{path}\"\n");
    let gateway = gateway(&redis, &app, &identity);
    let by = |signer: &Signer, kid| bearer(&signer.token(&head(signer, Some(kid)), &claims("ann")));
    let (by_old, by_new) = (by(&old, "old"), by(&new, "new"));
    serves(&gateway, &app, "/", &by_old, ("ann", ""));
    serves_nobody(&gateway, &app, "/", &by_new);
    // Half edited: what was applied last counts, and not what stands there now.
    gateway.edit("[identity.jwt]", "[identity.jwt");
    wait_until("the complaint", || reloads(&gateway, "rejected") == 1.0);
    folder.jwks(&[new.jwk("new")]);
    wait_until("the new keys", || reloads(&gateway, "applied") == 1.0);
    serves(&gateway, &app, "/", &by_new, ("ann", ""));
    serves_nobody(&gateway, &app, "/", &by_old);
    folder.write("jwks.json", "{\"keys\": [");
    wait_until("the broken keys", || reloads(&gateway, "rejected") == 2.0);
    serves(&gateway, &app, "/", &by_new, ("ann", ""));
    let told = |log: &str| log.matches("not a set of keys (JWKS)").count();
    assert_eq!(told(&gateway.log()), 1, "{}", gateway.log());
    folder.jwks(&[old.jwk("old"), new.jwk("new")]);
    wait_until("the mended keys", || reloads(&gateway, "applied") == 2.0);
    serves(&gateway, &app, "/", &by_old, ("ann", ""));
    serves(&gateway, &app, "/", &by_new, ("ann", ""));
    assert_eq!((told(&gateway.log()), reloads(&gateway, "rejected")), (1, 2.0), "said once");
}

#[test]
fn an_api_key_is_taken_back_by_taking_it_out_of_the_file() {
    let (redis, app, folder) = (RedisServer::start(), App::start(), Folder::new());
    let path = folder.api_keys(&[("acme", API_KEY)]);
    let identity = format!("[identity.api_key]\nheader = \"x-api-key\"\nfile = \"{path}\"\n");
    let gateway = gateway(&redis, &app, &identity);
    let line = format!("x-api-key: {API_KEY}\r\n");
    serves(&gateway, &app, "/", &line, ("acme", "gold"));
    folder.api_keys(&[("acme", "key-0123456789-another")]);
    wait_until("the new keys", || reloads(&gateway, "applied") == 1.0);
    serves_nobody(&gateway, &app, "/", &line);
}

/// What else the configuration names may be half edited: it was read with the configuration, and
/// must not be in the way of a revocation.
#[test]
fn a_slip_in_another_file_does_not_keep_a_revoked_key_alive() {
    let (app, folder, authority) = (App::start(), Folder::new(), Authority::new());
    let keys = folder.api_keys(&[("acme", API_KEY)]);
    let body = folder.write("body.txt", "{{ message }}");
    let ca = authority.path("ca.pem");
    let gateway = Gateway::start(&format!(
        "[store]\nurl = \"rediss://127.0.0.1:1\"\n[store.tls]\nca = \"{ca}\"\n{}\
         [identity]\non_invalid = \"reject\"\n[identity.api_key]\nheader = \"x-api-key\"\n\
         file = \"{keys}\"\n[response.files]\ntext = \"{body}\"\n",
        app_at(app.address())
    ));
    let status = || {
        let request = gateway.client().get(gateway.url("/")).header("x-api-key", API_KEY);
        request.send().expect("the gateway answers").status().as_u16()
    };
    assert_eq!(status(), 200);
    folder.write("body.txt", "{{ mesage }}");
    authority.write("ca.pem", "being renewed");
    folder.api_keys(&[("other", "another-key-0123456789")]);
    wait_until("the key to be revoked", || status() == 401);
}
