//! Headers that belong to proxies.

/// Headers by which proxies tell the application who the client is and what it asked for, by their
/// full names. From a peer that is not a trusted proxy they are neither believed nor passed on.
pub const ADDRESS_CLAIMS: [&str; 43] = [
    // The client's address.
    "client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "forwarded-for-ip",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forwarded",
    "x-forwarded-for",
    "x-nf-client-connection-ip",
    "x-original-forwarded-for",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-vercel-forwarded-for",
    // The host, the scheme and the port that it asked for.
    "front-end-https",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-host",
    "x-original-host",
    "x-scheme",
    "x-url-scheme",
    // The path: some frameworks take it from here.
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// How further names of this kind begin.
const BEGINS: &str = "x-forwarded-";

/// Whether the header with this name, in lower case, belongs to proxies.
pub fn is_address_claim(name: &str) -> bool {
    name.starts_with(BEGINS) || ADDRESS_CLAIMS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_proxies_is_known_by_its_name() {
        for name in ADDRESS_CLAIMS.into_iter().chain(["x-forwarded-by", "x-forwarded-scheme"]) {
            assert!(is_address_claim(name), "{name}");
        }
        for name in ["host", "x-user-id", "origin", "x-request-id", "cf-ray"] {
            assert!(!is_address_claim(name), "{name}");
        }
    }
}
