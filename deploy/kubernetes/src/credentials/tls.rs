//! A private CA, and a certificate for each server.
//!
//! Beside a certificate lies what was asked for when it was made, `<name>.made`: until when it is good, and for which names.
//! One that ends soon, or that names other servers than there are, is made anew. Reading that from the certificate itself would
//! need a parser of X.509 for two fields that we wrote.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, tz::Offset};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::folder::Folder;
use super::{Line, MakeError};
use crate::context::TLS_NAMES;
use crate::fleet::Fleet;

/// The CA's certificate; an overlay with TLS names it.
pub(super) const CA_FILE: &str = "tls/ca.crt";
const CA_KEY_FILE: &str = "tls/ca.key";
const CA_DAYS: i64 = 3_650;
/// A little more than a year, so that a yearly rotation is in time.
const CERTIFICATE_DAYS: i64 = 397;
/// One that ends within this is made anew.
const RENEW_DAYS: i64 = 30;
/// Clocks of others may be behind.
const BACKDATED_DAYS: i64 = 1;

/// Makes those that are missing, end soon or name the wrong servers; all of them if `again`.
pub(super) fn make(folder: &Folder, fleet: &Fleet, again: bool) -> Result<Vec<Line>, MakeError> {
    let now = Timestamp::now();
    let (issuer, ca) = authority(folder, fleet, now)?;
    let mut lines = vec![ca];
    for name in TLS_NAMES {
        let hosts = hosts(name, fleet).join(" ");
        let stamp = format!("tls/{name}.made");
        let there =
            folder.read(&format!("tls/{name}.crt"))?.is_some() && folder.read(&format!("tls/{name}.key"))?.is_some();
        let good = folder.read(&stamp)?.filter(|_| there).and_then(|made| good_until(&made, &hosts, &issuer.id, now));
        let (change, until) = match good {
            Some(until) if !again => ("kept", until),
            _ => {
                let until = later(now, CERTIFICATE_DAYS);
                certificate(folder, name, &hosts, &issuer, now, until)?;
                folder.write(&stamp, &format!("until {until}\nhosts {hosts}\nca {}\n", issuer.id))?;
                (if there { "renewed" } else { "made" }, until)
            }
        };
        lines.push(Line { what: format!("tls {name}"), change, note: format!("until {}", day(until)) });
    }
    Ok(lines)
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Tells one CA from another.
    id: String,
}

fn authority(folder: &Folder, fleet: &Fleet, now: Timestamp) -> Result<(Authority, Line), MakeError> {
    let failed = |error: rcgen::Error| MakeError::Certificate { path: folder.path(CA_FILE), reason: error.to_string() };
    let stamp = "tls/ca.made";
    let there = (folder.read(CA_KEY_FILE)?, folder.read(CA_FILE)?, folder.read(stamp)?);
    let (key, until, change) = match there {
        (Some(key), Some(_), Some(made)) => {
            let until = made.lines().find_map(|line| line.strip_prefix("until ")?.parse().ok());
            (KeyPair::from_pem(&key).map_err(failed)?, until.unwrap_or(now), "kept")
        }
        _ => (KeyPair::generate().map_err(failed)?, later(now, CA_DAYS), "made"),
    };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("workfleet {}", fleet.namespace));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    good_for(&mut params, now, until);
    if change == "made" {
        let made = params.self_signed(&key).map_err(failed)?;
        folder.write(CA_KEY_FILE, &key.serialize_pem())?;
        folder.write(CA_FILE, &made.pem())?;
        folder.write(stamp, &format!("until {until}\n"))?;
    }
    let id = workfleet_dispatcher::auth::tokens::sha256_hex(&key.public_key_pem());
    let line = Line { what: "tls ca".to_owned(), change, note: format!("until {}", day(until)) };
    Ok((Authority { issuer: Issuer::new(params, key), id }, line))
}

fn certificate(
    folder: &Folder,
    name: &str,
    hosts: &str,
    authority: &Authority,
    now: Timestamp,
    until: Timestamp,
) -> Result<(), MakeError> {
    let path = format!("tls/{name}.crt");
    let failed = |error: rcgen::Error| MakeError::Certificate { path: folder.path(&path), reason: error.to_string() };
    let hosts: Vec<String> = hosts.split(' ').map(ToOwned::to_owned).collect();
    let mut params = CertificateParams::new(hosts).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages(name);
    good_for(&mut params, now, until);
    let key = KeyPair::generate().map_err(failed)?;
    let made: Certificate = params.signed_by(&key, &authority.issuer).map_err(failed)?;
    folder.write(&format!("tls/{name}.key"), &key.serialize_pem())?;
    folder.write(&path, &made.pem())
}

/// A server of NATS is a client of the others, and KEDA is nothing but one.
fn usages(name: &str) -> Vec<ExtendedKeyUsagePurpose> {
    match name {
        "keda" => vec![ExtendedKeyUsagePurpose::ClientAuth],
        "nats" => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        _ => vec![ExtendedKeyUsagePurpose::ServerAuth],
    }
}

/// Under which names a server is called: its Service's, in every length, those of single servers of NATS, and those under which
/// the world beyond the cluster calls the dispatcher.
fn hosts(name: &str, fleet: &Fleet) -> Vec<String> {
    let namespace = &fleet.namespace;
    let lengths = |host: &str| {
        ["".to_owned(), format!(".{namespace}"), format!(".{namespace}.svc"), format!(".{namespace}.svc.cluster.local")]
            .map(|end| format!("{host}{end}"))
    };
    let mut hosts: Vec<String> = lengths(name).into();
    if name == "nats" {
        hosts.extend(lengths("nats-headless"));
        let servers = fleet.base.nats_servers.max(fleet.production.nats_servers);
        hosts.extend((0..servers).flat_map(|server| lengths(&format!("nats-{server}.nats-headless"))));
    }
    if name == "dispatcher" {
        let own = fleet.base.dispatcher_hosts.iter().chain(&fleet.production.dispatcher_hosts);
        hosts.extend(own.cloned());
    }
    // Through `kubectl port-forward`.
    hosts.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let mut seen = BTreeSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    hosts
}

/// Until when a certificate is good; `None` if it has to be made anew.
fn good_until(made: &str, hosts: &str, ca: &str, now: Timestamp) -> Option<Timestamp> {
    let field = |name: &str| made.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let until: Timestamp = field("until")?.parse().ok()?;
    let fits = field("hosts") == Some(hosts) && field("ca") == Some(ca);
    (fits && until > later(now, RENEW_DAYS)).then_some(until)
}

fn later(time: Timestamp, days: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_hours(24 * days)).expect("a duration of days is no calendar unit")
}

fn day(time: Timestamp) -> String {
    Offset::UTC.to_datetime(time).date().to_string()
}

/// Sets from when until when. Whole days: finer times would need the crate of rcgen's own times.
fn good_for(params: &mut CertificateParams, now: Timestamp, until: Timestamp) {
    let date = |time: Timestamp| {
        let date = Offset::UTC.to_datetime(time).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (date(later(now, -BACKDATED_DAYS)), date(until));
}
