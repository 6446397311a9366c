//! Signatures after the Standard Webhooks specification: HMAC-SHA256 over id, time and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secrets::Secret;

/// The header `webhook-signature`: a signature for each secret, so that a receiver who still has the old one and one
/// who has the new one already both find theirs. `None` without secrets.
pub(crate) fn signatures(secrets: &[Secret], id: &str, unix_seconds: u64, body: &[u8]) -> Option<String> {
    let one = |secret: &Secret| {
        // Keys of every length are taken.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).ok()?;
        mac.update(format!("{id}.{unix_seconds}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    let signatures = secrets.iter().map(one).collect::<Option<Vec<_>>>()?;
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::signatures;
    use crate::secrets::Secret;
    use standardwebhooks::Webhook;
    use std::time::{SystemTime, UNIX_EPOCH};

    const SECRETS: [&str; 2] =
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];

    fn secrets() -> Vec<Secret> {
        SECRETS.iter().map(|text| Secret::read(text).unwrap()).collect()
    }

    /// The example that the specification's own libraries are tested with.
    #[test]
    fn a_signature_is_the_specifications() {
        let signed =
            signatures(&secrets()[..1], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(signatures(&[], "x", 1, b""), None);
    }

    #[test]
    fn while_a_secret_is_changed_both_who_know_the_old_and_the_new_one_can_verify() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let signed = signatures(&secrets(), "webhook_1", now, b"{}").unwrap();
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", "webhook_1".parse().unwrap());
        headers.insert("webhook-timestamp", now.to_string().parse().unwrap());
        headers.insert("webhook-signature", signed.parse().unwrap());
        for secret in SECRETS {
            Webhook::new(secret).unwrap().verify(b"{}", &headers).unwrap();
            assert!(Webhook::new(secret).unwrap().verify(b"{ }", &headers).is_err());
        }
        let other = "whsec_/////////////////////////////////////w==";
        assert!(Webhook::new(other).is_ok_and(|webhook| webhook.verify(b"{}", &headers).is_err()));
    }
}
