//! nginx behind TLS: it says what it has seen of the gateway.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::applications::server::{Server, folder, free_address};
use crate::support::certificates::Authority;

/// Everything that nginx needs, below the folder it is started with and as the user it is started by.
const CONFIG: &str = r#"
daemon off;
user USER;
pid nginx.pid;
error_log stderr;
worker_processes 1;
events {}
http {
    access_log access.log;
    client_body_temp_path client;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    server {
        listen ADDRESS ssl HTTP2;
        ssl_certificate CERTIFICATE.pem;
        ssl_certificate_key CERTIFICATE.key;
        ssl_client_certificate AUTHORITY;
        ssl_verify_client optional;
        keepalive_requests 100000;
        root files;
        location = /seen { return 200 "$server_protocol name=$ssl_server_name client=$ssl_client_verify"; }
        location = /connection { return 200 "$connection"; }
    }
}
"#;

/// A running nginx.
pub(super) struct Nginx {
    server: Server,
}

impl Nginx {
    /// With the certificate `name` of `authority`, and HTTP/2 besides HTTP/1.1 if `http2`.
    pub(super) fn start(authority: &Authority, name: &str, http2: bool) -> Self {
        let folder = folder();
        fs::create_dir_all(folder.join("files")).unwrap();
        fs::write(folder.join("files/small"), b"small").unwrap();
        fs::write(folder.join("files/big"), vec![b'b'; 64 << 20]).unwrap();
        let address = free_address();
        let certificate = authority.path(&format!("{name}.pem"));
        let text = CONFIG
            .replace("ADDRESS", &address.to_string())
            .replace("HTTP2", if http2 { "http2" } else { "" })
            .replace("CERTIFICATE", certificate.trim_end_matches(".pem"))
            .replace("AUTHORITY", &authority.path("ca.pem"))
            .replace("USER", &user());
        fs::write(folder.join("nginx.conf"), text).unwrap();
        // Debian keeps it where not every user's shell looks.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("nginx");
        command.env("PATH", path).args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
        command.arg("-p").arg(&folder);
        Self { server: Server::start(command, address, folder) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The requests that it has answered.
    pub(super) fn requests(&self) -> usize {
        let log = fs::read_to_string(self.server.folder().join("access.log"));
        log.unwrap_or_default().lines().filter(|line| line.contains("HTTP/")).count()
    }
}

/// Who runs the tests: started by root, nginx would give its files to somebody else.
fn user() -> String {
    let name = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8(name.stdout).expect("a name").trim().to_owned()
}
