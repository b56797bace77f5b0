//! nginx, as Debian packages it: how it is started, whatever it is to serve.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Everything that nginx needs, below the folder it is started with and as the user it is started by.
const CONFIG: &str = "
daemon off;
user USER;
pid nginx.pid;
error_log stderr;
worker_processes 1;
events {}
http {
    client_body_temp_path client;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
HTTP
}
";

/// How to start it in `folder`, where its configuration is put: with `http` in the block of that
/// name, and `ADDRESS` there being `address`.
pub(crate) fn command(folder: &Path, address: SocketAddr, http: &str) -> Command {
    let http = http.replace("ADDRESS", &address.to_string());
    let config = folder.join("nginx.conf");
    let text = CONFIG.replace("USER", &user()).replace("HTTP", &http);
    fs::write(&config, text).expect("a configuration");
    // Debian keeps it where not every user's shell looks.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("nginx");
    command.env("PATH", path).args(["-e", "stderr", "-c"]).arg(config).arg("-p").arg(folder);
    command
}

/// Who runs the tests: started by root, nginx would give its files to somebody else.
fn user() -> String {
    let name = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8(name.stdout).expect("a name").trim().to_owned()
}
