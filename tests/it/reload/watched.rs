//! The file is read again when it has changed, in whatever way it is replaced.

use std::fs;
use std::os::unix::fs::symlink;

use super::{Way, change, put, reload, reloads, shown, text};
use crate::identity::scene::Folder;
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::wait_until;

fn gateway(app: &App, server: &str) -> Gateway {
    Gateway::start(&format!("{server}[store]\nkind = \"local\"\n{}", app_at(app.address())))
}

/// Waits until the file with this mark is in force.
fn wait_for(gateway: &Gateway, max_headers: u64) {
    wait_until("the change to be in force", || {
        shown(gateway)["config"]["server"]["max_headers"] == max_headers
    });
    assert_eq!(shown(gateway)["read_by"], "file change");
}

#[test]
fn a_file_that_is_moved_over_or_written_is_read_again() {
    let app = App::start();
    let gateway = gateway(&app, "max_headers = 50\n");
    let begun = shown(&gateway);
    assert_eq!((&begun["read_by"], &begun["generation"]), (&"start".into(), &0.into()));
    put(&gateway, &text(&gateway).replace("max_headers = 50", "max_headers = 51"));
    wait_for(&gateway, 51);
    gateway.edit("max_headers = 51", "max_headers = 52");
    wait_for(&gateway, 52);
    let now = gateway.metric("sluicegate_config_reload_timestamp_seconds", &[]);
    assert!(now > 1.7e9, "{now}");
    assert_eq!(gateway.get("/").status(), 200);
}

/// What the kubelet does with a mounted `ConfigMap`: the file is a link through `..data`, which is a
/// link to a folder; a new folder is written, a link to it is moved over `..data`, and the old
/// folder is removed.
#[test]
fn a_folder_that_is_swapped_behind_a_link_is_seen() {
    let app = App::start();
    let gateway = gateway(&app, "max_headers = 50\n");
    let folder = gateway.config().parent().expect("a folder").join("mounted");
    fs::create_dir(&folder).unwrap();
    let good = text(&gateway);
    let publish = |number: u64| {
        let name = format!("..2026_11_22_03_00_{number:02}.1234567890");
        fs::create_dir(folder.join(&name)).unwrap();
        let text = good.replace("max_headers = 50", &format!("max_headers = {number}"));
        fs::write(folder.join(&name).join("gateway.toml"), text).unwrap();
        let old = fs::read_link(folder.join("..data")).ok();
        symlink(&name, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(folder.join(old)).unwrap();
        }
    };
    publish(60);
    symlink("..data/gateway.toml", folder.join("gateway.toml")).unwrap();
    // The gateway's own path leads there from now on.
    let link = folder.join("link");
    symlink(folder.join("gateway.toml"), &link).unwrap();
    fs::rename(link, gateway.config()).unwrap();
    wait_for(&gateway, 60);
    for number in 61..=63 {
        publish(number);
        wait_for(&gateway, number);
    }
    assert_eq!(reloads(&gateway, "rejected"), 0.0, "{}", gateway.log());
}

#[test]
fn a_broken_file_is_complained_of_once_until_it_changes() {
    let app = App::start();
    let gateway = gateway(&app, "max_headers = 50\n");
    let good = text(&gateway);
    let told = || gateway.log().matches("the configuration stays as it was").count();
    put(&gateway, &good.replace("max_headers = 50", "max_headers = 5"));
    wait_until("the refusal", || reloads(&gateway, "rejected") == 1.0);
    assert!(gateway.log().contains("gateway.toml:3:15"), "{}", gateway.log());
    let rejected = &shown(&gateway)["last_rejected"];
    assert_eq!(rejected["by"], "file change");
    assert!(rejected["problems"].to_string().contains("`max_headers` is out of bounds: `5`"));
    // The next good one tells that there were looks between.
    fs::remove_file(gateway.config()).unwrap();
    wait_until("the refusal", || reloads(&gateway, "rejected") == 2.0);
    assert!(gateway.log().contains("cannot read"), "{}", gateway.log());
    put(&gateway, &good.replace("max_headers = 50", "max_headers = 70"));
    wait_for(&gateway, 70);
    assert_eq!((told(), reloads(&gateway, "rejected")), (2, 2.0), "each is said once");
    assert_eq!(shown(&gateway)["generation"], 1);
}

#[test]
fn who_does_not_want_it_watched_says_so_and_can_say_otherwise() {
    let (app, folder) = (App::start(), Folder::new());
    let keys = folder.api_keys(&[("acme", "key-1")]);
    let gateway = Gateway::start(&format!(
        "watch_config = false\nmax_headers = 50\n[store]\nkind = \"local\"\n\
         [identity.api_key]\nheader = \"x-key\"\nfile = \"{keys}\"\n{}",
        app_at(app.address())
    ));
    put(&gateway, &text(&gateway).replace("max_headers = 50", "max_headers = 51"));
    // Files with keys are looked at all the same; each time tells that there was a look.
    for number in 2..=4 {
        folder.api_keys(&[("acme", &format!("key-{number}"))]);
        wait_until("the keys", || reloads(&gateway, "applied") == f64::from(number - 1));
    }
    assert_eq!(shown(&gateway)["config"]["server"]["max_headers"], 50);
    reload(&gateway, Way::Signal);
    assert_eq!(shown(&gateway)["config"]["server"]["max_headers"], 51);
    change(&gateway, "watch_config = false", "watch_config = true");
    put(&gateway, &text(&gateway).replace("max_headers = 51", "max_headers = 52"));
    wait_for(&gateway, 52);
}
