//! Channel `webhook`: one POST request, signed.
//!
//! The body is JSON: every fact by name, or `{"text": …}` as Slack takes it. `X-Retraind-Signature` holds `sha256=` and the
//! HMAC-SHA256 of the body under the secret, in hexadecimal digits; `X-Retraind-Message-Id` is the same when a message is
//! sent again.

use super::{Channel, Undelivered};
use crate::alert::message::Message;
use crate::error::chain;
use crate::settings::{Settings, Style};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use std::time::Duration;

pub(super) const CHANNEL: Channel = Channel {
    name: "webhook",
    addresses: |settings, _| settings.alerting.webhook.url.iter().map(|url| host_of(url)).collect(),
    limit: |settings| settings.alerting.webhook.timeout + Duration::from_secs(5),
    deliver: |settings, message, _| Box::pin(deliver(settings, message)),
};

/// What may be shown of an address: its path is often the secret itself.
fn host_of(url: &str) -> String {
    let parsed = url.parse::<ureq::http::Uri>().ok();
    let host = parsed.as_ref().and_then(|uri| Some(format!("{}://{}", uri.scheme()?, uri.host()?)));
    host.unwrap_or_else(|| "[alerting.webhook] url".to_owned())
}

async fn deliver(settings: &Settings, message: &Message) -> Result<(), Undelivered> {
    let webhook = &settings.alerting.webhook;
    let Some(url) = webhook.url.clone() else {
        return Err(Undelivered::Later("[alerting.webhook] names no url any more".to_owned()));
    };
    let secret = webhook.secret().map_err(|error| Undelivered::Later(format!("failed to {}", chain(&error))))?;
    let body = body(message, webhook.style).to_string();
    let signature = secret.map(|secret| sign(&secret, body.as_bytes()));
    let (id, timeout) = (message.message_id.clone(), webhook.timeout);
    let post = move || {
        // a redirect would become a GET, and another host would get the signature
        let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
        let config = config.max_redirects(0);
        let mut request = ureq::Agent::new_with_config(config.build())
            .post(&url)
            .header("Content-Type", "application/json")
            .header("User-Agent", concat!("retraind/", env!("CARGO_PKG_VERSION")))
            .header("X-Retraind-Message-Id", &id);
        if let Some(signature) = signature {
            request = request.header("X-Retraind-Signature", &signature);
        }
        request.send(body)
    };
    let answered = tokio::task::spawn_blocking(post).await;
    match answered.map_err(|_| Undelivered::Later("the request panicked".to_owned()))? {
        Ok(response) if response.status().is_success() => Ok(()),
        // the address is gone for good; everything else a person may mend
        Ok(response) if response.status() == 410 => Err(Undelivered::Refused("answered 410 Gone".to_owned())),
        Ok(response) => Err(Undelivered::Later(format!("answered {}", response.status()))),
        Err(error) => Err(Undelivered::Later(error.to_string())),
    }
}

fn body(message: &Message, style: Style) -> serde_json::Value {
    match style {
        Style::Slack => json!({ "text": format!("*{}*\n```\n{}```", message.subject(), message.text()) }),
        Style::Json => json!({
            "subject": message.subject(),
            "severity": message.severity(),
            "text": message.text(),
            "message": message,
        }),
    }
}

/// `sha256=` and the HMAC in hexadecimal digits.
fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_only_the_host_is_shown() {
        assert_eq!(host_of("https://user:word@hooks.slack.com/services/T0/SECRET"), "https://hooks.slack.com");
        assert_eq!(host_of("rubbish word"), "[alerting.webhook] url");
    }

    #[test]
    fn the_signature_is_the_standards() {
        // RFC 4231, test case 2
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(sign("Jefe", b"what do ya want for nothing?"), expected);
    }
}
