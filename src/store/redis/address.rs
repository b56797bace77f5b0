//! How a server of the store is spoken to: where it is, who the gateway is there, and the settings
//! of every connection to it.

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisError, TlsCertificates,
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

/// Who the gateway is at servers whose places are told elsewhere, and how both sides prove it.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Never without a password.
    pub username: Option<&'a str>,
    /// `None`: no login.
    pub password: Option<&'a str>,
    /// Whether they speak TLS.
    pub tls: bool,
    /// As in [`Address`].
    pub ca: Option<&'a [u8]>,
    /// As in [`Address`].
    pub client: Option<(&'a [u8], &'a [u8])>,
}

/// The same, ready to be used for any server that takes the same login.
#[derive(Clone)]
pub(super) struct Access {
    info: ConnectionInfo,
    tls: Option<TlsCertificates>,
}

/// Host and port of a server.
pub type Place = (String, u16);

// === impl Address ===

impl Address<'_> {
    pub(super) fn access(&self) -> Result<Access, RedisError> {
        Ok(Access::new(self.url.into_connection_info()?, self.ca, self.client))
    }
}

// === impl Login ===

impl Login<'_> {
    /// For [`Access::client_at`] alone: it names no server.
    pub(super) fn access(&self) -> Result<Access, RedisError> {
        let (host, port) = (String::new(), 0);
        let addr = if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = addr.into_connection_info()?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = self.password {
            settings = settings.set_password(password);
        }
        Ok(Access::new(info.set_redis_settings(settings), self.ca, self.client))
    }
}

// === impl Access ===

impl Access {
    fn new(info: ConnectionInfo, ca: Option<&[u8]>, client: Option<(&[u8], &[u8])>) -> Self {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5));
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(USER_TIMEOUT)
            .set_keepalive(keepalive);
        // CLIENT SETINFO, which the crate would send, is one more right that an ACL has to give,
        // and a line in the log of denials where it does not.
        let settings = info.redis_settings().clone();
        let settings = settings.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        let encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let tls = encrypted.then(|| TlsCertificates {
            client_tls: client.map(|(certificate, key)| ClientTlsConfig {
                client_cert: certificate.to_vec(),
                client_key: key.to_vec(),
            }),
            root_cert: ca.map(<[u8]>::to_vec),
        });
        Self { info, tls }
    }

    /// A client of the server that the address names.
    pub(super) fn client(&self) -> Result<Client, RedisError> {
        match &self.tls {
            None => Client::open(self.info.clone()),
            Some(tls) => Client::build_with_tls(self.info.clone(), tls.clone()),
        }
    }

    /// Where the server is that the address names, if it is not a socket of this machine.
    pub(super) fn place(&self) -> Option<Place> {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host.clone(), *port))
            }
            _ => None,
        }
    }

    /// A client of the server at `place`, with the same login.
    pub(super) fn client_at(&self, (host, port): &Place) -> Result<Client, RedisError> {
        let (host, port) = (host.clone(), *port);
        let addr = match self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        Self { info: self.info.clone().set_addr(addr), tls: self.tls.clone() }.client()
    }
}
