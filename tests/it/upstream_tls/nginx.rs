//! nginx behind TLS: it says what it has seen of the gateway.

use std::fs;
use std::net::SocketAddr;

use crate::applications::server::{Server, folder, free_address};
use crate::support::certificates::Authority;
use crate::support::nginx;

/// It says what it has seen, and keeps a log of it.
const HTTP: &str = r#"
    access_log access.log;
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
        let http = HTTP
            .replace("HTTP2", if http2 { "http2" } else { "" })
            .replace("CERTIFICATE", certificate.trim_end_matches(".pem"))
            .replace("AUTHORITY", &authority.path("ca.pem"));
        let command = nginx::command(&folder, address, &http);
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
