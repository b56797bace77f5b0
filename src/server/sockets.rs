//! The sockets that the process listens on.
//!
//! They are bound, or taken over from an older process, before anything else starts, all at once:
//! so those in use and those that overlap are an error with a name. Pingora gets a copy of each,
//! and this one stays, to be handed to a newer process.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pingora_core::server::ListenFds;

use super::RunError;

/// Most sockets of a process: those of `[server]`, of `[tls]`, the operator's, the sample
/// application's.
pub(super) const SOCKETS_MAX: usize = 34;

/// A socket under the address by which the configuration names it.
pub(super) type Named = (SocketAddr, TcpListener);

/// All sockets of the process.
#[derive(Debug)]
pub(super) struct Sockets(Mutex<Vec<Socket>>);

#[derive(Debug)]
struct Socket {
    address: SocketAddr,
    own: TcpListener,
    /// Pingora's, until it takes it.
    copy: Option<TcpListener>,
}

// === impl Sockets ===

impl Sockets {
    /// Those of `wanted`, each with who wants it: out of `inherited` where it is there, else bound.
    /// Those that nobody wants any more are closed.
    pub(super) fn bind(
        wanted: &[(SocketAddr, &'static str)],
        mut inherited: Vec<Named>,
    ) -> Result<Self, RunError> {
        let mut sockets = Vec::with_capacity(wanted.len());
        for &(address, wanted_by) in wanted {
            let known = inherited.iter().position(|(known, _)| *known == address);
            let own = match known {
                Some(at) => Ok(inherited.swap_remove(at).1),
                None => TcpListener::bind(address),
            };
            let both = own.and_then(|own| {
                own.set_nonblocking(true)?;
                let copy = Some(own.try_clone()?);
                Ok(Socket { address, own, copy })
            });
            sockets.push(both.map_err(|error| RunError::Listen { address, wanted_by, error })?);
        }
        Ok(Self(Mutex::new(sockets)))
    }

    /// Gives Pingora its copy of the socket at `address`.
    pub(super) fn lend(&self, address: &str, table: &ListenFds) {
        let mut sockets = self.sockets();
        let socket = sockets.iter_mut().find(|socket| socket.address.to_string() == address);
        if let Some(copy) = socket.and_then(|socket| socket.copy.take()) {
            table.lock().add(address.to_owned(), copy.into_raw_fd());
        }
    }

    /// Copies for another process.
    pub(super) fn copies(&self) -> Result<Vec<Named>, Error> {
        let sockets = self.sockets();
        if sockets.is_empty() {
            return Err(Error::new(ErrorKind::NotConnected, "this process has closed its sockets"));
        }
        sockets.iter().map(|socket| Ok((socket.address, socket.own.try_clone()?))).collect()
    }

    /// Lets them go. What waits to be accepted is lost if no other process has them.
    pub(super) fn close(&self) {
        self.sockets().clear();
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inherited_is_not_bound_again_and_what_nobody_wants_is_closed() {
        let [kept, unwanted] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [kept_at, unwanted_at] = [&kept, &unwanted].map(|socket| socket.local_addr().unwrap());
        let wanted = [(kept_at, "`server.listen`")];
        let inherited = vec![(unwanted_at, unwanted), (kept_at, kept)];
        let sockets = Sockets::bind(&wanted, inherited).unwrap();
        let copies = sockets.copies().unwrap();
        assert_eq!(copies.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [kept_at]);
        assert_eq!(copies[0].1.local_addr().unwrap(), kept_at);
        assert!(TcpListener::bind(unwanted_at).is_ok(), "it is free again");
        let again = Sockets::bind(&wanted, Vec::new()).unwrap_err().to_string();
        assert!(again.contains("`server.listen` wants it"), "{again}");
        drop(copies);
        sockets.close();
        assert!(sockets.copies().is_err());
    }
}
