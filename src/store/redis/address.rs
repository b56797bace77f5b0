//! Where Redis is, and the settings of every connection to it.

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisError,
    TlsCertificates,
};

/// Longest the kernel keeps unacknowledged bytes before it gives a connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where Redis is, and how both sides prove who they are. It may hold a password and a key.
#[derive(Clone, Copy)]
pub struct Address<'a> {
    /// With user, password and database, if there are.
    pub url: &'a str,
    /// The PEM of the authorities that may vouch for a Redis with TLS; `None`: the system's.
    pub ca: Option<&'a [u8]>,
    /// The PEM of the gateway's own certificate and of its key, for a Redis that asks for them.
    pub client: Option<(&'a [u8], &'a [u8])>,
}

// === impl Address ===

impl Address<'_> {
    pub(super) fn client(&self) -> Result<Client, RedisError> {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5));
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(USER_TIMEOUT)
            .set_keepalive(keepalive);
        let info = self.url.into_connection_info()?;
        // CLIENT SETINFO, which the crate would send, is one more right that an ACL has to give,
        // and a line in the log of denials where it does not.
        let settings = info.redis_settings().clone();
        let settings = settings.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Client::open(info);
        }
        let client_tls = self.client.map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.to_vec(),
            client_key: key.to_vec(),
        });
        let root_cert = self.ca.map(<[u8]>::to_vec);
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
    }
}
